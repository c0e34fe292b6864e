"""`codesage tokenizer`, `pretrain`, `contrast` and `export`: the stages from the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

_Size = Annotated[str, typer.Option(help="toy, nano, mini, small, base or large: see codesage.recipes.")]
_Out = Annotated[Path, typer.Option(help="Folder to write.")]
_Corpus = Annotated[Path, typer.Argument(help="A corpus folder.")]
_Tokens = Annotated[Path, typer.Argument(help="A tokens folder, or a corpus folder, whose tokens are then made beside OUT.")]
_Minutes = Annotated[float, typer.Option(min=0, help="Stop after this many minutes, learning rate decayed; 0: no limit.")]
_Steps = Annotated[int, typer.Option(min=0, help="Stop after this many steps; 0: as many as the size is trained for.")]
_Fresh = Annotated[bool, typer.Option("--fresh/--resume", help="Start over, or go on from the newest checkpoint.")]
_Checkpoints = Annotated[Path | None, typer.Option(help="Folder of checkpoints and metrics; default: OUT.checkpoints.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what the run would cost.")]
_Optimizer = Annotated[str, typer.Option(help="adamw or muon; default: that of the size.")]
_Compile = Annotated[bool | None, typer.Option("--compile/--no-compile", help="Compile the blocks with torch.compile; "
                                               "default: on a GPU.")]  # fmt: skip
_TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write for TensorBoard too, beside the checkpoints.")]
_Threads = Annotated[int, typer.Option(min=0, help="Threads on the CPU; 0: one a core.")]
_Seed = Annotated[int, typer.Option(help="Order of the data, masks and initial weights.")]


def tokenizer(
    corpus: _Corpus, out: _Out, vocab_size: Annotated[int, typer.Option(help="Entries.")] = 16_384,
    documents: Annotated[int, typer.Option(help="Train on this many documents, drawn at random; 0: all.")] = 4_000,
    seed: _Seed = 0,
) -> None:  # fmt: skip
    """Train a byte-level BPE tokenizer on the documents and pair texts of a corpus."""
    import random

    from codesage import tokenizer as station
    from codesage.artifacts import open_artifact
    from codesage.corpus.read import read_documents, read_pairs

    count = sum(open_artifact(corpus, "corpus").facts["documents"].values())
    drawn = set(random.Random(seed).sample(range(count), min(documents or count, count)))
    texts = [document.text for number, document in enumerate(read_documents(corpus)) if number in drawn]
    texts += [pair.text for pair in read_pairs(corpus) if pair.text]
    trained = station.train(texts, out, settings=station.Settings(vocab_size=vocab_size))
    typer.echo(f"{out}: {trained.vocab_size:,} entries")


def pretrain(
    tokens: _Tokens, out: _Out,
    tokenizer: Annotated[Path | None, typer.Option(help="The tokenizer folder the tokens were made with.")] = None,
    size: _Size = "nano", minutes: _Minutes = 0.0, steps: _Steps = 0, seed: _Seed = 0, fresh: _Fresh = False,
    checkpoints: _Checkpoints = None, dry_run: _DryRun = False, optimizer: _Optimizer = "", compile: _Compile = None,
    tensorboard: _TensorBoard = False, threads: _Threads = 0,
) -> None:  # fmt: skip
    """Stage I: masked language modelling and identifier deobfuscation. Killed, the same command goes on where it was."""
    from dataclasses import replace

    from codesage import recipes
    from codesage.pretrain import stage
    from codesage.training import processes

    _check_size(size)
    with _processes(threads) as device:
        loaded, opened = _opened(tokens, tokenizer, out)
        settings = recipes.pretraining(size, seconds=60 * minutes, seed=seed, memory=processes.memory(device))
        changes = _given(optimizer=optimizer, compile=compile, tensorboard=tensorboard)
        settings = replace(settings, loop=_changed(settings.loop, steps=steps, **changes))
        if dry_run:
            typer.echo("\n".join(stage.dry_run(settings, opened, loaded).lines()))
            return
        home = checkpoints or _beside(out)
        _report(stage.run(settings, opened, loaded, out, checkpoints=home, resume=not fresh), "pretrain")


def contrast(
    tokens: _Tokens, out: _Out,
    model: Annotated[Path | None, typer.Option(help="Model to start from, of Stage I or one to fine-tune; 'default' is the "
                                               "bundled one.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer, to start from random weights instead.")] = None,
    size: _Size = "nano", minutes: _Minutes = 0.0, steps: _Steps = 0, seed: _Seed = 0, fresh: _Fresh = False,
    checkpoints: _Checkpoints = None, dry_run: _DryRun = False, optimizer: _Optimizer = "", compile: _Compile = None,
    tensorboard: _TensorBoard = False, threads: _Threads = 0,
    negatives: Annotated[str, typer.Option(help="softmax (as printed), uniform or mean_one.")] = "",
    filter: Annotated[Path | None, typer.Option(help="Only the pairs that 'codesage filter' kept.")] = None,
    mix: Annotated[str, typer.Option(help="Shares of the batches, as in 'function+class=45,howto=20,parallel/across=35'. An "
                                     "entry is KIND[+KIND][:PACKAGE][/LANGUAGE]. Default: documented pairs.")] = "",
    mined: Annotated[Path | None, typer.Option(help="Hard negatives that 'codesage mine' found.")] = None,
    mined_negatives: Annotated[int | None, typer.Option(min=0, help="So many of them join a batch for each of its pairs. "
                                                        "Default: 1 with --mined, else 0.")] = None,
    teacher: Annotated[str, typer.Option(help="Learn the similarities among texts from another encoder too: minilm, a "
                                         "sentence-transformers folder, or what 'codesage teach' wrote.")] = "",
    teacher_weight: Annotated[float | None, typer.Option(min=0, help="Of that loss beside the contrastive one. Default: "
                                                         "1.")] = None,
    augment: Annotated[float | None, typer.Option(help="Share of the texts that are changed at random into something like a "
                                                  "query. Default: 0.")] = None,
    one_language: Annotated[bool | None, typer.Option("--one-language/--mixed-languages", help="Batches of texts and codes in "
                                                      "one language. Default: yes.")] = None,
    one_phase: Annotated[bool, typer.Option("--one-phase/--all-phases", help="Train the whole encoder from the first "
                                                   "step, as it is. Default: as the size.")] = False,
    batch_pairs: Annotated[int, typer.Option(min=0, help="Pairs in a batch, of the last phase; 0: those of the size.")] = 0,
    text_tokens: Annotated[int, typer.Option(min=0, help="Texts are cut at so many tokens; 0: as the size.")] = 0,
    code_tokens: Annotated[int, typer.Option(min=0, help="Code is cut at so many tokens; 0: as the size.")] = 0,
    hard_positives: Annotated[float | None, typer.Option(help="How often the code is the bare body. Default: as the "
                                                         "size.")] = None,
    documented: Annotated[float | None, typer.Option(help="How often it has the rest of its docstring in front. Default: as "
                                                     "the size.")] = None,
    temperature: Annotated[float, typer.Option(min=0, help="Of the loss; 0: as the size.")] = 0.0,
    learning_rate: Annotated[float, typer.Option(min=0, help="Highest, of the last phase; 0: as the size.")] = 0.0,
    warm_up: Annotated[float | None, typer.Option(min=0, max=1, help="Share of the last phase in which the rate rises. "
                                                  "Default: as the size.")] = None,
) -> None:  # fmt: skip
    """Stage II: contrastive learning on (text, code) pairs. Killed, the same command resumes where it left off."""
    from dataclasses import replace

    from codesage import recipes
    from codesage.artifacts import open_artifact
    from codesage.contrast import entries, filtering, mining, stage
    from codesage.contrast.augment import Settings as AugmentSettings
    from codesage.encoder.runtime import folder_of
    from codesage.encoder.weights import load_encoder
    from codesage.errors import CodesageError
    from codesage.training import processes

    _check_size(size)
    if (model is None) == (tokenizer is None):
        raise CodesageError("give either --model, to start from Stage I, or --tokenizer, to start from random weights")
    with _processes(threads) as device:
        loaded, opened = _opened(tokens, model or tokenizer, out)
        before = None if model is None else open_artifact(folder_of(model), "model")
        encoder = (_untrained(size, loaded, opened, seed) if model is None else load_encoder(model)).to(device)
        chosen = {"keep": None if filter is None else filtering.read(filter, opened),
                  "mined": None if mined is None else mining.read(mined, opened),
                  "teacher": _teacher(teacher, opened, loaded, out) if teacher and not dry_run else None}  # fmt: skip
        extent = {"pairs": len(opened.pairs), "seconds": 60 * minutes, "seed": seed, "memory": processes.memory(device)}
        trained = before is not None and "contrast" in before.facts.get("stages", ())
        settings = recipes.fine_tuning(**extent) if trained else recipes.contrasting(size, **extent)
        settings = stage.one_phase(settings) if one_phase else settings
        settings = _phases_changed(
            settings,
            loop=_given(optimizer=optimizer, compile=compile, tensorboard=tensorboard),
            batches=_given(mix=entries.parsed(mix) if mix else "", one_language=one_language,
                           text_tokens=text_tokens or "", code_tokens=code_tokens or "", hard_positives=hard_positives,
                           documented=documented, augment="" if augment is None else AugmentSettings(share=augment),
                           mined_negatives=int(mined is not None) if mined_negatives is None else mined_negatives),
            own=_given(negatives=negatives, temperature=temperature or "", teacher_weight=teacher_weight),
        )  # fmt: skip
        last = {"learning_rate": learning_rate} if learning_rate else {}
        settings = replace(
            settings, loop=_changed(settings.loop, steps=steps, warm_up=warm_up, **last),
            batches=replace(settings.batches, **({"batch_pairs": batch_pairs} if batch_pairs else {})),
        )  # fmt: skip
        if dry_run:
            for phase in settings.phases().values():
                stage.check(phase, opened, encoder, loaded)
            chosen.pop("teacher")
            for name, cost in stage.expected(settings, opened, encoder, tokenizer=loaded, **chosen).items():
                typer.echo("\n".join([f"{name}:", *cost.lines()]))
            return
        artifact = stage.run(settings, opened, encoder, tokenizer=loaded, out=out, before=before,
                             checkpoints=checkpoints or _beside(out), resume=not fresh, **chosen)  # fmt: skip
        _report(artifact, "contrast")


def initialise(
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer folder.")], out: _Out, size: _Size = "nano",
    tokens: Annotated[Path | None, typer.Option(help="Tokens to count words in: the lexical start of nano.")] = None,
    seed: _Seed = 0,
) -> None:  # fmt: skip
    """Write an untrained encoder, the baseline that training has to beat: random weights, or a lexical start."""
    from codesage import recipes
    from codesage import tokenizer as tokenizers
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.encoder.export import export as publish_encoder

    _check_size(size)
    loaded = tokenizers.load(tokenizer)
    opened = None if tokens is None else open_tokens(tokens, tokenizer=loaded)
    encoder = _untrained(size, loaded, opened, seed).eval()
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
    from codesage.training import processes

    if processes.rank() == 0:
        facts = artifact.facts[stage]
        typer.echo(f"{artifact.path}: " + ", ".join(f"{name} {value:,}" for name, value in facts.items()))


@contextmanager
def _processes(threads: int) -> Iterator:
    import torch

    from codesage.errors import CodesageError
    from codesage.training import processes

    if threads:
        torch.set_num_threads(threads)
    try:
        with processes.guarded("the run"):
            yield processes.start()
    except torch.OutOfMemoryError as error:
        reason = ". ".join(str(error).split(". ")[:2])
        raise CodesageError(f"the GPU's memory is full ({reason}): end what else uses it, or train a smaller size "
                            "into another --out") from None  # fmt: skip
    finally:
        processes.stop()


def _opened(tokens: Path, tokenizer: Path | None, out: Path) -> tuple:
    """The tokenizer, and the tokens made with it: opened, or made from a corpus beside `out` where they are not yet."""
    from codesage import tokenizer as tokenizers
    from codesage.corpus.tokens import tokenised as station
    from codesage.encoder.runtime import folder_of
    from codesage.errors import CodesageError
    from codesage.training import processes

    if tokenizer is None and not (tokens / "tokenizer.json").is_file():
        raise CodesageError("give --tokenizer, the folder of the tokenizer that the tokens were made with")
    loaded = tokenizers.load(folder_of(tokenizer) if tokenizer else tokens)
    if _is_corpus(tokens):
        corpus, tokens = tokens, out.with_name(f"{out.name}.tokens")
        if processes.world() > 1 and not tokens.exists():
            raise CodesageError(f"{corpus} is a corpus: run 'codesage tokens {corpus} --tokenizer {tokenizer} --out {tokens}' "
                                "first, several processes train on tokens")  # fmt: skip
        if not _fresh_tokens(tokens, corpus, loaded):
            typer.echo(f"tokenising {corpus} into {tokens}", err=True)
            station.build(corpus, loaded, tokens)
    return loaded, station.open_tokens(tokens, tokenizer=loaded)


def _teacher(name: str, tokens, tokenizer, out: Path):
    """The teacher's vectors: in the folder `name`, or those of the encoder `name`, made beside `out` unless they are there."""
    from codesage.artifacts import MANIFEST
    from codesage.contrast import teacher as station
    from codesage.contrast.commands import write_teacher
    from codesage.errors import CodesageError
    from codesage.training import processes

    if (Path(name) / MANIFEST).is_file():
        return station.read(name, tokens)
    made = out.with_name(f"{out.name}.teacher-{Path(name).name}")
    if not (made / MANIFEST).is_file():
        if processes.world() > 1:
            raise CodesageError(f"several processes train: run 'codesage teach {tokens.path} --teacher {name} --out {made}' "
                                f"first, then give --teacher {made}")  # fmt: skip
        write_teacher(name, tokens, tokenizer, made)
    return station.read(made, tokens)


def _is_corpus(folder: Path) -> bool:
    from codesage.artifacts import open_artifact
    from codesage.errors import CodesageError

    try:
        open_artifact(folder, "corpus", verify=False)
    except CodesageError:  # what else is wrong with it is said when it is opened as tokens
        return False
    return True


def _fresh_tokens(tokens: Path, corpus: Path, loaded) -> bool:
    from codesage.artifacts import open_artifact

    if not tokens.exists():
        return False
    facts, origin = open_artifact(tokens, "tokens", verify=False).facts, open_artifact(corpus, "corpus", verify=False)
    return facts.get("corpus") == origin.fingerprint and facts.get("tokenizer") == loaded.fingerprint


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.checkpoints")


def _given(**options) -> dict:
    """The options that were given: the others stay those of the size."""
    return {name: value for name, value in options.items() if value not in ("", None)}


def _changed(loop, *, steps: int = 0, warm_up: float | None = None, **changes):
    """Loop settings with `changes`; fewer steps keep the share of the warm-up, unless `warm_up` is another."""
    from dataclasses import replace

    steps = steps or loop.steps
    if warm_up is not None or steps != loop.steps:
        warmup = loop.warmup_steps * steps / loop.steps if warm_up is None else warm_up * steps
        changes |= {"steps": steps, "warmup_steps": max(1, round(warmup)) if warmup else 0}
    return replace(loop, **changes)


def _phases_changed(settings, *, loop: dict, batches: dict, own: dict):
    """Settings of Stage II with changes to all its phases: to their loop, their batches, and what is their own."""
    from dataclasses import replace

    first = settings.first and _phases_changed(settings.first, loop=loop, batches=batches, own=own)
    drawn = replace(settings.batches, **({"kinds": {}} if "mix" in batches else {}), **batches)
    return replace(settings, loop=replace(settings.loop, **loop), batches=drawn, first=first, **own)


def _untrained(size: str, loaded, tokens, seed: int):
    """An encoder as a size starts; without tokens to count words in, from random weights."""
    from dataclasses import replace

    from codesage import recipes
    from codesage.encoder import lexical

    shape = replace(recipes.encoder_of(size), vocab_size=loaded.vocab_size)
    initial = "normal" if tokens is None else recipes.initial_of(size)
    return lexical.fresh(shape, loaded, () if tokens is None else tokens.counted(), initial=initial, seed=seed)
