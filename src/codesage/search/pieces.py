"""Cut a chunk into pieces that the encoder can read completely.

In: chunks, and the encoder that will read them. Out: for each chunk its pieces. Each piece begins with the end of the path and
the name of the chunk. All pieces but the first also repeat the first line of the chunk, its signature. So a piece from the
middle of a long function shows what it belongs to. An encoder without a tokenizer reads each chunk whole.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from codesage.records import Chunk, Encoder, header_of

_HEADER_SHARE = 4  # the header takes at most a quarter of what the encoder reads


@runtime_checkable
class CountsTokens(Protocol):
    """An encoder that can count tokens and has a limit of tokens per text."""

    @property
    def max_tokens(self) -> int:
        """Of code, with the end token."""
        ...

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without an end token."""
        ...


def pieces(chunks: Sequence[Chunk], encoder: Encoder) -> list[list[str]]:
    """The texts to encode of each chunk, at least one for each."""
    if not isinstance(encoder, CountsTokens):
        return [[header_of(chunk.path, chunk.name) + chunk.text] for chunk in chunks]
    measure, most = encoder.token_counts, encoder.max_tokens - 1  # the end token takes one
    lines = [chunk.text.split("\n") for chunk in chunks]
    counts = iter(measure([line + "\n" for one in lines for line in one]))
    headers = measure([header_of(chunk.path, chunk.name) for chunk in chunks])
    signatures = measure([one[0] + "\n" for one in lines])
    pieces_of_all = []
    for chunk, one, header, signature in zip(chunks, lines, headers, signatures, strict=True):
        costs = [next(counts) for _ in one]
        pieces_of_all.append(_cut(chunk, one, costs, header, signature, most))
    return pieces_of_all


def _cut(chunk: Chunk, lines: list[str], costs: list[int], header: int, signature: int, most: int) -> list[str]:
    first = header_of(chunk.path, chunk.name) if header <= most // _HEADER_SHARE else ""
    later = first + lines[0] + "\n" if first and header + signature <= most // _HEADER_SHARE else first
    if sum(costs) + (header if first else 0) <= most:
        return [first + chunk.text]
    texts: list[str] = []
    body: list[str] = []
    used = 0
    for line, cost in _short_lines(lines, costs, most - most // _HEADER_SHARE):
        room = most - ((header if first else 0) if not texts else (header + signature if later != first else header))
        if body and used + cost > room:
            texts.append((later if texts else first) + "\n".join(body))
            body, used = [], 0
        body.append(line)
        used += cost
    texts.append((later if texts else first) + "\n".join(body))
    return [text for text in texts if text.strip()]


def _short_lines(lines: list[str], costs: list[int], most: int) -> Iterator[tuple[str, int]]:
    """Lines with their costs, those over `most` tokens cut into parts of about equal length."""
    for line, cost in zip(lines, costs, strict=True):
        if cost <= most:
            yield line, cost
            continue
        parts = -(-cost * 5 // (most * 4))  # tokens are not spread evenly: leave some room
        size = -(-len(line) // parts)
        for start in range(0, len(line), size):
            yield line[start : start + size], -(-cost // parts)
