"""Two processes on one machine (gloo) against one: equal losses, gradients and weights, and one clear line on a death.

Equality is shown in float64, with precision fp32: there a difference is a fault, not a rounding. What users get where the
processor has bf16 is compared too, within the rounding of bf16. This file is also the program of the two processes, which
are started once and run all of PROGRAMS in turn: `python test_processes.py FOLDER`, with torchrun's environment.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from codesage import CodesageError
from codesage.contrast import stage as contrast
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder
from codesage.pretrain import stage
from codesage.pretrain.examples import Batch
from codesage.training import curves, loop, order, precision, processes
from rounding import UNIT, bf16_rounding, distance

CONFIG = Config(32, 2, 4, vocab_size=100, max_position_embeddings=64).without_dropout()


class Windows:
    """Global batches of Stage I by step: windows of many lengths, a fifth of each hidden."""

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        rng = np.random.default_rng((3, step))
        lengths = sorted(rng.integers(8, 30, size=7).tolist())
        chosen = order.share(np.arange(7), rank, world)
        windows, hidden, labels, at = [], [], [], 0
        for i, length in enumerate(lengths):
            ids = (rng.integers(0, 60) + np.arange(length)) % 90
            gone = np.sort(rng.choice(length, size=1 + i, replace=False))  # so that shares hide unequal numbers
            if i in chosen:
                labels.append(ids[gone])
                hidden.append(at + gone)
                windows.append(np.where(np.isin(np.arange(length), gone), 99, ids))
                at += length
        return Batch(np.concatenate(windows), np.concatenate(labels), np.concatenate(hidden), [lengths[i] for i in chosen])


class Share:
    def at(self, step: int) -> Batch:
        return Windows().at(step, rank=processes.rank(), world=processes.world())


def made() -> Encoder:
    torch.manual_seed(processes.rank())  # unequal on purpose: the first process's weights must reach the others
    return Encoder(CONFIG).double()  # in float32, Adam makes a step of any size from the rounding of a gradient near zero


def gradients_into(folder: Path, *, sharded: bool, bf16: bool = False) -> None:
    """The gradients of one global batch, by micro-batches, as process 0 has them in the end."""
    encoder = made().float() if bf16 else made()
    processes.same_weights(encoder)
    if sharded and processes.world() > 1:
        processes.shard(encoder)
    with precision.Autocast(torch.device("cpu"), torch.bfloat16 if bf16 else None)():
        loss, tokens = stage.gradients(encoder, Share().at(0), micro_tokens=40)
    processes.sum_gradients(encoder)
    loss, tokens = processes.total([float(loss), tokens])
    found = {name: processes.whole(p.grad).clone() for name, p in encoder.named_parameters() if p.grad is not None}
    if processes.rank() == 0:
        found["loss"] = torch.tensor([loss, tokens], dtype=torch.float64)
        save_file(found, folder / "gradients.safetensors")


def run_into(folder: Path, *, sharded: bool, compiled: bool = False, before=lambda step: None) -> None:
    """A run of some steps with checkpoints; metrics and weights stay in `folder`."""
    encoder, count = made(), iter(range(1000))
    settings = loop.Settings(12, 2, 1e-2, precision="fp32", checkpoint_steps=4, shard=sharded, compile=compiled)

    def gradients_of(batch: Batch) -> tuple[Tensor, int]:
        before(next(count))
        return stage.gradients(encoder, batch, micro_tokens=40)

    out = folder / f"out{processes.rank()}"
    out.mkdir(exist_ok=True)
    run = loop.Run("pretrain", out, Share(), gradients_of, partial(stage.warm_up, encoder), checkpoints=folder / "kept")
    loop.train(encoder, settings, run)
    whole = processes.unsharded(encoder)
    if processes.rank() == 0:
        save_file({name: tensor.clone() for name, tensor in whole.state_dict().items()}, folder / "weights.safetensors")


def gathered_into(folder: Path) -> None:
    """Gradients of a loss over all rows, each process having computed the rows of its own queries."""
    rows = torch.arange(20.0).reshape(5, 4).sin()
    own = rows[processes.rank() :: processes.world()].clone().requires_grad_()
    everything = processes.gather_with_gradient(own)
    loss = (own @ everything.T).exp().sum() / 5
    loss.backward()
    save_file({"gradient": own.grad, "loss": loss.detach()[None]}, folder / f"rank{processes.rank()}.safetensors")


def taught_into(folder: Path) -> None:
    """Gradients of Stage II's loss with a teacher, with respect to the vectors of each process's own pairs."""
    own = [side[processes.rank() :: processes.world()] for side in lesson()]
    vectors = torch.cat(own[:2]).clone().requires_grad_()
    settings = contrast.Settings(loop.Settings(1, 1, 1e-3), teacher_weight=0.7)
    contrast.loss_of(vectors, settings=settings, teacher_PW=own[2]).backward()
    save_file({"gradient": vectors.grad}, folder / f"rank{processes.rank()}.safetensors")


def lesson() -> tuple[Tensor, Tensor, Tensor]:
    """Vectors of seven texts, of their codes, and the teacher's of the texts."""
    rows = torch.randn(3, 7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return rows[0], rows[1], torch.nn.functional.normalize(rows[2], dim=-1)


def die(folder: Path) -> None:
    """Process 1 is killed in step 6."""

    def before(step: int) -> None:
        if step == 6 and processes.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    run_into(folder, sharded=False, before=before)


def phases_into(folder: Path) -> None:
    """Two sharded phases of one encoder, as Stage II has them, on the same batches."""
    encoder = made()
    for name in ("shallow", "contrast"):
        out = folder / f"{name}{processes.rank()}"
        out.mkdir(parents=True)
        run = loop.Run(name, out, Share(), lambda batch: stage.gradients(encoder, batch, micro_tokens=40))
        loop.train(encoder, loop.Settings(3, 1, 1e-2, precision="fp32", shard=True), run)
    whole = processes.unsharded(encoder)
    if processes.rank() == 0:
        save_file({name: tensor.clone() for name, tensor in whole.state_dict().items()}, folder / "weights.safetensors")


def compiled_into(folder: Path) -> None:
    """A sharded run of compiled blocks, all of them compiled before its first step."""
    counted, rate_at = [], loop.rate_at
    plain = partial(precision.compile_blocks, backend="aot_eager")
    with (
        mock.patch.object(precision, "compile_blocks", plain),
        mock.patch.object(loop, "rate_at", lambda *now: counted.append(precision.graphs()) or rate_at(*now)),
    ):
        run_into(folder, sharded=True, compiled=True)
    assert counted == [3] * 12 and precision.graphs() == 3, counted


class Interrupted(Exception):
    pass


def twice(folder: Path) -> None:
    """A sharded run that ends in step 6 and goes on from its checkpoint."""

    def before(step: int) -> None:
        if step == 6:
            raise Interrupted

    with contextlib.suppress(Interrupted):
        run_into(folder, sharded=True, before=before)
    run_into(folder, sharded=True)


PROGRAMS = {
    "gather": gathered_into,
    "teacher": taught_into,
    "gradients": partial(gradients_into, sharded=False),
    "sharded gradients": partial(gradients_into, sharded=True),
    "bf16 gradients": partial(gradients_into, sharded=False, bf16=True),
    "sharded bf16 gradients": partial(gradients_into, sharded=True, bf16=True),
    "run": partial(run_into, sharded=False),
    "sharded run, resumed": twice,
    "sharded run, compiled": compiled_into,
    "sharded phases": phases_into,
    "die": die,  # the last one: it ends both processes
}


def main() -> None:
    torch.set_num_threads(1)
    curves.draw = lambda metrics, out: None  # two thirds of the time of so small a run
    try:
        processes.start(timeout_seconds=60)
        for name, program in PROGRAMS.items():
            program(Path(sys.argv[1]) / name)
    except CodesageError as error:
        print(f"codesage: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def launch(folder: Path, *, world: int) -> list[tuple[int, str]]:
    """Run all programs in `world` processes, each in its part of `folder`; (exit status, stderr) of each process."""
    for name in PROGRAMS:
        (folder / name).mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as ending:
        started = []
        for rank in range(world):
            own = {**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            command = [sys.executable, __file__, str(folder)]
            process = ending.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=own))
            ending.callback(process.kill)
            started.append(process)
        said = [process.communicate(timeout=600)[1] for process in started]
    return [(process.returncode, text) for process, text in zip(started, said, strict=True)]


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "out0" / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process, in this one."""
    folder = tmp_path_factory.mktemp("alone")
    for name in ("gradients", "bf16 gradients", "run", "phases"):
        (folder / name).mkdir()
    gradients_into(folder / "gradients", sharded=False)
    gradients_into(folder / "bf16 gradients", sharded=False, bf16=True)
    run_into(folder / "run", sharded=False)
    phases_into(folder / "phases")
    return folder


@pytest.fixture(scope="module")
def said_by_two(tmp_path_factory):
    """Two processes have run all programs, and the second was killed in the last: their folder, what the first said."""
    folder = tmp_path_factory.mktemp("two")
    (_, said), (killed, other) = launch(folder, world=2)
    assert killed == -signal.SIGKILL, said[-2000:] + other[-2000:]
    return folder, said


@pytest.fixture(scope="module")
def two(said_by_two):
    return said_by_two[0]


@pytest.mark.parametrize("what", ["gradients", "sharded gradients"])
def test_two_processes_find_the_gradients_of_one(alone, two, what):
    found, expected = (load_file(folder / "gradients.safetensors") for folder in (two / what, alone / "gradients"))
    assert expected.keys() == found.keys() and expected["loss"][1] == found["loss"][1]
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("what", ["bf16 gradients", "sharded bf16 gradients"])
def test_two_processes_find_the_gradients_of_one_in_bf16(alone, two, what):
    """The bound is that of bf16_rounding: each side differs by it from the gradient in fp32, and so twice from the other."""
    found, expected = (load_file(folder / "gradients.safetensors") for folder in (two / what, alone / "bf16 gradients"))
    exact = load_file(alone / "gradients" / "gradients.safetensors")
    assert expected.keys() == found.keys() and expected["loss"][1] == found["loss"][1]
    loss, gradient = bf16_rounding(CONFIG)
    assert found.pop("loss")[0].item() == pytest.approx(expected.pop("loss")[0].item(), rel=2 * loss)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    sides = [torch.cat([side[name].double().flatten() for name in sorted(found)]) for side in (found, expected, exact)]
    assert distance(sides[0], sides[1]) < 2 * gradient and UNIT / 64 < distance(sides[0], sides[2]) < gradient


@pytest.mark.parametrize("what", ["run", "sharded run, resumed", "sharded run, compiled"])
def test_two_processes_take_the_steps_of_one(alone, two, what):
    np.testing.assert_allclose(losses(two / what), losses(alone / "run"), rtol=1e-9)
    assert not (two / what / "out1" / "metrics.jsonl").exists()
    found, expected = (load_file(folder / "weights.safetensors") for folder in (two / what, alone / "run"))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-9, rtol=1e-7)


def test_a_second_phase_goes_on_with_a_sharded_encoder(alone, two):
    found, expected = (load_file(folder / "weights.safetensors") for folder in (two / "sharded phases", alone / "phases"))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-9, rtol=1e-7)


def test_one_process_goes_on_where_two_were_killed(alone, said_by_two):
    folder, said = said_by_two
    assert "process 0 of 2 lost another one during pretrain" in said and "resumes from the last checkpoint" in said
    assert "Traceback" not in said
    run_into(folder / "die", sharded=False)
    np.testing.assert_allclose(losses(folder / "die"), losses(alone / "run"), rtol=1e-9)


def test_gathered_rows_carry_the_gradient_of_all(two):
    rows = torch.arange(20.0).reshape(5, 4).sin().requires_grad_()
    loss = (rows @ rows.T).exp().sum() / 5
    loss.backward()
    found = [load_file(two / "gather" / f"rank{rank}.safetensors") for rank in range(2)]
    assert sum(part["loss"].item() for part in found) == pytest.approx(loss.item(), rel=1e-6)
    for rank, part in enumerate(found):
        torch.testing.assert_close(part["gradient"], rows.grad[rank::2])


def test_two_processes_learn_from_a_teacher_as_one(two):
    text, code, teacher = lesson()
    vectors = torch.cat([text, code]).requires_grad_()
    settings = contrast.Settings(loop.Settings(1, 1, 1e-3), teacher_weight=0.7)
    contrast.loss_of(vectors, settings=settings, teacher_PW=teacher).backward()
    for rank in range(2):
        found = load_file(two / "teacher" / f"rank{rank}.safetensors")["gradient"]
        expected = torch.cat([side[rank::2] for side in vectors.grad.chunk(2)])
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)


def test_micro_batches_leave_the_gradients_of_the_whole_batch():
    encoder, found = made(), []
    for most in (10**6, 40, 30):
        encoder.zero_grad()
        loss, tokens = stage.gradients(encoder, Windows().at(1), micro_tokens=most)
        found.append((loss, tokens, [p.grad.clone() for p in encoder.parameters()]))
    for loss, tokens, gradients in found[1:]:
        assert tokens == found[0][1] and loss.item() == pytest.approx(found[0][0].item(), rel=1e-6)
        for gradient, whole in zip(gradients, found[0][2], strict=True):
            torch.testing.assert_close(gradient, whole, atol=1e-6, rtol=1e-5)


def test_processes_that_never_come_are_one_line(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29987"}.items():
        monkeypatch.setenv(name, value)
    started = time.monotonic()
    with pytest.raises(CodesageError, match="cannot join the others"):
        processes.start(timeout_seconds=2)
    assert time.monotonic() - started < 30


if __name__ == "__main__":
    main()
