"""The step loop: exact resume, checkpoints that survive, the guard, optimizers, signals, curves."""

import copy
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from torch.nn import functional as F
from typer.testing import CliRunner

from codesage import CodesageError, machine, recipes
from codesage import tokenizer as tokenizers
from codesage.corpus.tokens import tokenised as tokens_station
from codesage.encoder.config import SIZES, Config
from codesage.encoder.model import Encoder, Layout
from codesage.encoder.weights import save_weights
from codesage.pretrain import commands, examples, stage
from codesage.pretrain.head import summed_cross_entropy
from codesage.records import Document, Pair
from codesage.training import (
    checkpoints,
    curves,
    estimate,
    loop,
    metrics,
    muon,
    optimizers,
    options,
    precision,
    processes,
    retrieval,
    schedule,
    uncompiled,
)
from codesage.training.guard import Guard
from codesage.training.guard import Settings as GuardSettings
from codesage.training.guard import refused as refused_on
from command_line import run
from rounding import bf16_rounding

CONFIG = Config(32, 2, 4, vocab_size=100, max_position_embeddings=64)  # with dropout, so random state matters
SETTINGS = loop.Settings(40, 4, 1e-2, checkpoint_steps=5)
KILL = Path(__file__).parent.parent / "benchmarks" / "kill_training.py"


@dataclass
class Numbers:
    """Batches of consecutive numbers, so that there is something to learn."""

    calls: list[int]
    stop_at: int = -1

    def at(self, step: int, **share) -> torch.Tensor:
        self.calls.append(step)
        start = np.random.default_rng((7, step)).integers(0, 90, size=(4, 1))
        return torch.from_numpy((start + np.arange(8)).ravel())


def trained(out: Path, settings: loop.Settings = SETTINGS, *, before=None, calls=None, change=None, **options):
    """A small run. `before(step)` is called in each step, and `change(step, loss)` changes the loss."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    encoder, layout, steps = Encoder(CONFIG), Layout.of([8] * 4), iter(range(10**9))
    start = options.pop("start", 0)

    def gradients_of(batch):
        step = start + next(steps)
        if before:
            before(step)
        inputs = batch.clone()
        inputs[3::8] = 99
        loss = F.cross_entropy(F.linear(encoder(inputs, layout)[3::8], encoder.wte.weight), batch[3::8])
        if change:
            loss = change(step, loss)
        loss.backward()
        return loss.detach(), 32

    run = loop.Run("x", out, Numbers([] if calls is None else calls), gradients_of, **options)
    facts = loop.train(encoder, settings, run)
    return facts, encoder


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in lines(folder) if "loss" in line]


class Killed(Exception):
    pass


def killing(at: int):
    def before(step: int) -> None:
        if step == at:
            raise Killed

    return before


@pytest.fixture(params=["fp32", "bf16"])
def computed_in(request, monkeypatch):
    """Each precision, on every processor; bf16 is emulated if the processor lacks it."""
    monkeypatch.setenv(precision.VARIABLE, request.param)
    return request.param


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_equals_the_uninterrupted_one_to_the_last_bit(tmp_path, optimizer, computed_in):
    settings = replace(SETTINGS, optimizer=optimizer, decay="cosine", precision=computed_in)
    _, whole = trained(tmp_path / "whole", settings)
    for at in (3, 17, 38) if computed_in == "fp32" else (17,):  # before the first checkpoint, and after several
        home = tmp_path / f"kept{at}"
        with pytest.raises(Killed):
            trained(tmp_path / f"a{at}", settings, before=killing(at), checkpoints=home)
        calls: list[int] = []
        facts, again = trained(tmp_path / f"b{at}", settings, checkpoints=home, calls=calls)
        assert calls[0] == at // 5 * 5 and calls == list(range(calls[0], 40))
        assert losses(tmp_path / f"b{at}") == losses(tmp_path / "whole") and facts["steps"] == 40
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_half_of_a_run_is_reported_by_steps_or_time_and_again_after_a_kill(tmp_path, monkeypatch):
    halves = []
    trained(tmp_path / "steps", at_half=halves.append)
    assert halves == [21]  # the batch of step 20 (of 40) is already made
    monkeypatch.setattr(loop, "share_used", lambda settings, progress: progress.step / 20)  # time for 20 steps
    halves.clear()
    seen = []
    options = {"checkpoints": tmp_path / "home", "at_half": halves.append, "calls": seen}
    with pytest.raises(RuntimeError):
        trained(tmp_path / "time", before=lambda step: _killed(step == 17), **options)
    assert halves == [11]
    trained(tmp_path / "time", start=15, **options)
    assert halves == [11, 11] and max(seen) == 20


def _killed(now: bool) -> None:
    if now:
        raise RuntimeError


def test_a_finished_run_is_kept_and_can_be_extended_or_restarted(tmp_path):
    home = tmp_path / "kept"
    first, _ = trained(tmp_path / "a", checkpoints=home)
    calls: list[int] = []
    again, _ = trained(tmp_path / "b", checkpoints=home, calls=calls)
    assert again["loss"] == first["loss"] and calls == [] and losses(tmp_path / "a") == losses(tmp_path / "b")
    assert sorted(path.name for path in (home / "x").glob("step-*")) == ["step-000000035", "step-000000040"]
    longer, _ = trained(tmp_path / "c", replace(SETTINGS, steps=50, warmup_steps=5), checkpoints=home, calls=calls)
    assert longer["steps"] == 50 and calls == list(range(40, 50))
    trained(tmp_path / "d", checkpoints=home, resume=False)
    assert losses(tmp_path / "d") == losses(tmp_path / "a")


def test_time_used_outlives_a_kill(tmp_path):
    settings = replace(SETTINGS, steps=10**6, warmup_steps=1000, seconds=1000.0, checkpoint_steps=1)
    with pytest.raises(Killed):
        trained(tmp_path / "a", settings, before=killing(5), checkpoints=tmp_path / "kept")
    used = checkpoints.newest(tmp_path / "kept" / "x").state["progress"]["seconds"]
    short = replace(settings, seconds=used + 0.05, checkpoint_steps=0)
    facts, _ = trained(tmp_path / "b", short, checkpoints=tmp_path / "kept")
    assert 0 < used < used + 0.05 <= facts["seconds"] + 0.1 and facts["steps"] < 10**6
    assert lines(tmp_path / "b")[5]["seconds"] >= used


def test_a_checkpoint_of_another_run_is_one_line(tmp_path):
    trained(tmp_path / "a", checkpoints=tmp_path / "kept", identity={"encoder": {"hidden_size": 32}, "tokens": "abc"})
    for other, message in (
        ({"encoder": {"hidden_size": 64}, "tokens": "abc"}, "encoder.hidden_size 32, now 64"),
        ({"encoder": {"hidden_size": 32}, "tokens": "xyz"}, "tokens abc, now xyz"),
    ):
        with pytest.raises(CodesageError, match=message) as error:
            trained(tmp_path / "b", checkpoints=tmp_path / "kept", identity=other)
        assert "--fresh" in str(error.value) and "\n" not in str(error.value)
    for changes, message in (
        ({"learning_rate": 0.02}, "learning_rate 0.01, now 0.02"),
        ({"warmup_steps": 5}, "warmup_steps 4, now 5"),  # of as many steps
    ):
        with pytest.raises(CodesageError, match=message):
            trained(
                tmp_path / "b",
                replace(SETTINGS, **changes),
                checkpoints=tmp_path / "kept",
                identity={"encoder": {"hidden_size": 32}, "tokens": "abc"},
            )


HARMS = {
    "flip": lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:]),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("name", [*sorted({checkpoints.WEIGHTS, checkpoints.OPTIMIZER, checkpoints.STATE}), "manifest.json"])
@pytest.mark.parametrize("harm", HARMS)
def test_damaged_checkpoints_are_named_and_skipped(tmp_path, kept, capsys, name, harm):
    home = tmp_path / "kept"
    shutil.copytree(kept, home)
    HARMS[harm](home / "x" / "step-000000040" / name)
    assert checkpoints.newest(home / "x").path.name == "step-000000035"
    assert "step-000000040" in (output := capsys.readouterr().err) and output.count("\n") == 1
    HARMS[harm](home / "x" / "step-000000035" / name)
    with pytest.raises(CodesageError, match="none of the 2 checkpoints"):
        trained(tmp_path / "b", checkpoints=home)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trained(folder / "out", checkpoints=folder / "kept")
    return folder / "kept"


def test_a_damaged_checkpoint_is_written_again_when_its_step_comes(tmp_path, kept, capsys):
    home = tmp_path / "kept"
    shutil.copytree(kept, home)
    (home / "x" / "step-000000040" / "manifest.json").unlink()
    trained(tmp_path / "b", replace(SETTINGS, checkpoint_steps=0), checkpoints=home)
    assert checkpoints.newest(home / "x").path.name == "step-000000040"


def test_checkpoints_have_no_pickles_and_their_settings_beside_them(kept):
    newest = checkpoints.newest(kept / "x")
    assert {file.suffix for file in newest.path.iterdir()} == {".safetensors", ".json"}
    assert json.loads((kept / "x" / "settings.json").read_text())["loop"]["learning_rate"] == 0.01


def test_steps_that_are_not_finite_never_reach_the_weights(tmp_path):
    def change(step, loss):
        return loss * math.nan if step in (10, 11) else loss

    facts, encoder = trained(tmp_path / "a", change=change)
    assert facts["skipped"] == 2 and all(torch.isfinite(p).all() for p in encoder.parameters())
    named = [line for line in lines(tmp_path / "a") if line.get("skipped")]
    assert [line["step"] for line in named] == [10, 11] and "not finite" in named[0]["skipped"]
    assert named[0]["loss"] is None  # JSON has no NaN
    with pytest.raises(CodesageError, match="lower the learning rate"):
        trained(tmp_path / "b", change=lambda step, loss: loss * math.inf)


@pytest.mark.parametrize("optimizer", schedule.OPTIMIZERS)
def test_a_refused_step_moves_nothing_and_one_that_is_not_moves_as_always(optimizer):
    states = []
    for refused in (None, 0.0):
        torch.manual_seed(0)
        encoder = Encoder(CONFIG)
        optimiser = optimizers.build(encoder, replace(SETTINGS, optimizer=optimizer, weight_decay=0.5, precision="fp32"))
        for step in range(4):
            for parameter in encoder.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimiser.found_inf = None if refused is None else torch.tensor(refused)
            optimiser.step()
            if refused is not None and step != 1:  # also before the second step
                before = copy.deepcopy((encoder.state_dict(), optimiser.state_dict()["state"]))
                for parameter in encoder.parameters():
                    parameter.grad = torch.full_like(parameter, (math.nan, math.inf, 0, 1e30)[step])
                optimiser.found_inf = torch.tensor(1.0)
                optimiser.step()
                assert_same(before, (encoder.state_dict(), optimiser.state_dict()["state"]))
        states.append((encoder.state_dict(), optimiser.state_dict()["state"]))
    assert_same(*states)


def assert_same(one, other):
    """All tensors of two nested dictionaries are equal to the last bit."""
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_first_step_may_be_refused(tmp_path):
    """Weights and the count of steps that corrects AdamW's means are those of a run without it."""
    settings = replace(SETTINGS, steps=5, warmup_steps=0, decay="linear", final_rate=1.0)
    config = CONFIG.without_dropout()
    found = []
    for steps, harmed in ((5, True), (4, False)):
        torch.manual_seed(0)
        encoder, number = Encoder(config), iter(range(9))
        batches = [torch.arange(start, start + 8) for start in range(5)][5 - steps :]

        def gradients_of(batch, encoder=encoder, harmed=harmed, number=number):
            hidden = encoder(batch, Layout.of([8]))
            loss = F.cross_entropy(F.linear(hidden, encoder.wte.weight), batch + 1)
            (loss * (math.nan if harmed and next(number) == 0 else 1)).backward()
            return loss.detach(), 8

        given = SimpleNamespace(at=lambda step, batches=batches, **share: batches[step])
        (tmp_path / str(steps)).mkdir()
        loop.train(encoder, replace(settings, steps=steps), loop.Run("x", tmp_path / str(steps), given, gradients_of))
        found.append(encoder.state_dict())
    assert_same(*found)
    assert [line["skipped"] for line in lines(tmp_path / "5")] == ["gradient norm is nan, not finite", "", "", "", ""]
    assert losses(tmp_path / "5")[1:] == losses(tmp_path / "4")


@pytest.mark.parametrize("settings", [GuardSettings(least=3), GuardSettings(0, 0, least=3), GuardSettings(least=4)])
def test_the_device_refuses_exactly_what_the_guard_has_a_reason_for(settings):
    guard = Guard(settings, [3.0, 3.1, 2.7], [1.0, 1.2, 0.7])
    limits = guard.limits()
    numbers = [-math.inf, -1.0, 0.0, 1.0, *limits, 1e300, sys.float_info.max, math.inf, math.nan]
    numbers += [math.nextafter(limit, math.inf) for limit in limits] + [math.nextafter(limit, 0) for limit in limits]
    refused = 0
    for loss in numbers:
        for norm in (number for number in numbers if not number < 0):
            of_device = refused_on(torch.tensor([loss, norm], dtype=torch.float64), limits)
            assert of_device.item() == bool(copy.deepcopy(guard).reason(0, loss, norm)), (loss, norm)
            assert of_device.dtype == torch.float32 and of_device.shape == ()
            refused += of_device.item()
    assert 0 < refused < len(numbers) ** 2
    assert (limits[0] < 10, limits[1] < 30) == (settings == GuardSettings(least=3),) * 2


def test_spikes_are_left_out(tmp_path):
    settings = replace(SETTINGS, guard=GuardSettings(least=10))
    facts, _ = trained(tmp_path / "a", settings, change=lambda step, loss: loss + 100 if step == 30 else loss)
    assert facts["skipped"] == 1 and "loss spike" in lines(tmp_path / "a")[30]["skipped"]
    facts, _ = trained(tmp_path / "b", settings, change=lambda step, loss: loss + 1e3 * (loss - loss.detach()) * (step == 30))
    assert facts["skipped"] == 1 and "gradient spike" in lines(tmp_path / "b")[30]["skipped"]


def test_another_objective_is_no_spike(tmp_path):
    settings = replace(SETTINGS, guard=GuardSettings(least=10))
    for name, skipped, told in (("same", 15, {}), ("new", 0, {"new_objective": lambda step: step == 25})):
        higher = trained(tmp_path / name, settings, change=lambda step, loss: loss + 100 * (step >= 25), **told)
        assert higher[0]["skipped"] == skipped


def test_the_guard_tolerates_noise_and_forgets_old_skips():
    guard, rng = Guard(GuardSettings()), np.random.default_rng(0)
    assert not any(guard.reason(step, 3 + 0.3 * rng.normal(), abs(rng.normal()) + 0.5) for step in range(3000))
    for step in range(3000, 33000, 1000):
        assert guard.reason(step, math.inf, 1.0)
    guard.refuse_too_many()  # 30 in all; within 1,000 steps these would be too many
    assert guard.skipped_in_all == 30


def test_more_evaluations_take_the_same_steps(tmp_path):
    trained(tmp_path / "a")
    calls = iter(range(100))
    facts, _ = trained(
        tmp_path / "b", replace(SETTINGS, evaluations=4), evaluate=lambda: {"mrr": next(calls) + torch.rand(()).item()}
    )
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert next(calls) == 4 and facts["mrr"] >= 3
    assert [line["step"] for line in lines(tmp_path / "b") if "evaluation" in line] == [10, 20, 30, 39]


@pytest.mark.parametrize(("used", "told"), [(0.2, " 20% done, 2.0 min left"), (1.59, " 100% done, 0.0 min left")])
def test_the_live_line_says_what_is_left(tmp_path, capsys, used, told):
    with metrics.Metrics(tmp_path / "m.jsonl", stage="x", tensorboard=False, flops_per_token=0.0, peak=0.0) as shown:
        shown.show(3, loss=1.0, tokens=90, used=used, seconds=30.0)
    assert capsys.readouterr().err.endswith(f"{told}\n")


def test_curves_are_drawn(tmp_path, with_pictures):
    trained(tmp_path, evaluate=lambda: {"mrr": 0.5})
    curves.draw(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "empty.jsonl").write_text("")
    curves.draw(tmp_path / "empty.jsonl", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_rates_warm_up_and_decay():
    for decay in schedule.DECAYS:
        settings = loop.Settings(100, 10, 1.0, decay=decay, final_rate=0.1)
        rates = [schedule.rate_at(settings, step / 100) for step in range(101)]
        assert rates[0] == pytest.approx(1 / 11) and rates[10] == pytest.approx(1.0) and rates[100] == pytest.approx(0.1)
        assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
        assert rates[55] == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps 0"),
        ({"decay": "none"}, "linear, cosine"),
        ({"optimizer": "sgd"}, "adamw, muon"),
        ({"precision": "fp8"}, "auto, bf16, fp32"),
        ({"keep": 0}, "keep 0"),
        ({"clip_norm": 0.0}, r"clip_norm 0\.0: expected clip_norm over 0"),  # which would clip all gradients to nothing
        ({"weight_decay": -0.1}, r"weight_decay -0\.1"),
        ({"beta2": 1.0}, r"beta2 1\.0: expected"),
        ({"learning_rate": math.nan}, "learning_rate is nan: expected a finite number"),
        ({"seconds": math.inf}, "seconds is inf: expected a finite number"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(CodesageError, match=message):
        replace(SETTINGS, **changes)


def test_impossible_options_are_refused():
    for share in (math.nan, -0.1, 1.1):
        with pytest.raises(CodesageError, match=f"the warm-up is {share}: expected a share"):
            options.changed_loop(SETTINGS, warm_up=share)
    most = 4 * (os.cpu_count() or 1)
    options.check_threads(most)
    with pytest.raises(CodesageError, match=f"--threads is {most + 1}, but there are .* give at most {most}"):
        options.check_threads(most + 1)


def test_the_score_while_training_counts_ties_against_it():
    texts = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    codes = torch.tensor([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0]])  # the first and the last have the same direction
    assert retrieval.mean_reciprocal_rank(texts, codes) == pytest.approx(100 * (1 / 2 + 1 + 1 / 3) / 3)


def test_the_score_is_the_same_under_autocast():
    torch.manual_seed(0)
    texts = torch.randn(200, 64) + 5  # a common direction: differences of cosines are below the resolution of bf16
    codes = texts + torch.randn(200, 64)
    with torch.autocast("cpu", torch.bfloat16):
        score = retrieval.mean_reciprocal_rank(texts, codes)
    assert score == retrieval.mean_reciprocal_rank(texts, codes) > 50


def test_bf16_is_refused_where_it_is_emulated(monkeypatch):
    monkeypatch.delenv(precision.VARIABLE, raising=False)
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    with pytest.raises(CodesageError, match="no native bf16"):
        precision.autocast("bf16", torch.device("cpu"))
    assert precision.autocast("auto", torch.device("cpu")).fast_dtype is None


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's tracing reads it
@pytest.mark.parametrize("across", [False, True])
def test_compiled_blocks_compute_the_same_with_few_graphs(across):
    torch._dynamo.reset()
    torch.manual_seed(0)
    encoder = Encoder(replace(CONFIG, num_hidden_layers=3).without_dropout())
    layouts = [Layout.of(lengths) for lengths in ([5, 5, 7], [3], [9, 10, 11], [20] * 3)]
    ids = [torch.randint(0, 100, (sum(layout.lengths),)) for layout in layouts]
    some_rows = [torch.arange(0, len(i), 2) for i in ids]
    weight = torch.randn(32)

    def computed():
        for i, layout, rows in zip(ids, layouts, some_rows, strict=True):
            for states in (encoder(i, layout), encoder(i, layout, rows_M=rows)):
                (states @ weight).square().mean().backward()
                yield states.detach(), {name: parameter.grad for name, parameter in encoder.named_parameters()}
                encoder.zero_grad(set_to_none=True)

    before, names = list(computed()), list(encoder.state_dict())
    counted = precision.graphs()
    precision.compile_blocks(encoder, backend="aot_eager", across=across)
    torch.testing.assert_close(list(computed()), before)
    assert list(encoder.state_dict()) == names
    # Before attention, for all or for the requested tokens; after it. Across: the start, between two (both); the end.
    assert precision.graphs() - counted == (4 if across else 3)


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_blocks_compiled_across_their_borders_take_what_plain_ones_take():
    torch._dynamo.reset()
    torch.manual_seed(0)
    plain = Encoder(CONFIG.without_dropout())
    compiled = copy.deepcopy(plain)
    precision.compile_blocks(compiled, backend="eager", across=True)
    cases = [([5, 7], {}), ([1], {}), ([4, 4], {"depth": 0}), ([4, 4], {"depth": 1}), ([3], {"rows_M": torch.tensor([1])})]
    cases += [([3], {"rows_M": torch.tensor([], dtype=torch.int64)}), ([6], {"depth": 1, "rows_M": torch.tensor([0, 4])})]
    for lengths, given in cases:
        ids, layout = torch.randint(0, 100, (sum(lengths),)), Layout.of(lengths)
        torch.testing.assert_close(compiled(ids, layout, **given), plain(ids, layout, **given))
    assert torch.equal(compiled.eval()(ids, layout), plain.eval()(ids, layout))
    with pytest.raises(CodesageError, match="a text has 65 tokens, but the encoder has 64 positions"):
        compiled.train()(torch.zeros(65, dtype=torch.int64), Layout.of([65]))
    again = copy.deepcopy(compiled)
    again.wte.weight.data.mul_(2)
    assert not torch.equal(again(ids, layout), compiled(ids, layout))  # a copy has its own weights


@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("across", [False, True])
def test_a_compiled_run_takes_the_same_steps(tmp_path, monkeypatch, across):
    """In fp32, which is exact enough to show a different dropout mask. test_precision.py compiles in bf16."""
    torch._dynamo.reset()
    compile_blocks = partial(precision.compile_blocks, backend="aot_eager", across=across)
    monkeypatch.setattr(precision, "compile_blocks", compile_blocks)
    settings = replace(SETTINGS, steps=4, precision="fp32")  # with dropout: compiling must not use the run's random state
    for compiled in (False, True):
        trained(tmp_path / str(compiled), replace(settings, compile=compiled), checkpoints=tmp_path / f"kept{compiled}")
    assert losses(tmp_path / "True") == pytest.approx(losses(tmp_path / "False"), rel=1e-4)
    facts, _ = trained(tmp_path / "longer", replace(settings, steps=6), checkpoints=tmp_path / "keptTrue")  # without a compiler
    assert facts["steps"] == 6 and losses(tmp_path / "longer")[:4] == losses(tmp_path / "True")


@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize(("across", "graphs"), [(False, 5), (True, 7)])
def test_encoders_of_many_shapes_are_compiled_in_one_process(across, graphs):
    """As in a grid. torch compiles one function at most eight times, which the third shape reached."""
    before, layout, ids = precision.graphs(), Layout.of([4, 3]), torch.arange(7)
    for width in (8, 16, 24):
        encoder = Encoder(Config(width, 2, 2, vocab_size=9, max_position_embeddings=8).without_dropout()).train()
        precision.compile_blocks(encoder, backend="eager", across=across)
        with precision.compiling():
            encoder(ids, layout).sum().backward()
            encoder(ids, layout, rows_M=torch.tensor([1, 5])).sum().backward()
            with torch.no_grad():
                encoder(ids, layout)
    assert precision.graphs() == before + 3 * graphs


def test_a_missing_compiler_is_one_line():
    with pytest.raises(CodesageError, match=r"torch\.compile failed.*no compiler.*--no-compile"), precision.compiling():
        raise torch._dynamo.exc.InternalTorchDynamoError("no compiler\nhere")
    with pytest.raises(ValueError, match="mine"), precision.compiling():
        raise ValueError("mine")


def test_a_full_gpu_is_one_line():
    full = pytest.raises(CodesageError, match=r"memory is full \(CUDA.*allocate 9.00 GiB\): end other")
    with full, options.training_processes(0):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a total capacity of 8 GiB.")


def test_a_gpu_that_is_full_in_another_command_is_one_line_too(monkeypatch):
    def full(models):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a total capacity of 8 GiB.")

    monkeypatch.setattr("codesage.evaluate.commands._named", full)
    told = run("evaluate", "default").stderr
    assert told == (
        "codesage: the GPU's memory is full (CUDA out of memory. Tried to allocate 9.00 GiB): end other programs that use it, "
        "or set CUDA_VISIBLE_DEVICES= to use the CPU\n"
    )


@pytest.mark.parametrize(
    ("name", "device", "time"),
    [("NVIDIA H200", "989,000 GFLOP/s peak", "30.8 minutes"), ("GPU of 2031", "a GPU whose peak is not known", "not known")],
)
def test_nothing_is_said_of_the_time_on_a_gpu_whose_peak_is_not_known(monkeypatch, name, device, time):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    step, settings = estimate.Step(10**6, 8e14, 10**5), loop.Settings(800, 0, 1e-3, seconds=10**5)
    told = estimate.estimate(SIZES["small"], step, settings, torch.device("cuda"))
    assert told.lines()[-2:] == [f"device      {device}", f"time        {time}"] and told.steps == 800


@pytest.mark.parametrize("size", ["toy", *SIZES])
def test_a_gpu_trains_the_published_sizes_as_published_and_compiled(size):
    for settings_of in (recipes.pretraining, partial(recipes.contrasting, pairs=10**6)):
        on_cpu, on_gpu, on_small = (settings_of(size, memory=memory) for memory in (0, 141e9, 24e9))
        assert on_gpu.loop.compile and not on_cpu.loop.compile
        plain = replace(on_gpu, loop=replace(on_gpu.loop, compile=False))
        assert (plain == on_cpu) == (size in ("small", "base", "large"))
        assert on_small == replace(on_gpu, micro_tokens=on_small.micro_tokens)


@pytest.mark.parametrize(
    ("size", "memory", "share"),
    [("nano", 8e9, 0.1), ("base", 24e9, 0.24), ("large", 32e9, 0.18), ("large", 24e9, 1 / 16), ("large", 8e9, 1 / 16)],
)
def test_micro_batches_are_for_the_memory_that_weights_and_optimizer_leave(size, memory, share):
    large, small = (recipes.pretraining(size, memory=here).micro_tokens for here in (80e9, memory))
    assert small == pytest.approx(share * large, rel=0.05)


@pytest.mark.parametrize("rows", [3, 512])
def test_the_chunked_head_equals_the_plain_one(rows):
    torch.manual_seed(0)
    states, weight, labels = torch.randn(10, 8), torch.randn(50, 8), torch.randint(0, 50, (10,))
    results = []
    for loss in (
        lambda x, w: F.cross_entropy(x @ w.T, labels, reduction="sum"),
        lambda x, w: summed_cross_entropy(x, w, labels, rows=rows),
    ):
        x, w = states.clone().requires_grad_(), weight.clone().requires_grad_()
        value = loss(x, w)
        (value / 7).backward()
        results.append((value, x.grad, w.grad))
    for plain, chunked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, plain)
    x = states.clone().requires_grad_()
    (slope,) = torch.autograd.grad(summed_cross_entropy(x, weight, labels, rows=rows).square(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):  # not a wrong second derivative
        slope.sum().backward()


@pytest.mark.parametrize("optimizer", schedule.OPTIMIZERS)
def test_matrices_decay_and_the_table_has_a_rate_of_its_own(optimizer):
    encoder = Encoder(replace(CONFIG, projection_dim=16))
    settings = replace(SETTINGS, optimizer=optimizer, weight_decay=0.2, embedding_rate=0.03, muon_rate=5.0)
    groups = optimizers.build(encoder, settings).param_groups
    told = {parameter: (group["weight_decay"], group["multiple"]) for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(told) == len(list(encoder.parameters()))
    for name, parameter in encoder.named_parameters():
        matrix = (0.2, 5.0 if optimizer == "muon" and name != "wpe.weight" else 1.0)
        assert told[parameter] == ((0.0, 0.03) if name == "wte.weight" else matrix if parameter.ndim == 2 else (0.0, 1.0)), name


def test_gradients_are_clipped_and_their_norm_before_is_told(tmp_path, monkeypatch):
    norms = []

    class Noting(uncompiled.AdamW):
        def step(self, closure=None):
            gradients = [parameter.grad for group in self.param_groups for parameter in group["params"]]
            norms.append(torch.nn.utils.get_total_norm([one for one in gradients if one is not None]).item())

    def build(encoder, settings):
        return Noting([{"params": list(encoder.parameters()), "multiple": 1.0}], fused=True)

    monkeypatch.setattr(optimizers, "build", build)
    settings = replace(SETTINGS, steps=3, warmup_steps=0, clip_norm=0.5)
    trained(tmp_path, settings, change=lambda step, loss: loss * (100 if step else 1e-3))
    before = [line["gradient_norm"] for line in lines(tmp_path)]
    assert norms == pytest.approx([before[0], 0.5, 0.5], rel=1e-4) and before[0] < 0.5 < min(before[1:])


def test_adamw_takes_the_steps_of_the_library():
    moved = []
    for kind in (uncompiled.AdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        parameter = torch.nn.Parameter(torch.randn(5, 3))
        optimizer = kind([{"params": [parameter], "weight_decay": 0.1}], lr=0.1, fused=True)
        for step in range(4):
            parameter.grad = torch.randn(5, 3)
            optimizer.step()
            optimizer.zero_grad()
            assert parameter.grad is None
            if step == 1:
                optimizer.load_state_dict(optimizer.state_dict())
        moved.append(parameter.detach())
    assert torch.equal(*moved)


def test_muon_takes_the_steps_of_the_library():
    torch.manual_seed(0)
    shapes = [(6, 9), (9, 4), (6, 9)]  # two of one shape
    start, gradients = [torch.randn(shape) for shape in shapes], [[torch.randn(shape) for shape in shapes] for _ in range(5)]
    results = []
    for made in (partial(muon.Muon, dtype=torch.bfloat16), partial(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")):
        parameters = [torch.nn.Parameter(matrix.clone()) for matrix in start]
        optimizer = made(parameters, lr=0.02, weight_decay=0.1)
        for step in gradients:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()
        results.append(parameters)
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="expected matrices"):
        muon.Muon([torch.nn.Parameter(torch.zeros(3))], lr=1.0, weight_decay=0.0)


def test_updates_are_made_orthogonal():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(muon.orthogonal(torch.randn(4, 30, 50), dtype=torch.float32))
    assert values.min() > 0.5 and values.max() < 1.5


def test_a_container_has_the_memory_of_its_limit(tmp_path, monkeypatch):
    whole = machine.memory()
    limit, older = tmp_path / "memory.max", tmp_path / "limit_in_bytes"
    monkeypatch.setattr(machine, "_LIMITS", (limit, older))
    sizes = []
    for text in ("max\n", f"{2**63 - 4096}\n", "1048576\n"):
        limit.write_text(text)
        sizes.append(machine.memory())
    assert whole > 2**28 and sizes[0] == sizes[1] >= whole and sizes[2] == 2**20
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert processes.share_of_memory(torch.device("cpu")) == 2**18
    monkeypatch.delattr(os, "sysconf")
    assert machine.memory() == 0


def test_estimates_count_what_the_paper_counts():
    small = SIZES["small"]
    assert estimate.flops_per_token(small) == 6 * 6 * 12 * 1024**2
    last = 2 + 0.25 * 10  # keys and values of all tokens; queries, projection and feed-forward of a quarter
    head = 6 * 0.25 * small.vocab_size * 1024
    assert estimate.flops_per_token(small, head_share=0.25) == 6 * (5 * 12 + last) * 1024**2 + head
    assert estimate.checkpoint_bytes(small) > 12 * 128_010_240
    cost = estimate.estimate(
        CONFIG,
        estimate.Step(1000, 1e9, 100, head_floats=10**6),
        loop.Settings(10**9, 0, 1e-3, seconds=60, precision="fp32"),
        torch.device("cpu"),
    )
    activations = 100 * (2 * (10 * 32 + 2 * 128) + 6 * 32)
    assert cost.memory_bytes == estimate.fixed_bytes(CONFIG) + 4 * (activations + 10**6)
    assert cost.parameters == CONFIG.parameters() and 1 <= cost.steps < 10**9 and cost.seconds <= 61
    with pytest.raises(CodesageError, match="GB free"):
        estimate.require_disk(Path("/nowhere/at/all"), 10**18)


def test_sigterm_saves_and_names_the_command_that_resumes(tmp_path):
    handler = signal.getsignal(signal.SIGTERM)  # another library in this process may have set one

    def before(step: int) -> None:
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    settings = replace(SETTINGS, checkpoint_steps=0)
    with pytest.raises(CodesageError, match="stopped by SIGTERM after step 8, saved as .*step-000000008.*resume with"):
        trained(tmp_path / "a", settings, before=before, checkpoints=tmp_path / "kept")
    assert signal.getsignal(signal.SIGTERM) is handler
    trained(tmp_path / "whole", settings)
    trained(tmp_path / "b", settings, checkpoints=tmp_path / "kept")
    assert losses(tmp_path / "b") == losses(tmp_path / "whole")


KILLED = {"steps": 2, "saving": 12, "corruption": 60}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Returns (exit status, results by part, stderr) of benchmarks/kill_training.py with all its parts."""
    command = [sys.executable, str(KILL), *KILLED, "--trials", *map(str, KILLED.values()), "--seed", "1"]
    command += ["--folder", str(tmp_path_factory.mktemp("killed"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    results = map(json.loads, done.stdout.splitlines())
    return done.returncode, {result["part"]: result for result in results}, done.stderr


@pytest.mark.parametrize("part", KILLED)
def test_sigkill_and_corruption_lose_nothing(killed, part):
    status, results, output = killed
    assert part in results, output[-2000:]
    assert results[part]["trials"] == KILLED[part] and results[part]["failures"] == [] and status == 0


# Stage I as a user runs it.

SOURCE = "".join(
    f"def area_{i}(width, height):\n    total = width * height + {i}\n"
    f"    for item in range(total):\n        print(item, total)\n    return total\n\n\n"
    for i in range(30)
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Returns (folder with a tokenizer and tokens, the tokenizer, the tokens)."""
    folder = tmp_path_factory.mktemp("made")
    tokenizer = tokenizers.train([SOURCE], folder / "tokenizer", settings=tokenizers.Settings(vocab_size=320))
    documents = [Document(f"a{i}.py", "python", SOURCE[i * 40 :], "") for i in range(6)]
    pairs = [
        Pair(
            text=f"compute the area of {i} items",
            code=f"def f():\n    return {i}",
            bare_body=f"total = {i} * height",
            description="",
            language="python",
            name="f",
            kind="function",
            path="a.py",
            start_line=1,
        )
        for i in range(8)
    ]
    settings = tokens_station.Settings(workers=1)
    tokens_station.write(documents, pairs, tokenizer, folder / "tokens", held_out=pairs, settings=settings)
    return folder, tokenizer, tokens_station.open_tokens(folder / "tokens")


def stage_settings(**changes) -> stage.Settings:
    shape = Config(32, 2, 4, max_position_embeddings=64).without_dropout()
    examples_settings = examples.Settings(max_tokens=64, batch_tokens=512)
    return replace(stage.Settings(shape, examples_settings, loop.Settings(60, 5, 1e-2), micro_tokens=256), **changes)


def test_stage_one_learns_scores_and_publishes(made, tmp_path, computed_in, with_pictures):
    """In bf16 the first losses agree within rounding; later losses differ because the weights do."""
    _, tokenizer, tokens = made
    steps = {"fp32": 60, "bf16": 30}[computed_in]
    settings = stage_settings(loop=loop.Settings(steps, 5, 1e-2, precision=computed_in, evaluations=2))
    artifact = stage.run(settings, tokens, tokenizer, tmp_path / "model", checkpoints=tmp_path / "kept")
    facts = artifact.facts["pretrain"]
    assert facts["loss"] < 3.5 < np.log(320) and 0 < facts["mrr"] <= 100 and facts["steps"] == steps
    assert {"curves.png", "metrics.jsonl", "model.safetensors"} <= {file.name for file in artifact.path.iterdir()}
    again = stage.run(replace(settings, micro_tokens=512), tokens, tokenizer, tmp_path / "again")
    assert again.facts["pretrain"]["tokens"] == facts["tokens"]
    repeated, expected = losses(tmp_path / "again"), losses(tmp_path / "model")
    if computed_in == "fp32":
        assert repeated == pytest.approx(expected, rel=1e-3)
    else:
        of_loss, _ = bf16_rounding(settings.encoder)
        assert repeated[0] == pytest.approx(expected[0], rel=2 * of_loss) and again.facts["pretrain"]["loss"] < 3.5


@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("across", [False, True])
def test_stage_one_compiles_nothing_after_the_clock_starts(made, tmp_path, monkeypatch, across):
    _, tokenizer, tokens = made
    torch._dynamo.reset()
    compile_blocks = partial(precision.compile_blocks, backend="aot_eager", across=across)
    monkeypatch.setattr(precision, "compile_blocks", compile_blocks)
    rate_at, counted = loop.rate_at, [precision.graphs()]
    monkeypatch.setattr(loop, "rate_at", lambda *now: counted.append(precision.graphs()) or rate_at(*now))
    stage.run(stage_settings(loop=replace(SETTINGS, steps=6, compile=True)), tokens, tokenizer, tmp_path / "model")
    assert counted[1:] == [counted[0] + 3] * 6 and precision.graphs() == counted[1]


def test_impossible_training_is_refused_early(made, tmp_path, monkeypatch):
    _, tokenizer, tokens = made
    other = tokenizers.train([SOURCE], tmp_path / "other", settings=tokenizers.Settings(vocab_size=300))
    with pytest.raises(CodesageError, match="another tokenizer"):
        stage.run(stage_settings(), tokens, other, tmp_path / "model")
    short = Config(32, 2, 4, max_position_embeddings=32)
    with pytest.raises(CodesageError, match="windows of 64 tokens, but the encoder has 32"):
        stage.run(stage_settings(encoder=short), tokens, tokenizer, tmp_path / "model")
    monkeypatch.setattr(estimate, "checkpoint_bytes", lambda config: 10**16)
    with pytest.raises(CodesageError, match="GB free"):
        stage.run(stage_settings(), tokens, tokenizer, tmp_path / "model", checkpoints=tmp_path / "kept")
    assert not (tmp_path / "model").exists() and not (tmp_path / "kept").exists()
    with pytest.raises(CodesageError, match="micro_tokens is 8"):
        stage_settings(micro_tokens=8)


def test_a_dry_run_prints_the_cost_and_writes_nothing(made, tmp_path):
    folder, _, _ = made
    done = run(
        "pretrain",
        folder / "tokens",
        "--tokenizer",
        folder / "tokenizer",
        "--size",
        "toy",
        "--steps",
        "100",
        "--out",
        tmp_path / "model",
        "--dry-run",
    )
    words = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert words.keys() == {"parameters", "memory", "disk", "tokens", "device", "time"} and "100 steps" in words["tokens"]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_from_a_model_counts_its_parameters(made, tmp_path):
    folder, tokenizer, _ = made
    config = Config(32, 1, 4, vocab_size=tokenizer.vocab_size, max_position_embeddings=256)
    save_weights(Encoder(config), tmp_path)
    tokenizer.save(tmp_path)
    app = typer.Typer()
    app.command()(commands.pretrain)
    words = [folder / "tokens", "--model", tmp_path, "--size", "toy", "--steps", 1, "--out", tmp_path / "model", "--dry-run"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0 and done.output.split()[:2] == ["parameters", f"{config.parameters():,}"]


def test_options_of_stage_one_reach_its_settings(made, tmp_path, monkeypatch):
    folder, _, _ = made
    used = []
    monkeypatch.setattr(stage, "run", lambda settings, *_, **__: used.append(settings) or sys.exit(0))
    app = typer.Typer()
    app.command()(commands.pretrain)
    given = [folder / "tokens", "--tokenizer", folder / "tokenizer", "--size", "toy", "--out", tmp_path / "model"]

    def invoke(line):
        return CliRunner().invoke(app, [*map(str, given), *line.split()])

    invoke("")
    invoke(
        "--objective sequential --mask-rate 0.2,0.4 --mask-style 80-10-10 --random-offsets --end-each --max-tokens 48"
        " --batch-tokens 480 --initial normal --position-scale 1.5 --learning-rate 0.01 --warm-up 0.5 --steps 10"
    )
    plain, changed = used
    assert plain.examples == recipes.pretraining("toy").examples
    assert (changed.initial, changed.position_scale) == ("normal", 1.5)
    assert (changed.loop.learning_rate, changed.loop.warmup_steps) == (0.01, 5)
    examples = changed.examples
    assert (examples.objective, examples.mask_rate, examples.mask_style) == ("sequential", (0.2, 0.4), "80-10-10")
    assert examples.random_offsets and examples.end_each
    assert (examples.max_tokens, examples.batch_tokens) == (48, 480)
    for line, message in (
        ("--mask-rate a", "expected a share"),
        ("--mask-rate 0.1,0.2,0.3", "expected a share"),
        ("--mask-rate 1.5", "mask_rate is 1.5"),
        ("--objective both", "expected one of parallel"),
        ("--initial zero", "initial"),
        ("--model default --initial normal", "--initial and --position-scale are for a run from new weights"),
        ("--model default --position-scale 0", "--initial and --position-scale are for a run from new weights"),
    ):
        assert re.search(message, str(invoke(line).exception)), line
    assert len(used) == 2


def test_a_run_of_an_older_version_may_lack_newer_settings():
    now = {"encoder": asdict(Config(64, 2, 4)), "loop": {"steps": 3}}
    was = {**now, "encoder": {name: value for name, value in now["encoder"].items() if name != "head_dim"}}
    assert not checkpoints.first_difference(*loop._comparable(was, now))
    other = {**now, "encoder": asdict(Config(64, 2, 4, head_dim=8))}
    assert "head_dim" in checkpoints.first_difference(*loop._comparable(was, other))


def test_sigterm_on_the_command_line_then_the_command_it_names(made, tmp_path):
    folder, _, _ = made
    words = [
        "pretrain",
        str(folder / "tokens"),
        "--tokenizer",
        str(folder / "tokenizer"),
        "--size",
        "toy",
        "--steps",
        "12",
        "--out",
        str(tmp_path / "model"),
        "--threads",
        "1",
    ]
    process = subprocess.Popen([sys.executable, "-m", "codesage", *words], stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "model.checkpoints" / "pretrain" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n") >= 2):
        time.sleep(0.02)
    process.terminate()
    output = process.communicate()[1]
    assert process.returncode == 2 and "Traceback" not in output
    assert shlex.join(["codesage", *words]) in output.splitlines()[-1]
    done = run(*words)
    assert "resuming from" in done.stderr and "steps 12" in done.stdout
    assert [line["step"] for line in lines(tmp_path / "model") if "loss" in line] == list(range(12))
