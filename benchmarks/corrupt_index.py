"""Damage the files of an index at random: it must answer as before, or name a command that repairs it.

    python benchmarks/corrupt_index.py [--damages 1000] [--seed 0] [--out FILE.json]

The index is of a small random tree, at rest or as a killed run left it, with changes in its journal. Bits are flipped, bytes
and pages overwritten, files cut short, lost, exchanged, or replaced by those of another index; the cache of vectors too. Then a
search without an update, and one with an update, are asked the same queries as before. A command that an error names is run,
and the queries are asked again. The answers must be right. Equal scores stand in the order in which files were indexed, so
those of a fresh index are right too.
"""

import argparse
import contextlib
import io
import json
import os
import random
import re
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from pathlib import Path

import typer

from codesage import cli
from codesage.encoder import runtime
from codesage.errors import CodesageError
from codesage.evaluate.reports import environment
from codesage.search.checksums import NAME
from codesage.search.folders import default_folder
from codesage.search.index import Index
from codesage.search.places import Place
from codesage.search.searcher import Searcher
from codesage.search.vectors import vectors_folder
from small_trees import Hashed, answers, write_tree

ENCODER = Hashed()
FILES = {"index.sqlite": 60, "index.sqlite-wal": 12, "index.sqlite-shm": 6, NAME: 12, "lock": 2, "cache": 8}  # weights
_REPAIR = re.compile(r"run '(codesage .*)'$")
_FILES_OF_A_TREE = 24
_PAGE = 4096


def main() -> None:
    """Damage, ask, count; exit code 1 for a wrong answer or a command that did not repair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        counts, failures = damaged_often(Path(folder), arguments.damages, arguments.seed)
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "damages": arguments.damages,
        "seed": arguments.seed,
        "outcomes": {kind: dict(counts[kind]) for kind in sorted(counts)},
        "total": dict(sum(counts.values(), Counter())),
        "failures": failures,
    }
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.exit(bool(failures))


def damaged_often(folder: Path, damages: int, seed: int) -> tuple[dict[str, Counter], list[str]]:
    """Outcomes by kind of damage, and a line for each failure. The user's cache must be a folder in `folder`."""
    runtime.load = lambda *arguments, **options: ENCODER  # for the commands
    drawn = random.Random(seed)
    trial = _Trial(folder, drawn)
    counts: dict[str, Counter] = {}
    failures = []
    for number in range(damages):
        kind, outcome = trial.run(drawn)
        counts.setdefault(kind, Counter())[outcome.partition(":")[0]] += 1
        if not outcome.startswith(("same", "repaired")):
            failures.append(f"damage {number}, {kind}: {outcome}")
    return counts, failures


class _Trial:
    """A tree with its index in two states, another index, and the answers that are right."""

    def __init__(self, folder: Path, drawn: random.Random) -> None:
        self._root, self._other = folder / "tree", folder / "other"
        for root in (self._root, self._other):
            write_tree(root, drawn, files=_FILES_OF_A_TREE)
        self._kept = folder / "kept"
        self._folder = default_folder(self._root, ENCODER.fingerprint)
        _indexed(self._other)
        shutil.copytree(default_folder(self._other, ENCODER.fingerprint), self._kept / "other")
        late = sorted(self._root.rglob("*.py"))[:4]
        texts = [file.read_text(encoding="utf-8") for file in late]
        for file in late:
            file.unlink()
        _indexed(self._root)
        for file, text in zip(late, texts, strict=True):
            file.write_text(text, encoding="utf-8")
        index = Index.open(self._root, folder=None, encoder=ENCODER)
        index._seal = lambda: None  # as if it were killed
        index.update(ENCODER)
        shutil.copytree(self._folder, self._kept / "killed")
        del index._seal
        index.update(ENCODER)
        self._right = [answers(index, ENCODER)]
        index.connection.close()
        shutil.copytree(self._folder, self._kept / "rest")
        shutil.copytree(vectors_folder(), self._kept / "cache")
        run(["index", str(self._root), "--rebuild"])
        self._right.append(self._answers(False))

    def run(self, drawn: random.Random) -> tuple[str, str]:
        """One damage: its kind, and what came of it."""
        state = "killed" if drawn.random() < 0.3 else "rest"
        for kept, place in ((state, self._folder), ("cache", vectors_folder())):
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(self._kept / kept, place)
        name = drawn.choices(list(FILES), list(FILES.values()))[0]
        file = next(vectors_folder().glob("*.sqlite")) if name == "cache" else self._folder / name
        if not file.exists():
            file, name = self._folder / "index.sqlite", "index.sqlite"
        if name == "cache":
            shutil.rmtree(self._folder)
        damage = drawn.choice(_DAMAGES)
        damage(file, drawn, self._kept / "other")
        kind = f"{name}, {state}: {damage.__name__.strip('_').replace('_', ' ')}"
        outcomes = [self._asked(update) for update in ((True,) if state == "killed" or name == "cache" else (False, True))]
        return kind, next((one for one in outcomes if not one.startswith("same")), "same answers")

    def _asked(self, update: bool) -> str:
        """What comes of a search; where a command is named, of running it."""
        try:
            hits = self._answers(update)
        except CodesageError as error:
            return self._repaired(str(error))
        except Exception as error:
            return f"crash: {type(error).__name__}: {error}"
        return "same answers" if hits in self._right else "wrong answers"

    def _answers(self, update: bool) -> list:
        place = Place(self._root, "", str(self._root))
        searcher = Searcher([place], ENCODER, refresh=(lambda index: index.update(ENCODER)) if update else None)
        with searcher.opened(place) as index:
            return answers(index, ENCODER)

    def _repaired(self, message: str) -> str:
        command = _REPAIR.search(message)
        if not command or "\n" in message:
            return f"no command: {message}"
        try:
            run(shlex.split(command.group(1))[1:])
            hits = self._answers(True)
        except Exception as error:
            return f"not repaired: {message}: {type(error).__name__}: {error}"
        return "repaired by the command" if hits in self._right else f"wrong answers after: {message}"


def _indexed(root: Path) -> None:
    index = Index.open(root, folder=None, encoder=ENCODER)
    index.update(ENCODER)
    index.connection.close()


def run(arguments: list[str]) -> None:
    """Run a command of codesage in this process."""
    with contextlib.redirect_stderr(io.StringIO()):
        _commands()(arguments, standalone_mode=False)


@lru_cache
def _commands() -> Callable:
    cli._mount()
    return typer.main.get_command(cli.app)


def _overwritten(file: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(file.read_bytes())
    if data:
        change(data)
    file.write_bytes(data)


def _one_bit(file: Path, drawn: random.Random, other: Path) -> None:
    def change(data: bytearray) -> None:
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)

    _overwritten(file, change)


def _twenty_bits(file: Path, drawn: random.Random, other: Path) -> None:
    for _ in range(20):
        _one_bit(file, drawn, other)


def _random_bytes(file: Path, drawn: random.Random, other: Path) -> None:
    def change(data: bytearray) -> None:
        start = drawn.randrange(len(data))
        data[start : start + 100] = drawn.randbytes(len(data[start : start + 100]))

    _overwritten(file, change)


def _a_page_of_zeros(file: Path, drawn: random.Random, other: Path) -> None:
    def change(data: bytearray) -> None:
        start = drawn.randrange(len(data)) // _PAGE * _PAGE
        data[start : start + _PAGE] = bytes(len(data[start : start + _PAGE]))

    _overwritten(file, change)


def _two_pages_exchanged(file: Path, drawn: random.Random, other: Path) -> None:
    def change(data: bytearray) -> None:
        one, two = (drawn.randrange(max(1, len(data) // _PAGE)) * _PAGE for _ in range(2))
        data[one : one + _PAGE], data[two : two + _PAGE] = data[two : two + _PAGE], data[one : one + _PAGE]

    _overwritten(file, change)


def _cut_short(file: Path, drawn: random.Random, other: Path) -> None:
    os.truncate(file, drawn.randrange(file.stat().st_size + 1))


def _more_at_the_end(file: Path, drawn: random.Random, other: Path) -> None:
    file.write_bytes(file.read_bytes() + drawn.randbytes(drawn.randint(1, 2 * _PAGE)))


def _lost(file: Path, drawn: random.Random, other: Path) -> None:
    file.unlink()


def _of_another_index(file: Path, drawn: random.Random, other: Path) -> None:
    content = other / (file.name if (other / file.name).exists() else "index.sqlite")
    shutil.copy(content, file)


def _exchanged(file: Path, drawn: random.Random, other: Path) -> None:
    two = drawn.choice([path for path in sorted(file.parent.iterdir()) if path != file] or [file])
    content = file.read_bytes(), two.read_bytes()
    file.write_bytes(content[1])
    two.write_bytes(content[0])


_DAMAGES = (
    _one_bit,
    _one_bit,
    _one_bit,
    _twenty_bits,
    _random_bytes,
    _a_page_of_zeros,
    _two_pages_exchanged,
    _cut_short,
    _more_at_the_end,
    _lost,
    _of_another_index,
    _exchanged,
)


if __name__ == "__main__":
    main()
