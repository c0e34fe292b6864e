"""Two processes on one machine (gloo) compared with one: equal losses, gradients and weights; a clear line if one dies.

Equality is tested in float64, with precision fp32, where a difference is a bug and not rounding. Runs in bf16 are also
compared, within the rounding of bf16. This file is also the program that starts the two processes, which run all of PROGRAMS
in turn: `python test_processes.py FOLDER`, with torchrun's environment.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from codesage import CodesageError
from codesage.contrast import batches
from codesage.contrast import stage as contrast
from codesage.corpus.tokens import tokenised as token_files
from codesage.corpus.tokens.tokenised import Tokens, open_tokens
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder
from codesage.pretrain import stage
from codesage.pretrain.examples import Batch
from codesage.records import Pair
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import train as train_tokenizer
from codesage.training import loop, order, precision, processes
from rounding import UNIT, bf16_rounding, distance

CONFIG = Config(32, 2, 4, vocab_size=100, max_position_embeddings=64).without_dropout()


class Windows:
    """Global batches of Stage I by step: windows of many lengths, with a fifth of each hidden."""

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        rng = np.random.default_rng((3, step))
        lengths = sorted(rng.integers(8, 30, size=7).tolist())
        chosen = order.share(np.arange(7), rank, world)
        windows, hidden, labels, at = [], [], [], 0
        for i, length in enumerate(lengths):
            ids = (rng.integers(0, 60) + np.arange(length)) % 90
            gone = np.sort(rng.choice(length, size=1 + i, replace=False))  # so that shares hide different numbers of tokens
            if i in chosen:
                labels.append(ids[gone])
                hidden.append(at + gone)
                windows.append(np.where(np.isin(np.arange(length), gone), 99, ids))
                at += length
        return Batch(np.concatenate(windows), np.concatenate(labels), np.concatenate(hidden), [lengths[i] for i in chosen])


def made() -> Encoder:
    torch.manual_seed(processes.rank())  # different on purpose: all must get the first process's weights
    return Encoder(CONFIG).double()  # in float32, Adam turns rounding of a near-zero gradient into a step


class Calls(TorchDispatchMode):
    """Counts the collective operations in the block, and notes the dtypes that are sent."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "c10d":
            for tensor in [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)][:1]:
                name = f"{function._opname} {tensor.dtype}".replace("torch.", "")
                self.counts[name] = self.counts.get(name, 0) + 1
        return function(*args, **(kwargs or {}))


def gradients_into(folder: Path, *, sharded: bool, bf16: bool = False) -> None:
    """Save the gradients of one global batch, computed in micro-batches, from process 0."""
    encoder, dtype = (made().float(), torch.bfloat16) if bf16 else (made(), None)
    processes.same_weights(encoder)
    if sharded and processes.world() > 1:
        processes.shard(encoder, gathered_as=dtype)
    calls = Calls()
    with precision.Autocast(torch.device("cpu"), dtype)(), calls:
        batch = Windows().at(0, rank=processes.rank(), world=processes.world())
        loss, tokens = stage.gradients(encoder, batch, micro_tokens=40)
    (folder / "calls.json").write_text(json.dumps(calls.counts))
    processes.sum_gradients(encoder)
    loss, tokens = processes.total([float(loss), tokens])
    tensors = {name: processes.whole(p.grad).clone() for name, p in encoder.named_parameters() if p.grad is not None}
    if processes.rank() == 0:
        tensors["loss"] = torch.tensor([loss, tokens], dtype=torch.float64)
        save_file(tensors, folder / "gradients.safetensors")


def run_into(folder: Path, *, sharded: bool, compiled: bool = False, before=lambda step: None) -> None:
    """Train a few steps with checkpoints; metrics and weights are left in `folder`."""
    encoder, count = made(), iter(range(1000))
    settings = loop.Settings(12, 2, 1e-2, precision="fp32", checkpoint_steps=4, shard=sharded, compile=compiled)

    def gradients_of(batch: Batch) -> tuple[Tensor, int]:
        before(next(count))
        return stage.gradients(encoder, batch, micro_tokens=40)

    out = folder / f"out{processes.rank()}"
    out.mkdir(exist_ok=True)
    run = loop.Run("pretrain", out, Windows(), gradients_of, partial(stage.warm_up, encoder), checkpoints=folder / "kept")
    loop.train(encoder, settings, run)
    whole = processes.unsharded(encoder)
    if processes.rank() == 0:
        save_file({name: tensor.clone() for name, tensor in whole.state_dict().items()}, folder / "weights.safetensors")


def gathered_into(folder: Path) -> None:
    """Save the gradients of a loss over all rows, when each process computes the rows of its own queries."""
    rows = torch.arange(20.0).reshape(5, 4).sin()
    own = rows[processes.rank() :: processes.world()].clone().requires_grad_()
    everything = processes.gather_with_gradient(own)
    loss = (own @ everything.T).exp().sum() / 5
    loss.backward()
    save_file({"gradient": own.grad, "loss": loss.detach()[None]}, folder / f"rank{processes.rank()}.safetensors")


def taught_into(folder: Path) -> None:
    """Save Stage II's loss with a teacher and a larger encoder, and its gradients for the vectors of each process."""
    own = [side[processes.rank() :: processes.world()] for side in lesson()]
    vectors = torch.cat(own[:2]).clone().requires_grad_()
    loss = contrast.loss_of(vectors, settings=LESSON, teacher_PW=own[2], larger_ND=torch.cat(own[3:]))
    loss.backward()
    save_file({"gradient": vectors.grad, "loss": loss.detach()[None]}, folder / f"rank{processes.rank()}.safetensors")


def contrasted_into(folder: Path) -> None:
    """Save losses, counts and gradients of global batches of Stage II, from process 0."""
    tokens, steps = open_tokens(folder / "tokens"), []
    for settings, step in contrast_batches():
        encoder = contrast_encoder(tokens)
        batch = drawn(tokens, settings).at(step, rank=processes.rank(), world=processes.world())
        loss, count = contrast.gradients(encoder, settings, batch)
        processes.sum_gradients(encoder)
        loss, count = processes.total([float(loss), count])
        steps.append((loss, count, {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}))
    if processes.rank() == 0:
        torch.save(steps, folder / "steps.pt")


def contrast_encoder(tokens: Tokens) -> Encoder:
    torch.manual_seed(4)
    return Encoder(Config(16, 2, 2, vocab_size=tokens.vocab_size, max_position_embeddings=48).without_dropout()).double()


def drawn(tokens: Tokens, settings: contrast.Settings) -> batches.Batches:
    mined = np.arange(len(tokens.pairs))[:, None] % 7  # few different numbers, so that some are skipped
    return batches.Batches(tokens, settings.batches, mined=mined.astype(np.int32))


def contrast_batches() -> list[tuple[contrast.Settings, int]]:
    """Pairs of settings and a step: documented pairs, then the entries of a mixture, one with mined negatives."""
    plain = batches.Settings(batch_pairs=9, text_tokens=32, code_tokens=48)
    mixed = replace(plain, batch_pairs=5, mix={"function": 1.0, "parallel": 1.0}, mined_negatives=1)
    options = {"negatives": "mean_one", "matryoshka_dims": (4, 16), "micro_tokens": 40}
    steps = loop.Settings(3, 1, 1e-3)
    return [
        (contrast.Settings(steps, part, **options), step) for part, step in ((plain, 1), (mixed, 0), (mixed, 1), (mixed, 2))
    ]


def contrast_tokens(folder: Path) -> None:
    """Tokens of documented functions, and of groups of code that does the same."""
    words = [(verb, noun) for verb in ("open", "close", "read", "write", "find") for noun in ("file", "door", "book", "lock")]
    documented = [
        Pair(
            f"{verb} the {noun}",
            f"def {verb}({noun}):\n    {i}",
            f"{noun}.{verb}({i})",
            "",
            "python",
            verb,
            "function",
            "a.py",
            1,
        )
        for i, (verb, noun) in enumerate(words)
    ]
    alike = [
        Pair("", f"{verb} = {i} + {noun}", "", "", language, verb, "parallel", "a.py", 1, group=f"{verb} {noun}")
        for i, (verb, noun) in enumerate(words)
        for language in ("go", "java")
    ]
    texts = [pair.text + pair.code for pair in documented]
    tokenizer = train_tokenizer(texts, folder / "tokenizer", settings=TokenizerSettings(vocab_size=300))
    options = token_files.Settings(text_tokens=32, code_tokens=48, workers=1)
    token_files.write([], documented + alike, tokenizer, folder / "tokens", settings=options)


LESSON = contrast.Settings(loop.Settings(1, 1, 1e-3), teacher_weight=0.7, distil_weight=3.0)


def lesson() -> tuple[Tensor, ...]:
    """Vectors of seven texts, of their codes, the teacher's vectors of the texts, and a larger encoder's of both sides."""
    text, code, teacher, *larger = torch.randn(5, 7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return text, code, torch.nn.functional.normalize(teacher, dim=-1), *larger


def die(folder: Path) -> None:
    """Kill process 1 in step 6."""

    def before(step: int) -> None:
        if step == 6 and processes.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    run_into(folder, sharded=False, before=before)


def phases_into(folder: Path) -> None:
    """Run two sharded phases of one encoder on the same batches, as in Stage II."""
    encoder = made()
    for name in ("shallow", "contrast"):
        out = folder / f"{name}{processes.rank()}"
        out.mkdir(parents=True)
        run = loop.Run(name, out, Windows(), lambda batch: stage.gradients(encoder, batch, micro_tokens=40))
        loop.train(encoder, loop.Settings(3, 1, 1e-2, precision="fp32", shard=True), run)
    whole = processes.unsharded(encoder)
    if processes.rank() == 0:
        save_file({name: tensor.clone() for name, tensor in whole.state_dict().items()}, folder / "weights.safetensors")


def refused_into(folder: Path, *, sharded: bool) -> None:
    """Run where the part of the last process has a loss, then a gradient, that is not finite."""
    count, gradients = iter(range(1000)), stage.gradients

    def spoiled(encoder: Encoder, batch: Batch, **options) -> tuple[Tensor, int]:
        step, last = next(count), processes.rank() == processes.world() - 1
        loss, tokens = gradients(encoder, batch, **options)
        if last and step == 5 and encoder.wte.weight.grad is not None:
            encoder.wte.weight.grad.mul_(np.nan)
        return loss * (np.nan if last and step in (3, 11) else 1), tokens

    with mock.patch.object(stage, "gradients", spoiled):
        run_into(folder, sharded=sharded)


def compiled_into(folder: Path) -> None:
    """Run sharded with compiled blocks, which are all compiled before the first step."""
    counted, rate_at = [], loop.rate_at
    plain = partial(precision.compile_blocks, backend="eager")
    with (
        mock.patch.object(precision, "compile_blocks", plain),
        mock.patch.object(loop, "rate_at", lambda *now: counted.append(precision.graphs()) or rate_at(*now)),
    ):
        run_into(folder, sharded=True, compiled=True)
    assert counted == [3] * 12 and precision.graphs() == 3, counted


class Interrupted(Exception):
    pass


def twice(folder: Path) -> None:
    """Run sharded, stop in step 6, and resume from the checkpoint."""

    def before(step: int) -> None:
        if step == 6:
            raise Interrupted

    with contextlib.suppress(Interrupted):
        run_into(folder, sharded=True, before=before)
    run_into(folder, sharded=True)


PROGRAMS = {
    "gather": gathered_into,
    "teacher": taught_into,
    "contrast": contrasted_into,
    "gradients": partial(gradients_into, sharded=False),
    "sharded gradients": partial(gradients_into, sharded=True),
    "bf16 gradients": partial(gradients_into, sharded=False, bf16=True),
    "sharded bf16 gradients": partial(gradients_into, sharded=True, bf16=True),
    "run": partial(run_into, sharded=False),
    "sharded run, resumed": twice,
    "sharded run, compiled": compiled_into,
    "sharded phases": phases_into,
    "refused": partial(refused_into, sharded=False),
    "sharded refused": partial(refused_into, sharded=True),
    "die": die,  # must be last: it ends both processes
}


def member(folder: Path, rank: int) -> None:
    """Process `rank` of the group: run all programs, each in its part of `folder`."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.dup2(os.open(folder / f"stderr{rank}", os.O_WRONLY | os.O_CREAT), sys.stderr.fileno())
    torch.set_num_threads(1)
    try:
        processes.start(timeout_seconds=60)
        for name, program in PROGRAMS.items():
            program(folder / name)
    except CodesageError as error:
        print(f"codesage: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def main(folder: Path) -> None:
    """Import what the programs need, then fork the group, so that it is imported once. Prints the exit status of each."""
    import torch._dynamo
    import torch.distributed.fsdp  # noqa: F401

    forking = multiprocessing.get_context("fork")
    group = [forking.Process(target=member, args=(folder, rank)) for rank in range(int(os.environ["WORLD_SIZE"]))]
    for process in group:
        process.start()
    for process in group:
        process.join()
    print(*(process.exitcode for process in group))


def launch(folder: Path, *, world: int) -> list[tuple[int, str]]:
    """Run all programs in `world` processes, each in its part of `folder`. Returns (exit status, stderr) per process."""
    for name in PROGRAMS:
        (folder / name).mkdir()
    contrast_tokens(folder / "contrast")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | group, timeout=600, check=True)
    return [(int(status), (folder / f"stderr{rank}").read_text()) for rank, status in enumerate(done.stdout.split())]


def losses(folder: Path) -> list[float]:
    return [np.nan if row["loss"] is None else row["loss"] for row in rows(folder)]


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "out0" / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The results of a single process, which is this one."""
    folder = tmp_path_factory.mktemp("alone")
    for name in ("gradients", "bf16 gradients", "run", "phases", "refused"):
        (folder / name).mkdir()
    gradients_into(folder / "gradients", sharded=False)
    gradients_into(folder / "bf16 gradients", sharded=False, bf16=True)
    run_into(folder / "run", sharded=False)
    phases_into(folder / "phases")
    refused_into(folder / "refused", sharded=False)
    return folder


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Returns (folder, stderr of the first process) after two processes ran all programs and the last killed the second."""
    folder = tmp_path_factory.mktemp("two")
    (_, output), (killed, other) = launch(folder, world=2)
    assert killed == -signal.SIGKILL, output[-2000:] + other[-2000:]
    return folder, output


@pytest.fixture(scope="module")
def two(two_processes):
    return two_processes[0]


@pytest.mark.parametrize("what", ["gradients", "sharded gradients"])
def test_two_processes_compute_the_gradients_of_one(alone, two, what):
    shared, expected = (load_file(folder / "gradients.safetensors") for folder in (two / what, alone / "gradients"))
    assert expected.keys() == shared.keys() and expected["loss"][1] == shared["loss"][1]
    for name in expected:
        torch.testing.assert_close(shared[name], expected[name], atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("what", ["bf16 gradients", "sharded bf16 gradients"])
def test_two_processes_compute_the_gradients_of_one_in_bf16(alone, two, what):
    """Each side differs from the gradient in fp32 by the bound of bf16_rounding, so from the other by twice the bound."""
    shared, expected = (load_file(folder / "gradients.safetensors") for folder in (two / what, alone / "bf16 gradients"))
    exact = load_file(alone / "gradients" / "gradients.safetensors")
    assert expected.keys() == shared.keys() and expected["loss"][1] == shared["loss"][1]
    loss, gradient = bf16_rounding(CONFIG)
    assert shared.pop("loss")[0].item() == pytest.approx(expected.pop("loss")[0].item(), rel=2 * loss)
    assert {tensor.dtype for tensor in shared.values()} == {torch.float32}
    sides = [torch.cat([side[name].double().flatten() for name in sorted(shared)]) for side in (shared, expected, exact)]
    assert distance(sides[0], sides[1]) < 2 * gradient and UNIT / 64 < distance(sides[0], sides[2]) < gradient


@pytest.mark.parametrize(("what", "blocks"), [("sharded gradients", "float64"), ("sharded bf16 gradients", "bfloat16")])
def test_sharded_weights_are_gathered_and_gradients_summed_once_a_step(two, what, blocks):
    """One call for each block and one for the rest, whatever the number of micro-batches; blocks in the dtype of the run."""
    calls = json.loads((two / what / "calls.json").read_text())
    whole = "float64" if blocks == "float64" else "float32"
    gathered = {name.split()[1]: count for name, count in calls.items() if name.startswith("_allgather_base_")}
    assert gathered == ({whole: 3} if blocks == whole else {blocks: 2, whole: 1})
    assert calls[f"_reduce_scatter_base_ {whole}"] == 3


@pytest.mark.parametrize("what", ["run", "sharded run, resumed", "sharded run, compiled"])
def test_two_processes_take_the_steps_of_one(alone, two, what):
    np.testing.assert_allclose(losses(two / what), losses(alone / "run"), rtol=1e-9)
    assert not (two / what / "out1" / "metrics.jsonl").exists()
    shared, expected = (load_file(folder / "weights.safetensors") for folder in (two / what, alone / "run"))
    for name in expected:
        torch.testing.assert_close(shared[name], expected[name], atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("what", ["refused", "sharded refused"])
def test_two_processes_refuse_a_step_of_which_one_has_a_bad_part(alone, two, what):
    shared, expected = (rows(folder) for folder in (two / what, alone / "refused"))
    assert [row["step"] for row in shared if row["skipped"]] == [3, 5, 11] and len(shared) == 12
    assert [row["skipped"] for row in shared] == [row["skipped"] for row in expected]
    np.testing.assert_allclose(losses(two / what), losses(alone / "refused"), rtol=1e-9)
    shared, expected = (load_file(folder / "weights.safetensors") for folder in (two / what, alone / "refused"))
    for name in expected:
        torch.testing.assert_close(shared[name], expected[name], atol=1e-9, rtol=1e-7)


def test_a_second_phase_continues_with_a_sharded_encoder(alone, two):
    shared, expected = (load_file(folder / "weights.safetensors") for folder in (two / "sharded phases", alone / "phases"))
    for name in expected:
        torch.testing.assert_close(shared[name], expected[name], atol=1e-9, rtol=1e-7)


def test_one_process_resumes_where_two_were_killed(alone, two_processes):
    folder, output = two_processes
    assert "process 0 of 2 lost another one during pretrain" in output and "resumes from the last checkpoint" in output
    assert "Traceback" not in output
    run_into(folder / "die", sharded=False)
    np.testing.assert_allclose(losses(folder / "die"), losses(alone / "run"), rtol=1e-9)


def test_gathered_rows_carry_the_gradient_of_all(two):
    rows = torch.arange(20.0).reshape(5, 4).sin().requires_grad_()
    loss = (rows @ rows.T).exp().sum() / 5
    loss.backward()
    parts = [load_file(two / "gather" / f"rank{rank}.safetensors") for rank in range(2)]
    assert sum(part["loss"].item() for part in parts) == pytest.approx(loss.item(), rel=1e-6)
    for rank, part in enumerate(parts):
        torch.testing.assert_close(part["gradient"], rows.grad[rank::2])


def test_two_processes_learn_from_a_teacher_and_a_larger_encoder_as_one(two):
    text, code, teacher, *larger = lesson()
    vectors = torch.cat([text, code]).requires_grad_()
    loss = contrast.loss_of(vectors, settings=LESSON, teacher_PW=teacher, larger_ND=torch.cat(larger))
    loss.backward()
    parts = [load_file(two / "teacher" / f"rank{rank}.safetensors") for rank in range(2)]
    assert sum(part["loss"].item() for part in parts) == pytest.approx(loss.item(), rel=1e-9)
    for rank, part in enumerate(parts):
        expected = torch.cat([side[rank::2] for side in vectors.grad.chunk(2)])
        torch.testing.assert_close(part["gradient"], expected, atol=1e-12, rtol=1e-9)


def test_two_processes_give_the_gradients_of_one_in_stage_two(two):
    tokens, sizes = open_tokens(two / "contrast" / "tokens"), []
    for (settings, step), (loss, count, summed) in zip(
        contrast_batches(), torch.load(two / "contrast" / "steps.pt"), strict=True
    ):
        encoder, batch = contrast_encoder(tokens), drawn(tokens, settings).at(step)
        expected, own_count = contrast.gradients(encoder, settings, batch)
        assert loss == pytest.approx(expected.item(), rel=1e-12) and count == own_count
        own = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
        torch.testing.assert_close(summed, own, rtol=1e-8, atol=1e-11)
        sizes.append((len(batch.pair_P), batch.pair_P.tolist() == batch.partner_P.tolist()))
    assert (9, True) in sizes and (5, False) in sizes and any(size > 5 and same for size, same in sizes[1:])


def test_micro_batches_leave_the_gradients_of_the_whole_batch():
    encoder, results = made(), []
    for most in (10**6, 40, 30):
        encoder.zero_grad()
        loss, tokens = stage.gradients(encoder, Windows().at(1), micro_tokens=most)
        results.append((loss, tokens, [p.grad.clone() for p in encoder.parameters()]))
    for loss, tokens, gradients in results[1:]:
        assert tokens == results[0][1] and loss.item() == pytest.approx(results[0][0].item(), rel=1e-6)
        for gradient, whole in zip(gradients, results[0][2], strict=True):
            torch.testing.assert_close(gradient, whole, atol=1e-6, rtol=1e-5)


def test_processes_that_never_come_are_one_line(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29987"}.items():
        monkeypatch.setenv(name, value)
    started = time.monotonic()
    with pytest.raises(CodesageError, match="cannot join the others"):
        processes.start(timeout_seconds=2)
    assert time.monotonic() - started < 30


if __name__ == "__main__":
    main(Path(sys.argv[1]))
