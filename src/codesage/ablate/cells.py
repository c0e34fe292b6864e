"""The runs of a grid: one cell for each different training. Each finished cell is one JSON file.

In: a grid, tokens, and a folder. Out: `Plan.cells`, in an order in which each comes after those it starts from, and `run`,
which trains one with the functions of the stages, measures it, and writes its record. The name of a cell is a hash of
everything that its result depends on. So rows with the same Stage I share its run, and after a change only the changed rows
are run again.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from codesage.ablate import measure
from codesage.ablate.grid import Grid, Row
from codesage.artifacts import MANIFEST, Artifact, open_artifact, write_whole
from codesage.contrast import embedder, filtering
from codesage.contrast import stage as contrast
from codesage.contrast.teacher import Teacher
from codesage.corpus.tokens.tokenised import Tokens
from codesage.encoder import lexical
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder
from codesage.encoder.weights import load_encoder
from codesage.errors import CodesageError
from codesage.pretrain import stage as pretrain
from codesage.tokenizer import Tokenizer
from codesage.training import processes

_FREE = {
    "micro_tokens",
    "cached",
    "compile",
    "checkpoint_steps",
    "checkpoint_seconds",
    "keep",
    "tensorboard",
    "evaluations",
    "evaluation_pairs",
    "shard",
}  # settings that do not change what is learned


@dataclass(frozen=True, slots=True)
class Cell:
    """One training of one stage. `needs`: names of the cells whose models it starts from or is judged by."""

    name: str
    stage: str  # "stage1" or "stage2"
    row: Row  # the first row that has it
    seed: int
    needs: tuple[str, ...] = ()
    judge: str = ""  # the cell whose model filters the pairs


@dataclass(frozen=True, slots=True)
class Inputs:
    """What all cells read. `benchmarks`: of the data sets, by title."""

    tokens: Tokens
    tokenizer: Tokenizer
    teacher: Teacher | None = None
    benchmarks: dict[str, Sequence[measure.Measured]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """All cells of a grid, and for each row and seed the names of its cells by stage."""

    grid: Grid
    folder: Path
    cells: dict[str, Cell]
    of_row: dict[tuple[str, int], dict[str, str]]

    def record(self, name: str) -> dict | None:
        """The record of a finished cell, else None."""
        try:
            record = json.loads((self.folder / "runs" / f"{name}.json").read_text(encoding="utf-8"))
            if not isinstance(record, dict) or not ("failed" in record or record.get("figures")):
                raise ValueError("it has no figures")
            return record
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise CodesageError(f"{self.folder / 'runs' / name}.json is damaged ({error}): remove it to run it again") from None

    def done(self, name: str) -> bool:
        """Whether a cell is finished: it has its record, and its model if another cell still needs it."""
        if not (self.folder / "runs" / f"{name}.json").is_file():
            return False
        return (self.model(name) / MANIFEST).is_file() or "failed" in (self.record(name) or {}) or not self.awaited(name)

    def awaited(self, name: str) -> bool:
        """Whether an unfinished cell starts from this cell's model."""
        return any(
            name in cell.needs and not (self.folder / "runs" / f"{cell.name}.json").is_file() for cell in self.cells.values()
        )

    def model(self, name: str) -> Path:
        """The folder of a cell's model."""
        return self.folder / "models" / name


def plan(grid: Grid, inputs: Inputs, folder: Path) -> Plan:
    """The cells of all rows and seeds, in the order of the rows.

    CodesageError when a row needs what is not given, or when a stage of it cannot be trained or measured.
    """
    measure.held_out_rows(inputs.tokens, measure.settings_of(grid.evaluation))
    cells: dict[str, Cell] = {}
    of_row: dict[tuple[str, int], dict[str, str]] = {}
    shared = {
        "tokens": inputs.tokens.fingerprint,
        "tokenizer": inputs.tokenizer.fingerprint,
        "evaluation": grid.evaluation,
        "benchmarks": [[title, *(task.digest() for task in group)] for title, group in sorted(inputs.benchmarks.items())],
    }
    for row in grid.rows:
        _check(grid, row, inputs)
        for seed in row.seeds:
            names: dict[str, str] = {}
            if (first := grid.pretraining(row, seed)) is not None:
                names["stage1"] = _name("stage1", {**shared, "settings": asdict(first)})
                cells.setdefault(names["stage1"], Cell(names["stage1"], "stage1", row, seed))
            if (second := grid.contrasting(row, seed)) is not None:
                before = names.get("stage1", "")
                own, judge = _own(grid, row, seed, inputs, of_row)
                identity = {**shared, "settings": asdict(second), "own": own, "before": before, "judge": judge}
                if not before:
                    identity["encoder"] = asdict(grid.encoder(row))
                names["stage2"] = _name("stage2", identity)
                needs = tuple(filter(None, (before, judge)))
                cells.setdefault(names["stage2"], Cell(names["stage2"], "stage2", row, seed, needs, judge))
            of_row[row.name, seed] = names
    return Plan(grid, folder, cells, of_row)


def _check(grid: Grid, row: Row, inputs: Inputs) -> None:
    """CodesageError when the settings of a row's stages, or those of the evaluation, do not fit its encoder or the tokens."""
    config = replace(grid.encoder(row), vocab_size=inputs.tokenizer.vocab_size)
    first, second = grid.pretraining(row, 0), grid.contrasting(row, 0)
    try:
        if first is not None:
            pretrain.checked(first, inputs.tokens, inputs.tokenizer)
        if second is not None:
            contrast.check(second, inputs.tokens, dropping(config, grid.stage2(row).get("dropout", 0.0)), inputs.tokenizer)
            runs = any(phase.batches.neighbours for phase in second.phases().values())
            if runs and not grid.stage2(row).get("teacher"):
                raise CodesageError("neighbours are found with a teacher's vectors of the texts: set teacher = true")
        measure.check(measure.settings_of(grid.evaluation), config.max_position_embeddings)
    except CodesageError as error:
        raise CodesageError(f"{row.name}: {error}") from None


def _own(grid: Grid, row: Row, seed: int, inputs: Inputs, of_row: dict) -> tuple[dict, str]:
    """What the grid adds to Stage II of a row, and the cell whose model filters its pairs."""
    table, judge = grid.stage2(row), ""
    own: dict = {"dropout": table.get("dropout", 0.0), "initial": table.get("initial", "") if row.stage1 is None else ""}
    if table.get("teacher"):
        if inputs.teacher is None:
            raise CodesageError(f"{row.name} learns from a teacher: give --teacher, a folder that 'codesage teach' wrote")
        own["teacher"] = inputs.teacher.fingerprint
    if given := table.get("filter"):
        own["filter"] = {name: value for name, value in given.items() if name != "row"}
        judge = of_row.get((given.get("row", ""), seed), {}).get("stage2", "")
        if not judge:
            raise CodesageError(f"{row.name}: filter.row must name a row above it that has Stage II and seed {seed}")
    return own, judge


def _name(stage: str, identity: dict) -> str:
    digest = hashlib.sha256(json.dumps(_bare(identity), sort_keys=True).encode()).hexdigest()
    return f"{stage}-{digest[:16]}"


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bare(one) for name, one in value.items() if name not in _FREE}
    return [_bare(one) for one in value] if isinstance(value, (list, tuple)) else value


def run(plan: Plan, cell: Cell, inputs: Inputs) -> dict:
    """Train a cell, measure it and write its record.

    If the training fails, for example with a loss that is not finite, the record says so.

    A signal ends it with the CodesageError of training.loop, its checkpoint written. What was trained is not trained again.
    """
    started, model = time.perf_counter(), plan.model(cell.name)
    record: dict = {"cell": cell.name, "stage": cell.stage, "row": cell.row.name, "seed": cell.seed}
    if not (model / MANIFEST).is_file():
        shutil.rmtree(model, ignore_errors=True)
        (pretrained if cell.stage == "stage1" else contrasted)(plan, cell, inputs, model)
    artifact = open_artifact(model, "model")
    encoder = load_encoder(model).to(processes.device())
    trained, settings = time.perf_counter(), measure.settings_of(plan.grid.evaluation)
    figures = measure.scores(encoder, inputs.tokens, inputs.tokenizer, settings, inputs.benchmarks)
    facts = artifact.facts["pretrain" if cell.stage == "stage1" else "contrast"]
    record |= {
        "figures": figures,
        "facts": facts,
        "parameters": encoder.config.parameters(),
        "device": str(processes.device()),
        "training_seconds": round(trained - started, 1),
        "measuring_seconds": round(time.perf_counter() - trained, 1),
    }
    write(plan, record)
    shutil.rmtree(plan.folder / "checkpoints" / cell.name, ignore_errors=True)
    _verdicts(plan, cell).unlink(missing_ok=True)
    return record


def write(plan: Plan, record: dict) -> None:
    """Write a record by one rename, and remove models that no cell needs any more."""
    file = plan.folder / "runs" / f"{record['cell']}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(record, indent=1) + "\n")
    own = plan.cells[record["cell"]]
    for name in (own.name, *own.needs):
        if not plan.awaited(name):
            shutil.rmtree(plan.model(name), ignore_errors=True)


def pretrained(plan: Plan, cell: Cell, inputs: Inputs, out: Path) -> Artifact:
    """Stage I of a cell, by pretrain.stage.run."""
    settings = plan.grid.pretraining(cell.row, cell.seed)
    assert settings is not None
    home = plan.folder / "checkpoints" / cell.name
    return pretrain.run(settings, inputs.tokens, inputs.tokenizer, out, checkpoints=home)


def contrasted(plan: Plan, cell: Cell, inputs: Inputs, out: Path) -> Artifact:
    """Stage II of a cell, by contrast.stage.run, from its Stage I or from untrained weights."""
    grid, row = plan.grid, cell.row
    settings, table, config = grid.contrasting(row, cell.seed), grid.stage2(row), grid.encoder(row)
    assert settings is not None
    before, start = None, plan.of_row[row.name, cell.seed].get("stage1", "")
    if start:
        before, encoder = open_artifact(plan.model(start), "model"), load_encoder(plan.model(start))
    else:
        shape = replace(config, vocab_size=inputs.tokenizer.vocab_size)
        encoder = lexical.fresh(
            shape, inputs.tokenizer, inputs.tokens.counted(), initial=table.get("initial", "normal"), seed=cell.seed
        )
    encoder = with_dropout(encoder, table.get("dropout", 0.0)).to(processes.device())
    teacher = inputs.teacher if table.get("teacher") else None
    prepared = contrast.Prepared(before, keep=_kept(plan, cell, inputs), teacher=teacher)
    return contrast.run(
        settings,
        inputs.tokens,
        encoder,
        tokenizer=inputs.tokenizer,
        out=out,
        prepared=prepared,
        checkpoints=plan.folder / "checkpoints" / cell.name,
    )


def with_dropout(encoder: Encoder, share: float) -> Encoder:
    """The same weights in an encoder that drops this share everywhere."""
    config = dropping(encoder.config, share)
    if config == encoder.config:
        return encoder
    changed = Encoder(config)
    changed.load_state_dict(encoder.state_dict())
    return changed


def dropping(config: Config, share: float) -> Config:
    """The same shape, dropping this share everywhere."""
    return replace(config, embedding_dropout_prob=share, attention_dropout_prob=share, residual_dropout_prob=share)


def _kept(plan: Plan, cell: Cell, inputs: Inputs) -> np.ndarray | None:
    """The pairs that the judge of a cell finds consistent; None without one. They are kept until the cell is finished."""
    if not cell.judge:
        return None
    file = _verdicts(plan, cell)
    if file.is_file():
        return np.load(file, allow_pickle=False)
    chosen = {name: value for name, value in plan.grid.stage2(cell.row)["filter"].items() if name != "row"}
    encoder = load_encoder(plan.model(cell.judge)).to(processes.device())
    judge = embedder.OnDevice(encoder, max_tokens=encoder.config.max_position_embeddings, fingerprint=cell.judge)
    keep = filtering.consistent(judge, inputs.tokens, filtering.Settings(**chosen, seed=cell.seed))
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}")
    with beside.open("wb") as opened:
        np.save(opened, keep, allow_pickle=False)
    os.replace(beside, file)
    return keep


def _verdicts(plan: Plan, cell: Cell) -> Path:
    """The file with the pairs that a cell keeps, so that a stopped cell does not judge them again."""
    return plan.folder / "filters" / f"{cell.name}.npy"
