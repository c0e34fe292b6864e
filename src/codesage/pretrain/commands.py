"""`codesage pretrain`: Stage I from the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesage.bounds import MOST, MOST_RATE, MOST_TOKENS, MOST_WEIGHT, finite
from codesage.training import options

if TYPE_CHECKING:
    from codesage.tokenizer import Tokenizer

_Model = Annotated[
    Path | None,
    typer.Option(help="Continue from the weights of this model, which has the same tokenizer; 'names' is bundled."),
]
_Objective = Annotated[
    str,
    typer.Option(
        help="parallel (the paper's: a coin per document), masking, deobfuscation, or sequential. Default: that of the size."
    ),
]
_MaskRate = Annotated[
    str, typer.Option(help="Share of the tokens that masking hides, 0.15 in the paper; two as in 0.15,0.5 give a random share.")
]
_MaskStyle = Annotated[str, typer.Option(help="full (the paper's: always the mask token) or 80-10-10.")]
_RandomOffsets = Annotated[
    bool | None,
    typer.Option("--random-offsets/--fixed-offsets", help="Cut documents at different places in every epoch."),
]
_EndEach = Annotated[
    bool | None,
    typer.Option("--end-each/--end-last", help="Add the end token to every window, or only to the last of a document."),
]
_MaxTokens = Annotated[int, typer.Option(min=0, max=MOST_TOKENS, help="Tokens of a window; 0: setting of the size.")]
_BatchTokens = Annotated[int, typer.Option(min=0, max=MOST, help="Tokens of a batch; 0: setting of the size.")]
_Initial = Annotated[
    str, typer.Option(help="Start, without --model: normal (as in the paper) or lexical. Default: that of the size.")
]
_PositionScale = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=MOST_WEIGHT,
        callback=finite,
        help="Length of the random directions that positions start as; 0: as --initial makes them.",
    ),
]
_LearningRate = Annotated[float, typer.Option(min=0, max=MOST_RATE, callback=finite, help="Peak rate; 0: setting of the size.")]
_WarmUp = Annotated[float | None, typer.Option(min=0, max=1, callback=finite, help="Share of the run used for warm-up.")]


def pretrain(
    tokens: options.Tokens,
    out: options.Out,
    tokenizer: Annotated[Path | None, typer.Option(help="The tokenizer folder the tokens were made with.")] = None,
    model: _Model = None,
    names: Annotated[
        bool,
        typer.Option(
            "--names",
            help="Learn to name identifiers, for 'codesage names': hide some of them, whole or after their first sub-tokens.",
        ),
    ] = False,
    size: options.Size = "nano",
    minutes: options.Minutes = 0.0,
    steps: options.Steps = 0,
    seed: options.Seed = 0,
    fresh: options.Fresh = False,
    checkpoints: options.Checkpoints = None,
    dry_run: options.DryRun = False,
    optimizer: options.Optimizer = "",
    compile: options.Compile = None,
    tensorboard: options.TensorBoard = False,
    threads: options.Threads = 0,
    objective: _Objective = "",
    mask_rate: _MaskRate = "",
    mask_style: _MaskStyle = "",
    random_offsets: _RandomOffsets = None,
    end_each: _EndEach = None,
    max_tokens: _MaxTokens = 0,
    batch_tokens: _BatchTokens = 0,
    initial: _Initial = "",
    position_scale: _PositionScale = None,
    learning_rate: _LearningRate = 0.0,
    warm_up: _WarmUp = None,
) -> None:
    """Stage I: learn to predict masked tokens and identifiers. A killed run resumes when you repeat the command."""
    from dataclasses import replace

    from codesage import recipes
    from codesage.encoder.folders import folder_of
    from codesage.errors import CodesageError
    from codesage.pretrain import stage
    from codesage.training import processes

    options.check_size(size)
    if model is not None and (initial or position_scale is not None):
        raise CodesageError("--initial and --position-scale are for a run from new weights: leave them out, or --model")
    with options.training_processes(threads) as device:
        loaded, opened = options.opened_tokens(tokens, tokenizer or model, out)
        if names:
            check_capitals(loaded)
        recipe = recipes.naming if names else recipes.pretraining
        settings = recipe(size, seconds=60 * minutes, seed=seed, memory=processes.memory(device))
        changes = options.given(
            optimizer=optimizer, compile=compile, tensorboard=tensorboard, learning_rate=learning_rate or ""
        )
        shown = options.given(
            objective=objective,
            mask_rate=_share(mask_rate) if mask_rate else "",
            mask_style=mask_style,
            random_offsets=random_offsets,
            end_each=end_each,
            max_tokens=max_tokens or "",
            batch_tokens=batch_tokens or "",
        )
        settings = replace(
            settings,
            examples=replace(settings.examples, **shown),
            loop=options.changed_loop(settings.loop, steps=steps, warm_up=warm_up, **changes),
            **options.given(initial=initial, position_scale=position_scale),
        )
        before = model and folder_of(model)
        if dry_run:
            typer.echo("\n".join(stage.dry_run(settings, opened, loaded, before=before).lines()))
            return
        home = checkpoints or options.beside(out)
        run = stage.run(settings, opened, loaded, out, checkpoints=home, resume=not fresh, before=before)
        options.report(run, "pretrain")


def check_capitals(tokenizer: "Tokenizer") -> None:
    """CodesageError when the tokenizer loses capitals: so would names."""
    from codesage.errors import CodesageError

    if tokenizer.decode(tokenizer.encode(["aB"], max_tokens=9)[0][:-1]) != "aB":
        raise CodesageError("the tokenizer loses capitals, so names would too: begin with --model names, or with a new model")


def _share(text: str) -> float | tuple[float, float]:
    """A share, or a lower and a higher one. CodesageError for anything else."""
    from codesage.errors import CodesageError

    try:
        first, *rest = map(float, text.split(","))
    except ValueError:
        first, rest = 0.0, [0.0, 0.0]
    if len(rest) > 1:
        raise CodesageError(f"--mask-rate is {text!r}: expected a share, as in 0.15, or two, as in 0.15,0.5")
    return (first, rest[0]) if rest else first
