"""Contrastive batches larger than memory: cached gradients (GradCache, Gao et al. 2021), exact even with dropout.

In: documents, a function that embeds some of them, a loss over all vectors. Out: gradients in `.grad`, and the loss.
A contrastive loss needs all vectors at once, but not all activations. So: (1) embed everything in micro-batches without a
graph; (2) compute the loss and its gradient with respect to the vectors; (3) embed each micro-batch again, with a graph and
the same random state as before, and run backward from the cached gradient. This needs the memory of one micro-batch and of
all vectors. It costs a second forward pass, except for the last micro-batch, whose graph is kept.
A micro-batch holds documents of similar length up to a budget of tokens, not a fixed number of documents. So every
micro-batch needs about the same memory.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from codesage.encoder.transfer import sent

Embed = Callable[[list[int]], Tensor]


def micro_batches(lengths: Sequence[int], *, tokens: int, at_least: int = 1) -> list[list[int]]:
    """Row numbers in micro-batches of at most `tokens` tokens, longest documents first; 0: all in one.

    A document longer than the budget gets a micro-batch of its own. At least `at_least` micro-batches are made, if there are
    enough documents: processes that share a sharded encoder must call it equally often.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    micros, room = [], 0
    for row in order:
        if not micros or (tokens and lengths[row] > room):
            micros.append([])
            room = tokens
        micros[-1].append(row)
        room -= lengths[row]
    while len(micros) < min(at_least, len(order)):
        largest = max(micros, key=len)
        micros.append(largest[len(largest) // 2 :])
        del largest[len(largest) // 2 :]
    return micros


def backward(
    embed: Embed,
    rows: list[list[int]],
    loss_of: Callable[[Tensor], Tensor],
    *,
    cached: bool = True,
    before: Callable[[bool], None] = lambda last: None,
) -> Tensor:
    """Leave the gradients of `loss_of(vectors_ND)` in `.grad` and return the loss, a detached scalar.

    `rows` are micro-batches of document numbers, each document once. `embed(rows)` returns the vectors (n, D) of a
    micro-batch. `loss_of` receives all vectors in the order of document numbers and may gather those of other processes.
    With `cached` False every graph is kept instead: one forward pass, the memory of the whole batch, the same gradients from
    the same random numbers. The random state afterwards is the same in both cases. `before(last)` is called before each
    backward of the encoder, with whether it is the last one.
    """
    states, parts = [], []
    for number, micro in enumerate(rows):
        keep = not cached or number == len(rows) - 1
        if not keep:
            states.append(_random_state())
        with torch.set_grad_enabled(keep):
            parts.append(embed(micro))
    places = sent(torch.tensor([row for micro in rows for row in micro]).argsort(), parts[0].device)
    flat_ND = torch.cat([part.detach() for part in parts]).requires_grad_()
    loss = loss_of(flat_ND[places])
    loss.backward()
    if flat_ND.grad is None:
        raise ValueError("loss_of does not depend on the vectors")
    gradients = flat_ND.grad.split([len(micro) for micro in rows])
    after = _random_state()
    for number in reversed(range(len(rows))):  # use the kept graph first, to free its memory for the others
        if number < len(states):
            _set_random_state(states[number])
            parts[number] = embed(rows[number])
        before(number == 0)
        (parts[number] * gradients[number]).sum().backward()  # backward(gradients) would import sympy, 0.8 s
        parts[number] = None
    _set_random_state(after)
    return loss.detach()


def _random_state() -> tuple[Tensor, Tensor | None]:
    on_device = torch.cuda.is_available() and torch.cuda.is_initialized()
    return torch.get_rng_state(), torch.cuda.get_rng_state() if on_device else None


def _set_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
