"""Paragraphs that introduce an example: the texts of pairs of kind "example"."""

import re

from codesage.corpus.pairs.prose import clean, count_tokens, first_sentence

_MOST_TOKENS = 100  # a longer paragraph is cut to the sentences that fit
# Words of a paragraph that only points at the code below it ("For example:", "You can use it like this:").
# ruff: noqa: SIM905 - a word list is read as running text
_POINTS = frozenset(
    "a an the this that these those it its you your we our they here's there is are be been was will would can could may might "
    "should must do does did done for of in on at as to from by with and or but if when then so now also just only simply very "
    "example examples sample snippet code usage use used uses using instance e g eg i ie see below above follow follows "
    "following like look looks such same way ways thing things simple basic some more another other one two first second next "
    "correct complete full typical common write written let s here call called need want note output outputs result results "
    "alternatively equivalent equivalently instead again still first finally otherwise works work how what which".split()
)
_WORDS = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_EXAMPLE_LEAD = re.compile(
    r"(?:(?:(?:for|an|simple|basic|usage|code)\s+)*examples?(?:\s+usages?)?(?:\s*\([^()]{0,80}\))?\s*:\s*|e\.\s?g\.?[,:]?\s+)",
    re.IGNORECASE,
)
_EXAMPLE_TAIL = re.compile(
    r"[\s,;.(]+(?:e\.\s?g|i\.\s?e|(?:for|an|as in|see)(?: the| this)?(?: following)? (?:example|instance)"
    r"(?:,? the (?:following )?code)?|examples?|usage|like (?:so|this)|as follows|as below|see below)[\s.,:]*$",
    re.IGNORECASE,
)
_NO_EXAMPLE = re.compile(  # of its last sentence: what follows is output, a declaration, a setting or a mistake
    r"\b(?:outputs?(?: (?:is|are|will|would|looks?|might)\b.*)?$|prototypes?|signatures?|grammar|wrong way|bad example|"
    r"do not use|don't do|error message|stack ?trace|deprecated|has been removed|"
    r"install(?:ed|ing|s)?\b.{0,60}(?:is|with|by|using|via))\b|^[\w-]+: [\w-]+$",
    re.IGNORECASE,
)
_LAST_SENTENCE = re.compile(r"(?:^|(?<=[.!?] ))[^.!?](?:[^.!?]|[.!?](?! ))*$")


def introduction(paragraph: str, language: str) -> str | None:
    """What a paragraph says of the example below it: its first sentences that fit _MOST_TOKENS, at least one, cleaned.

    "" where it only points at the example ("For example:"), None where it says that no code to learn from follows ("The
    output is:").
    """
    paragraph = paragraph[:4_000]
    end = len(first := first_sentence(paragraph))
    while end < len(paragraph) and (following := first_sentence(paragraph[end:].lstrip())):
        longer = paragraph.index(following, end) + len(following)
        if count_tokens(paragraph[:longer]) > _MOST_TOKENS:
            break
        end = longer
    text = clean(paragraph[: max(end, len(first))], language).rstrip(": ")
    text = _EXAMPLE_TAIL.sub("", _EXAMPLE_LEAD.sub("", text)).rstrip(".,:; ")
    last = _LAST_SENTENCE.search(text)
    if last is not None and _NO_EXAMPLE.search(last.group()):
        return None
    return text if _says(text) else ""


def _says(text: str) -> bool:
    """Whether a paragraph says more than that an example follows."""
    return len({word for word in _WORDS.findall(text.lower()) if word not in _POINTS}) >= 2
