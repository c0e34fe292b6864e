"""A grid of experiments: one base training, and rows that each change one thing.

In: a TOML file, such as grids/reduced.toml. Out: `Grid`, whose rows give the settings of both stages for a seed. Tables of the
file have the names of the settings of the stages (pretrain.stage, contrast.stage, training.schedule, encoder.config). The
budget is stated once, in steps or in tokens and pairs, and no row can change it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from codesage.contrast import stage as contrast
from codesage.contrast.augment import Settings as AugmentSettings
from codesage.contrast.batches import Settings as BatchSettings
from codesage.encoder.config import Config
from codesage.errors import CodesageError
from codesage.pretrain import examples
from codesage.pretrain import stage as pretrain
from codesage.training import schedule

FOLDER = Path(__file__).parent / "grids"
_UNITS = {"stage1": ("steps", "tokens"), "stage2": ("steps", "pairs")}
_OURS = ("dropout", "teacher", "filter")  # settings of Stage II that are of the grid, not of contrast.stage
_ROW = ("name", "group", "label", "headline", "seeds", "model", "stage1", "stage2")
_CLAIM = ("says", "higher", "lower", "metrics", "published", "stage", "source")


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
        return _built(Config, merged(self.base["model"], row.model), f"{row.name}: model")

    def pretraining(self, row: Row, seed: int) -> pretrain.Settings | None:
        """Stage I of a row, or None when it has none."""
        if row.stage1 is None:
            return None
        table = merged(self.base["stage1"], row.stage1)
        where = f"{row.name}: stage1"
        chosen = _built(examples.Settings, {**table.pop("examples", {}), "seed": seed}, f"{where}.examples")
        loop = self._loop("stage1", table.pop("loop", {}), chosen.batch_tokens, seed, where)
        shared = {"encoder": self.encoder(row), "examples": chosen, "loop": loop}
        return _built(pretrain.Settings, {**table, **shared}, where)

    def contrasting(self, row: Row, seed: int) -> contrast.Settings | None:
        """Stage II of a row, or None when it has none."""
        if row.stage2 is None:
            return None
        table = {name: value for name, value in self.stage2(row).items() if name not in (*_OURS, "initial")}
        where = f"{row.name}: stage2"
        batches = {**table.pop("batches", {}), "seed": seed}
        if "augment" in batches:
            batches["augment"] = _built(AugmentSettings, batches["augment"], f"{where}.batches.augment")
        chosen = _built(BatchSettings, batches, f"{where}.batches")
        loop = self._loop("stage2", table.pop("loop", {}), chosen.batch_pairs, seed, where)
        return _built(contrast.Settings, {**table, "batches": chosen, "loop": loop}, where)

    def stage2(self, row: Row) -> dict:
        """The table of a row's Stage II, with `dropout`, `teacher`, `filter` and `initial`, which are of the grid."""
        return merged(self.base["stage2"], row.stage2 or {})

    def _loop(self, stage: str, table: dict, per_step: int, seed: int, where: str) -> schedule.Settings:
        if fixed := {"steps", "warmup_steps", "seconds"} & set(table):
            raise CodesageError(f"{where}.loop sets {min(fixed)}: the budget is the same for all rows, set it in [budget]")
        steps, total = (self.budget.get(f"{stage}_{unit}", 0) for unit in _UNITS[stage])
        steps = steps or max(1, round(total / per_step))
        warmup = max(1, round(steps * self.budget.get("warm_up", 0.05)))
        settings = {"evaluations": 0, "checkpoint_seconds": 60.0, "keep": 1, **table}
        return _built(schedule.Settings, {**settings, "steps": steps, "warmup_steps": warmup, "seed": seed}, f"{where}.loop")


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
    budget = dict(table.get("budget", {}))
    for stage, units in _UNITS.items():
        given = [unit for unit in units if f"{stage}_{unit}" in budget]
        if len(given) != 1 or not budget[f"{stage}_{given[0]}"] > 0:
            names = " or ".join(f"{stage}_{unit}" for unit in units)
            raise CodesageError(f"[budget] needs {names}, one of the two and over 0, so that all rows cost the same")
    rows = tuple(_row(row, tuple(table.get("seeds", (0, 1, 2)))) for row in table.get("rows", ()))
    names = [row.name for row in rows]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise CodesageError(f"two rows are called {min(repeated)!r}: give each row a name of its own")
    if not rows:
        raise CodesageError("the grid has no rows")
    base = {name: dict(table.get(name, {})) for name in ("model", "stage1", "stage2")}
    claims = tuple(_claim(claim, names) for claim in table.get("claims", ()))
    grid = Grid(table.get("title", ""), budget, base, dict(table.get("evaluation", {})), rows, claims)
    for row in rows:
        grid.pretraining(row, 0)
        grid.contrasting(row, 0)
        judge = grid.stage2(row).get("filter", {}).get("row", "") if row.stage2 is not None else ""
        if judge and judge not in names[: names.index(row.name)]:
            raise CodesageError(f"{row.name}: filter.row is {judge!r}: expected a row above it")
    return grid


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
    stages = {stage: None if table.get(stage) is False else dict(table.get(stage, {})) for stage in ("stage1", "stage2")}
    if stages["stage1"] is None and stages["stage2"] is None:
        raise CodesageError(f"{name} has neither stage: leave out at most one")
    chosen = tuple(table.get("seeds", seeds))
    if not chosen or len(set(chosen)) != len(chosen):
        raise CodesageError(f"{name}: seeds are {list(chosen)}: expected at least one, each once")
    return Row(
        name,
        str(table.get("group", "")),
        str(table.get("label", name)),
        bool(table.get("headline", False)),
        chosen,
        dict(table.get("model", {})),
        **stages,
    )


def _claim(table: Mapping, names: list[str]) -> Claim:
    if unknown := set(table) - set(_CLAIM):
        raise CodesageError(f"a claim has the unknown setting {min(unknown)!r}: expected {', '.join(_CLAIM)}")
    for field in ("says", "higher", "lower"):
        if field not in table:
            raise CodesageError(f"a claim has no {field!r}")
    for field in ("higher", "lower"):
        if table[field] not in names:
            raise CodesageError(f"the claim {table['says']!r} names the row {table[field]!r}, which the grid lacks")
    return Claim(**{**table, "metrics": tuple(table.get("metrics", ()))})


def _built(kind: type, table: Mapping, where: str) -> Any:
    """A dataclass from a table of the file: lists become tuples. CodesageError when it refuses."""
    known = [field.name for field in fields(kind)]
    if unknown := set(table) - set(known):
        raise CodesageError(f"{where}: unknown setting {min(unknown)!r}: expected {', '.join(known)}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    try:
        return kind(**values)
    except CodesageError as error:
        raise CodesageError(f"{where}: {error}") from None
    except (TypeError, ValueError) as error:
        raise CodesageError(f"{where}: {error}") from None
