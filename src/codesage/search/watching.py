"""Keep indexes fresh while files change: `codesage watch`.

In: places. Out: indexes that follow their folders, a moment after each change. The library `watchfiles` (an extra) tells when
something changed; what changed is found as every update finds it.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from codesage.errors import CodesageError
from codesage.search.ask import Asker
from codesage.search.places import Place
from codesage.search.refresh import say

_WAKE = 500  # milliseconds between two looks whether the folders are still there
_QUIET = 300  # milliseconds without a further change before the index is brought up to date


def watch(asker: Asker) -> None:
    """Bring the index of each place up to date, now and after each change below it, by `asker.refresh`; until Ctrl-C.

    An index that another process writes is looked at again after the next change. CodesageError when the library is not
    installed, or no place is left.
    """
    if find_spec("watchfiles") is None:
        raise CodesageError("watching needs the library watchfiles: pip install 'codesage[watch]'")
    import watchfiles

    roots = [place.root.resolve() for place in asker.places]
    _update(asker, asker.places)
    began = False
    for changes in watchfiles.watch(*roots, debounce=2_000, step=_QUIET, rust_timeout=_WAKE, yield_on_timeout=True):
        if began:
            _update(asker, _changed(asker.places, [Path(path) for _, path in changes]))
        else:  # what changed before the watch began was not heard
            _update(asker, asker.places)
            say(f"watching {', '.join(map(str, roots))} (Ctrl-C ends it)")
            began = True
        if not any(root.exists() for root in roots):
            raise CodesageError("what was watched is gone: give paths that exist")


def _changed(places: Sequence[Place], paths: Sequence[Path]) -> list[Place]:
    return [place for place in places if any(path.is_relative_to(place.root.resolve()) for path in paths)]


def _update(asker: Asker, places: Sequence[Place]) -> None:
    for place in places:
        try:
            with asker.opened(place):
                pass
        except CodesageError as error:
            if place.root.exists():
                say(f"codesage: {error}")
