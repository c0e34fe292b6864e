"""`codesage tokenizer`, `pretrain`, `contrast` and `export`: the stages from the command line."""

from pathlib import Path
from typing import Annotated

import typer

_Size = Annotated[str, typer.Option(help="toy, nano, mini, small, base or large: see codesage.recipes.")]
_Out = Annotated[Path, typer.Option(help="Folder to write.")]
_Corpus = Annotated[Path, typer.Argument(help="A corpus folder.")]
_Minutes = Annotated[float, typer.Option(help="Stop after this many minutes, learning rate decayed; 0: no limit.")]
_Seed = Annotated[int, typer.Option(help="Order of the data, masks and initial weights.")]


def tokenizer(
    corpus: _Corpus, out: _Out, vocab_size: Annotated[int, typer.Option(help="Entries.")] = 16_384,
    documents: Annotated[int, typer.Option(help="Train on this many documents, drawn at random; 0: all.")] = 4_000,
    seed: _Seed = 0,
) -> None:  # fmt: skip
    """Train a byte-level BPE tokenizer on the documents and pair texts of a corpus."""
    import random

    from codesage import tokenizer as station
    from codesage.corpus.read import read_documents, read_pairs

    texts = [document.text for document in read_documents(corpus)]
    if documents:
        texts = random.Random(seed).sample(texts, min(documents, len(texts)))
    texts += [pair.text for pair in read_pairs(corpus)]
    trained = station.train(texts, out, settings=station.Settings(vocab_size=vocab_size))
    typer.echo(f"{out}: {trained.vocab_size:,} entries")


def pretrain(
    corpus: _Corpus, out: _Out, tokenizer: Annotated[Path, typer.Option(help="A tokenizer folder.")],
    size: _Size = "nano", minutes: _Minutes = 0.0, seed: _Seed = 0,
) -> None:  # fmt: skip
    """Stage I: masked language modelling and identifier deobfuscation."""
    from codesage import recipes
    from codesage import tokenizer as tokenizers
    from codesage.corpus.read import read_documents
    from codesage.pretrain import stage

    _check_size(size)
    settings = recipes.pretraining(size, seconds=60 * minutes, seed=seed)
    artifact = stage.run(settings, list(read_documents(corpus)), tokenizers.load(tokenizer), out)
    _report(artifact, "pretrain")


def contrast(
    corpus: _Corpus, out: _Out,
    model: Annotated[Path | None, typer.Option(help="Stage I model to start from.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer, to start from random weights instead.")] = None,
    size: _Size = "nano", minutes: _Minutes = 0.0, seed: _Seed = 0,
    negatives: Annotated[str, typer.Option(help="softmax (as printed), uniform or mean_one.")] = "",
) -> None:  # fmt: skip
    """Stage II: contrastive learning on (text, code) pairs."""
    from dataclasses import replace

    import torch

    from codesage import recipes
    from codesage import tokenizer as tokenizers
    from codesage.artifacts import open_artifact
    from codesage.contrast import stage
    from codesage.corpus.read import read_pairs
    from codesage.encoder.model import Encoder
    from codesage.encoder.weights import load_encoder
    from codesage.errors import CodesageError

    _check_size(size)
    if (model is None) == (tokenizer is None):
        raise CodesageError("give either --model, to start from Stage I, or --tokenizer, to start from random weights")
    loaded = tokenizers.load(model or tokenizer)
    torch.manual_seed(seed)
    if model is not None:
        encoder, before = load_encoder(model), open_artifact(model, "model")
    else:
        encoder, before = Encoder(replace(recipes.encoder_of(size), vocab_size=loaded.vocab_size)), None
    settings = recipes.contrasting(size, seconds=60 * minutes, seed=seed)
    if negatives:
        settings = replace(settings, negatives=negatives)
    artifact = stage.run(settings, read_pairs(corpus), encoder, tokenizer=loaded, out=out, before=before)
    _report(artifact, "contrast")


def initialise(
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer folder.")], out: _Out, size: _Size = "nano",
    seed: _Seed = 0,
) -> None:  # fmt: skip
    """Write an encoder with random weights: the baseline that training has to beat."""
    from dataclasses import replace

    import torch

    from codesage import recipes
    from codesage import tokenizer as tokenizers
    from codesage.encoder.export import export as publish_encoder
    from codesage.encoder.model import Encoder

    _check_size(size)
    loaded = tokenizers.load(tokenizer)
    torch.manual_seed(seed)
    encoder = Encoder(replace(recipes.encoder_of(size), vocab_size=loaded.vocab_size)).eval()
    limit = recipes.pretraining(size).examples.max_tokens
    publish_encoder(encoder, loaded, out, settings={"seed": seed}, facts={"stages": [], "max_tokens": limit},
                    precisions=())  # fmt: skip


def export(
    model: Annotated[Path, typer.Argument(help="A trained model folder, or a published checkpoint folder.")],
    out: _Out,
    int8_only: Annotated[bool, typer.Option(help="Only the int8 file: the smallest folder that searches.")] = False,
) -> None:
    """Write a model as ONNX, int8 beside fp32: it then runs without torch."""
    from codesage.encoder.export import export_folder

    export_folder(model, out, int8_only=int8_only)
    for file in sorted(out.iterdir()):
        typer.echo(f"{file}  {file.stat().st_size / 1e6:.1f} MB")


def _check_size(size: str) -> None:
    from codesage.encoder.config import SIZES
    from codesage.errors import CodesageError

    if size not in {"toy", *SIZES}:
        raise CodesageError(f"size {size!r} is not known: expected one of toy, {', '.join(SIZES)}")


def _report(artifact, stage: str) -> None:
    facts = artifact.facts[stage]
    typer.echo(f"{artifact.path}: " + ", ".join(f"{name} {value:,}" for name, value in facts.items()))
