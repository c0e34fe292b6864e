"""The code on a device that is not the CPU: everything it computes with is there, and the values are those of the CPU.

These tests run on a device that is one in name only (`other_device.py`), on any machine. What only a real GPU can show is in
`test_gpu.py`.
"""

import itertools
import json
import math
import os
import re
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

import codesage
import test_gpu
from codesage import CodesageError
from codesage import tokenizer as tokenizers
from codesage.ablate import measure
from codesage.classify import training as classifying
from codesage.classify import tuned
from codesage.contrast import embedder, mining
from codesage.contrast import stage as contrasting
from codesage.corpus.tokens import tokenised
from codesage.encoder import sentence, weights
from codesage.encoder.config import Config
from codesage.encoder.folders import BUNDLED
from codesage.encoder.model import Encoder
from codesage.encoder.transfer import Values, sent
from codesage.encoder.weights import load_encoder
from codesage.evaluate import models
from codesage.pretrain import examples
from codesage.pretrain import stage as pretraining
from codesage.training import checkpoints, metrics, precision, processes
from codesage.training import guard as guards
from codesage.training import loop as loops
from command_line import run
from other_device import CUDA, cpu_alone, other_device
from test_ablate import GRID, folder, request, runs  # noqa: F401 (fixture)
from test_evaluate import benchmarks

# The device itself

MIXED = {
    "sum": lambda here, there: here + there,
    "product": lambda here, there: here @ there,
    "join": lambda here, there: torch.cat([here, there]),
    "index there": lambda here, there: here[torch.tensor([0], device="cuda")],
    "gather": lambda here, there: there.gather(0, torch.tensor([0])),
    "in place": lambda here, there: there.add_(here),
    "result": lambda here, there: torch.mm(there[None], there[:, None], out=here[None, :1]),
    "loss": lambda here, there: torch.nn.functional.cross_entropy(there[None], torch.tensor([1])),
    "optimizer": lambda here, there: torch._foreach_add_([there, here], [there, there]),
    "scalar of the device": lambda here, there: here + there.sum(),
}


@pytest.mark.parametrize("mix", MIXED.values(), ids=MIXED)
def test_tensors_of_two_places_do_not_mix(mix):
    with other_device():
        here, there = torch.ones(3), torch.ones(3, device="cuda")
        with pytest.raises(RuntimeError, match="to be on the same device, but found cuda:0 and cpu"):
            mix(here, there)


def test_a_tensor_is_where_it_was_put_and_so_are_its_views_and_results():
    before, real = torch.ones(3), torch.cuda.is_available()
    with other_device() as checks:
        there = before.to("cuda")
        moved = torch.nn.Linear(3, 2).cuda()
        made = [there, there[1:], there.detach(), 2 * there, there + torch.tensor(1.0), there[torch.tensor([0])]]
        made += [moved(there), *moved.parameters(), torch.zeros_like(there), there.new_zeros(2), torch.eye(2, device=CUDA)]
        assert {one.device for one in made} == {CUDA} and all(one.is_cuda for one in made)
        assert {one.device.type for one in (before, there.cpu(), there.to("cpu"), torch.zeros(2))} == {"cpu"}
        assert checks.done["mul.Tensor"] == 1 and there.sum().item() == 3 and there.tolist() == [1, 1, 1]
        for read in (there.numpy, lambda: np.asarray(there)):
            with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
                read()
        assert there.cpu().numpy().tolist() == [1, 1, 1]
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            before.to("cuda:1")
    assert torch.cuda.is_available() == real and before.device.type == "cpu"


def test_the_device_draws_from_a_random_state_of_its_own():
    with other_device():
        torch.manual_seed(0)
        state, host = torch.cuda.get_rng_state(), torch.get_rng_state()
        first = torch.rand(3, device="cuda"), torch.nn.functional.dropout(torch.ones(9, device="cuda"))
        assert torch.equal(torch.get_rng_state(), host) and not torch.equal(torch.cuda.get_rng_state(), state)
        torch.cuda.set_rng_state(state)
        again = torch.rand(3, device="cuda"), torch.nn.functional.dropout(torch.ones(9, device="cuda"))
        assert all(map(torch.equal, first, again))


@pytest.mark.parametrize(("width", "calls"), [(8, 2), (12, 0), (264, 0)])
def test_heads_that_flash_attention_refuses_take_another_way(monkeypatch, width, calls):
    """Flash attention takes heads of a multiple of 8 up to 256; in bf16 on a GPU, others failed."""
    monkeypatch.setenv(precision.VARIABLE, "bf16")
    torch.manual_seed(0)
    encoder = Encoder(Config(16, 2, 2, vocab_size=500, max_position_embeddings=256, head_dim=width).without_dropout())
    expected, _ = pretraining.gradients(encoder, test_gpu.batch(), micro_tokens=10**6)
    wanted, counted = test_gpu.gradients(encoder), []
    with other_device():
        flash = torch.nn.attention.varlen.varlen_attn
        monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", lambda *words: counted.append(1) or flash(*words))
        with precision.autocast("bf16", CUDA)():
            loss, _ = pretraining.gradients(encoder.to("cuda"), test_gpu.batch(), micro_tokens=10**6)
        assert loss.item() == pytest.approx(expected.item(), rel=2e-3) and len(counted) == calls
        assert test_gpu.alike(test_gpu.gradients(encoder), wanted) < 0.03


@pytest.mark.parametrize("name", [name for name in dir(test_gpu) if name.startswith("test_")])
def test_what_waits_for_a_gpu_is_ready_for_one(name, tmp_path, monkeypatch):
    monkeypatch.setenv(precision.VARIABLE, "bf16")
    words = {
        "test_the_tiled_loss_equals_the_plain_one": ("softmax",),
        "test_vectors_of_a_model_are_those_of_the_cpu": (tmp_path,),
        "test_the_embedding_alone_is_that_of_the_processor": (),
    }
    with other_device():
        getattr(test_gpu, name)(*words.get(name, (False,)))


WAITS = {
    "a value": (lambda there, here: there.sum().item(), "_local_scalar_dense.default"),
    "a number": (lambda there, here: float(there[0]), "_local_scalar_dense.default"),
    "a condition": (lambda there, here: bool(there[0] > 0), "_local_scalar_dense.default"),
    "a list": (lambda there, here: there.tolist(), "tolist"),
    "a copy to the CPU": (lambda there, here: there.cpu(), "to the CPU"),
    "a copy to the device": (lambda there, here: here.to("cuda"), "to the device"),
    "a copy from memory that is not pinned": (lambda there, here: here.to("cuda", non_blocking=True), "to the device"),
    "a new tensor": (lambda there, here: torch.tensor([1.0], device="cuda"), "tensor"),
    "a copy in place": (lambda there, here: there.copy_(here), "copy_.default"),
    "a mask": (lambda there, here: there[there > 0], "index.Tensor"),
    "an index of the CPU": (lambda there, here: there[torch.tensor([0])], "index.Tensor"),
    "places": (lambda there, here: there.nonzero(), "nonzero.default"),
    "different values": (lambda there, here: there.unique(), "_unique2.default"),
    "repeats": (lambda there, here: there.repeat_interleave(there.long()), "repeat_interleave.Tensor"),
    "everything": (lambda there, here: torch.cuda.synchronize(), "synchronize"),
}


@pytest.mark.parametrize(("wait", "name"), WAITS.values(), ids=WAITS)
def test_waits_for_the_device_are_counted(wait, name):
    with other_device() as checks:
        there, here = torch.ones(3).pin_memory().to("cuda", non_blocking=True), torch.ones(3)
        assert checks.waits == [] and torch.ones(3, device="cuda").sum().device == CUDA == (there + 1)[there.long()].device
        assert checks.waits == []
        wait(there, here)
        assert checks.waits == [name]


def test_copies_that_do_not_block_arrive_with_an_event_after_them():
    with other_device() as checks:
        values, early = Values(torch.tensor([2.0, 3.0], device="cuda")), torch.cuda.Event()
        there = sent(torch.tensor([5]), "cuda")
        assert there.device == CUDA and there.item() == 5 and not values.arrived
        early.record()
        late = there.to("cpu", non_blocking=True)
        early.synchronize()
        assert late.tolist() == [-1]
        after = torch.cuda.Event()
        after.record()
        _ = there + there
        after.synchronize()
        assert late.tolist() == [5] and checks.leads == [1, 1]  # the copy, the sum
        assert math.isnan(values._here_N.tolist()[0]) and values.read() == [2.0, 3.0]
    assert Values(torch.tensor([2.0])).arrived and sent(late, "cpu") is late


# Training


def trained(folder, out, *, dropout=0.2, layers=1, **changes):  # noqa: F811
    """Stage I of the grid's base row."""
    plan, inputs = request(folder, out).opened()
    settings = plan.grid.pretraining(plan.grid.rows[0], 0)
    names = ("embedding_dropout_prob", "residual_dropout_prob", "attention_dropout_prob")
    shape = replace(settings.encoder, num_hidden_layers=layers, **dict.fromkeys(names, dropout))
    again = replace(settings, encoder=shape, loop=replace(settings.loop, **{"checkpoint_steps": 2, **changes}))
    artifact = pretraining.run(again, inputs.tokens, inputs.tokenizer, out / "model", checkpoints=out / "checkpoints")
    return load_encoder(artifact.path).state_dict()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_killed_run_resumes_with_the_random_state_of_the_device(folder, tmp_path, monkeypatch, optimizer):  # noqa: F811
    with other_device() as checks:
        whole = trained(folder, tmp_path / "whole", optimizer=optimizer)
        gradients, left = pretraining.gradients, iter([3, 2, 1])

        def killed(*words, **options):
            next(left)  # StopIteration: in the fourth step
            return gradients(*words, **options)

        with monkeypatch.context() as patch:
            patch.setattr(pretraining, "gradients", killed)
            with pytest.raises(StopIteration):
                trained(folder, tmp_path / "killed", optimizer=optimizer)
        checks.random = torch.get_rng_state()  # that of a new process
        resumed = trained(folder, tmp_path / "killed", optimizer=optimizer)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def spoiled(steps):
    """Gradients of Stage I where four steps must be refused: at the start, at the end, and two spikes."""
    gradients, harms = pretraining.gradients, {0: (1, math.nan), 8: (100, 1), 9: (1, 1e6), 11: (math.nan, 1)}

    def computed(encoder, batch, **options):
        loss, tokens = gradients(encoder, batch, **options)
        of_loss, of_gradient = harms.get(next(steps), (1, 1))
        for parameter in encoder.parameters():
            parameter.grad.mul_(of_gradient)
        return loss * of_loss, tokens

    return computed


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_guard_on_the_device_refuses_what_it_refuses_on_the_cpu(folder, tmp_path, monkeypatch, optimizer):  # noqa: F811
    guard, found = guards.Settings(least=3), []
    for name, place in (("cpu", cpu_alone()), ("cuda", other_device())):
        with place, monkeypatch.context() as patch:
            patch.setattr(pretraining, "gradients", spoiled(itertools.count()))
            own = {"optimizer": optimizer, "steps": 12, "guard": guard, "checkpoint_steps": 5, "evaluations": 3}
            weights_of = trained(folder, tmp_path / name, dropout=0.0, **own)
        rows = metrics.read(tmp_path / name / "model" / metrics.FILE)
        state = checkpoints.newest(tmp_path / name / "checkpoints/pretrain").state
        assert len(state["guard"]["losses"]) == 8 and state["guard"]["skipped"] == [0, 8, 9, 11]
        found.append(([{key: value for key, value in row.items() if key != "seconds"} for row in rows], weights_of))
    (rows, expected), (of_device, moved) = found
    assert [row["step"] for row in rows if "evaluation" in row] == [4, 8, 11]
    assert rows == of_device and [row["step"] for row in rows if "loss" in row] == list(range(12))
    reasons = {row["step"]: " ".join(row["skipped"].split()[:2]) for row in rows if row.get("skipped")}
    assert reasons == {0: "gradient norm", 8: "loss spike:", 9: "gradient spike:", 11: "loss is"}
    assert all(torch.equal(expected[name], moved[name]) for name in expected)


def test_a_run_stopped_on_the_device_keeps_the_values_of_its_last_step(folder, tmp_path, monkeypatch):  # noqa: F811
    gradients, steps = pretraining.gradients, itertools.count()

    def stopping(*words, **options):
        if next(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return gradients(*words, **options)

    with other_device():
        whole = trained(folder, tmp_path / "whole", checkpoint_steps=0)
        with monkeypatch.context() as patch, pytest.raises(CodesageError, match="stopped by SIGTERM after step 3"):
            patch.setattr(pretraining, "gradients", stopping)
            trained(folder, tmp_path / "stopped", checkpoint_steps=0)
        home = tmp_path / "stopped/checkpoints/pretrain"
        state = checkpoints.newest(home).state
        assert [row["step"] for row in metrics.read(home / metrics.FILE) if "loss" in row] == [0, 1, 2]
        assert state["progress"]["step"] == len(state["guard"]["losses"]) == 3
        resumed = trained(folder, tmp_path / "stopped", checkpoint_steps=0)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    files = [tmp_path / out / "model" / metrics.FILE for out in ("whole", "stopped")]
    losses = [[row.get("loss") for row in metrics.read(file)] for file in files]
    assert losses[0] == losses[1] and len(losses[0]) > 3


def test_the_guard_on_the_device_forgets_the_last_step_of_another_objective(folder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(examples.Batches, "new_objective", lambda self, step: step == 5)
    with other_device():
        trained(folder, tmp_path, steps=8, checkpoint_steps=0)
        remembered = checkpoints.newest(tmp_path / "checkpoints/pretrain").state["guard"]["losses"]
    rows = metrics.read(tmp_path / "model" / metrics.FILE)
    assert remembered == [row["loss"] for row in rows if "loss" in row][5:] and len(remembered) == 3


STAGES = {
    "pretrain": {},
    "compiled": {"compile": True},
    "one pass": {"depth": None, "micro_tokens": 0, "cached": False},
    "cached": {"depth": None, "micro_tokens": 60, "cached": True},
    "shallow": {"depth": 0, "cached": False},
}


def contrasted(folder, out, *, optimizer, **changes):  # noqa: F811
    """Three steps of one phase of Stage II of the grid's base row, on the device."""
    plan, inputs = request(folder, out).opened()
    settings = plan.grid.contrasting(plan.grid.rows[0], 0)
    loop = replace(settings.loop, steps=3, optimizer=optimizer, evaluations=0, precision="bf16")
    encoder = Encoder(replace(plan.grid.encoder(plan.grid.rows[0]), vocab_size=inputs.tokenizer.vocab_size)).to("cuda")
    again = replace(settings, first=None, loop=loop, **changes)
    contrasting.run(again, inputs.tokens, encoder, tokenizer=inputs.tokenizer, out=out / "model")


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("stage", STAGES)
def test_no_step_waits_for_the_device(folder, tmp_path, monkeypatch, stage, optimizer):  # noqa: F811
    """Each wait leaves the device without work until the processor has given it the next operations.

    The values of a step are read while the device computes the gradients of the next one, which is over 100 operations.
    """
    steps, take = [], loops._State.step
    monkeypatch.setenv(precision.VARIABLE, "bf16")  # attention in fp32 reads its borders
    monkeypatch.setattr(precision, "_compiled", lambda plain, *_: plain)  # nothing compiles for this device
    with other_device() as checks:

        def step(self, *words):
            waits, leads = len(checks.waits), len(checks.leads)
            stopped = take(self, *words)
            steps.append((checks.waits[waits:], checks.leads[leads:]))
            return stopped

        monkeypatch.setattr(loops._State, "step", step)
        if stage in ("pretrain", "compiled"):
            own = {"optimizer": optimizer, "evaluations": 0, "checkpoint_steps": 0, "precision": "bf16", **STAGES[stage]}
            trained(folder, tmp_path, layers=2, **own)
        else:
            contrasted(folder, tmp_path, optimizer=optimizer, **STAGES[stage])
    rows = metrics.read(tmp_path / "model" / metrics.FILE)
    assert [row["step"] for row in rows] == list(range(len(steps)))
    assert len(steps) > 2 and [waits for waits, _ in steps] == [[]] * len(steps)
    assert [len(leads) for _, leads in steps] == [0] + [1] * (len(steps) - 1)
    assert all(leads[0] > 100 for _, leads in steps[1:])
    assert checks.done["_fused_adamw_.default"]


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_blocks_are_compiled_across_their_borders_on_the_device(folder, tmp_path, monkeypatch, name):  # noqa: F811
    """With parts that are not compiled, since nothing compiles for this device: the same steps to the last bit."""
    parts = []
    monkeypatch.setattr(precision, "_compiled", lambda plain, *_: parts.append(plain.__name__) or plain)
    monkeypatch.setenv(precision.VARIABLE, name)
    with other_device():
        plain = trained(folder, tmp_path / "plain", layers=3, precision=name)
        assert parts == []
        compiled = trained(folder, tmp_path / "compiled", layers=3, precision=name, compile=True)
    files = [metrics.read(tmp_path / out / "model" / metrics.FILE) for out in ("plain", "compiled")]
    losses = [[row.get("loss") for row in rows] for rows in files]
    assert losses[0] == losses[1] and all(torch.equal(plain[name], compiled[name]) for name in plain)
    assert parts == ["_begin", "_between", "_between", "_end"] * 5  # in the four steps, and before the clock starts


def test_a_grid_has_the_figures_of_the_cpu(folder, tmp_path):  # noqa: F811
    (folder / "one.toml").write_text(GRID.replace("seeds = [0, 1]", "seeds = [0]"))
    figures = []
    for out, place in (("cpu", cpu_alone()), ("cuda", other_device())):
        with place as checks:
            plan, inputs = request(folder, tmp_path / out, grid=folder / "one.toml").opened()
            assert runs.work(plan, inputs)
            figures.append({name: plan.record(name)["figures"] for name in plan.cells})
            assert plan.record(next(iter(plan.cells)))["device"] == ("cuda:0" if checks else "cpu")
    assert figures[0] == figures[1] and checks.done["_fused_adamw_.default"]


# Commands


class Lessons:
    """A teacher that needs no model."""

    name, fingerprint = "lessons", "0"

    def encode(self, texts):
        return [[len(text), 1.0, text.count("e")] for text in texts]


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):  # noqa: F811
    """What the commands of training write, on the CPU and on the device; and the operations that each did there."""
    home, counted = tmp_path_factory.mktemp("made"), {}
    for place in ("cpu", "cuda"):
        with pytest.MonkeyPatch.context() as patch, cpu_alone() if place == "cpu" else other_device(bf16=False) as checks:
            patch.setenv(precision.VARIABLE, "fp32")
            patch.setattr(sentence, "load", lambda name: Lessons())
            for name, words in training(folder, home / place).items():
                counted |= succeeded(name, words, checks)
    return home, counted


def succeeded(name, words, checks):
    """Run a command, which must succeed; the number of its operations on the device, by `name`."""
    before = sum(checks.done.values()) if checks else 0
    done = run(*words)
    assert done.returncode == 0, (name, done.stderr)
    return {name: (sum(checks.done.values()) if checks else 0) - before}


def training(folder, out):  # noqa: F811
    """The commands, by name of their output."""
    out.mkdir()
    one = out.parent / "cpu/one"  # the model that both work with
    tokens, first, own = folder / "tokens", ("--tokenizer", folder / "tokenizer"), ("--model", one)
    small = ("--size", "toy", "--optimizer", "adamw", "--steps", 2, "--threads", 1, "--no-compile", "--learning-rate", 1e-3)
    pairs = ("--batch-pairs", 8, "--text-tokens", 16, "--code-tokens", 32, "--one-phase")
    windows = ("--batch-tokens", 128, "--max-tokens", 32)
    given = ("--teacher", out / "taught", "--mined", out / "mined", "--filter", out / "kept", "--distil", one)
    commands = {
        "one": ("pretrain", tokens, *first, *small, *windows),
        "names": ("pretrain", tokens, *own, "--names", *small, *windows),
        "kept": ("filter", tokens, *own, "--pool", 10),
        "taught": ("teach", tokens, "--teacher", "bert", *first),
        "mined": ("mine", tokens, *own, "--first", 1, "--last", 9, "--most-similar", 1),
        "two": ("contrast", tokens, *own, *small, *pairs, *given),
    }
    return {name: (*words, "--out", out / name) for name, words in commands.items()}


def test_each_command_of_training_works_on_the_device(made, folder):  # noqa: F811
    home, counted = made
    assert all(count > 100 for name, count in counted.items() if name != "taught"), counted
    tokens = tokenised.open_tokens(folder / "tokens")
    mined = [mining.read(home / place / "mined", tokens) for place in ("cpu", "cuda")]
    assert (mined[0] == mined[1]).all() and (mined[0] >= 0).any()
    assert (np.load(home / "cpu/kept/keep.npy") == np.load(home / "cuda/kept/keep.npy")).all()


def test_models_are_measured_and_used_on_the_device_as_on_the_cpu(made, tmp_path, monkeypatch):
    for name in ("FROZEN", "FINE_TUNED"):
        monkeypatch.setattr(classifying, name, replace(getattr(classifying, name), epochs=1, seeds=1))
    home, data, table = made[0] / "cpu", benchmarks(tmp_path), tmp_path / "rows.jsonl"
    rows = [{"code": f"{word} {word} {n}", "label": word} for n in range(6) for word in ("for", "def")]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a.py").write_text("def read(file):\n    return file.read()\n")
    model, labelled = ("--model", home / "two"), ("--benchmarks", data, "--task", "codecomplex", "--classifier")
    commands = {
        "figures": ("evaluate", home / "two", "random", "--benchmarks", data, "--task", "cosqa", "--task", "java-csharp"),
        "frozen": ("evaluate", home / "two", *labelled, "frozen"),
        "finetuned": ("evaluate", home / "two", *labelled, "finetuned"),
        "head": ("classify", "train", table, *model, "--folds", 2, "--out", "OUT/head"),
        "labels": ("classify", "apply", "OUT/head", table, *model, "--json"),
        "tuned": ("classify", "train", table, *model, "--folds", 2, "--fine-tune", "--epochs", 1, "--out", "OUT/tuned"),
        "of tuned": ("classify", "apply", "OUT/tuned", table, "--json"),
        "identifiers": ("names", tmp_path / "a.py", "--model", home / "names", "--all", "--json"),
    }
    printed = []
    for place in ("cpu", "cuda"):
        (tmp_path / place).mkdir()
        with cpu_alone() if place == "cpu" else other_device() as checks:
            for name, words in commands.items():
                before = sum(checks.done.values()) if checks else 0
                own = [str(word).replace("OUT", str(tmp_path / place)) for word in words]
                done = run(*own, "--device", place)
                assert done.returncode == 0, (name, done.stderr)
                assert not checks or sum(checks.done.values()) > before, name
                printed.append(re.sub(f"{tmp_path}/[a-z]+/", "", done.stdout))
    assert printed[: len(commands)] == printed[len(commands) :]


def test_training_uses_the_device_though_a_folder_is_exported():
    """Only search and its figures stay on the CPU, with the vectors of the int8 model."""
    with other_device():
        assert tuned.read(None, "auto").encoder.wte.weight.device == CUDA
        assert {models.with_weights(name, "auto").wte.weight.device for name in ("default", "random")} == {CUDA}
        assert codesage.load(device="auto").fingerprint.startswith("int8:")


def test_weights_of_any_format_judge_pairs_on_the_device(made, tmp_path):
    for file in ("config.json", "tokenizer.json"):
        shutil.copy(made[0] / "cpu/one" / file, tmp_path)
    weights.save_weights(load_encoder(made[0] / "cpu/one"), tmp_path)
    torch.save(weights.read_state(tmp_path), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with other_device() as checks:
        embedder.load(tmp_path).encode_ids([[1, 2, 0]])
        assert checks.done


def test_batches_on_the_device_are_large():
    """The 1,024 tokens of a CPU leave a GPU idle."""
    for place, expected in ((cpu_alone(), 2), (other_device(), 1)):
        with place:
            encoder, tokenizer = models.with_weights("random", "auto"), tokenizers.load(BUNDLED)
            for one in (models.load("random", device="auto"), measure.embedder_of(encoder, tokenizer, 512)):
                calls, width = [], one.width
                one._forward_or_future = lambda rows, calls=calls, width=width: calls.append(1) or np.zeros((len(rows), width))
                one.encode_ids([[1] * 256] * 8)
                assert len(calls) == expected


def test_a_process_without_a_gpu_of_its_own_is_one_line(monkeypatch):
    with other_device():
        assert processes.start() == CUDA
        monkeypatch.setenv("LOCAL_RANK", "1")
        with pytest.raises(CodesageError, match="process 1 of this machine has no GPU of its own, torch sees 1: start 1"):
            processes.start()
