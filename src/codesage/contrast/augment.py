"""Turn a docstring's sentence at random into something like a query that a person types.

In: a text, the language of its code, and random numbers in [0, 1). Out: a text. Queries have no final full stop, few
capitals, fewer articles, and often a language name or a question opening ("how to"). A title that already has such an opening
loses it instead. The caller draws the random numbers, so the same numbers give the same text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from codesage.errors import CodesageError

OPENINGS = ("how to {}", "how do i {}", "how can i {}", "how do you {}")
NAMES = {
    "python": ("python",),
    "java": ("java",),
    "javascript": ("javascript", "js"),
    "typescript": ("typescript", "ts"),
    "csharp": ("c#",),
    "c": ("c",),
    "ruby": ("ruby",),
    "go": ("go", "golang"),
    "php": ("php",),
}
FORMS = ("{text} in {name}", "{name} {text}", "{text} {name}")
_OPENED = re.compile(r"(?:how to|how (?:do|can|could|should|would) (?:i|you|we|one))\s+(?=\S)", re.IGNORECASE)
_QUESTION = re.compile(r"(?:how|what|why|when|where|which|who|is|are|can|does|do|should)\b", re.IGNORECASE)
_ARTICLE = re.compile(r"(?:\b(?:a|an|the)|^(?:A|An|The))\s+(?=\w)")
_THIRD_PERSON = re.compile(r"[A-Za-z][a-z]+(?<![sui])s\b")
_ES = re.compile(r"(?:ss|sh|ch|x|zz|o)es$")


@dataclass(frozen=True, slots=True)
class Settings:
    """Probabilities. `share`: a text is changed at all. The others apply to the texts that are changed."""

    share: float = 0.0
    stop: float = 0.8  # drop the final full stop
    articles: float = 0.3  # drop a, an, the
    question: float = 0.3  # add a question opening, or remove the one it has
    language: float = 0.3  # add a name of the language, unless the text has one
    lower: float = 0.7  # convert to lower case

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 1:
                raise CodesageError(f"augment.{field.name} is {getattr(self, field.name)}: expected a probability, 0 to 1")


_PROBABILITIES = tuple(field.name for field in fields(Settings))
DRAWS = len(_PROBABILITIES) + 2  # random numbers per text: one for each probability, one for the opening, one for the form


def augmented(text: str, language: str, chances: Sequence[float], settings: Settings) -> str:
    """`text`, changed according to `chances` (DRAWS numbers in [0, 1)). `language`: one of codesage.languages, or ""."""
    *draws, which_opening, which_form = chances
    happens = {name: chance < getattr(settings, name) for name, chance in zip(_PROBABILITIES, draws, strict=True)}
    if not happens["share"]:
        return text
    changed = text.strip()
    if happens["stop"] and not changed.endswith(".."):
        changed = changed.removesuffix(".")
    if happens["articles"]:
        changed = _ARTICLE.sub("", changed)
    if happens["question"]:
        changed = _as_question(changed, OPENINGS[int(which_opening * len(OPENINGS))])
    if happens["language"]:
        changed = _with_language(changed, NAMES.get(language, ()), which_form)
    if happens["lower"]:
        changed = changed.lower()
    return changed or text


def _as_question(text: str, opening: str) -> str:
    """Remove the opening of a question; add one to any other text and put its verb into the base form."""
    if match := _OPENED.match(text):
        return text[match.end() :].removesuffix("?")
    if not text or _QUESTION.match(text):
        return text
    first, space, rest = text.partition(" ")
    if _THIRD_PERSON.fullmatch(first):
        first = _base(first)
    if not first[1:2].isupper():  # keep acronyms
        first = first[:1].lower() + first[1:]
    return opening.format(first + space + rest)


def _base(verb: str) -> str:
    """Returns -> return, copies -> copy, matches -> match. A plural noun becomes singular, which does no harm."""
    if verb.endswith("ies") and len(verb) > 4:
        return verb[:-3] + "y"
    return verb[:-2] if _ES.search(verb) else verb[:-1]


def _with_language(text: str, names: Sequence[str], which: float) -> str:
    words = set(re.findall(r"[\w#+]+", text.lower()))
    if not names or words.intersection(names):
        return text
    form, name = divmod(int(which * len(FORMS) * len(names)), len(names))
    return FORMS[form].format(text=text, name=names[name])
