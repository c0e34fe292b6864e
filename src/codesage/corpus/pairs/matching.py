"""Tests with the functions they test: pairs of kind "test".

A test gives a pair if one of the names that it calls identifies one function and the words of the test's name cover that
name. A name identifies one function if the package defines it once, or defines it once in the class or module that the test
is for (Go: in the folder of the test). Other tests give no pair, because the body of a test is a poor match for the test's
name (docs/log.md).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from posixpath import dirname

from codesage.corpus.pairs.lines import has_lines
from codesage.corpus.pairs.rules import qualified
from codesage.corpus.pairs.tested import Tested, module_of, plain
from codesage.records import Function, Pair
from codesage.words import split_names

UNMATCHED, UNTOLD, AGAIN = "test of no known function", "test name says nothing", "function with another test"
DROPS = (UNMATCHED, UNTOLD, AGAIN)
Definition = tuple[Function, str]  # a function and its path
_LEAST_LINES = 2
_TEST_WORDS = ("test", "mock", "fake", "stub")


def match_tests(tests: Iterable[Tested], definitions: Mapping[str, Sequence[Definition]], drops: Counter) -> list[Pair]:
    """The pairs of a package's tests, in order. Each test without a pair is counted in `drops` under one of DROPS.

    `definitions` holds, by simple name, the functions and methods that the package defines outside tests. If a test may
    test several functions, the function that shares the most words with the test's name is chosen, then the one with the
    longer name, then the one called first. If a function has several tests, the one that says the most about it is kept.
    """
    best: dict[tuple, tuple[int, Pair]] = {}
    for test in tests:
        target = _target(test, definitions)
        count = _telling_words(test.text, target[0].name) if target else 0
        if target is None or not count:
            drops[UNMATCHED if target is None else UNTOLD] += 1
            continue
        function, path = target
        key = (path, function.start_byte)
        if key in best:
            drops[AGAIN] += 1
        if key not in best or count > best[key][0]:
            best[key] = count, _pair(test, function, path)
    return [pair for _, pair in best.values()]


def _pair(test: Tested, function: Function, path: str) -> Pair:
    return Pair(
        text=test.text,
        code=function.signature + function.body,
        bare_body=function.bare_body,
        description="",
        language=function.language,
        name=qualified(function),
        kind="test",
        path=path,
        start_line=function.start_line,
        package=test.package,
        version=test.version,
        licence=test.licence,
    )


def _telling_words(text: str, name: str) -> int:
    """Number of meaningful words in a test's name; 0 if it says too little about the function `name`."""
    words = {word for word in _stems(text) if len(word) > 1 and not word.isdigit()} - _EMPTY_WORDS
    more = words.difference(_stems(name))
    return len(words) if len(words) >= 3 or (len(words) == 2 and more) else 0


def _target(test: Tested, definitions: Mapping[str, Sequence[Definition]]) -> Definition | None:
    words, best, best_score = _stems(test.text), None, (0, 0)
    for call in filter(definitions.__contains__, test.calls):
        named = _stems(call)
        shared = _shared(words, named)
        score = shared, len(call)
        if shared and score > best_score and (target := _resolve(test, definitions[call], whole=_contains(words, named))):
            best, best_score = target, score
    return best


def _resolve(test: Tested, candidates: Sequence[Definition], *, whole: bool) -> Definition | None:
    """The one of several functions with the same name that a test tests, or None if that is unclear.

    A function outside the class, module or folder that the test is for counts only if the test's name contains the
    function's `whole` name.
    """
    if candidates := _in_subjects(test, candidates) or (candidates if whole else ()):
        function, path = max(candidates, key=_length)  # the longest overload
        alone = len({(path, function.parent) for function, path in candidates}) == 1
        if alone and _is_target(function, path):
            return function, path
    return None


def _length(candidate: Definition) -> int:
    return candidate[0].end_byte - candidate[0].start_byte


def _in_subjects(test: Tested, candidates: Sequence[Definition]) -> list[Definition]:
    """The candidates in the class that the test is for, or else those in the module (in Go, the folder)."""
    classes = [item for item in candidates if plain(item[0].parent) in test.subjects]
    modules = [item for item in candidates if module_of(item[1]) in test.subjects]
    both = [item for item in classes if item in modules]
    folder = [item for item in candidates if dirname(item[1]) == dirname(test.path)] if test.language == "go" else []
    return both or classes or modules or folder


def _is_target(function: Function, path: str) -> bool:
    """Whether a function has enough code, and is neither a constructor nor part of a test or mock."""
    if function.name in (function.parent, "__init__", "constructor", "initialize", "__construct"):
        return False
    names = split_names(f"{function.parent} {path.rsplit('/', 1)[-1]}")
    return not any(name.startswith(_TEST_WORDS) for name in names) and has_lines(
        function.bare_body, _LEAST_LINES, function.language
    )


def _contains(words: Sequence[str], named: Sequence[str]) -> bool:
    """Whether a name of at least two words occurs unchanged in `words`."""
    return len(named) > 1 and f" {' '.join(named)} " in f" {' '.join(words)} "


@lru_cache(maxsize=4096)  # many tests call the same names
def _stems(text: str) -> tuple[str, ...]:
    return tuple([_stem(word) for word in split_names(text)])


def _shared(words: Sequence[str], called: Sequence[str]) -> int:
    """Number of words that a test's name shares with a called name; 0 if they are too few to mean anything.

    The test's name must contain more than half of the called name. A called name of one word must be among its first two
    words ("each" in "each never yields", not "config" in "requests win over config"); without this rule, half of the
    matches were wrong. For a constructor (NewFileReader), the test's name must contain "new", because tests often create an
    object only to test one of its methods.
    """
    shared = len(set(called).intersection(words))
    if not called or (called[0] == "new" and "new" not in words):  # `_` has no words
        return 0
    if len(called) == 1:
        return int(called[0] in words[:2] and len(called[0]) > 2)
    return shared if 2 * shared > len(set(called)) else 0


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    """The stem of a word, so that "parses" and "parsing" are equal to "parse"."""
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
