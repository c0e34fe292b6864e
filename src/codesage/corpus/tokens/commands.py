"""`codesage tokenizer` and `tokens`: a corpus to the memory-mapped files that training reads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from codesage.bounds import MOST, MOST_PROCESSES, MOST_SEED, MOST_TOKENS
from codesage.training import options


def tokenizer(
    corpus: options.Corpus,
    out: options.Out,
    vocab_size: Annotated[int, typer.Option(min=1, max=1_000_000, help="Entries.")] = 16_384,
    documents: Annotated[
        int, typer.Option(min=0, max=MOST, help="Train on this many documents, drawn at random; 0: all.")
    ] = 4_000,
    seed: options.Seed = 0,
) -> None:
    """Train a byte-level BPE tokenizer on a corpus. It learns from the documents and from the texts of pairs."""
    import random

    from codesage import tokenizer as tokenizers
    from codesage.artifacts import open_artifact
    from codesage.corpus.read import read_documents, read_pairs

    count = sum(open_artifact(corpus, "corpus").facts["documents"].values())
    rows = set(random.Random(seed).sample(range(count), min(documents or count, count)))
    texts = [document.text for number, document in enumerate(read_documents(corpus)) if number in rows]
    texts += [pair.text for pair in read_pairs(corpus) if pair.text]
    trained = tokenizers.train(texts, out, settings=tokenizers.Settings(vocab_size=vocab_size))
    typer.echo(f"{out}: {trained.vocab_size:,} entries")


def tokens_command(
    corpus: Annotated[Path, typer.Argument(help="A corpus folder.")],
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer or model folder; default: that of the bundled model.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    max_documents: Annotated[
        int, typer.Option(min=0, max=MOST, help="Sample this many documents from all languages; 0: all.")
    ] = 0,
    kind: Annotated[list[str] | None, typer.Option(help="Only pairs of this kind; repeatable.")] = None,
    max_pairs: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST,
            help="Sample this many pairs of each kind from all languages; 0: all. Groups of parallel code stay whole.",
        ),
    ] = 0,
    text_tokens: Annotated[int, typer.Option(min=2, max=MOST_TOKENS, help="Longest text of a pair.")] = 128,
    code_tokens: Annotated[int, typer.Option(min=2, max=MOST_TOKENS, help="Longest code of a pair.")] = 1024,
    workers: Annotated[
        int, typer.Option(min=0, max=MOST_PROCESSES, help="Processes that parse and tokenise; 0: one a core.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the sample.")] = 0,
) -> None:
    """Tokenise a corpus once, so that training need not do it."""
    import time

    from codesage import tokenizer as tokenizers
    from codesage.corpus.tokens import tokenised
    from codesage.encoder.folders import folder_of

    settings = tokenised.Settings(
        max_documents=max_documents,
        pair_kinds=tuple(kind or ()),
        text_tokens=text_tokens,
        code_tokens=code_tokens,
        max_pairs=max_pairs,
        seed=seed,
        workers=workers,
    )
    started = time.monotonic()
    with _counting() as progress:
        facts = tokenised.build(corpus, tokenizers.load(folder_of(tokenizer)), out, settings=settings, progress=progress).facts
    for name, count in facts["counts"].items():
        held = sum(size for part, size in facts["tokens"].items() if part.startswith(f"{name}."))
        typer.echo(f"{name}: {count:,}, {held:,} tokens")
    size = sum(file.stat().st_size for file in out.iterdir())
    typer.echo(f"{out}: {size / 1e6:,.1f} MB in {time.monotonic() - started:.1f} s")


@contextmanager
def _counting() -> Iterator[Callable[[str, int], None]]:
    """Show on stderr how many items of a part are done; gives the function to call with both."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed:,} {task.description}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("documents", total=None, rate="")

        def show(what: str, done: int) -> None:
            rate = bar.tasks[task].speed
            bar.update(task, completed=done, description=what, rate=f"{rate:,.0f}/s" if rate else "")

        yield show
