r"""Patterns for paths, by ripgrep's rules for `-g`, which are those of .gitignore with braces.

In: patterns and paths below some folder, with forward slashes. Out: whether a path is allowed. `*` and `?` stay within a
name, `**` crosses folders and also matches none, `[a-z]`, `[!a]` and `{a,b}` are known, `\` takes the next letter as it is.
A pattern without a slash matches at any depth, one with a slash from the top; `./x` is `/x`. `!` before a pattern leaves out
what matches, folders with all that is below. The last pattern that matches decides. One difference: `dir/` takes all that is
below such a folder, where ripgrep takes nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from codesage.errors import CodesageError


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: str
    leaves_out: bool
    folders_only: bool
    matches: re.Pattern


class Globs:
    """Several patterns, which together allow or refuse a path."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """CodesageError for a pattern that is none, such as `[a`."""
        self._patterns = [_parsed(text) for text in patterns]
        self._only = any(not pattern.leaves_out for pattern in self._patterns)
        self._open = lru_cache(maxsize=65_536)(self._is_open)

    def allow(self, path: str) -> bool:
        """Whether the file `path` is among what the patterns ask for."""
        folder = path.rpartition("/")[0]
        if folder and not self._open(folder):
            return False
        verdict = self._verdict(path, folder=False)
        return not self._only if verdict is None else verdict

    def unused(self, paths: Iterable[str]) -> list[str]:
        """The patterns that match none of the files `paths` and none of their folders."""
        left = list(self._patterns)
        for path in paths:
            left = [pattern for pattern in left if not _matches_anywhere(pattern, path)]
            if not left:
                break
        return [pattern.text for pattern in left]

    def _is_open(self, folder: str) -> bool:
        above = folder.rpartition("/")[0]
        return (not above or self._open(above)) and self._verdict(folder, folder=True) is not False

    def _verdict(self, path: str, *, folder: bool) -> bool | None:
        for pattern in reversed(self._patterns):
            if (folder or not pattern.folders_only) and pattern.matches.fullmatch(path):
                return not pattern.leaves_out
        return None


def _matches_anywhere(pattern: _Pattern, path: str) -> bool:
    if not pattern.folders_only and pattern.matches.fullmatch(path):
        return True
    while pattern.leaves_out and (path := path.rpartition("/")[0]):
        if pattern.matches.fullmatch(path):
            return True
    return False


def _parsed(text: str) -> _Pattern:
    rest = text.removeprefix("!")
    leaves_out = rest != text
    here = rest.startswith("./")
    while rest.startswith("./"):
        rest = rest[2:]
    anchored = here or "/" in rest.rstrip("/")
    below = rest.endswith("/")
    rest = rest.strip("/")
    if not rest:
        raise CodesageError(f"the pattern {text!r} is empty: expected one such as '*.py' or 'src/**'")
    if not anchored and not rest.startswith("**/"):
        rest = f"**/{rest}"
    if below and not leaves_out:
        rest += "/**"
    if rest == "**" or rest.endswith("/**"):
        rest += "/*"  # what is in a folder, and not the folder
    try:
        return _Pattern(text, leaves_out, below and leaves_out, re.compile(_regex(rest), re.DOTALL))
    except (ValueError, re.error) as error:
        raise CodesageError(f"the pattern {text!r} cannot be read: {error}") from None


_TOKEN = re.compile(
    r"(?P<folders>(?<![^/{,])(?:\*\*/)+)|(?P<below>(?<=[/{,])\*\*(?=[,}]))|(?P<stars>\*+)|\\(?P<plain>.)|(?P<other>.)",
    re.DOTALL,
)
_BRACES = {"{": 1, "}": -1}


def _regex(glob: str) -> str:
    """The regular expression of a pattern that counts from the top."""
    parts, place, depth = [], 0, 0
    while place < len(glob):
        if glob[place] == "[":
            text, place = _class(glob, place)
            parts.append(text)
            continue
        token = _TOKEN.match(glob, place)
        if token is None:
            raise ValueError("it cannot be read")
        letter, place = token["other"] or "", token.end()
        depth += _BRACES.get(letter, 0)
        if depth < 0:
            raise ValueError("it has a } without a {")
        if letter == "\\":
            raise ValueError("nothing follows its last backslash")
        parts.append(
            "(?:.*/)?"
            if token["folders"]
            else "(?:.*/)?[^/]*"
            if token["below"] and depth
            else "[^/]*"
            if token["stars"] or token["below"]
            else re.escape(token["plain"])
            if token["plain"]
            else _plain(letter, depth)
        )
    if depth:
        raise ValueError("it has a { without a }")
    return "".join(parts)


def _plain(letter: str, depth: int) -> str:
    if letter == "," and depth:
        return "|"
    return {"?": "[^/]", "{": "(?:", "}": ")"}.get(letter) or re.escape(letter)


def _class(glob: str, start: int) -> tuple[str, int]:
    """The regular expression of the class that begins at `start`, and where it ends."""
    place = start + 1
    negated = glob[place : place + 1] in ("!", "^")
    place += negated
    end = glob.find("]", place + 1)  # a ] that comes first is one of the class
    if end < 0:
        raise ValueError("it has a [ without a ]")
    body = re.sub(r"([\\\[\]^&~|])", r"\\\1", glob[place:end])
    return f"(?!/)[{'^' if negated else ''}{body}]", end + 1
