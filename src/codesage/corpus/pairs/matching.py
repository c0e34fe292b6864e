"""Tests with the functions they test: pairs of kind "test".

A test gives a pair when one of the names that it calls leads to one function, and the words of the test's name cover
that name. A name leads to one function when the package defines it once, or defines it once in the class or module
that the test is for (Go: in the folder of the test). All other tests give no pair: the body of a test is a poor
match for the test's name (docs/log.md).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from posixpath import dirname

from codesage.corpus.pairs.lines import has_lines
from codesage.corpus.pairs.rules import qualified
from codesage.corpus.pairs.tested import Tested, module_of, plain
from codesage.records import Function, Pair
from codesage.words import split_words

UNMATCHED, UNTOLD, AGAIN = "test of no known function", "test name says nothing", "function with another test"
DROPS = (UNMATCHED, UNTOLD, AGAIN)
Definition = tuple[Function, str]  # with its path
_LEAST_LINES = 2
_TEST_WORDS = ("test", "mock", "fake", "stub")


def match_tests(tests: Iterable[Tested], definitions: Mapping[str, Sequence[Definition]], drops: Counter) -> list[Pair]:
    """The pairs of a package's tests, in order; what is left out is counted in `drops` under one of DROPS.

    `definitions` holds, by simple name, the functions and methods that the package defines outside tests. Of several
    functions that a test may test, the one that shares most words with the test's name wins, then the one with the
    longer name, then the one called first. Of several tests of one function, the one that says most about it stays.
    """
    best: dict[tuple, tuple[int, Pair]] = {}
    for test in tests:
        found = _target(test, definitions)
        count = _telling_words(test.text, found[0].name) if found else 0
        if found is None or not count:
            drops[UNMATCHED if found is None else UNTOLD] += 1
            continue
        function, path = found
        place = (path, function.start_byte)
        if place in best:
            drops[AGAIN] += 1
        if place not in best or count > best[place][0]:
            best[place] = count, _pair(test, function, path)
    return [pair for _, pair in best.values()]


def _pair(test: Tested, function: Function, path: str) -> Pair:
    return Pair(
        text=test.text, code=function.signature + function.body, bare_body=function.bare_body, description="",
        language=function.language, name=qualified(function), kind="test", path=path, start_line=function.start_line,
        package=test.package, version=test.version, licence=test.licence,
    )  # fmt: skip


def _telling_words(text: str, name: str) -> int:
    """Number of words in which a test's name says something: 0 where it says too little of the function `name`."""
    words = {word for word in _stems(text) if len(word) > 1 and not word.isdigit()} - _EMPTY_WORDS
    more = words.difference(_stems(name))
    return len(words) if len(words) >= 3 or (len(words) == 2 and more) else 0


def _target(test: Tested, definitions: Mapping[str, Sequence[Definition]]) -> Definition | None:
    words, best, best_score = _stems(test.text), None, (0, 0)
    for call in test.calls:
        named = _stems(call)
        shared = _shared(words, named) if call in definitions else 0
        score = shared, len(call)
        if shared and score > best_score and (found := _resolve(test, definitions[call], whole=_contains(words, named))):
            best, best_score = found, score
    return best


def _resolve(test: Tested, candidates: Sequence[Definition], *, whole: bool) -> Definition | None:
    """The one of several functions of a name that a test tests, or None where that cannot be told.

    One that is not in the class, module or folder that the test is for counts only if the test's name says the `whole`
    name of the function.
    """
    if candidates := _at_home(test, candidates) or (candidates if whole else ()):
        function, path = max(candidates, key=lambda found: found[0].end_byte - found[0].start_byte)  # of overloads the longest
        alone = len({(path, function.parent) for function, path in candidates}) == 1
        if alone and _is_target(function, path):
            return function, path
    return None


def _at_home(test: Tested, candidates: Sequence[Definition]) -> list[Definition]:
    """The candidates in the class or, where no class is named so, the module that the test is for."""
    classes = [found for found in candidates if plain(found[0].parent) in test.subjects]
    modules = [found for found in candidates if module_of(found[1]) in test.subjects]
    both = [found for found in classes if found in modules]
    folder = [found for found in candidates if dirname(found[1]) == dirname(test.path)] if test.language == "go" else []
    return both or classes or modules or folder


def _is_target(function: Function, path: str) -> bool:
    """Whether a function has enough code, is no constructor, and is itself no test outside the folders of tests."""
    if function.name in (function.parent, "__init__", "constructor", "initialize", "__construct"):
        return False
    names = split_words(f"{function.parent} {path.rsplit('/', 1)[-1]}")
    return not any(name.startswith(_TEST_WORDS) for name in names) and has_lines(
        function.bare_body, _LEAST_LINES, function.language
    )


def _contains(words: Sequence[str], named: Sequence[str]) -> bool:
    """Whether a name of at least two words occurs as it stands."""
    return len(named) > 1 and f" {' '.join(named)} " in f" {' '.join(words)} "


@lru_cache(maxsize=4096)  # the same names are called by one test after the other
def _stems(text: str) -> tuple[str, ...]:
    return tuple([_stem(word) for word in split_words(text)])


def _shared(words: Sequence[str], called: Sequence[str]) -> int:
    """Number of words the names share; 0 when that says little.

    More than half of the called name must be said, and a name of one word must be among the first two that are said
    ("each" in "each never yields", not "config" in "requests win over config"): half of the matches were wrong without.
    A constructor (NewFileReader) must be called new: a test often makes the object before it tests a method of it.
    """
    shared = len(set(called).intersection(words))
    if not called or (called[0] == "new" and "new" not in words):  # a name such as `_` has no words
        return 0
    if len(called) == 1:
        return int(called[0] in words[:2] and len(called[0]) > 2)
    return shared if 2 * shared > len(set(called)) else 0


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    """Enough of a word to let "parses" and "parsing" meet "parse"."""
    for ending in ("ing", "ies", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


_EMPTY_WORDS = frozenset(
    _stem(word)
    for word in (
        "a an the of to in on is are be been it its with and or for by as at from this that these does do can should must "
        "will when if not no all any test tests tested testing case cases basic basics simple work works working ok okay "
        "success successful successfully succeeds fail fails failure correct correctly proper properly example examples "
        "sanity smoke issue bug regression default defaults general generic misc other various some more method methods "
        "function functions api expected result results behavior behaviour usage good bad new old one two three"
    ).split()
)
