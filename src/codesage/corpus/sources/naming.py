"""Names of packages that tell sources apart: two folders called `src` become `a/src` and `b/src`.

The name is what the card, the pairs and `held_out` know a source by. Each source keeps its shortest name while no other
has it; where some share one, all of them take their next longer name (a folder and its parent, a repository and its
owner, a package and its client), until no two are alike. So a name depends on the set of sources, not on their order.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from codesage.corpus.sources.trees import Source
from codesage.errors import CodesageError


def named_apart(sources: Sequence[Source], held_out: Iterable[str] = ()) -> tuple[Source, ...]:
    """The sources, with `package` set where their shortest name is not theirs alone; equal sources are left once.

    CodesageError when a name in `held_out` is one that several sources gave up.
    """
    sources = tuple(dict.fromkeys(sources))
    candidates = {source.key: source.names for source in sources if hasattr(source, "names")}
    names = _distinct(candidates)
    for name in held_out:
        alike = sorted(names[key] for key, found in candidates.items() if found[0] == name)
        if len(alike) > 1 and name not in names.values():
            raise CodesageError(f"held-out {name!r} names several sources: give some of {', '.join(map(repr, alike))}")
    return tuple(
        replace(source, package=names[source.key])
        if source.key in names and names[source.key] != candidates[source.key][0]
        else source
        for source in sources
    )


def _distinct(candidates: dict[str, Sequence[str]]) -> dict[str, str]:
    """One name for each key, the shortest candidates that are all different."""
    level = dict.fromkeys(candidates, 0)
    while True:
        keys_of = defaultdict(list)
        for key, found in candidates.items():
            keys_of[found[level[key]]].append(key)
        alike = [key for keys in keys_of.values() if len(keys) > 1 for key in keys]
        longer = [key for key in alike if level[key] + 1 < len(candidates[key])]
        if not longer:
            return {key: found[level[key]] for key, found in candidates.items()}
        for key in longer:
            level[key] += 1
