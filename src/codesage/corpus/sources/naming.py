"""Give sources distinct package names: two folders called `src` become `a/src` and `b/src`.

The card, the pairs and `held_out` use this name for a source. Each source keeps its shortest name if no other source has
it. Sources that share a name all take their next longer name (a folder with its parent, a repository with its owner, a
package with its client), until all names differ. So names depend on the set of sources, not on their order.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from codesage.corpus.sources.trees import NamedSource, Source
from codesage.errors import CodesageError


def named_apart(sources: Sequence[Source], held_out: Iterable[str] = ()) -> tuple[Source, ...]:
    """The sources without repetitions, with `package` set where several share their shortest name.

    CodesageError when a name in `held_out` is the shortest name of several sources, and none of them kept it.
    """
    sources = tuple(dict.fromkeys(sources))
    candidates = {source.key: source.names for source in sources if isinstance(source, NamedSource)}
    names = _distinct(candidates)
    for name in held_out:
        conflicting = sorted(names[key] for key, options in candidates.items() if options[0] == name)
        if len(conflicting) > 1 and name not in names.values():
            raise CodesageError(f"held-out {name!r} names several sources: choose from {', '.join(map(repr, conflicting))}")
    return tuple(
        replace(source, package=names[source.key])
        if isinstance(source, NamedSource) and names[source.key] != candidates[source.key][0]
        else source
        for source in sources
    )


def _distinct(candidates: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """One name for each key: the shortest candidates that all differ."""
    level = dict.fromkeys(candidates, 0)
    while True:
        keys_of = defaultdict(list)
        for key, options in candidates.items():
            keys_of[options[level[key]]].append(key)
        conflicting = [key for keys in keys_of.values() if len(keys) > 1 for key in keys]
        longer = [key for key in conflicting if level[key] + 1 < len(candidates[key])]
        if not longer:
            return {key: options[level[key]] for key, options in candidates.items()}
        for key in longer:
            level[key] += 1
