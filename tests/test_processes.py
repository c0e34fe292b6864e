"""Two processes on one machine (gloo) against one: equal losses, gradients and weights, and one clear line on a death.

This file is also the program of the processes: `python test_processes.py WHAT FOLDER`, with torchrun's environment.
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

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from codesage import CodesageError
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder
from codesage.pretrain import stage
from codesage.pretrain.examples import Batch
from codesage.training import loop, order, precision, processes

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


def gradients_into(folder: Path, *, sharded: bool) -> None:
    """The gradients of one global batch, by micro-batches, as process 0 has them in the end."""
    encoder = made()
    processes.same_weights(encoder)
    if sharded and processes.world() > 1:
        processes.shard(encoder)
    loss, tokens = stage.gradients(encoder, Share().at(0), micro_tokens=40)
    processes.sum_gradients(encoder)
    loss, tokens = processes.total([float(loss), tokens])
    found = {name: processes.whole(p.grad).clone() for name, p in encoder.named_parameters() if p.grad is not None}
    if processes.rank() == 0:
        found["loss"] = torch.tensor([loss, tokens], dtype=torch.float64)
        save_file(found, folder / f"{processes.world()}.safetensors")


def run_into(folder: Path, *, sharded: bool, compiled: bool = False, before=lambda step: None) -> None:
    """A run of some steps with checkpoints; metrics and weights stay in `folder`."""
    encoder, count = made(), iter(range(1000))
    settings = loop.Settings(12, 2, 1e-2, checkpoint_steps=4, shard=sharded, compile=compiled)

    def gradients_of(batch: Batch) -> tuple[Tensor, int]:
        before(next(count))
        return stage.gradients(encoder, batch, micro_tokens=40)

    out = folder / f"out{processes.rank()}"
    out.mkdir(exist_ok=True)
    loop.train(encoder, settings, batches=Share(), gradients_of=gradients_of, warm_up=partial(stage.warm_up, encoder),
               folder=out, stage="pretrain", checkpoints=folder / "kept")  # fmt: skip
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
        loop.train(encoder, loop.Settings(3, 1, 1e-2, shard=True), batches=Share(), folder=out, stage=name,
                   gradients_of=lambda batch: stage.gradients(encoder, batch, micro_tokens=40))  # fmt: skip
    whole = processes.unsharded(encoder)
    if processes.rank() == 0:
        save_file({name: tensor.clone() for name, tensor in whole.state_dict().items()}, folder / "weights.safetensors")


def compiled_into(folder: Path) -> None:
    """A sharded run of compiled blocks, all of them compiled before its first step."""
    precision.compile_blocks, rate_at = partial(precision.compile_blocks, backend="aot_eager"), loop.rate_at
    counted = []
    loop.rate_at = lambda *now: counted.append(precision.graphs()) or rate_at(*now)
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
    "gradients": lambda folder: gradients_into(folder, sharded=False),
    "sharded gradients": lambda folder: gradients_into(folder, sharded=True),
    "run": lambda folder: run_into(folder, sharded=False),
    "sharded run, resumed": twice,
    "sharded run, compiled": compiled_into,
    "sharded phases": phases_into,
    "gather": gathered_into,
    "die": die,
}


def main() -> None:
    torch.set_num_threads(1)
    try:
        processes.start(timeout_seconds=60)
        PROGRAMS[sys.argv[1]](Path(sys.argv[2]))
        processes.stop()
    except CodesageError as error:
        print(f"codesage: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def launch(what: str, folder: Path, *, world: int) -> list[tuple[int, str]]:
    """Run a program in `world` processes; (exit status, stderr) of each."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, __file__, what, str(folder)], stderr=subprocess.PIPE, text=True,
                         env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(world)
    ]  # fmt: skip
    return [(process.wait(timeout=240), process.communicate()[1]) for process in started]


def finished(what: str, folder: Path, *, world: int) -> Path:
    for status, said in launch(what, folder, world=world):
        assert status == 0, said[-2000:]
    return folder


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "out0" / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process, in this one."""
    folder = tmp_path_factory.mktemp("alone")
    gradients_into(folder, sharded=False)
    run_into(folder, sharded=False)
    return folder


@pytest.mark.parametrize("what", ["gradients", "sharded gradients"])
def test_two_processes_find_the_gradients_of_one(alone, tmp_path, what):
    one, two = load_file(alone / "1.safetensors"), load_file(finished(what, tmp_path, world=2) / "2.safetensors")
    assert one.keys() == two.keys() and one["loss"][1] == two["loss"][1]
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("what", ["run", "sharded run, resumed", "sharded run, compiled"])
def test_two_processes_take_the_steps_of_one(alone, tmp_path, what):
    finished(what, tmp_path, world=2)
    np.testing.assert_allclose(losses(tmp_path), losses(alone), rtol=1e-9)
    assert not (tmp_path / "out1" / "metrics.jsonl").exists()
    one, two = load_file(alone / "weights.safetensors"), load_file(tmp_path / "weights.safetensors")
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-9, rtol=1e-7)


def test_a_second_phase_goes_on_with_a_sharded_encoder(tmp_path):
    phases_into(tmp_path / "one")
    two = finished("sharded phases", tmp_path / "two", world=2)
    one, two = (load_file(folder / "weights.safetensors") for folder in (tmp_path / "one", two))
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-9, rtol=1e-7)


def test_one_process_goes_on_where_two_were_killed(alone, tmp_path):
    (_, said), (killed, _) = launch("die", tmp_path, world=2)
    assert killed == -signal.SIGKILL
    assert "process 0 of 2 lost another one during pretrain" in said and "resumes from the last checkpoint" in said
    assert "Traceback" not in said
    run_into(tmp_path, sharded=False)
    np.testing.assert_allclose(losses(tmp_path), losses(alone), rtol=1e-9)


def test_gathered_rows_carry_the_gradient_of_all(tmp_path):
    finished("gather", tmp_path, world=2)
    rows = torch.arange(20.0).reshape(5, 4).sin().requires_grad_()
    loss = (rows @ rows.T).exp().sum() / 5
    loss.backward()
    found = [load_file(tmp_path / f"rank{rank}.safetensors") for rank in range(2)]
    assert sum(part["loss"].item() for part in found) == pytest.approx(loss.item(), rel=1e-6)
    for rank, part in enumerate(found):
        torch.testing.assert_close(part["gradient"], rows.grad[rank::2])


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
