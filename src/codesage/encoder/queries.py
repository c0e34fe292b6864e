"""Rewrite a typed query into the form of the texts that the encoder was trained on.

People type "how to reverse a list in python", "python reverse list" or "Reverse list?". Documentation says "Reverse a
list". query_form() removes question openings, polite phrases, language names and the final punctuation mark, and
capitalises the first letter. The languages that the query names are a hint for filters and ranking and do not go into the
vector.

Every caller applies this rule: search, `encode(kind="text")`, the server, and in sentence-transformers `encode_query`, which
marks its texts with PROMPT for our tokenizer (encoder.interchange.tokenizing).
"""

import re
from typing import NamedTuple

PROMPT = "<|codesage query|>"  # before a text for the tokenizer of an exported model: the rest is a query

_LANGUAGES = {  # as people write them; names that are also English words only count after "in", "using", ...
    "python": ("python", "python2", "python3", "py3"),
    "java": ("java",),
    "javascript": ("javascript", "js", "nodejs", "node.js"),
    "typescript": ("typescript",),
    "csharp": ("c#", "csharp", "c sharp"),
    "ruby": ("ruby",),
    "go": ("golang",),
    "php": ("php",),
}
_AMBIGUOUS = {"go": "go", "c": "c", "ts": "typescript", "py": "python", "node": "javascript", "cs": "csharp", "rb": "ruby"}
_OF_NAME = {name: language for language, names in _LANGUAGES.items() for name in names}
_NAMES = "|".join(re.escape(name) for name in sorted(_OF_NAME, key=len, reverse=True))
_LINKED = "|".join(re.escape(name) for name in sorted([*_OF_NAME, *_AMBIGUOUS], key=len, reverse=True))
_EDGE = r"(?![\w#+-]|\.\w)"  # do not match inside "java.util", "c++", "python-dateutil"
_AFTER = re.compile(
    rf"\s*\b(?:in|using|with|for|on|by)\s+(?:the\s+)?({_LINKED}){_EDGE}(?:\s+(?:language|code|script)s?\b)?", re.IGNORECASE
)
_ALONE = re.compile(rf"(?<![\w.#+-])({_NAMES}){_EDGE}", re.IGNORECASE)
_OPENING = re.compile(
    r"^\W*(?:(?:please|hi|hello|hey)[,\s]+)*(?:"
    r"how\s+(?:to|(?:do|can|could|would|should|might)\s+(?:i|you|we|one)|(?:do|does|would|can)\s+(?:you|one))\s+"
    r"|(?:what\s+is|what's|whats|is\s+there|are\s+there)\s+(?:(?:the|a|an|any)\s+)?(?:(?:best|easiest|fastest|simplest|quickest|right|correct|good|easy|simple|quick|pythonic)\s+)*"
    r"(?:ways?|methods?|functions?|commands?)\s+(?:to|for|of)\s+"
    r"|(?:is\s+it\s+possible|possible|ways?|best\s+ways?|easy\s+ways?)\s+to\s+"
    r"|(?:i|we)\s+(?:want|need|would\s+like|am\s+trying|have)\s+to\s+"
    r"|(?:write|show\s+me|give\s+me|find|get\s+me)\s+(?:a|an|the|some|me\s+a)\s+(?:simple\s+)?(?:function|method|program|script|code|snippet|example)s?\s+"
    r"(?:to|that|which|for|of)\s+"
    r"|(?:a\s+)?(?:function|method|code|script|program|snippet|command)\s+(?:to|for)\s+"
    r"|(?:examples?|code\s+examples?)\s+(?:of|for)\s+(?:how\s+to\s+)?)",
    re.IGNORECASE,
)
_SPACES = re.compile(r"\s+")
_LEAST_WORDS = 2  # a query with fewer words left is kept as typed


class Query(NamedTuple):
    """A query in the encoder's form, and the languages that it names."""

    text: str
    languages: tuple[str, ...]


def read_query(typed: str) -> Query:
    """Remove question openings, language names and final marks from `typed`, and capitalise the first letter.

    If fewer than two words would remain ("python", "how to java"), the query keeps its words. A query that names several
    languages ("port python to go") keeps their names, because it is about them.
    """
    languages: list[str] = []

    def remove(match: re.Match) -> str:
        name = match.group(1).lower()
        languages.append(_OF_NAME.get(name) or _AMBIGUOUS[name])
        return " "

    typed = _SPACES.sub(" ", typed)  # else the patterns would try each place in a long run of spaces
    text = _ALONE.sub(remove, _AFTER.sub(remove, typed))
    if len(set(languages)) > 1:
        text = typed
    text = _OPENING.sub("", _SPACES.sub(" ", text).strip() + " ")
    text = text.strip().rstrip("?!.").rstrip()
    if len(text.split()) < _LEAST_WORDS:
        text = typed.strip()
    return Query(text[:1].upper() + text[1:], tuple(dict.fromkeys(languages)))


def query_form(typed: str) -> str:
    """The text of `read_query`, which encode(kind="text") passes to the encoder."""
    return read_query(typed).text
