"""`codesage export-hub`: a model folder for transformers and sentence-transformers, from the command line."""

from pathlib import Path
from typing import Annotated

import typer


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
