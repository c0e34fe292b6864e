"""Write the new names into a file, and check that nothing else changed.

In: the parsed file and a new name for some of its units. Out: its text with these names. The new text is parsed again: it must
have no syntax errors, the same tree, and units that are the same occurrences of the same things (equal but for names).
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from codesage import syntax
from codesage.errors import CodesageError
from codesage.names.units import FileUnits, Unit, units
from codesage.syntax.tree import MAX_BYTES, SourceTree


def renamed(tree: SourceTree, before: FileUnits, names: Mapping[Unit, str]) -> str:
    """The text of `tree` with `names` for units of `before`. CodesageError when the result is not equal but for names."""
    edits = sorted((start, end, name) for unit, name in names.items() for start, end in unit.spans)
    parts, place = [], 0
    for start, end, name in edits:
        parts += [tree.source[place:start], name.encode()]
        place = end
    text = b"".join([*parts, tree.source[place:]]).decode("utf-8", "replace")
    after = syntax.parse(text, tree.language, tsx=tree.tsx, max_line=MAX_BYTES)
    if after.has_errors and not tree.has_errors:
        raise CodesageError("the new names would make a text that does not parse, so nothing is written")
    if _shape(tree) != _shape(after) or _moved(before.units, edits) != [unit.spans for unit in units(after).units]:
        raise CodesageError("the new names would change more than names, so nothing is written")
    return text


def _moved(before: Sequence[Unit], edits: Sequence[tuple[int, int, str]]) -> list[tuple[tuple[int, int], ...]]:
    """The occurrences of all units, where the edits have moved them to."""
    longer = {start: len(name.encode()) - (end - start) for start, end, name in edits}
    starts = sorted(span for unit in before for span in unit.spans)
    shifts = accumulate((longer.get(start, 0) for start, _ in starts), initial=0)
    moved = {
        span: (span[0] + shift, span[1] + shift + longer.get(span[0], 0)) for span, shift in zip(starts, shifts, strict=False)
    }
    return [tuple(moved[span] for span in unit.spans) for unit in before]


def _shape(tree: SourceTree) -> list[tuple[str, int]]:
    """The types of all nodes in order, and how many children each has."""
    return [(node.type, node.child_count) for node in tree.nodes()]
