"""Update indexes while files change: `codesage watch`.

In: places. Out: indexes that are updated a moment after each change. The library `watchfiles` (an extra) reports that
something changed; the usual update finds what changed.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from codesage.errors import CodesageError
from codesage.search.database import Busy
from codesage.search.files import is_of_index
from codesage.search.places import Place
from codesage.search.refresh import say
from codesage.search.searcher import Searcher

_WAKE = 500  # milliseconds between two looks whether the folders are still there
_LOOKS = 2  # that find no root, before watching ends: one may just be replaced
_QUIET = 300  # milliseconds without a further change before the index is brought up to date


def watch(searcher: Searcher) -> None:
    """Update the index of each place, now and after each change below it, by `searcher.refresh`, until Ctrl-C.

    While another process is writing an index, its update is tried again. CodesageError when the library is not installed, or no
    root exists any more.
    """
    if find_spec("watchfiles") is None:
        raise CodesageError("watching needs the library watchfiles: pip install 'codesage[watch]'")
    import watchfiles

    roots = [place.root.resolve() for place in searcher.places]
    notice = f"watching {', '.join(map(str, roots))} (Ctrl-C ends it)"
    while True:
        due = _update(searcher, searcher.places)
        _follow(searcher, roots, due, partial(watchfiles.watch, debounce=2_000, step=_QUIET, rust_timeout=_WAKE), notice)
        notice = "a watched path was made anew"


def _follow(
    searcher: Searcher, roots: list[Path], due: Sequence[Place], watch_files: Callable[..., Iterable], notice: str
) -> None:
    """Update the indexes until a root is another folder than when the watch began: its changes are not reported.

    `due`: the places whose indexes another process was writing, which are tried again.
    """
    identities, began, missing = _identities(roots), False, 0
    for changes in watch_files(*identities, yield_on_timeout=True):
        if began:
            now_changed = _changed(searcher.places, [Path(path) for _, path in changes])
            due = _update(searcher, list(dict.fromkeys([*due, *now_changed])), told=due)
        else:  # what changed before the watch began was not reported
            due = _update(searcher, searcher.places, told=due)
            say(notice)
            began = True
        now = _identities(roots)
        missing = 0 if now else missing + 1
        if missing == _LOOKS:
            break
        if any(identities.get(root) != identity for root, identity in now.items()):
            return
    raise CodesageError("no watched path exists any more: give paths that exist")


def _identities(roots: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Device and inode of each root that exists."""
    return {root: (root.stat().st_dev, root.stat().st_ino) for root in roots if root.exists()}


def _changed(places: Sequence[Place], paths: Sequence[Path]) -> list[Place]:
    of_trees = [path for path in paths if not is_of_index(path)]
    return [place for place in places if any(path.is_relative_to(place.root.resolve()) for path in of_trees)]


def _update(searcher: Searcher, places: Sequence[Place], told: Sequence[Place] = ()) -> list[Place]:
    """Update indexes; returns the places whose index another process is writing. Those in `told` are not named again."""
    busy = []
    for place in places:
        try:
            with searcher.opened(place):
                pass
        except Busy as error:
            busy.append(place)
            if place not in told:
                say(f"codesage: {error}")
        except CodesageError as error:
            if place.root.exists():
                say(f"codesage: {error}")
    return busy
