"""Copies between the processor and a GPU for which neither waits.

A plain copy waits until the GPU has done everything it was given before, and then the GPU waits until the processor has given
it the next operations. Here tensors go to the GPU from pinned memory, and values come back while both go on. On a CPU nothing
is copied.
"""

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor of the CPU on `device`."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # torch keeps the pinned memory until the copy is done


class Values:
    """Values of a tensor that are on their way to the processor."""

    def __init__(self, values_N: Tensor) -> None:
        self._here_N = values_N.to("cpu", non_blocking=True)  # pinned by torch
        self._arrival = torch.cuda.Event() if values_N.is_cuda else None
        if self._arrival is not None:
            self._arrival.record()

    @property
    def arrived(self) -> bool:
        """Whether the values were never on a GPU, so that reading them never waits. The same in all processes of a run."""
        return self._arrival is None

    def read(self) -> list[float]:
        """The values, after a wait for what the GPU was given before them."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return self._here_N.tolist()
