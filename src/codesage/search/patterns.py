"""Regular expressions of `-e`, by the rules of Python's `re` and with the classes of POSIX as in ripgrep.

In: patterns as typed. Out: which texts have a line that matches. Some patterns never end, such as `(a+)+$` on a line of many
`a`. `re` looks for signals while it matches, so a timer stops it. Timers and signals are those of the main thread on POSIX,
where commands run; elsewhere nothing limits the time. Servers take no patterns.
"""

import re
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from codesage.errors import CodesageError

SECONDS = 5.0  # of processor time for all patterns of a search; a usual one takes that long for a million chunks
_MOST_SHOWN = 80  # characters of a pattern in a message

_POSIX = {  # inside a class, as in ripgrep: [[:alpha:]_]
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\t ",
    "digit": "0-9",
    "lower": "a-z",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_NAMED_CLASS = re.compile(r"\[:(\w+):\]")
_CLASS = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]", re.DOTALL)  # an escaped letter, or a class


class Patterns:
    """Regular expressions, any of which may match. They share `seconds` of processor time."""

    def __init__(self, patterns: Sequence[str] = (), seconds: float = SECONDS) -> None:
        """CodesageError for a pattern that cannot be read."""
        self._patterns = [_compiled(pattern) for pattern in patterns]
        self._seconds = self._left = seconds

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def found_in(self, texts: Iterable[tuple[int, str]]) -> list[int]:
        """The keys of the texts with a line that matches. CodesageError when the time is over."""
        texts = list(texts)  # the time in which they are read does not count
        with self._limited():
            return [key for key, text in texts if self._matches(text)]

    def matching(self, lines: Sequence[str]) -> list[int]:
        """The places of the lines that match. CodesageError when the time is over."""
        with self._limited():
            return [place for place, line in enumerate(lines) if any(one.search(line) for one in self._patterns)]

    def _matches(self, text: str) -> bool:
        return any(
            pattern.search(text) if _stays_in_a_line(pattern.pattern) else any(map(pattern.search, text.split("\n")))
            for pattern in self._patterns
        )

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Stop the block where the time is over."""
        if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: object) -> None:
            raise _Over

        before, started = signal.signal(signal.SIGVTALRM, stop), time.process_time()
        try:
            if self._left <= 0:
                raise _Over
            signal.setitimer(signal.ITIMER_VIRTUAL, self._left)  # rounded up to the next tick, some milliseconds
            yield
        except _Over:
            first, *others = (_shown(pattern.pattern) for pattern in self._patterns)
            raise CodesageError(
                f"matching {first}{f' and {len(others):,} more' if others else ''} takes more than {self._seconds:g} s: "
                "make it simpler, such as without a repetition inside of a repetition"
            ) from None
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            self._left -= time.process_time() - started
            signal.signal(signal.SIGVTALRM, before or signal.SIG_DFL)


class _Over(BaseException):
    """The time of the patterns is over."""


NO_PATTERNS = Patterns()


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as that a later Python may read `[[` differently
            return re.compile(_without_posix(pattern), re.MULTILINE)
    except RecursionError:
        fault = "its groups are nested too deeply"
    except (re.error, OverflowError) as error:
        fault = str(error)
    raise CodesageError(f"the regular expression {_shown(pattern)} cannot be read: {fault}")


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= _MOST_SHOWN else f"{pattern[:_MOST_SHOWN]}...")


def _without_posix(pattern: str) -> str:
    """A regular expression with ranges for the classes of POSIX, which Python does not have."""
    if "[:" not in pattern:
        return pattern
    return _CLASS.sub(lambda match: match[0][0] + _NAMED_CLASS.sub(_range, match[0][1:]), pattern)


def _range(name: re.Match) -> str:
    return _POSIX.get(name[1]) or str(name[0])


_PLAIN = re.compile(  # parts of a pattern that match no line break: letters, some escapes, classes of what they name, groups
    r"(?:[^\\\[(\x00-\x1f]|\\[bdwS.(){}\[\]+*?|^$/\"'-]|\[(?!\^)[^\\\]\x00-\x1f]+\]|\((?:\?:|(?!\?)))*"
)


@lru_cache(maxsize=64)
def _stays_in_a_line(pattern: str) -> bool:
    """Whether a pattern certainly matches no line break: then a text is searched at once, in less time than its lines."""
    return _PLAIN.fullmatch(pattern) is not None
