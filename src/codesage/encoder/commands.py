"""`codesage initialise`, `export` and `export-hub`: model folders that are made without training."""

from pathlib import Path
from typing import Annotated

import typer

from codesage.training import options


def export_hub(
    model: Annotated[Path, typer.Argument(help="A trained model folder, or a published checkpoint folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    name: Annotated[str, typer.Option(help="Title of the model card; empty: the folder's name.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the weights, such as apache-2.0; empty: as its card says.")] = "",
) -> None:
    """Write a model for transformers and sentence-transformers: safetensors, tokenizer, modules.json, model card."""
    from codesage.encoder import hub

    artifact = hub.export_hub(model, out, name=name, licence=licence)
    typer.echo(f"{artifact.path}: import codesage, then SentenceTransformer('{artifact.path}')")


def initialise(
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer folder.")], out: options.Out, size: options.Size = "nano",
    tokens: Annotated[Path | None, typer.Option(help="Tokens to count words in: the lexical start of nano.")] = None,
    seed: options.Seed = 0,
) -> None:  # fmt: skip
    """Write an untrained encoder, the baseline that training has to beat: random weights, or a lexical start."""
    from codesage import recipes
    from codesage import tokenizer as tokenizers
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.encoder.export import export as publish_encoder

    options.check_size(size)
    loaded = tokenizers.load(tokenizer)
    opened = None if tokens is None else open_tokens(tokens, tokenizer=loaded)
    encoder = recipes.untrained(size, loaded, opened, seed=seed).eval()
    limit = recipes.pretraining(size).examples.max_tokens
    publish_encoder(encoder, loaded, out, settings={"seed": seed}, facts={"stages": [], "max_tokens": limit},
                    precisions=())  # fmt: skip


def export(
    model: Annotated[Path, typer.Argument(help="A trained model folder, or a published checkpoint folder.")],
    out: options.Out,
    int8_only: Annotated[bool, typer.Option(help="Only the int8 file: the smallest folder that searches.")] = False,
) -> None:
    """Write a model as ONNX, int8 beside fp32: it then runs without torch."""
    from codesage.encoder.export import export_folder

    export_folder(model, out, int8_only=int8_only)
    for file in sorted(out.iterdir()):
        typer.echo(f"{file}  {file.stat().st_size / 1e6:.1f} MB")
