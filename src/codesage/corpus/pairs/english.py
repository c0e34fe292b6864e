"""Decides whether a short text beside code is English prose, and not another language or commented-out code.

Summaries are terse ("Return the sum"), so no language model is used. The rules look at the letters, then at function words
and at the verbs that begin summaries, in English and in other languages common in comments. Every rule is linear in the
text.
"""

import re
from functools import lru_cache

from codesage.corpus.pairs.declarations import is_signature

_WORD = re.compile(r"(?<!\w)[^\W\d_]++(?!\w)(?:['’][^\W\d_]+)?")  # not parts of identifiers: el_nodo, es6
_LETTERS = bytes([ord(chr(code).lower()) if chr(code).isalnum() or code == 95 else 32 for code in range(128)]).ljust(256)
_ENGLISH = frozenset(
    "a an the of to in is are be been was were for and or if with this that these those by on as it its not no when from "
    "given at into all any can will would should must may has have had does do did then than which while where whether "
    "each other only we you your our their them there use used using uses get gets set sets return returns returned "
    "returning create creates created check checks called call calls value values new add adds name object file "
    "list string number make makes sure whose but so such also both more most one two first last same default after before "
    "until otherwise instead here how what who via per between without within over under out up down off same "
    "test tests class method function read write remove update current".split()
)
# Words of other languages that occur neither in English text nor in code, except those in _WEAK, which may.
_FOREIGN = frozenset(
    # German
    "der das und ein eine einen einem einer eines für mit von vom ist nicht werden wird wurde den dem des auf aus bei "
    "zum zur oder auch wenn sind als nach über durch sich dass diese dieser dieses gibt liefert setzt prüft erstellt "
    "berechnet erzeugt liest schreibt zurück alle keine kein nur hier noch ob muss kann soll neue neuen wert werte datei "
    "ermittelt initialisiert überprüft fügt löscht entfernt ändert öffnet schließt sucht anhand "
    # French
    "le les des une un est pour dans avec qui sur par pas cette ces aux au ou où sont être fait plus son ses sa et du la "
    "retourne renvoie calcule crée créer vérifie récupère ajoute supprime permet initialise lit écrit si valeur valeurs "
    "fichier liste chaîne tous toutes nouvelle nouveau donne affiche méthode fonction constructeur "
    # Spanish
    "el los las una para con por del que como cuando este esta estos está es en lo al su sus y devuelve obtiene crea "
    "calcula comprueba inicializa elimina agrega añade establece regresa verifica retorna muestra valor valores archivo "
    "lista cadena nuevo nueva método función clase sobre según "
    # Portuguese
    "o os um uma do da dos das na nos nas não é em se pelo pela ao são com ou mas mais quando retorna cria verifica "
    "obtém define calcula remove adiciona inicializa busca salva arquivo novo nova classe função valor "
    # Italian
    "il gli di che per non del della dei delle nel nella alla dal dalla una uno sono con restituisce ritorna crea calcola "
    "verifica imposta aggiunge rimuove inizializza questo questa metodo funzione valore stringa se ed è "
    # Dutch
    "het een van voor niet met op te zijn wordt worden deze dit bij naar uit ook geeft maakt haalt controleert en of aan "
    "waarde bestand nieuwe methode functie als "
    # Polish, Turkish, Swedish, Danish, Indonesian, Romanian
    "jest się dla nie przez oraz zwraca tworzy sprawdza ustawia ve bir için ile bu değer döndürür och att som inte är av "
    "returnerar og ikke til fra yang dengan untuk dari ini tidak adalah mengembalikan este pentru și sau".split()
)
_WEAK = frozenset(
    "den dem des alle als do si es en no on of bei lo al y o os um se da das na nos com mas remove define is son sur par "
    "pas plus sa ses per con non di op te met dit of en ve til fra bu ini of dos su fait an am ou la le du un til ce so "
    "uno sauf sind per hier ob busca crea et au kind valor dal cadena liste lista hat es lit nie ed nova ile".split()
)
_TELLING = frozenset(word.encode() for word in _FOREIGN - _ENGLISH if word.isascii())  # others never outnumber English words
_CODE_MARK = re.compile(r"[;{}=<>()\[\]|&$\\+*/^~]")
_CODE_START = re.compile(
    r"(?:if|for|while|switch|catch|elif|foreach|until|unless)\s*\(|(?:try|else|finally): \w|"
    r"(?:return|var|let|const|def|import|print|echo|throw|"
    r"new|await|assert|case|break|continue|else|try|do|#include|#define|static|public|private|protected|final|"
    r"int|char|void|bool|float|double|long|unsigned|string)\b[^.!?]*[;({=:\]]\s*$|\$\w+\s*(?:=|->|\[)|\}|</?\w+[^>]*>\s*$|"
    r"(?:var|let|const|int|auto)\s+\w+\s*=|@\w+\s*\(|[\w.\[\]]+\s*(?:[-+*/|&]?=(?!=)|==|\+\+|<<|->)\s*\S|[\w.$]+(?:->|::|"
    r"\.)\w+\([^)]*\)\s*[;{.]?\s*$|\w+\([^()]*(?:\([^()]*\)[^()]*)*\)\s*[;{]?\s*$|"
    r"\w+\((?=[^()]{0,200}[ ,])[^()]{1,300}\)\s+\w+$|//|[a-z]+(?:-[a-z]+)+ = \S|<\w+ \w+ = |"
    r"(?:INSERT INTO|CREATE TABLE) \w+ ?\(|"
    r"(?:INSERT INTO|DELETE FROM|(?:CREATE|DROP|ALTER) [A-Z]+|SELECT|UPDATE) \S[^;]{0,300};"
)
_DECLARATION = re.compile(
    r"(?:export |public |abstract |final )*(?:class|interface|module|enum|struct) \w+(?:<[^<>]{0,100}>)?(?: < | \{|\(| "
    r"(?:extends|implements) \S+ \{)|"
    r"(?:export )+(?:default )?(?:const|let|function|interface|type|class|enum)\b|\[\w+\(\w+ ?= ?[\"@]"
)
_GRAMMAR = re.compile(r"<?[A-Za-z][\w-]{0,60}>? ?(?:::?=) ?\S|<[\w-]{1,60}> ?: ?<")
_RULE = re.compile(r"[A-Za-z][\w-]{0,60} ?: ")
_RULE_TOKEN = re.compile(r"['\"][^'\"]{1,20}['\"],?|[|;?*+()\[\]{}]+|[A-Z][A-Z_]+[*+?]?|<[\w-]+>|\w+[*+?]|\[\S+\]|\S*_\S*")
_SYNOPSIS = re.compile(r"[A-Z][A-Z_.-]{2,40}(?: [A-Z]{2,}){0,3}(?: (?:[<\[|/.\]>-]\S*|[a-z]+[\])>]?|[A-Z]+)){1,12}$")
_TERMINALS = re.compile(
    r"([a-z]\w{0,60}) ?: ((?:\(?(?:[A-Z][A-Z_\d]+|[a-z]+[A-Z_]\w*|\1)[!?*+^)]*(?: |$)|[|] ?){1,12})$"
)  # expr: ID
_FUNCTION_WORDS = frozenset("the a an of to in is are and or for with from by on as at be not this that if when which".split())
_MAY_BE_CODE = re.compile(r"[;{}=<>()\[\]|&$\\+*/^~:]")  # code by the rules below has one of these; most prose has none
_RUBY = re.compile(r"def [a-z_]|(?:class|module) [A-Z]|[\w.@]+ do(?: \||$)")
_CODE_END = (";", "{", "}", "=>", "&&", "||", "();", ");", "= [", "\\")


@lru_cache(maxsize=256)  # for the reason given at is_code
def is_english(text: str) -> bool:
    """Whether a short text reads as English: its letters are Latin, and words of other languages do not prevail.

    Terse summaries ("Return the sum") must not be lost, so text in Latin script without words of other languages passes.
    """
    if text.isascii():
        words = text.encode().translate(_LETTERS).split()  # many times faster than _WORD
        if _TELLING.isdisjoint(words):
            return text.lower() != text.upper()
    else:
        letters = list(filter(str.isalpha, text))
        if not letters or sum(letter > "\x7f" for letter in letters) > 0.1 * len(letters):
            return False
    words = [word.lower() for word in _WORD.findall(text) if len(word) > 1 or word.islower()]  # not the X and Y of formulas
    foreign = sum(0.5 if word in _WEAK or word in _ENGLISH else 1.0 for word in words if word in _FOREIGN)
    if not text.isascii():
        foreign += 0.7 * sum(not word.isascii() for word in words if word not in _FOREIGN)
    return foreign < 1.0 or foreign <= 0.6 * sum(map(_ENGLISH.__contains__, words))


@lru_cache(maxsize=256)  # a summary is checked when it is chosen, and again by the pair rules
def is_code(text: str) -> bool:
    """Whether a short comment is commented-out code or markup rather than prose."""
    if text.endswith(" end") and _RUBY.match(text):
        return True
    if not _MAY_BE_CODE.search(text):
        return False
    text = text.strip()
    if _CODE_START.match(text[:400]) or ("(" in text and is_signature(text)):
        return True
    if (":" in text or text[:1] in "'\"") and _is_grammar(text):
        return True
    if (text[:3].isupper() and _is_synopsis(text)) or _DECLARATION.match(text):
        return True
    marked = text.replace("()", "")
    ends, marks = text.endswith(_CODE_END), len(_CODE_MARK.findall(marked)) + marked.count("::")
    if not ends and marks < 2:
        return False
    words = text.split()
    dense = marks > 0.5 * len(words) + 1
    if not ends and not dense:
        return False
    plain = sum([word.strip("(),.:'\"").replace("-", "").isalpha() for word in words])
    return (ends and plain < 0.7 * len(words)) or (dense and plain < 3)


def _is_grammar(text: str) -> bool:
    """Whether a text is a grammar rule: "expr ::= term", "expr: expr '+' term | NAME"."""
    if "::=" in text or _GRAMMAR.match(text) or (":" in text[:64] and _TERMINALS.match(text)):
        return True
    rule = _RULE.match(text) if ":" in text[:64] and ("'" in text or '"' in text or "|" in text) else None
    quoted = text[0] in "'\"" and _FUNCTION_WORDS.isdisjoint(text.split())  # the right side alone
    tokens = text[rule.end() if rule else 0 :].split() if rule or quoted else []
    marks = sum(_RULE_TOKEN.fullmatch(token) is not None for token in tokens)
    operators = sum(token[:1] in "'\"" and not any(map(str.isalnum, token)) for token in tokens)
    return 2 * (marks + operators) > len(tokens)


def _is_synopsis(text: str) -> bool:
    """Whether a text is a command with its arguments: "UNSUBSCRIBE [channel ...]", "GET key"."""
    return (
        any(mark in text for mark in "<[|/") and _SYNOPSIS.match(text) is not None and _FUNCTION_WORDS.isdisjoint(text.split())
    )
