"""Decides, by the words of both, whether the code below a comment does what the comment says.

The input is the action that a comment states (verbs.py) and the statements below it. The answer is no if the code shows no
sign of the action: the comment says "check" and there is no condition, "loop" and there is no loop, "remove" and nothing is
removed. Such code usually only prepares the action, and the rest follows below a blank line.
"""

import re

from codesage.corpus.pairs.verbs import VAGUE, bases

_CONDITION = (
    r"\b(?:if|unless|elif|elsif|switch|case|match|when|while|until|select)\b|[?]|&&|[|]{2}|\bor\b|\band\b|"
    r"[=!<>]=|filter|where|reject"
)
_LOOP = r"\b(?:for|while|until|foreach|do|loop|times|select)\b|each|\bmap\b|walk|iter|travers|range|visit|recurs|\bgoto\b"
_SIGNS_OF = {  # verbs, and what code that does them contains, in upper or lower case
    "check verify ensure test validate assert confirm enforce require compare examine": (
        r"\b(?:if|unless|switch|match|case|while|catch|except|rescue)\b|assert|expect|require|verif|check|ensure|valid|should|"
        r"raise|throw|fail|panic|error|[=!]=|confirm|vrfy|must\w*\("
    ),
    "iterate loop walk traverse enumerate scan visit recurse": _LOOP,
    "return yield": r"\breturn|yield|\bexit|goto|\bret\b|result|=>",
    "skip ignore omit": (
        r"continue|\bnext\b|return|break|\b(?:if|unless|while|for)\b|skip|filter|reject|ignor|\+=|\+\+|slice|omit|seek"
    ),
    "throw raise abort fail reject": r"throw|rais|error|panic|fail|abort|exit|assert|\bdie\b|\berr|reject|goto|return",
    "remove delete drop erase purge strip prune discard eliminate unset unlink trim": (
        r"remov|delet|\bdel\b|\brm|_rm|drop|clear|eras|free|pop|unset|strip|filter|replace|\b(?:null|none|nil|undefined)\b|"
        r"destroy|slice|splice|discard|shift|trim|unlink|clean|reset|purge|unregister|dispos|releas|\"\"|''|reject|\bcut|"
        r"truncat|sub\(|detach|uninstall|evict|exclu|memset|disconnect|\[\w*:\w*\]|kill|prune|take|except|without|-="
    ),
    "print log report warn display dump echo output show": (
        r"print|log|writ|echo|puts|display|show|dump|warn|out|emit|messag|error|format|render|report|debug|info|notif|"
        r"trace|record|add|say"
    ),
    "send submit dispatch notify publish emit broadcast post": (
        r"send|submit|dispatch|notif|publish|emit|post|trigger|fire|invok|call|write|push|exec|run|put|fetch|respon|"
        r"broadcast|event|queue"
    ),
    "wait sleep poll": r"wait|sleep|poll|join|select|block|lock|recv|<-|until|retry|while|timeout|event|latch|sync",
    "sort": r"sort|order|compar|swap|rank|while|\bfor\b",
    "close shutdown stop kill terminate": (
        r"clos|stop|shut|kill|\bend|quit|exit|destroy|dispos|terminat|cancel|free|releas|clean|abort|finish|break|return|disabl"
    ),
    "increment decrement count accumulate increase decrease": r"[-+]|count|inc|dec|sum|len|size|num|reduce|add",
    "compute calculate estimate add append insert push register attach prepend": r"[-+*/%|&^]|\w\s?\(|<<|\]\s*=",
    "create make build construct allocate generate instantiate": r"\w\s?\(|new\b|make|[\[{\"'`]",
    "find search locate seek lookup fetch retrieve load read parse open connect call run execute invoke start launch": (
        r"\w\s?\(|\w\[|\b(?:for|while)\b|->|[?.!]\w| \w+ "
    ),
    "try attempt": r"\b(?:try|begin|if|rescue|catch)\b|\w\s?\(|err",
}
_SIGNS = {
    verb: pattern
    for verbs, pattern in ((verbs, re.compile(signs, re.IGNORECASE)) for verbs, signs in _SIGNS_OF.items())
    for verb in verbs.split()
}
_IF = re.compile(r"(?:\b|^)(?:if|unless|whether|only when)\b|^when\b", re.IGNORECASE)
_FOR_EACH = re.compile(r"\b(?:for each|for every|for all|while|until)\b|^(?:go|run) (?:through|over)\b", re.IGNORECASE)
_CONDITIONED, _LOOPED = (
    re.compile(_CONDITION + r"|assert|check|ensure|expect|\btry\b|if\w*\(", re.IGNORECASE),
    re.compile(_LOOP, re.IGNORECASE),
)
_FIRST_IF = re.compile(_CONDITION + r"|\b(?:assert|try|for|each|default|get)\b|[iI]f|[xX]or|::|//=", re.MULTILINE)
_PLAIN = re.compile(
    r"[\w\s.$:>\[\]*&@,()-]*?[\w\]]\s*:?=\s*[-\w.$\"'\[\]{}>&*:]*;?\s*(?:(?://|#|/\*).*)?$|[\w\s.*<>,\[\]]+;$|(?:return|"
    r"break|continue|next)\b[\s\w.]*;?$"
)
_LONG = 200  # characters; a longer line is never taken for a plain assignment
_OPENS = re.compile(r"(?:try|using|with)\b.*[(:]")
_MAKES = frozenset("create initialize init instantiate open make construct connect start".split())
_FEW = 6
_ASSIGNS = frozenset(
    "set initialize initialise init reset clear save store restore copy swap update assign define declare default mark enable "
    "disable keep remember record specify increment decrement unset move link override overwrite replace exchange turn setup "
    "configure fill populate add put zero clean invalidate toggle flag return track free null detach attach insert".split()
)
_WORD = re.compile(r"[A-Za-z][a-z]+|[A-Z]{2,}")
_PART = re.compile(r"[a-z]{3,}|\d+")
_COMMON = frozenset(  # verbs that are in the names of all kinds of code
    "get set create make add use run test check call init initialize put read write load save send handle find build update "
    "return start open ensure verify try define specify construct retrieve creates adds gets sets creating adding getting "
    "setting using".split()
)
_BRANCHES = re.compile(
    r"(?:else )?(?:if|for|foreach|while|until|unless|switch|select|case|match|do|loop|try|begin|with)\b|.*\.(?:each|"
    r"forEach|map)\b"
)
_GUARD = re.compile(
    r"(?:if|unless)\b.*(?:err|ERR|\b(?:null|NULL|nil|None|undefined|rc|ret|res|ok|status|Status)\b|-1|< ?0|\(!\w+\))|else\b"
)
_MAKES_SURE = re.compile(
    r"(?:make|making|makes|be) sure|see (?:if|whether)|determin\w+ (?:if|whether)|find out (?:if|whether)", re.IGNORECASE
)
_LEADS = re.compile(r"(?:\w+ly|always|only|first|then|now)\s+(?=\w)", re.IGNORECASE)


def does(text: str, code: str) -> bool:
    """Whether `code` shows signs of the action that `text` states."""
    lines = [line for line in code.split("\n") if line.strip()]
    top = [line for line in lines if line[0] not in " \t})]"]
    words = text.split()
    if len(top) > max(2 * len(words), 5) or _branches(top) > 1 + bool(_BRANCHES.match(lines[0])):
        return False
    verbs = _verbs(text)
    if len(lines) > _FEW and _OPENS.match(lines[0]) and not _MAKES.isdisjoint(verbs):
        return False  # the code also uses what is created
    for verb in verbs:
        if (signs := _SIGNS.get(verb)) and not signs.search(code):
            return False
    if _IF.match(text) and not _FIRST_IF.search("\n".join(lines[:6])):
        return False
    if (_IF.search(text) and not _CONDITIONED.search(code)) or (_FOR_EACH.search(text) and not _LOOPED.search(code)):
        return False
    if not _BRANCHES.match(lines[0]) and not _names(words, code.lower()):
        return False
    return not (verbs and _ASSIGNS.isdisjoint(verbs) and all(len(line) < _LONG and _PLAIN.match(line) for line in lines))


def _branches(top: list[str]) -> int:
    """Number of statements with a block that begin on these lines, not counting those that only handle an error."""
    return sum(_BRANCHES.match(line) is not None and not _GUARD.match(line) for line in top)


def _names(words: list[str], code: str) -> bool:
    """Whether the code, in lower case, contains the first four letters of a word that is neither vague nor common."""
    parts = _PART.findall(" ".join(words).lower())
    return any(part[:4] in code for part in parts if part not in VAGUE and part not in _COMMON)


def _verbs(text: str) -> tuple[str, ...]:
    if _MAKES_SURE.match(text):
        return ("check",)
    text = text[lead.end() :] if (lead := _LEADS.match(text)) else text
    match = _WORD.match(text)
    return bases(match.group().lower()) if match else ()
