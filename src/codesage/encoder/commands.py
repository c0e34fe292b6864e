"""`codesage initialise`, `convert`, `shrink`, `average`, `export` and `export-hub`: model folders written without training."""

from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesage.bounds import MOST, MOST_TOKENS, finite
from codesage.errors import CodesageError
from codesage.training import options

if TYPE_CHECKING:
    from codesage.corpus.tokens.tokenised import Tokens

_COUNTED = 100_000  # pairs, at most, whose pieces of words are counted
_SAMPLED, _TEXT_TOKENS, _CODE_TOKENS = 600, 48, 128  # pairs that choose neurons (about 60,000 tokens), and where they are cut
_SAMPLED_VECTORS = 3_000  # pairs whose vectors choose the directions that narrower ones keep
_CONVERTED_TOKENS = 256  # of a converted model until it is trained


def export_hub(
    model: Annotated[Path, typer.Argument(help="A trained model folder, a published one, 'default' or 'general' (bundled).")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    name: Annotated[str, typer.Option(help="Title of the model card. Default: the folder's name.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the weights, such as apache-2.0. Default: that of its card.")] = "",
) -> None:
    """Convert a model for transformers and sentence-transformers. OUT gets safetensors, tokenizer, modules.json, model card."""
    from codesage.encoder import hub

    artifact = hub.export_hub(model, out, name=name, licence=licence)
    typer.echo(f"{artifact.path}: import codesage, then SentenceTransformer('{artifact.path}')")


def initialise(
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer folder.")],
    out: options.Out,
    size: options.Size = "nano",
    tokens: Annotated[Path | None, typer.Option(help="Tokens folder whose words the lexical start of nano counts.")] = None,
    seed: options.Seed = 0,
) -> None:
    """Write an untrained encoder, a baseline for training. Its weights are random, or a lexical start."""
    from codesage import recipes
    from codesage import tokenizer as tokenizers
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.encoder.export import export as publish_encoder
    from codesage.encoder.folders import folder_of

    options.check_size(size)
    loaded = tokenizers.load(folder_of(tokenizer))
    opened = None if tokens is None else open_tokens(tokens, tokenizer=loaded)
    encoder = recipes.untrained(size, loaded, opened, seed=seed).eval()
    limit = recipes.pretraining(size).examples.max_tokens
    publish_encoder(encoder, loaded, out, settings={"seed": seed}, facts={"stages": [], "max_tokens": limit}, precisions=())


def export(
    model: Annotated[Path, typer.Argument(help="A trained model folder, a published one, 'default' or 'general' (bundled).")],
    out: options.Out,
    int8_only: Annotated[bool, typer.Option(help="Write only the int8 file: the smallest folder that search can use.")] = False,
    names: Annotated[bool, typer.Option("--names", help="Write only the file that 'codesage names' reads.")] = False,
) -> None:
    """Convert a model to ONNX, which runs without torch. OUT gets int8 and fp32 weights."""
    from codesage.encoder.export import export_folder

    export_folder(model, out, int8_only=int8_only, names=names)
    for file in sorted(out.iterdir()):
        typer.echo(f"{file}  {file.stat().st_size / 1e6:.1f} MB")


def convert(
    model: Annotated[str, typer.Argument(help="minilm, or the folder of a sentence-transformers model of the type BERT.")],
    out: options.Out,
    corpus: Annotated[Path | None, typer.Option(help="Corpus that shows which pieces of words are frequent.")] = None,
    vocab_size: Annotated[
        int, typer.Option(min=0, max=MOST, help="Keep this many pieces, the most frequent in --corpus; 0: all.")
    ] = 0,
) -> None:
    """Convert a BERT-type sentence encoder into a model folder. Stage II then trains it on your own code."""
    from codesage.artifacts import open_artifact
    from codesage.corpus.read import read_pairs
    from codesage.encoder import bert, sentence
    from codesage.encoder.export import export as publish_encoder

    if bool(vocab_size) != (corpus is not None):
        raise CodesageError("give --vocab-size and --corpus together: the corpus shows which pieces to keep")
    folder, known_as = sentence.folder_of(model)
    texts = iter(())
    if corpus is not None:
        count = sum(open_artifact(corpus, "corpus").facts["pairs"].values())
        texts = chain.from_iterable(
            (pair.text, pair.code) for pair in islice(read_pairs(corpus), 0, None, 1 + count // _COUNTED)
        )
    encoder, tokenizer = bert.from_bert(folder, texts=texts, vocab_size=vocab_size)
    facts = {"stages": [], "start": known_as, "max_tokens": _CONVERTED_TOKENS}
    publish_encoder(encoder, tokenizer, out, settings={"vocab_size": vocab_size}, facts=facts, precisions=())
    typer.echo(f"{out}: {encoder.config.parameters():,} parameters, {tokenizer.vocab_size:,} entries")


def shrink(
    model: Annotated[Path, typer.Argument(help="A model folder, 'default' or 'general' (bundled).")],
    out: options.Out,
    layers: Annotated[str, typer.Option(help="Layers to keep, counted from 1, as in '1,4'. Default: all.")] = "",
    heads: Annotated[int, typer.Option(min=0, max=MOST, help="Keep so many attention heads of each layer; 0: all.")] = 0,
    neurons: Annotated[int, typer.Option(min=0, max=MOST, help="Keep so many neurons of each feed-forward layer; 0: all.")] = 0,
    width: Annotated[
        int, typer.Option(min=0, max=MOST, help="Width of the vectors: keep so many principal components; 0: all.")
    ] = 0,
    tokens: Annotated[Path | None, typer.Option(help="Tokens folder whose pairs show which of these matter.")] = None,
    positions: Annotated[int, typer.Option(min=0, max=MOST_TOKENS, help="Keep only this many positions; 0: all.")] = 0,
    vocab_size: Annotated[
        int, typer.Option(min=0, max=MOST, help="Keep so many pieces of words, the most frequent; 0: all.")
    ] = 0,
) -> None:
    """Write a smaller model with parts of a larger one. 'codesage contrast' then trains it."""
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.encoder import bert
    from codesage.encoder import shrink as station
    from codesage.encoder.export import export as publish_encoder
    from codesage.encoder.folders import folder_of
    from codesage.encoder.weights import load_with_tokenizer

    if bool(heads or neurons or width) != (tokens is not None):
        raise CodesageError("give --tokens with --heads, --neurons or --width: the tokens show what to keep")
    if not (layers or heads or neurons or width or positions or vocab_size):
        raise CodesageError("nothing to leave out: give --layers, --heads, --neurons, --width, --positions or --vocab-size")
    folder = folder_of(model)
    encoder, tokenizer = load_with_tokenizer(folder)
    if vocab_size:
        encoder, tokenizer = bert.fewer_pieces(encoder, tokenizer, vocab_size)
    kept = _numbers(layers) if layers else None
    pairs = None if tokens is None else open_tokens(tokens, tokenizer=tokenizer)
    documents = _sample(pairs, _SAMPLED) if pairs else []
    smaller = station.shrink(encoder, layers=kept, positions=positions, heads=heads, neurons=neurons, documents=documents)
    if width and pairs:
        smaller = station.shrink(smaller, width=width, documents=_sample(pairs, _SAMPLED_VECTORS))
    settings, facts = _history(folder, "shrunk_from")
    longest = smaller.config.max_position_embeddings
    facts |= {"layers_kept": layers or "all", "max_tokens": min(facts.get("max_tokens", longest), longest)}
    publish_encoder(smaller, tokenizer, out, settings=settings, facts=facts, precisions=())
    config = smaller.config
    inside = f"{config.num_attention_heads} heads and {config.intermediate_size:,} neurons"
    shape = f"{config.num_hidden_layers} layers, each with {inside}, vectors of width {config.vector_width}"
    typer.echo(f"{out}: {config.parameters():,} parameters, {shape}, {tokenizer.vocab_size:,} entries")


def _history(folder: Path, origin: str) -> tuple[dict, dict]:
    """Settings and facts of a model that is made of the one in `folder`, which is loaded. `origin`: the fact that names it."""
    from codesage.artifacts import open_any

    made = open_any(folder, "model", verify=False)
    return made.settings, {**made.facts, origin: made.fingerprint} if made.fingerprint else {"stages": []}


def _sample(tokens: "Tokens", most: int) -> list[list[int]]:
    """Texts and bodies of some training pairs, `most` at most, each with its end token."""
    from codesage.training.retrieval import distinct

    rows = distinct(tokens.pairs, most=most)
    sides = ((tokens.pairs.text, _TEXT_TOKENS), (tokens.pairs.body, _CODE_TOKENS))
    return [[*side[row][: limit - 1].tolist(), tokens.end_id] for row in rows.tolist() for side, limit in sides]


def lengthen(
    model: Annotated[Path, typer.Argument(help="A model folder, 'default' or 'general' (bundled).")],
    out: options.Out,
    positions: Annotated[
        int, typer.Option(min=1, max=MOST_TOKENS, help="Tokens of the longest text that the new model can read.")
    ],
    like: Annotated[
        Path | None,
        typer.Option(
            help="Model of the same width whose positions the new ones begin as, such as the output of 'codesage convert'. "
            "Default: the model's own, repeated."
        ),
    ] = None,
) -> None:
    """Write a model that reads longer texts. Train it with 'codesage contrast --code-tokens'."""
    from codesage.encoder.export import export as publish_encoder
    from codesage.encoder.folders import folder_of
    from codesage.encoder.lengthen import lengthen as lengthened
    from codesage.encoder.weights import load_encoder, load_with_tokenizer

    folder = folder_of(model)
    encoder, tokenizer = load_with_tokenizer(folder)
    longer = lengthened(encoder, positions, like=None if like is None else load_encoder(folder_of(like)))
    settings, facts = _history(folder, "lengthened_from")
    publish_encoder(longer, tokenizer, out, settings=settings, facts=facts | {"max_tokens": positions}, precisions=())
    typer.echo(f"{out}: {positions:,} positions ({encoder.config.max_position_embeddings:,} before)")


def average(
    model: Annotated[Path, typer.Argument(help="A trained model folder.")],
    others: Annotated[
        list[Path],
        typer.Argument(
            metavar="OTHER...",
            help="Other models of the same shape: the one that training started from, or other trainings from the same start.",
        ),
    ],
    out: options.Out,
    share: Annotated[
        float | None,
        typer.Option(min=0, max=1, callback=finite, help="Share of MODEL in the mean. Default: all models have equal shares."),
    ] = None,
) -> None:
    """Write the mean of the weights of several models. They may be those before and after a training."""
    from codesage.artifacts import open_artifact
    from codesage.encoder import average as station
    from codesage.encoder.export import export as publish_encoder
    from codesage.encoder.folders import folder_of
    from codesage.encoder.weights import load_with_tokenizer

    share = 1 / (1 + len(others)) if share is None else share
    encoder, tokenizer = load_with_tokenizer(folder_of(model))
    encoders = []
    for other in others:
        theirs, their_tokenizer = load_with_tokenizer(folder_of(other))
        if tokenizer.fingerprint != their_tokenizer.fingerprint:
            raise CodesageError(f"{model} and {other} have different tokenizers: only models with one tokenizer have a mean")
        encoders.append(theirs)
    mean = station.average(encoder, encoders, share=share)
    artifact, *mixed = (open_artifact(folder_of(folder), "model") for folder in (model, *others))
    stages = [len(one.facts.get("stages", ())) for one in (artifact, *mixed)]
    averaged = {
        "with": [one.fingerprint for one in mixed],
        "share": share,
        "of_one_start": len(set(stages)) == 1,  # trainings from one start have as many stages each; a start has fewer
    }
    publish_encoder(
        mean, tokenizer, out, settings=artifact.settings, facts={**artifact.facts, "averaged": averaged}, precisions=()
    )
    typer.echo(f"{out}: {share:.0%} of {model}, {1 - share:.0%} of {', '.join(map(str, others))}")


def _numbers(layers: str) -> list[int]:
    """Layers counted from 0, of a list counted from 1."""
    try:
        return [int(part) - 1 for part in layers.split(",")]
    except ValueError:
        raise CodesageError(f"--layers is {layers!r}, expected numbers with commas, as in '1,4'") from None
