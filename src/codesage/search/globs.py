r"""Patterns for paths, by ripgrep's rules for `-g`, which are those of .gitignore with braces.

In: patterns and paths below some folder, with forward slashes. Out: whether a path is allowed. `*` and `?` stay within a
name, `**` crosses folders and also matches none, `[a-z]`, `[!a]` and `{a,b}` are known, `\` takes the next letter as it is.
A pattern without a slash matches at any depth, one with a slash from the top; `./x` is `/x`. `!` before a pattern leaves out
what matches, folders with all that is below. The last pattern that matches decides. One difference: `dir/` takes all that is
below such a folder, where ripgrep takes nothing.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
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


_TOKEN = re.compile(r"(?P<below>(?<=[/{,])\*\*(?=[,}]))|(?P<stars>\*+)|\\(?P<plain>.)|(?P<other>.)", re.DOTALL)
_BRACES = {"{": 1, "}": -1}
_STAR, _SLASH, _FOLDERS, _OR = "*", "/", "**", "{,"  # tokens, as are { and }; all others are regular expressions of one letter
_ANY, _ANY_FOLDERS = "[^/]*", "(?:[^/]*/)*"
_MOST_ALTERNATIVES = 1_000


def _regex(glob: str) -> str:
    """The regular expression of a pattern that counts from the top.

    It takes little time for any path: between two stars, what stands first is as good as what follows, so each is looked for
    once (an atomic group). Braces become whole alternatives for this.
    """
    return "|".join(_joined(_names(tokens)) for tokens in _without_braces(list(_tokens(glob))))


def _tokens(glob: str) -> Iterator[str]:
    """The tokens of a pattern; "{", "{," and "}" are those of braces."""
    place, depth = 0, 0
    while place < len(glob):
        if glob[place] == "[":
            text, place = _class(glob, place)
            yield text
            continue
        token = _TOKEN.match(glob, place)
        if token is None:
            raise ValueError("it cannot be read")
        letter, place = token["other"] or "", token.end()
        if letter == "\\":
            raise ValueError("nothing follows its last backslash")
        depth += _BRACES.get(letter, 0)
        if depth < 0:
            raise ValueError("it has a } without a {")
        yield from _read(token, depth)
    if depth:
        raise ValueError("it has a { without a }")


def _read(token: re.Match, depth: int) -> Sequence[str]:
    """The tokens for what stands in a pattern inside `depth` braces."""
    letter = token["other"]
    if token["below"] and depth:
        return _FOLDERS, _SLASH, _STAR
    if token["below"] or token["stars"]:
        return (_FOLDERS if token[0] == _FOLDERS else _STAR,)
    if letter == "," and depth:
        return (_OR,)
    if letter in _BRACES or "/" in (letter, token["plain"]):
        return (letter or _SLASH,)
    return ("[^/]" if letter == "?" else re.escape(letter or token["plain"]),)


def _without_braces(tokens: list[str]) -> list[list[str]]:
    """The alternatives that a pattern with braces stands for; one if it has none."""
    done: list[list[list[str]]] = [[]]  # of each open brace, outermost first: the alternatives before its last comma,
    begun: list[list[list[str]]] = [[[]]]  # and those after it
    for token in tokens:
        if token == "{":
            done.append([])
            begun.append([[]])
        elif token == _OR:
            done[-1] += begun[-1]
            begun[-1] = [[]]
        elif token == "}":
            inner = done.pop() + begun.pop()
            if len(inner) * len(begun[-1]) > _MOST_ALTERNATIVES:
                raise ValueError(f"its braces stand for more than {_MOST_ALTERNATIVES:,} patterns")
            begun[-1] = [before + after for before in begun[-1] for after in inner]
        else:
            for alternative in begun[-1]:
                alternative.append(token)
    return begun[0]


def _names(tokens: list[str]) -> list[list[str]]:
    """The tokens of each name of a path."""
    names: list[list[str]] = [[]]
    for token in tokens:
        if token == _SLASH:
            names.append([])
        else:
            names[-1].append(token)
    return names


def _joined(names: list[list[str]]) -> str:
    """The regular expression of a path of these names."""
    runs: list[list[str]] = [[]]  # of names; any folders may stand between two runs
    for name in names[:-1]:
        if name == [_FOLDERS]:
            runs.append([])
        else:
            runs[-1].append(f"{_name(name)}/")
    if names[-1] == [_FOLDERS]:
        runs.append([])
    runs[-1].append(_name(names[-1]))
    first, *others = map("".join, runs)
    last = f"{_ANY_FOLDERS}{others.pop()}" if others else ""
    return first + "".join(f"(?>{_ANY_FOLDERS}?{run})" for run in others if run) + last


def _name(tokens: list[str]) -> str:
    """The regular expression of one name."""
    runs: list[list[str]] = [[]]  # any letters may stand between two runs
    for token in tokens:
        if token in (_STAR, _FOLDERS):
            runs.append([])
        else:
            runs[-1].append(token)
    first, *others = map("".join, runs)
    last = f"{_ANY}{others.pop()}" if others else ""
    return first + "".join(f"(?>{_ANY}?{run})" for run in others if run) + last


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
