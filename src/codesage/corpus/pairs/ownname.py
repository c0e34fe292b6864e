"""Removes the name of a definition from its documentation ("ParseURL parses a URL" becomes "Parses a URL").

The code of a pair hides the name, so the text must not begin with it: a model would match names instead of meanings. Every
rule works on a cleaned sentence. It removes the name only as the subject or a title of the sentence, and leaves a sentence
alone whose first word only happens to be the name ("Sort keys by value" for `sort`).
"""

import re

from codesage.corpus.pairs.verbs import is_also_noun, may_be_verb
from codesage.words import split_names

_NOUNS = (
    "function|method|class|struct|structure|interface|type|module|macro|trait|enum|object|callback|procedure|routine|command|"
    "middleware|helper|component|widget|service|decorator|annotation|exception|handler|filter|"
    "property|option|test|mixin|attribute|operator|package"
)
_NAME = (
    r"[\"'`#*$@:\[]*(?P<name>[^\W\d][\w$]{0,120}(?:(?:\.|::|#|->|\\)[\w$]{1,120}){0,6}[?!=]?)[\"'`*\]]*"
    rf"(?P<call>\s?\([^()]{{0,400}}\))?(?P<noun>\s+(?:{_NOUNS})\b)?"
)
_SUBJECT = re.compile(r"(?:(?P<article>an?|the|this|our)\s+)?" + _NAME, re.IGNORECASE)
_NAMED_SUBJECT = re.compile(rf"(?P<article>(?:the|this)\s+)?(?:{_NOUNS}|union|typedef|def|func)\s+" + _NAME, re.IGNORECASE)
_TITLE = re.compile(
    r"\s*(?:\s[-–—]{1,3}\s|\s?--\s?|\s-(?=[a-z]{3})|[:,]?—|:\s|\s?:$|\s?=>\s|;\s+[\w.:]{1,60}\([^()]{0,80}\)\s+-\s+)\s*"
)
_RESULT = re.compile(  # "-> list of str, the rest", "-> x -- the rest", "-> x"
    r"\s*->\s*[\w.\[\]<>|*]{1,80}(?:\([^()]{0,80}\))?(?:(?: of | or |\s\|\s)[\w.\[\]<>|*]{1,80}){0,3}"
    r"(?:(?:\s*--|\s+-|,|:|\.|;)\s+(?=\S+ \S+ )|$)"
)
_NEXT_LINE = re.compile(r"\s+(?=[A-Z][a-z]+\s)")  # a name above the text, whose line break is lost
_ANY_LINE = re.compile(r"\s+(?=[a-z])")
_BEFORE = 60  # characters that may come before the name: an article, a noun, qualifiers
_QUALIFIER = re.compile(r"\.|::|#|->|\\")
_COPULA = re.compile(r"\s+(?:is|are|was)\s+(?:also\s+)?(?=\S)", re.IGNORECASE)
_WORD = re.compile(
    r"\s+(?:(?:also|always|just|only|simply|then|first|recursively|atomically|automatically)\s+)?([A-Za-z][\w'-]*)"
)
_MODALS = frozenset("has have does do can could may might must shall should will would contains".split())
_NO_VERB = frozenset(  # words that may follow a name but are not its verb
    "and or nor for of to in on at as by with without from into onto over under between that which who whose where when "
    "while if unless but so than then not no only the a an this its it each all any via per up out off i".split()
)
# Verbs in the third person that are not also plural nouns in code. Those in _GO_VERBS are; in Go they are verbs by convention.
_VERBS = frozenset(
    "returns creates provides implements represents contains determines checks computes calculates converts constructs "
    "defines describes generates gets initializes initialises performs adds appends applies attempts builds closes "
    "compares decodes deletes encodes ensures executes extracts finds handles holds includes indicates inserts invokes "
    "iterates makes merges obtains opens parses prepares processes produces registers releases removes renders replaces "
    "resets resolves retrieves sends serializes deserializes specifies starts stops stores takes tells transforms tries "
    "verifies validates waits wraps yields allows allocates asserts causes combines configures connects controls delegates "
    "destroys detects determines disables enables ends encapsulates evaluates exits expands exports fetches fills flushes "
    "frees gives grows informs installs keeps knows lets looks manages modifies moves notifies overrides picks pops "
    "prevents pushes puts raises reports requires runs saves scans searches selects serves shows simulates skips "
    "splits stands strips supports swaps throws tracks translates traverses truncates unmarshals marshals updates walks works "
    "emits enforces enumerates forwards formats instructs launches lists measures normalizes populates reads writes sets "
    "satisfies shuts terminates toggles triggers unlocks locks reverses sorts signals".split()
)
_GO_VERBS = frozenset(
    "demonstrates mocks tests calls prints matches marks maps uses loads hashes counts names caches acts alters augments "
    "backfills behaves breaks corresponds deactivates deals dedupes dials disambiguates facilitates figures fulfills grants "
    "helps offers operates outputs reconciles reformats rolls splices suggests supplies talks treats typechecks unmounts "
    "unquotes unstacks".split()
)
_PREPOSITIONS = frozenset("about after as at before between by for from in into of on or and over per to under with".split())
_OBJECTS = frozenset(  # first words of an object: what comes before one is a verb, and no plural noun
    "a an the this that these those its their it them all any each every both no one whether what how if".split()
)
_OTHER_VERBS = frozenset("used called uses responsible allows takes wants understands remembers".split())
_THIS = re.compile(r"(?:This|The) (?:method|function|class|test|module|interface|struct|type|routine)s? (?:also )?(\w+)")
_NOUN_TOO = frozenset(  # a plain name before one of these can be a verb with its object ("count writes")
    "sets lists reads writes updates formats checks exports forwards signals locks runs scans tracks works moves swaps splits "
    "reports starts stops ends searches puts triggers builds processes controls measures holds sorts shows supports opens "
    "selects takes".split()
)


def without_name(sentence: str, name: str, language: str) -> str:
    """`sentence` without `name` as its title or subject; "" if it is only the name or a signature."""
    if not name:
        return sentence
    head, own = sentence[: len(name) + _BEFORE].lower(), name.lower()
    if own in head or ("_" in own + head and _bare(own) in _bare(head)) or own[-1] in "?!=":
        for subject in (_SUBJECT, _NAMED_SUBJECT):
            match = subject.match(sentence)
            if match and _is_own(match.group("name"), name):
                return _after(sentence, match, name, language)
    return _without_stale_name(sentence) if language == "go" else sentence


def _after(sentence: str, match: re.Match, name: str, language: str) -> str:
    """The sentence without the matched subject, or the whole sentence if the match is not its subject after all."""
    rest = sentence[match.end() :]
    certain = bool(match.group("call")) or _is_identifier(match.group("name"))
    if not rest.strip(" .:-;,"):
        return "" if certain or match.group("noun") or " " not in sentence else sentence
    if title := _TITLE.match(rest) or (_RESULT.match(rest) if "->" in rest else None):
        return without_name(rest[title.end() :].strip(), name, language)
    heading = certain and (language in ("c", "csharp") or "_" in match.group("name"))
    if heading and not match.group("article") and not match.group("noun") and (above := _NEXT_LINE.match(rest)):
        return rest[above.end() :]
    if match.group("article") and not certain and not match.group("name")[0].isupper():
        return sentence
    if copula := _COPULA.match(rest):
        return _capitalised(rest[copula.end() :])
    word = _WORD.match(rest)
    lower = word.group(1).lower() if word else ""
    if not lower or lower in _NO_VERB or (match.group("noun") and not lower.endswith("s") and lower not in _MODALS):
        return sentence
    following = rest[word.end() :] if word and language == "go" and match.group("name") == name else ""
    acts = following != "" and _is_followed_verb(lower, following)
    if language == "go" and not acts and not match.group("call") and _is_its_verb(match.group("name"), lower):
        return _capitalised(f"{' '.join(split_names(match.group('name')))}{rest}")
    article = bool(match.group("article") or match.group("noun"))
    if (
        acts
        or (certain and (match.group("call") or language == "go" or _may_be_verb(lower)))
        or _is_verb(lower, name, language, article=article)
    ):
        return _capitalised(rest.lstrip())
    if heading and language == "c" and not article and _ANY_LINE.match(rest):
        return _capitalised(rest.lstrip())
    return sentence


def _is_verb(word: str, name: str, language: str, *, article: bool) -> bool:
    """Whether `word` after a plain name is its verb: yes in "sort sorts" and "Add returns", no in "sort keys"."""
    own = name.lower().lstrip("_")
    if word in (own + "s", own + "es", own[:-1] + "ies") or word in _MODALS:
        return True
    if language == "go":
        return word in _VERBS or word in _GO_VERBS
    return word in _VERBS and (article or word not in _NOUN_TOO)


def _is_followed_verb(word: str, following: str) -> bool:
    """Whether `word` after a name in Go is its verb by its form and by what follows.

    A verb in the third person has an object: "Truncate changes the size". A plural noun has a preposition: "Read blocks from".
    """
    if not word.endswith("s") or word.endswith("ss"):
        return False
    following = following.lstrip().partition(" ")[0].lower()
    return following in _OBJECTS or (may_be_verb(word) and not (following in _PREPOSITIONS and is_also_noun(word)))


def _is_its_verb(name: str, following: str) -> bool:
    """Whether a name is itself the verb of its sentence: "readAt bytes of the file", and not "readAt returns bytes"."""
    words = split_names(name)
    known = following in _VERBS or following in _GO_VERBS or following in _MODALS or may_be_verb(following)
    return len(words) > 1 and may_be_verb(words[0]) and following.endswith("s") and not known


def _may_be_verb(word: str) -> bool:
    """Whether a word after an identifier may be its verb, and not an adjective or noun ("foo equivalent", "Foo objects")."""
    third = word in _VERBS or word in _GO_VERBS or word in _MODALS or word in _OTHER_VERBS
    return third or _third_person(word) or (word.endswith("s") and not word.endswith(("ss", "us", "ts", "ns", "es", "rs")))


def _third_person(word: str) -> bool:
    """Whether a word is the base form of a verb in _VERBS."""
    return word + "s" in _VERBS or word + "es" in _VERBS or word[:-1] + "ies" in _VERBS


def tells_what_it_does(sentence: str) -> bool:
    """Whether a sentence begins like one that says what code does: "Returns", "Check", "This method opens"."""
    if not sentence[:1].isupper() or sentence.count(" ") < 2:
        return False
    match = _THIS.match(sentence)
    word = (match.group(1) if match else sentence.partition(" ")[0]).lower()
    return (
        word in _VERBS
        or word in _GO_VERBS
        or (_third_person(word) and not match)
        or word in ("ensures", "ensure", "test", "makes")
    )


def _without_stale_name(sentence: str) -> str:
    """Remove an outdated name: Go documentation begins with the name, and sometimes keeps the old one after a renaming."""
    first, _, rest = sentence.partition(" ")
    if _is_identifier(first) and first.isidentifier() and rest.partition(" ")[0] in _VERBS:
        return _capitalised(rest)
    return sentence


def _is_own(written: str, name: str) -> bool:
    """Whether a name written in a text, perhaps qualified, is `name`, apart from case and underscores."""
    own, last = _bare(name), _QUALIFIER.split(written)[-1]
    return _bare(last) == own or _bare(written) == own


def _bare(name: str) -> str:
    return name.replace("_", "").lower().rstrip("?!=")


def _is_identifier(word: str) -> bool:
    """Whether a word looks like a name in code and not like an English word: fooBar, foo_bar, Foo2, a.b."""
    inner = word[1:]
    return "_" in word or "." in word or ":" in word or (inner != inner.lower() and not word.isupper())


def _capitalised(text: str) -> str:
    word = text.partition(" ")[0]
    return text if _is_identifier(word) else text[:1].upper() + text[1:]
