"""Words as full-text search keeps them: parts of names, and neighbouring parts joined.

In: text. Out: words. `GitHub` gives git, hub and github, `OAuth2` gives o, auth2 and oauth2, `getURLs` gives get, urls and
geturls: people type such names in one piece. Combining marks are composed (NFC), so that both ways to write an accent meet;
those that stay are a part of their word. Words of scripts without spaces (Chinese, Japanese, Thai, ...) are cut into
overlapping pairs of letters.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import chain, pairwise

_TOKEN = re.compile(r"[^\W_]+", re.UNICODE)
_PART = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+", re.UNICODE)
_FIRST_MARK, _LAST_MARK = 0x300, 0xFE2F  # those beyond belong to scripts that nobody writes today, and to music
_NO_SPACES = (  # Thai and Lao, Burmese, Khmer, Japanese, Chinese
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_SPACED = bytes(byte if byte < 128 and chr(byte).isalnum() else 32 for byte in range(256))  # for ASCII: only tokens are left
_LONGEST_JOINED = 24
_ENDINGS = (  # a longer one before those that it ends in
    "ization", "ations", "ation", "ities", "izing", "ings", "ity", "ing", "ers", "ies", "er", "ed", "es", "s", "y", "e",
)  # fmt: skip
SAME = {"helper": "util", "helpers": "util"}  # words for the same thing in names, by the stem that they share
_MOST_KNOWN = 500_000


def indexed_words(text: str) -> list[str]:
    """Lower-case words of `text` in order; after a name of several parts, each two neighbours joined and the whole."""
    return list(chain.from_iterable(words_of_tokens(tokens(text))))


def words_of_tokens(tokens: Iterable[str]) -> list[tuple[str, ...]]:
    """The words of each of `tokens`."""
    if len(_KNOWN) > _MOST_KNOWN:
        _KNOWN.clear()
    return list(map(_KNOWN.__getitem__, tokens))


def composed(text: str) -> str:
    """`text` with each accent and its letter in one character, where there is one (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def tokens(text: str) -> list[str]:
    """The runs of letters and digits in `text`, in order."""
    if text.isascii():
        return text.encode().translate(_SPACED).decode().split()  # in half the time of the pattern
    text = composed(text)
    return (_wide().token if _beyond().search(text) else _TOKEN).findall(text)


@cache
def _beyond() -> re.Pattern[str]:
    """Matches possible combining marks and scripts without spaces. It compiles in 7 ms, and few searches need it."""
    return re.compile("[\u0300-\u1fff\u3000-\ufe2f\U00020000-\U0003ffff]")


class _Wide:
    """The patterns for text beyond ASCII, where a word goes on over combining marks."""

    def __init__(self) -> None:
        codes = [code for code in range(_FIRST_MARK, _LAST_MARK + 1) if unicodedata.category(chr(code)) in ("Mn", "Mc")]
        starts = [code for before, code in pairwise([0, *codes]) if code != before + 1]
        ends = [code for code, after in pairwise([*codes, 0]) if after != code + 1]
        marks = "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
        self.token = re.compile(rf"[^\W_](?:[^\W_]|[{marks}])*")
        letter = rf"(?:[^\W\d_A-Z]|[{marks}])"
        self.part = re.compile(_PART.pattern.replace(r"[^\W\d_A-Z]", letter))
        self.unit = re.compile(rf"[{_NO_SPACES}][{marks}]*")
        self.run = re.compile(rf"(?P<pairs>(?:[{_NO_SPACES}][{marks}]*)+)|[^{_NO_SPACES}]+")


_wide = cache(_Wide)


class _Known(dict):
    """The words of each token, cached because a token of code occurs many times."""

    def __missing__(self, token: str) -> tuple[str, ...]:
        self[token] = words = tuple(_words_of(token))
        return words


_KNOWN = _Known()


def _words_of(token: str) -> list[str]:
    if not token.isascii() and _wide().unit.search(token):
        return list(chain.from_iterable(map(_of_run, _wide().run.finditer(token))))
    if token.islower() or token.isdigit():
        return [token]
    words = parts = _parts(token)
    if len(parts) > 1:
        words = [*parts, *dict.fromkeys([a + b for a, b in pairwise(parts)])]
        if len(parts) > 2 and len(token) <= _LONGEST_JOINED:
            words.append(token.lower())
    return words


def _of_run(run: re.Match) -> list[str]:
    """The words of a run of letters with or without spaces between words: pairs of letters, or those of a token."""
    if not run["pairs"]:
        return _words_of(run.group())
    units = _wide().unit.findall(run.group())
    return [one + other for one, other in pairwise(units)] or units


def _parts(token: str) -> list[str]:
    return [part.lower() for part in (_PART if token.isascii() else _wide().part).findall(token)]


def query_words(text: str) -> list[str]:
    """Distinct words of a query in order: as `indexed_words`, so that both sides agree."""
    return list(dict.fromkeys(indexed_words(text)))


def parts_of(name: str) -> list[str]:
    """The lower-case parts of a name, nothing joined."""
    if not name.isascii():
        return [word for token in tokens(name) for word in _parts_beyond_ascii(token)]
    return [part.lower() for token in _TOKEN.findall(name) for part in (_PART.findall(token) or [token])]


def _parts_beyond_ascii(token: str) -> list[str]:
    return _words_of(token) if _wide().unit.search(token) else _parts(token) or [token]


def stem(word: str) -> str:
    """A word without the endings that a question and a name differ in: routes, routing and router give rout.

    Two words for the same thing have one stem: helpers and utilities give util.
    """
    if word in SAME:
        return SAME[word]
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word
