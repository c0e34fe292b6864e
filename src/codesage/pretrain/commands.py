"""`codesage pretrain`: Stage I from the command line."""

from pathlib import Path
from typing import Annotated

import typer

from codesage.training import options


def pretrain(
    tokens: options.Tokens,
    out: options.Out,
    tokenizer: Annotated[Path | None, typer.Option(help="The tokenizer folder the tokens were made with.")] = None,
    model: Annotated[Path | None, typer.Option(help="Go on from the weights of this model, of the same tokenizer.")] = None,
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
) -> None:
    """Stage I: masked language modelling and identifier deobfuscation. Killed, the same command resumes where it left off."""
    from dataclasses import replace

    from codesage import recipes
    from codesage.encoder.folders import folder_of
    from codesage.pretrain import stage
    from codesage.training import processes

    options.check_size(size)
    with options.training_processes(threads) as device:
        loaded, opened = options.opened_tokens(tokens, tokenizer or model, out)
        recipe = recipes.naming if names else recipes.pretraining
        settings = recipe(size, seconds=60 * minutes, seed=seed, memory=processes.memory(device))
        changes = options.given(optimizer=optimizer, compile=compile, tensorboard=tensorboard)
        settings = replace(settings, loop=options.changed_loop(settings.loop, steps=steps, **changes))
        if dry_run:
            typer.echo("\n".join(stage.dry_run(settings, opened, loaded).lines()))
            return
        home = checkpoints or options.beside(out)
        before = model and folder_of(model)
        run = stage.run(settings, opened, loaded, out, checkpoints=home, resume=not fresh, before=before)
        options.report(run, "pretrain")
