"""Module docstring: total stays."""
import os
from math import sqrt as root


class Account(Base):
    """An account; balance in a docstring stays."""

    limit: int = 10

    def __init__(self, owner, *args, rate=0.5, **extra):
        self.owner = owner
        self.balance = root(rate)

    @property
    def total(self) -> float:
        # total of the balance
        if self.balance < 0:
            return 0
        return sum(x for x in self.items if x) + self.balance


async def report(account: Account, path=os.sep):
    """Write a report.

    More.
    """
    with open(path) as sink, account.lock():
        print(f"{account.owner!r:>{path}}", file=sink, end="")
    first, (second, *others) = account.pairs()
    key = lambda item: (item, first)
    return sorted(others, key=key, reverse=second)
