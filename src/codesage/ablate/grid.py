"""A grid of experiments: one base training, and rows that each change one thing.

In: a TOML file, such as grids/reduced.toml. Out: `Grid`, whose rows give the settings of both stages for a seed. Tables of the
file have the names of the settings of the stages (pretrain.stage, contrast.stage, training.schedule, encoder.config). The
budget is stated once, in steps or in tokens and pairs, and no row can change it.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from codesage.contrast import filtering
from codesage.contrast import stage as contrast
from codesage.contrast.batches import Settings as BatchSettings
from codesage.encoder import lexical
from codesage.encoder.config import Config
from codesage.errors import CodesageError
from codesage.pretrain import examples
from codesage.pretrain import stage as pretrain
from codesage.training import schedule

FOLDER = Path(__file__).parent / "grids"
_UNITS = {"stage1": ("steps", "tokens"), "stage2": ("steps", "pairs")}
_OURS = ("dropout", "teacher", "filter", "initial")  # settings of Stage II that are of the grid, not of contrast.stage
_ROW = ("name", "group", "label", "headline", "seeds", "model", "stage1", "stage2")
_CLAIM = ("says", "higher", "lower", "metrics", "published", "stage", "source")
_TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", tuple: "a list", dict: "a table"}


@dataclass(frozen=True, slots=True)
class Budget:
    """The table `budget`. Each stage has one of its two."""

    stage1_steps: int = 0
    stage1_tokens: float = 0
    stage2_steps: int = 0
    stage2_pairs: float = 0
    warm_up: float = 0.05  # share of the steps

    def __post_init__(self) -> None:
        if not 0 <= self.warm_up <= 1:
            raise CodesageError(f"warm_up is {self.warm_up}: expected a share, 0 to 1")


@dataclass(frozen=True, slots=True)
class Row:
    """One experiment. `stage1` and `stage2`: changes of the base; None: the stage is left out."""

    name: str
    group: str
    label: str
    headline: bool
    seeds: tuple[int, ...]
    model: dict
    stage1: dict | None
    stage2: dict | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A published finding, or a guess of our own: the row `higher` scores above the row `lower`."""

    says: str
    higher: str
    lower: str
    metrics: tuple[str, ...] = ()  # that it is about; (): all
    published: bool = True  # by the paper; else our own question
    stage: str = ""  # whose models are compared: "stage1" or "stage2"; "": the last stage that both rows have
    source: str = ""  # where the paper says so


@dataclass(frozen=True, slots=True)
class Grid:
    """A parsed file. `base`: the tables model, stage1 and stage2. `evaluation`: see ablate.measure.Settings."""

    title: str
    budget: dict
    base: dict
    evaluation: dict
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]

    def encoder(self, row: Row) -> Config:
        """The shape of a row's encoder; the vocabulary is that of the tokenizer."""
        return built(Config, merged(self.base["model"], row.model), f"{row.name}: model")

    def pretraining(self, row: Row, seed: int) -> pretrain.Settings | None:
        """Stage I of a row, or None when it has none."""
        if row.stage1 is None:
            return None
        table = merged(self.base["stage1"], row.stage1)
        where = f"{row.name}: stage1"
        drawn = _table(table.pop("examples", {}), f"{where}.examples")
        chosen = built(examples.Settings, drawn, f"{where}.examples", seed=seed)
        loop = self._loop("stage1", table.pop("loop", {}), chosen.batch_tokens, seed, where)
        return built(pretrain.Settings, table, where, encoder=self.encoder(row), examples=chosen, loop=loop)

    def contrasting(self, row: Row, seed: int) -> contrast.Settings | None:
        """Stage II of a row, or None when it has none."""
        if row.stage2 is None:
            return None
        table = {name: value for name, value in self.stage2(row).items() if name not in _OURS}
        where = f"{row.name}: stage2"
        drawn = _table(table.pop("batches", {}), f"{where}.batches")
        chosen = built(BatchSettings, drawn, f"{where}.batches", seed=seed)
        loop = self._loop("stage2", table.pop("loop", {}), chosen.batch_pairs, seed, where)
        return built(contrast.Settings, table, where, batches=chosen, loop=loop, first=None)

    def stage2(self, row: Row) -> dict:
        """The table of a row's Stage II, with `dropout`, `teacher`, `filter` and `initial`, which are of the grid."""
        return merged(self.base["stage2"], row.stage2 or {})

    def _loop(self, stage: str, given: object, per_step: int, seed: int, where: str) -> schedule.Settings:
        where = f"{where}.loop"
        table = _table(given, where)
        if fixed := {"steps", "warmup_steps", "seconds"} & set(table):
            raise CodesageError(f"{where} sets {min(fixed)}: the budget is the same for all rows, set it in [budget]")
        steps, total = (self.budget.get(f"{stage}_{unit}", 0) for unit in _UNITS[stage])
        steps = steps or max(1, round(total / per_step))
        warmup = max(1, round(steps * self.budget.get("warm_up", 0.05)))
        settings = {"evaluations": 0, "checkpoint_seconds": 60.0, "keep": 1, **table}
        return built(schedule.Settings, settings, where, steps=steps, warmup_steps=warmup, seed=seed)


def read(path: Path | str) -> Grid:
    """Read and check a grid. CodesageError, with the row and the setting, when it cannot work."""
    path = Path(path)
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CodesageError(f"{path} cannot be read ({error.strerror}): expected a grid, 'reduced' or 'full'") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CodesageError(f"{path} is not TOML: {error}") from None
    try:
        return parsed(text)
    except CodesageError as error:
        raise CodesageError(f"{path}: {error}") from None


def parsed(table: Mapping) -> Grid:
    """A grid from the tables of its file, with every row's settings built once."""
    unknown = set(table) - {"title", "seeds", "budget", "model", "stage1", "stage2", "evaluation", "rows", "claims"}
    if unknown:
        raise CodesageError(f"unknown table {min(unknown)!r}")
    given = {name: _table(table.get(name, {}), name) for name in ("budget", "model", "stage1", "stage2", "evaluation")}
    _check_budget(given["budget"])
    seeds = _seeds(table.get("seeds", [0, 1, 2]), "the grid")
    rows = tuple(_row(row, seeds) for row in _tables(table.get("rows", []), "rows"))
    names = [row.name for row in rows]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise CodesageError(f"two rows are called {min(repeated)!r}: give each row a name of its own")
    if not rows:
        raise CodesageError("the grid has no rows")
    base = {name: given[name] for name in ("model", "stage1", "stage2")}
    claims = tuple(_claim(claim, names) for claim in _tables(table.get("claims", []), "claims"))
    grid = Grid(table.get("title", ""), given["budget"], base, given["evaluation"], rows, claims)
    for number, row in enumerate(rows):
        grid.pretraining(row, 0)
        grid.contrasting(row, 0)
        if row.stage2 is not None:
            _check_ours(row.name, grid.stage2(row), names[:number])
    return grid


def _check_budget(table: dict) -> None:
    built(Budget, table, "budget")
    for stage, units in _UNITS.items():
        given = [unit for unit in units if f"{stage}_{unit}" in table]
        if len(given) != 1 or not table[f"{stage}_{given[0]}"] > 0:
            names = " or ".join(f"{stage}_{unit}" for unit in units)
            raise CodesageError(f"[budget] needs {names}, one of the two and over 0, so that all rows cost the same")


def _check_ours(row: str, table: dict, above: list[str]) -> None:
    """CodesageError when a setting of Stage II that is of the grid is wrong; `above`: the rows that may filter."""
    where = f"{row}: stage2"
    _typed(table.get("dropout", 0.0), float, f"{where}.dropout")
    _typed(table.get("teacher", False), bool, f"{where}.teacher")
    judged = _table(table.get("filter", {}), f"{where}.filter")
    judge = judged.pop("row", "")
    built(filtering.Settings, judged, f"{where}.filter", seed=0)
    if judge and judge not in above:
        raise CodesageError(f"{row}: filter.row is {judge!r}: expected a row above it")
    try:
        lexical.check(table.get("initial", "normal"))
    except CodesageError as error:
        raise CodesageError(f"{where}: {error}") from None


def merged(base: Mapping, changes: Mapping) -> dict:
    """`base` with `changes`; tables are merged, other values replaced. A table `mix` or `kinds` is replaced whole."""
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and name not in ("mix", "kinds"):
            value = merged(old, value)
        result[name] = value
    return result


def _row(table: Mapping, seeds: tuple[int, ...]) -> Row:
    if "name" not in table:
        raise CodesageError("a row has no name")
    name = str(table["name"])
    if unknown := set(table) - set(_ROW):
        raise CodesageError(f"{name}: unknown setting {min(unknown)!r}: expected {', '.join(_ROW)}")
    stages = {
        stage: None if table.get(stage) is False else _table(table.get(stage, {}), f"{name}: {stage}") for stage in _UNITS
    }
    if stages["stage1"] is None and stages["stage2"] is None:
        raise CodesageError(f"{name} has neither stage: leave out at most one")
    return Row(
        name,
        str(table.get("group", "")),
        str(table.get("label", name)),
        bool(table.get("headline", False)),
        _seeds(table["seeds"], name) if "seeds" in table else seeds,
        _table(table.get("model", {}), f"{name}: model"),
        **stages,
    )


def _seeds(seeds: Any, where: str) -> tuple[int, ...]:
    """CodesageError unless these are whole numbers of at least 0, each once."""
    whole = isinstance(seeds, list) and all(_is_a(seed, int) and seed >= 0 for seed in seeds)
    if not whole or not seeds or len(set(seeds)) != len(seeds):
        raise CodesageError(f"{where}: seeds are {seeds!r}: expected at least one whole number, each once and none under 0")
    return tuple(seeds)


def _claim(table: Mapping, names: list[str]) -> Claim:
    if unknown := set(table) - set(_CLAIM):
        raise CodesageError(f"a claim has the unknown setting {min(unknown)!r}: expected {', '.join(_CLAIM)}")
    for field in ("says", "higher", "lower"):
        if field not in table:
            raise CodesageError(f"a claim has no {field!r}")
    for field in ("higher", "lower"):
        if table[field] not in names:
            raise CodesageError(f"the claim {table['says']!r} names the row {table[field]!r}, which the grid lacks")
    return built(Claim, table, f"the claim {table['says']!r}")


def built(kind: type, table: Mapping, where: str, **ours: Any) -> Any:
    """A dataclass from a table of the file, which may not name a field of `ours`; lists become tuples.

    CodesageError when the table has an unknown name or a value of another type, or when the dataclass refuses.
    """
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in ours}
    if unknown := set(table) - set(hints):
        raise CodesageError(f"{where}: unknown setting {min(unknown)!r}: expected {', '.join(hints)}")
    values = {name: _typed(value, hints[name], f"{where}.{name}") for name, value in table.items()}
    try:
        return kind(**values, **ours)
    except (CodesageError, TypeError, ValueError) as error:
        raise CodesageError(f"{where}: {error}") from None


def _typed(value: Any, hint: Any, where: str) -> Any:
    """A value for a field with this type hint: a dataclass from a table, a tuple from a list, or itself."""
    if isinstance(hint, type) and is_dataclass(hint):
        return built(hint, _table(value, where), where)
    value = tuple(value) if isinstance(value, list) else value
    kinds = [get_origin(one) or one for one in (get_args(hint) if isinstance(hint, UnionType) else (hint,))]
    if not any(_is_a(value, kind) for kind in kinds):
        expected = " or ".join(_TYPES[kind] for kind in kinds if kind in _TYPES)
        raise CodesageError(f"{where} is {value!r}: expected {expected}")
    if not _is_finite(value):
        raise CodesageError(f"{where} is {value!r}: expected finite numbers")
    return value


def _is_finite(value: Any) -> bool:
    """Whether all numbers in a value are finite."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _is_a(value: Any, kind: type) -> bool:
    """Whether a value has a type: a whole number is a number too, and true is none."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _table(value: Any, where: str) -> dict:
    if not isinstance(value, Mapping):
        raise CodesageError(f"{where} is {value!r}: expected a table")
    return dict(value)


def _tables(value: Any, name: str) -> list[dict]:
    if not isinstance(value, list):
        raise CodesageError(f"{name} is {value!r}: expected tables, each under [[{name}]]")
    return [_table(one, f"an entry of {name}") for one in value]
