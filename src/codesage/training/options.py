"""Options and helpers that the commands of both stages share.

In: command-line options. Out: opened tokens, settings of the loop, processes ready to train.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesage.bounds import MOST, MOST_MINUTES, MOST_PROCESSES, MOST_SEED, finite

if TYPE_CHECKING:
    import torch

    from codesage.artifacts import Artifact
    from codesage.corpus.tokens import tokenised
    from codesage.tokenizer import Tokenizer
    from codesage.training.schedule import Settings

Size = Annotated[str, typer.Option(help="toy, nano, mini, small, base or large; see codesage.recipes.")]
Out = Annotated[Path, typer.Option(help="Folder to write.")]
Corpus = Annotated[Path, typer.Argument(help="A corpus folder.")]
Tokens = Annotated[Path, typer.Argument(help="A tokens folder, or a corpus folder (its tokens are then made beside OUT).")]
Minutes = Annotated[
    float,
    typer.Option(
        min=0, max=MOST_MINUTES, callback=finite, help="Stop after this many minutes; the rate decays by then. 0: no limit."
    ),
]
Steps = Annotated[int, typer.Option(min=0, max=MOST, help="Stop after this many steps; 0: the steps of the size.")]
Fresh = Annotated[bool, typer.Option("--fresh/--resume", help="Start again, or resume from the newest checkpoint.")]
Checkpoints = Annotated[Path | None, typer.Option(help="Folder of checkpoints and metrics. Default: OUT.checkpoints.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print the estimated cost of the run.")]
Optimizer = Annotated[str, typer.Option(help="adamw or muon. Default: that of the size.")]
Compile = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="Compile the blocks with torch.compile. Default: only on a GPU.")
]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard files beside the checkpoints.")]
Threads = Annotated[int, typer.Option(min=0, max=MOST_PROCESSES, help="Number of CPU threads; 0: one per core.")]
Seed = Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the data order, masks and initial weights.")]


def check_size(size: str) -> None:
    """CodesageError when `size` has no recipe."""
    from codesage.encoder.config import SIZES
    from codesage.errors import CodesageError

    if size not in {"toy", *SIZES}:
        raise CodesageError(f"unknown size {size!r}: expected one of toy, {', '.join(SIZES)}")


def check_threads(threads: int) -> None:
    """CodesageError for far more threads than the machine has processors: a typing error that would stop all its programs."""
    from codesage.errors import CodesageError

    processors = os.cpu_count() or 1
    if threads > 4 * processors:
        raise CodesageError(f"--threads is {threads}, but there are {processors} processors: give at most {4 * processors}")


def report(artifact: "Artifact", stage: str) -> None:
    """Print the result of a run, from the first process only."""
    from codesage.training import processes

    if processes.rank() == 0:
        facts = artifact.facts[stage]
        typer.echo(f"{artifact.path}: " + ", ".join(f"{name} {value:,}" for name, value in facts.items()))


@contextmanager
def training_processes(threads: int) -> Iterator["torch.device"]:
    """Join the processes of a run, each with `threads` CPU threads (0: one per core); yield the device to train on."""
    import torch

    from codesage.errors import CodesageError
    from codesage.training import processes

    check_threads(threads)
    if threads:
        torch.set_num_threads(threads)
    try:
        with processes.guarded("the run"):
            yield processes.start()
    except torch.OutOfMemoryError as error:
        reason = ". ".join(str(error).split(". ")[:2])
        raise CodesageError(
            f"the GPU's memory is full ({reason}): end other programs that use it, or train a smaller size into another --out"
        ) from None
    finally:
        processes.stop()


def opened_tokens(tokens: Path, tokenizer: Path | None, out: Path) -> "tuple[Tokenizer, tokenised.Tokens]":
    """The tokenizer and its tokens. If `tokens` is a corpus, the tokens are made beside `out` unless they exist."""
    from codesage import tokenizer as tokenizers
    from codesage.corpus.tokens import tokenised
    from codesage.encoder.folders import folder_of
    from codesage.errors import CodesageError
    from codesage.training import processes

    if tokenizer is None and not (tokens / tokenizers.FILE).is_file():
        raise CodesageError("give --tokenizer: the folder of the tokenizer that made the tokens")
    loaded = tokenizers.load(folder_of(tokenizer) if tokenizer else tokens)
    if _is_corpus(tokens):
        corpus, tokens = tokens, out.with_name(f"{out.name}.tokens")
        if processes.world() > 1 and not tokens.exists():
            raise CodesageError(
                f"{corpus} is a corpus: run 'codesage tokens {corpus} --tokenizer {tokenizer} --out {tokens}' "
                "first, because several processes need tokens"
            )
        if not _fresh_tokens(tokens, corpus, loaded):
            typer.echo(f"tokenising {corpus} into {tokens}", err=True)
            tokenised.build(corpus, loaded, tokens)
    return loaded, tokenised.open_tokens(tokens, tokenizer=loaded)


def _is_corpus(folder: Path) -> bool:
    from codesage.artifacts import open_artifact
    from codesage.errors import CodesageError

    try:
        open_artifact(folder, "corpus", verify=False)
    except CodesageError:  # opening it as tokens reports any other problem
        return False
    return True


def _fresh_tokens(tokens: Path, corpus: Path, loaded: "Tokenizer") -> bool:
    from codesage.artifacts import open_artifact

    if not tokens.exists():
        return False
    facts, origin = open_artifact(tokens, "tokens", verify=False).facts, open_artifact(corpus, "corpus", verify=False)
    return facts.get("corpus") == origin.fingerprint and facts.get("tokenizer") == loaded.fingerprint


def beside(out: Path) -> Path:
    """The default checkpoint folder of a run that writes to `out`."""
    return out.with_name(f"{out.name}.checkpoints")


def given(**options: object) -> dict[str, Any]:
    """Only the options that were given; all others keep the setting of the size."""
    return {name: value for name, value in options.items() if value not in ("", None)}


def changed_loop(loop: "Settings", *, steps: int = 0, warm_up: float | None = None, **changes: Any) -> "Settings":
    """Loop settings with `changes`. A new number of steps keeps the share of the warm-up unless `warm_up` is given."""
    from dataclasses import replace

    from codesage.errors import CodesageError

    if warm_up is not None and not 0 <= warm_up <= 1:
        raise CodesageError(f"the warm-up is {warm_up}: expected a share of the run, from 0 to 1")
    steps = steps or loop.steps
    if warm_up is not None or steps != loop.steps:
        warmup = loop.warmup_steps * steps / loop.steps if warm_up is None else warm_up * steps
        changes |= {"steps": steps, "warmup_steps": max(1, round(warmup)) if warmup else 0}
    return replace(loop, **changes)
