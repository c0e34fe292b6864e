"""A file as tokens in which a name can be hidden, and the windows around it.

In: the text of a file and what can be renamed in it (units). Out: windows with a hole for each occurrence of a name. Names are
tokenised on their own, as in Stage I's deobfuscation (corpus.tokens.tokenise), so k sub-tokens take k masks. Other names that
are hidden too show one mask each until they are filled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from codesage.names.units import Unit
from codesage.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Window:
    """Token ids before, between and after the holes of one name."""

    parts: tuple[tuple[int, ...], ...]

    def filled(self, hole: Sequence[int]) -> tuple[list[int], list[int]]:
        """Token ids with `hole` in every hole, and where each of them starts."""
        ids, starts = list(self.parts[0]), []
        for part in self.parts[1:]:
            starts.append(len(ids))
            ids += [*hole, *part]
        return ids, starts


class Text:
    """The pieces of a file: token ids of each, and the unit that each one is an occurrence of."""

    def __init__(self, source: bytes, units: Sequence[Unit], names: Sequence[tuple[int, int]], tokenizer: Tokenizer) -> None:
        """`names`: start and end byte of all names that stand alone, renamed or not, in order and apart from each other."""
        unit_at = {span: number for number, unit in enumerate(units) for span in unit.spans}
        edges = [0, *(edge for span in names for edge in span), len(source)]
        texts = [source[start:end].decode("utf-8", "replace") for start, end in pairwise(edges)]
        self._mask = tokenizer.mask_id
        self._pieces = [tuple(ids) for ids in tokenizer.encode_pieces(texts)]
        self._length_P = np.array([len(piece) for piece in self._pieces])
        self._end_P: np.ndarray | None = None  # tokens up to the end of each piece; None: not counted yet
        places: list[list[int]] = [[] for _ in units]
        for number, span in enumerate(names):
            if (unit := unit_at.get(span)) is not None:
                places[unit].append(2 * number + 1)
        self._places = [np.array(own, np.int64) for own in places]

    def show(self, unit: int, ids: Sequence[int] | None) -> None:
        """Write `ids` for the name of a unit from now on; None hides it behind one mask."""
        shown = (self._mask,) if ids is None else tuple(ids)
        for place in self._places[unit]:
            self._pieces[place] = shown
        self._length_P[self._places[unit]] = len(shown)
        self._end_P = None

    def around(self, unit: int, *, limit: int, most_windows: int, reserve: int) -> list[Window]:
        """At most `most_windows` windows, those with the most occurrences, ties to the earlier.

        A window has at most `limit` tokens when each hole takes `reserve`; what is left of it is shared by both sides.
        """
        if self._end_P is None:
            self._end_P = np.cumsum(self._length_P)
        places = self._places[unit]
        ends = (self._end_P[places] + np.cumsum(reserve - self._length_P[places])).tolist()  # with `reserve` in each hole
        groups: list[list[int]] = []  # numbers of holes
        for hole, end in enumerate(ends):
            if groups and end - (ends[groups[-1][0]] - reserve) <= limit:
                groups[-1].append(hole)
            else:
                groups.append([hole])
        groups.sort(key=lambda group: -len(group))
        return [
            self._window(places[group].tolist(), limit - reserve - (ends[group[-1]] - ends[group[0]]))
            for group in groups[:most_windows]
        ]

    def _window(self, holes: list[int], room: int) -> Window:
        if room < 0:  # one hole that is longer than a window
            return Window(((), ()))
        before = self._taken(range(holes[0] - 1, -1, -1), room - room // 2, back=True)
        after = self._taken(range(holes[-1] + 1, len(self._pieces)), room - len(before), back=False)
        before = self._taken(range(holes[0] - 1, -1, -1), room - len(after), back=True)
        between = [tuple(token for piece in self._pieces[low + 1 : high] for token in piece) for low, high in pairwise(holes)]
        return Window((before, *between, after))

    def _taken(self, places: range, most: int, *, back: bool) -> tuple[int, ...]:
        taken: list[tuple[int, ...]] = []
        for place in places:
            if most <= 0:
                break
            piece = self._pieces[place]
            taken.append(piece[-most:] if back else piece[:most])
            most -= len(piece)
        return tuple(token for piece in (reversed(taken) if back else taken) for token in piece)
