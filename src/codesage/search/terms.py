"""Words as full-text search keeps them: parts of names, and neighbouring parts joined.

In: text. Out: words. `GitHub` gives git, hub and github, `OAuth2` gives o, auth2 and oauth2, `getURLs` gives get, urls and
geturls: people type such names in one piece. Combining marks are composed (NFC), so that both ways to write an accent meet.
"""

import re
import unicodedata
from itertools import chain, pairwise

_TOKEN = re.compile(r"[^\W_]+", re.UNICODE)
_PART = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+", re.UNICODE)
_LONGEST_JOINED = 24
_MOST_KNOWN = 500_000


def indexed_words(text: str) -> list[str]:
    """Lower-case words of `text` in order; after a name of several parts, each two neighbours joined and the whole."""
    if len(_KNOWN) > _MOST_KNOWN:
        _KNOWN.clear()
    tokens = _TOKEN.findall(text if text.isascii() else unicodedata.normalize("NFC", text))
    return list(chain.from_iterable(map(_KNOWN.__getitem__, tokens)))


class _Known(dict):
    """The words of each token; a token of code stands in many places."""

    def __missing__(self, token: str) -> tuple[str, ...]:
        self[token] = words = tuple(_words_of(token))
        return words


_KNOWN = _Known()


def _words_of(token: str) -> list[str]:
    if token.islower() or token.isdigit():
        return [token]
    words = parts = [part.lower() for part in _PART.findall(token)]
    if len(parts) > 1:
        words = [*parts, *dict.fromkeys([a + b for a, b in pairwise(parts)])]
        if len(parts) > 2 and len(token) <= _LONGEST_JOINED:
            words.append(token.lower())
    return words


def query_words(text: str) -> list[str]:
    """Distinct words of a query in order: as `indexed_words`, so that both sides agree."""
    return list(dict.fromkeys(indexed_words(text)))


def parts_of(name: str) -> list[str]:
    """The lower-case parts of a name, nothing joined."""
    return [part.lower() for token in _TOKEN.findall(name) for part in (_PART.findall(token) or [token])]


def stem(word: str) -> str:
    """A word without the endings that a question and a name differ in: routes, routing and router give rout."""
    for ending in ("ization", "ations", "ation", "izing", "ings", "ing", "ers", "ies", "er", "ed", "es", "s", "y", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word
