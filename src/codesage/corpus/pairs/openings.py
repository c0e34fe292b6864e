"""First sentences that say next to nothing: "Handles mousedown events", "Construct a Foo" for Foo, "Blocking call to wait".

Such a sentence names the occasion or the kind of a definition. The sentence after it often says what the code does and is then
the better summary. Every pattern takes time linear in the text.
"""

import re

from codesage.corpus.pairs.sentences import first_sentence
from codesage.corpus.pairs.verbs import begins_with_verb
from codesage.words import split_names

_FIRST = ("Handle", "Construct", "Create", "Initiali", "Instantiate", "Blocking call", "Visit")
_EVENT = re.compile(r"Handles? (?:(?:the|an?|any|all) )?(?:[\w.-]+ ){0,3}events?$")
_WHEN = re.compile(r"Handles? (?:when|if)\b")
_VISITS = re.compile(r"Visits? (?:an?|the) (?:[\w.`]+ ?){1,3}$")
_MAKES = re.compile(
    r"(?:Construct|Create|Initiali[sz]e|Instantiate)s? (?:(?:an?|the) )?(?:new )?(?:instance (?:of )?)?(?:(?:an?|the) )?(\w+)"
    r"(?: (?:object|instance))?$"
)
_CLASS_NAME = re.compile(r"[A-Z]\w*[a-z][A-Z]\w*")
_CONSTRUCTORS = frozenset("__init__ __construct constructor".split())
_SETTER = re.compile(  # Setter for property dateValue, Internal handler for the close event
    r"(?:the |an? )?(?:(?:private|protected|public|internal|default|event) ){0,2}"
    r"(?:getter|setter|accessor|mutator|handler|listener|callback)(?: (?:method|function))? (?:for|of|to handle) (.*)",
    re.IGNORECASE,
)
_BEFORE_SETTER = frozenset(  # first words of what it matches
    "the a an private protected public internal default event getter setter accessor mutator handler listener callback".split()
)
_CONDITION = re.compile(r"(?:If|When|On|For) [^,]{3,100}, (?:(?:it|this|this method|then) )?")
_ADVICE = re.compile(r"(?:Requires?|Uses?|Make sure|Run inside|Ensure|Override|Call|Note|Pass)\b")
_LEAST_SPACES = 2
_COMMON = frozenset(  # words that say nothing about an event
    "handle handles a an the any all event events keyboard pseudo on of for when is property attribute attr component val "
    "value v s".split()
)


def is_empty(sentence: str, name: str) -> bool:
    """Whether a cleaned first sentence says so little that a better one is worth a search; `name` is that of the definition."""
    if not sentence.startswith(_FIRST):
        return False
    return sentence.startswith("Blocking call to ") or _only_makes(sentence, name) or _names_only_occasion(sentence)


def next_action(text: str) -> tuple[str, str]:
    """Returns (the first sentence of `text`, the rest) if the sentence says what code does, else ("", `text`)."""
    sentence = first_sentence(text)
    condition = _CONDITION.match(sentence)
    action = sentence[condition.end() :] if condition else sentence
    tells = sentence[:1].isupper() and action.count(" ") >= _LEAST_SPACES and begins_with_verb(action)
    return (sentence, text[len(sentence) :].lstrip()) if tells and not _ADVICE.match(action) else ("", text)


def reads_name_aloud(text: str, name: str, parent: str) -> bool:
    """Whether an empty sentence has only words of the name and the class: "Handles the paste event" for `onpaste`."""
    if not text.startswith(_FIRST):
        setter = _SETTER.match(text) if text.partition(" ")[0].lower() in _BEFORE_SETTER else None
        return setter is not None and _is_in_name(setter.group(1), name, parent)
    if _only_makes(text, name) or _WHEN.match(text) or ((name in _CONSTRUCTORS or name == parent) and _makes_class(text)):
        return True
    return _EVENT.match(text) is not None and _is_in_name(text, name, parent)


def _is_in_name(text: str, name: str, parent: str) -> bool:
    """Whether a name has all words of a text but the common ones."""
    own = f"{parent}{name}".replace("_", "").lower()
    return all(word in own for word in split_names(text) if word not in _COMMON)


def _names_only_occasion(sentence: str) -> bool:
    """Whether a sentence names only the event, time or node that is handled: "Handles when Enter is pressed"."""
    return any(pattern.match(sentence) for pattern in (_EVENT, _WHEN, _VISITS))


def _makes_class(sentence: str) -> bool:
    """Whether a sentence says only that a class is constructed, whichever it is: a constructor's may be misspelt or copied."""
    match = _MAKES.match(sentence)
    return match is not None and _CLASS_NAME.fullmatch(match.group(1)) is not None


def _only_makes(sentence: str, name: str) -> bool:
    """Whether a sentence says only that a class is constructed, which has this name."""
    match = _MAKES.match(sentence)
    return match is not None and match.group(1) == name
