"""Kill training, and damage its checkpoints, many times: what comes back must be the uninterrupted run.

    python benchmarks/kill_training.py steps --trials 50          SIGKILL at random steps of Stage I, resume: every
                                                                  loss and weight equal to the last bit
    python benchmarks/kill_training.py saving --trials 200        SIGKILL while checkpoints are written: the newest one
                                                                  that can be read is the old or the new, never neither
    python benchmarks/kill_training.py corruption --trials 1000   one file damaged: named on stderr and passed over, or
                                                                  one line; never a crash, never silence

Several parts may be named, with --trials of each. Prints one JSON object a line for each part, and exits with 1 when there
was a failure. Children are forked, so that torch is imported once; they draw no curves, which would take most of their time.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from codesage import tokenizer as tokenizers
from codesage.corpus.tokens import tokenised as tokens
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder, Layout
from codesage.errors import CodesageError
from codesage.pretrain import examples, stage
from codesage.records import Document
from codesage.training import checkpoints, curves, loop, optimizers
from damage import harm

CONFIG = Config(32, 2, 4, vocab_size=300, max_position_embeddings=64)  # dropout on: its random state counts
SETTINGS = stage.Settings(
    CONFIG,
    examples.Settings(max_tokens=32, batch_tokens=256),
    loop.Settings(60, 6, 5e-3, checkpoint_steps=7),
    micro_tokens=128,
)


def forked(work) -> tuple[int, int]:
    """Run `work` in a child process; returns (child's pid, read end of a pipe whose write end `work` gets)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    status = 1
    try:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        torch.set_num_threads(1)
        work(writing)
        status = 0
    finally:
        os._exit(status)


def prepare(folder: Path) -> None:
    """A tokenizer and tokens of a few Python files."""
    sources = sorted(Path(json.__file__).parent.glob("*.py"))
    documents = [Document(file.name, "python", file.read_text(encoding="utf-8"), "") for file in sources]
    words = tokenizers.train([d.text for d in documents], folder / "words", settings=tokenizers.Settings(vocab_size=300))
    tokens.write(documents, [], words, folder / "tokens", settings=tokens.Settings(workers=1))


def train(folder: Path, home: Path | None, kill_at: int = -1, delay: float = 0.0) -> None:
    """Stage I, with SIGKILL `delay` seconds after the batch of step `kill_at` is asked for, in another thread."""

    def at(self, step: int, **share) -> examples.Batch:
        if step == kill_at:
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, step, **share)

    original, examples.Batches.at = examples.Batches.at, at
    curves.draw = lambda metrics, out: None
    words = tokenizers.load(folder.parent / "words")
    stage.run(SETTINGS, tokens.open_tokens(folder.parent / "tokens"), words, folder, checkpoints=home)


def outcome(folder: Path) -> tuple[list, bytes]:
    """(step, loss, tokens) of every step, and the bytes of the weights."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line["tokens"]) for line in lines], (folder / "model.safetensors").read_bytes()


def wait(child: int) -> int:
    """Exit status of a child."""
    return os.waitpid(child, 0)[1]


def kill_steps(trials: int, folder: Path, rng: random.Random) -> tuple[list[str], dict]:
    """SIGKILL at a random step (sometimes twice), resume, compare with the uninterrupted run."""
    assert wait(forked(lambda _: prepare(folder))[0]) == 0
    assert wait(forked(lambda _: train(folder / "whole", None))[0]) == 0
    expected, failures = outcome(folder / "whole"), []
    deaths = 0
    for trial in range(trials):
        out, home = folder / f"out{trial}", folder / f"home{trial}"
        kills = sorted(rng.sample(range(1, SETTINGS.loop.steps), k=rng.choice((1, 1, 2))))
        for at in kills:
            delay = 0.02 * rng.random()
            status = wait(forked(lambda _, at=at, delay=delay, out=out, home=home: train(out, home, at, delay))[0])
            if os.WTERMSIG(status) != signal.SIGKILL:
                failures.append(f"trial {trial}: the child ended with {status} before step {at}")
        status = wait(forked(lambda _, out=out, home=home: train(out, home))[0])
        if status or outcome(out) != expected:
            failures.append(f"trial {trial}: killed at {kills}, status {status}, losses or weights differ")
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
        deaths += len(kills)
    return failures, {"kills": deaths}


def made() -> tuple[Encoder, torch.optim.Optimizer]:
    """An encoder with an optimizer that has taken a step."""
    encoder = Encoder(CONFIG)
    optimizer = optimizers.build(encoder, SETTINGS.loop)
    encoder(torch.arange(8), Layout.of([8])).sum().backward()
    optimizer.step()
    return encoder, optimizer


def write_endlessly(home: Path, acknowledge: int) -> None:
    """Save checkpoints one after the other, each with a recognisable weight, and say so after each."""
    encoder, optimizer = made()
    before = checkpoints.newest(home)
    step = before.state["step"] if before else 0
    while True:
        step += 1
        with torch.no_grad():
            encoder.ln_f.bias.fill_(step)
        checkpoints.save(home, encoder, optimizer, step=step, state={"step": step}, run={}, keep=1)
        os.write(acknowledge, step.to_bytes(8, "little"))


def kill_saving(trials: int, folder: Path, rng: random.Random) -> tuple[list[str], dict]:
    """SIGKILL at a random moment of writing; the newest checkpoint must be the last acknowledged one or the next."""
    failures, home = [], folder / "home"
    home.mkdir()
    took, last, halves, nexts = 0.05, 0, 0, 0
    for trial in range(trials):
        child, pipe = forked(lambda acknowledge: write_endlessly(home, acknowledge))
        started = time.perf_counter()
        last = int.from_bytes(os.read(pipe, 8), "little")
        second = os.read(pipe, 8)
        took = 0.5 * took + 0.5 * (time.perf_counter() - started) / 2
        time.sleep(rng.random() * took)
        os.kill(child, signal.SIGKILL)
        wait(child)
        said = second
        while chunk := os.read(pipe, 4096):
            said += chunk
        os.close(pipe)
        last = int.from_bytes(said[-8:], "little")
        halves += any(home.glob(".step-*"))
        try:
            newest = checkpoints.newest(home)
            encoder, optimizer = made()
            checkpoints.restore(newest, encoder, optimizer)
            nexts += newest.state["step"] == last + 1
            if newest.state["step"] not in (last, last + 1) or encoder.ln_f.bias[0].item() != newest.state["step"]:
                failures.append(f"trial {trial}: acknowledged {last}, found {newest.state['step']}")
        except Exception as error:
            failures.append(f"trial {trial}: acknowledged {last}: {type(error).__name__}: {error}")
    return failures, {"half_written": halves, "new_but_not_acknowledged": nexts}


def corrupt(trials: int, folder: Path, rng: random.Random) -> tuple[list[str], dict]:
    """Damage a file of the newest checkpoint, in one trial of five of the one before too, and read."""
    torch.set_num_threads(1)
    encoder, optimizer = made()
    pristine, failures, of_both = folder / "pristine", [], 0
    for step in (1, 2):
        checkpoints.save(pristine, encoder, optimizer, step=step, state={"step": step}, run={}, keep=2)
    for trial in range(trials):
        home = folder / "home"
        shutil.copytree(pristine, home)
        both = rng.random() < 0.2
        what = []
        for name in ("step-000000002", "step-000000001")[: 1 + both]:
            file = rng.choice(sorted((home / name).iterdir()))
            what.append(f"{harm(file, rng)} {name}/{file.name}")
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                newest = checkpoints.newest(home)
            fine = not both and newest is not None and newest.state["step"] == 1 and "step-000000002" in said.getvalue()
        except CodesageError as error:
            fine = both and "\n" not in str(error) and said.getvalue().count("\n") == 2
        except Exception as error:
            fine = False
            what.append(f"{type(error).__name__}: {error}")
        if not fine:
            failures.append(f"trial {trial}: {', '.join(what)}")
        shutil.rmtree(home)
        of_both += both
    return failures, {"fell_back": trials - of_both, "refused": of_both}


PARTS = {"steps": (kill_steps, 50), "saving": (kill_saving, 200), "corruption": (corrupt, 1000)}


def main() -> None:
    """Run the parts and print what came of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--trials", type=int, nargs="+", default=[], help="of each part, in their order; default: many")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.trials and len(options.trials) != len(options.parts):
        parser.error(f"{len(options.trials)} numbers of trials for {len(options.parts)} parts: give one for each part")
    trials = options.trials or [PARTS[part][1] for part in options.parts]
    results = [run(part, count, options) for part, count in zip(options.parts, trials, strict=True)]
    sys.exit(any(result["failures"] for result in results))


def run(part: str, trials: int, options: argparse.Namespace) -> dict:
    """Run one part and print its result, which is returned."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        failures, counts = PARTS[part][0](trials, Path(folder), random.Random(options.seed))
    seconds = round(time.perf_counter() - started, 1)
    result = {
        "part": part,
        "trials": trials,
        **counts,
        "failures": failures,
        "seconds": seconds,
        "seed": options.seed,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps(result), flush=True)
    return result


if __name__ == "__main__":
    main()
