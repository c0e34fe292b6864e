"""The code on a device that is not the CPU: everything it computes with is there, and the values are those of the CPU.

These tests run on a device that is one in name only (`other_device.py`), on any machine. What only a real GPU can show is in
`test_gpu.py`.
"""

import json
import re
import shutil
import sys
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
from codesage.corpus.tokens import tokenised
from codesage.encoder import sentence, weights
from codesage.encoder.config import Config
from codesage.encoder.folders import BUNDLED
from codesage.encoder.model import Encoder
from codesage.encoder.weights import load_encoder
from codesage.evaluate import models
from codesage.pretrain import stage as pretraining
from codesage.training import loop as loops
from codesage.training import precision, processes
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


# Training


def trained(folder, out, **changes):  # noqa: F811
    """Stage I of the grid's base row, with dropout."""
    plan, inputs = request(folder, out).opened()
    settings = plan.grid.pretraining(plan.grid.rows[0], 0)
    shape = replace(settings.encoder, embedding_dropout_prob=0.2, residual_dropout_prob=0.2, attention_dropout_prob=0.2)
    again = replace(settings, encoder=shape, loop=replace(settings.loop, checkpoint_steps=2, **changes))
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


def test_the_loop_waits_for_the_device_once_a_step(folder, tmp_path, monkeypatch):  # noqa: F811
    """Each wait leaves the device without work until the processor has given it the next operations."""
    waits, steps = [], []

    def counted(name):
        plain = getattr(torch.Tensor, name)

        def count(self, *words, **options):
            of_the_loop = sys._getframe(1).f_code.co_filename == loops.__file__  # attention in fp32 also reads its borders
            waits.append(self.device.type == "cuda" and of_the_loop and name)
            return plain(self, *words, **options)

        return count

    take = loops._State.step

    def step(self, *words):
        before = len(waits)
        stopped = take(self, *words)
        steps.append([name for name in waits[before:] if name])
        return stopped

    monkeypatch.setattr(loops._State, "step", step)
    with other_device(), monkeypatch.context() as patch:
        for name in ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__"):
            patch.setattr(torch.Tensor, name, counted(name))
        trained(folder, tmp_path / "one", evaluations=0, optimizer="muon")
    assert len(steps) > 2 and steps == [["tolist"]] * len(steps)


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
