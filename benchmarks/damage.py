"""Damage to one file, as disks and transfers do it; shared by the benchmarks that check what is said about it."""

import random
from pathlib import Path

KINDS = ("flip", "flip", "byte", "cut", "zeros", "grow", "swap", "remove")


def harm(file: Path, rng: random.Random) -> str:
    """Damage one file in one of eight ways; returns which."""
    data = bytearray(file.read_bytes())
    kind = rng.choice(KINDS)
    at = rng.randrange(len(data))
    if kind == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        data[at] = (data[at] + rng.randrange(1, 256)) % 256
    elif kind == "cut":
        del data[at:]
    elif kind == "zeros":
        end = min(len(data), at + 64)
        if not any(data[at:end]):
            data[at] = 1
        else:
            data[at:end] = bytes(end - at)
    elif kind == "grow":
        data[at:at] = bytes(rng.randrange(1, 9))
    elif kind == "swap":
        half = len(data) // 2
        data = data[half:] + data[:half]
    if kind == "remove":
        file.unlink()
    else:
        file.write_bytes(data)
    return kind
