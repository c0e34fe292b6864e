"""Tests with the functions they test: pairs of kind "test".

A test gives a pair if one of the names that it calls identifies one function and the words of the test's name cover that
name. A name identifies one function if the package defines it once, or defines it once in the class or module that the test
is for (Go: in the folder of the test). Other tests give no pair, because the body of a test is a poor match for the test's
name (docs/log.md).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from posixpath import dirname

from codesage.corpus.pairs.lines import has_lines
from codesage.corpus.pairs.rules import qualified
from codesage.corpus.pairs.stems import stem, stems
from codesage.corpus.pairs.tested import Tested, module_of, plain
from codesage.records import Function, Pair
from codesage.words import split_names

UNMATCHED, UNTOLD, AGAIN = "test of no known function", "test name says nothing", "function with another test"
DROPS = (UNMATCHED, UNTOLD, AGAIN)
Definition = tuple[Function, str]  # a function and its path
_Score = tuple[int, int, bool, int, bool, bool, bool]  # how well a test's name names a function (_score)
_LEAST_LINES = 2
_CIRCUMSTANCES = frozenset(  # words before what happens around the tested function
    "after before during when whenever while if unless until once because since where without using via so although".split()
)
_GROUPED = ("javascript", "typescript", "ruby")  # languages whose tests are in groups with names
_MOST_BETWEEN = 2  # words between those of a called name that are near each other
_TOLD = 5  # parts of a score that tell two functions apart; the others only choose one of two named in full
_TEST_WORDS = ("test", "mock", "fake", "stub")


def match_tests(tests: Iterable[Tested], definitions: Mapping[str, Sequence[Definition]], drops: Counter) -> list[Pair]:
    """The pairs of a package's tests, in order. Each test without a pair is counted in `drops` under one of DROPS.

    `definitions` holds, by simple name, the functions and methods that the package defines outside tests. If a test may
    test several functions, the one that the test's name names best is chosen (`_score`). If a function has several tests, the
    one that says the most about it is kept.
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
    words = {word for word in stems(text) if len(word) > 1 and not word.isdigit()} - EMPTY_WORDS
    more = words.difference(stems(name))
    return len(words) if len(words) >= 3 or (len(words) == 2 and more) else 0


def _target(test: Tested, definitions: Mapping[str, Sequence[Definition]]) -> Definition | None:
    """The function that a test tests, or None if its name names none, or names several equally well and none in full."""
    words = stems(test.text)
    said = set(words)
    candidates = [
        call for call in test.calls if call in definitions and (not said.isdisjoint(stems(call)) or _names_group(test, call))
    ]
    if not candidates:  # most tests
        return None
    spans = {call: span for call in test.calls if len(stems(call)) > 1 and (span := _span(words, stems(call)))}
    known = [span for call, span in spans.items() if call in definitions]
    main = words[: _end_of_main_part(test.text, spans.values())]
    named: list[tuple[_Score, Definition]] = []
    grouped: list[tuple[_Score, Definition]] = []
    for call in candidates:
        in_group, whole = _names_group(test, call), call in spans
        shared = _shared(words, stems(call)) and not _is_part(words, stems(call), known if whole else spans.values())
        if (shared or in_group) and (target := _resolve(test, definitions[call], whole=whole or in_group)):
            found = _score(test, main, target), target
            named += [found] if shared else []
            grouped += [found] if in_group else []
    if not named:
        return None
    if grouped and not any(span.start < len(split_names(test.text.partition(" ")[0])) for span in spans.values()):
        return max(grouped, key=itemgetter(0))[1]
    best, target = max(named, key=itemgetter(0))
    others = [score for score, other in named if other[0].name != target[0].name]
    tied = best[:_TOLD] in [score[:_TOLD] for score in others]
    return None if tied and not set(words).issuperset(stems(target[0].name)) else target


def _names_group(test: Tested, call: str) -> bool:
    """Whether a group of tests is named after the function `call`, as in `describe("Reader#parseLine")`.

    A name of one word says too little: a group may begin with a word that is also the name of a function ("with a reader").
    """
    return (
        test.language in _GROUPED
        and len(stems(call)) > 1
        and call[:1].islower()
        and plain(call) in test.subjects
        and plain(call) != module_of(test.path)
    )


def _score(test: Tested, main: Sequence[str], candidate: Definition) -> _Score:
    """How well the name of a test names a function; the higher, the better.

    What counts is, in this order: the words of the function's name that are in the `main` part of the test's name, less those
    that are not, and less one if they are no name of several words, together and in order; the same for the whole of the
    test's name; whether they are near each other; how early the first is; whether they are together and in order; whether the
    test is for the function's class or module; and whether the words have the same endings. The name of the class belongs to
    the name if it stands before it in the test's name.
    """
    words, named = stems(test.text), stems(candidate[0].name)
    with_class = (*stems(candidate[0].parent), *named)
    named = with_class if _span(words, with_class) else named
    span = _span(words, named)
    apart = span is None or len(named) == 1
    in_main, in_all = (2 * len(set(named).intersection(some)) - len(set(named)) - apart for some in (main, words))
    places = span or [words.index(word) for word in named if word in words]
    near = max(places) - min(places) < len(named) + _MOST_BETWEEN if places else False
    exact = _span(split_names(test.text), split_names(candidate[0].name)) is not None
    return in_main, in_all, near, -min(places, default=0), span is not None, bool(_in_subjects(test, [candidate])), exact


def _end_of_main_part(text: str, spans: Iterable[range]) -> int:
    """Number of words of a test's name before the first that begins a circumstance: 1 in "finish after connection lost".

    A word inside a called name begins none; `spans` are the places of these names.
    """
    inside = set(chain.from_iterable(spans))
    words = split_names(text)
    ends = (index for index, word in enumerate(words) if index and word in _CIRCUMSTANCES and index not in inside)
    return next(ends, len(words))


def _is_part(words: Sequence[str], named: Sequence[str], spans: Iterable[range]) -> bool:
    """Whether all words that a called name shares with a test's name are part of a longer called name that the test names.

    A test of `predict_proba` does not test `predict`.
    """
    places = {index for index, word in enumerate(words) if word in named}
    return any(len(span) > len(places) and places.issubset(span) and len(span) > len(named) for span in spans)


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


@lru_cache(maxsize=512)  # tests of one class call the same functions
def _is_target(function: Function, path: str) -> bool:
    """Whether a function has enough code, and is neither a constructor nor part of a test or mock."""
    if function.name in (function.parent, "__init__", "constructor", "initialize", "__construct"):
        return False
    names = split_names(f"{function.parent} {path.rsplit('/', 1)[-1]}")
    return not any(name.startswith(_TEST_WORDS) for name in names) and has_lines(
        function.bare_body, _LEAST_LINES, function.language
    )


def _span(words: Sequence[str], named: Sequence[str]) -> range | None:
    """The place in `words` where the words of a name first occur together and in order, or None."""
    length = len(named)
    if not length or named[0] not in words:  # most called names
        return None
    for start in range(len(words) - length + 1):
        if words[start] == named[0] and tuple(words[start : start + length]) == tuple(named):
            return range(start, start + length)
    return None


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


EMPTY_WORDS = frozenset(
    stem(word)
    for word in (
        "a an the of to in on is are be been it its with and or for by as at from this that these does do can should must "
        "will when if not no all any test tests tested testing case cases basic basics simple work works working ok okay "
        "success successful successfully succeeds fail fails failure correct correctly proper properly example examples "
        "sanity smoke issue bug regression default defaults general generic misc other various some more method methods "
        "function functions api expected result results behavior behaviour usage good bad new old one two three"
    ).split()
)
