"""`codesage corpus build`, `pin`, `stats` and `sample`: build a corpus from sources, and inspect one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesage.bounds import MOST, MOST_PROCESSES, MOST_SEED

if TYPE_CHECKING:
    from codesage.corpus.engine import Engine

app = typer.Typer(help="Build a corpus from packages and folders, and inspect one.", no_args_is_help=True)
_Corpus = Annotated[Path, typer.Argument(help="A corpus folder.")]
_SOURCES = (
    "Recipes (.toml); folders, files and archives (.zip, .whl, .tar.*, .tgz, .deb) of source code; bare git repositories, "
    ".git folders and bundles, read at HEAD; Parquet in the layout of The Stack or a similar one: a .parquet file, or a "
    "folder with such files and no source file."
)
_SHOWN = 20  # lines of code to print for a sample


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder to write the corpus to.")],
    sources: Annotated[list[Path] | None, typer.Argument(help=_SOURCES)] = None,
    stdlib: Annotated[bool, typer.Option("--stdlib", help="Also read the Python standard library.")] = False,
    packages: Annotated[list[Path] | None, typer.Option(help="Also read the packages in a site-packages folder.")] = None,
    any_licence: Annotated[bool, typer.Option("--any-licence", help="Packages and Parquet rows under any licence.")] = False,
    held_out: Annotated[list[str] | None, typer.Option(help="Package to use for evaluation pairs only.")] = None,
    exclude_benchmarks: Annotated[Path | None, typer.Option(help="Folder of benchmark items to keep out (JSON lines).")] = None,
    most_shared: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST,
            help="Leave out functions and classes if more than this many share one "
            "text, since such a text says little; 0: leave out none.",
        ),
    ] = 5,
    cache: Annotated[Path | None, typer.Option(help="Folder for downloads; default: the user's cache.")] = None,
    work: Annotated[str, typer.Option(help="Folder or s3://... for unfinished work; default: beside --out.")] = "",
    engine: Annotated[str, typer.Option(help="local: the cores of this machine; ray: a Ray cluster.")] = "local",
    workers: Annotated[
        int, typer.Option(min=0, max=MOST_PROCESSES, help="Processes that read and parse; 0: one for each core.")
    ] = 0,
) -> None:
    """Build a corpus: files, functions and (text, code) pairs as Parquet.

    A card lists its content, what was left out, and why.

    If a build is interrupted, the same command resumes where it left off. A damaged archive stops the build. Files of
    other languages are counted but not read.
    """
    from codesage.corpus import stage
    from codesage.corpus.report import progress

    settings = stage.Settings(tuple(held_out or ()), str(exclude_benchmarks or ""), most_shared, workers)
    chosen = sources_of(sources or [], stdlib=stdlib, packages=packages or [], any_licence=any_licence)
    with progress.shown() as show:
        artifact = stage.build(
            settings, chosen, out, engine=_engine(engine, workers), cache=cache or _default_cache(), work=work, progress=show
        )
    typer.echo(_tables(artifact.facts))
    typer.echo(f"{out}: see {out / 'README.md'} for the full data card")


@app.command()
def pin(
    recipe: Annotated[Path, typer.Argument(help="The recipe (.toml) to write pins into.")],
    cache: Annotated[Path | None, typer.Option(help="Folder for downloads; default: the user's cache.")] = None,
    add: Annotated[bool, typer.Option("--add", help="Keep pins that differ, and add the pins for this machine.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Replace pins that differ from the fetched files.")] = False,
) -> None:
    """Write the SHA-256 of every package into a recipe. Each build then checks it.

    Packages that are not in the cache are fetched. The rest of the file stays as it is, including its comments.
    """
    from codesage.corpus.sources import pinning

    others = "add" if add else "replace" if update else "stop"
    pins = pinning.pin(recipe, cache or _default_cache(), others=others, on_fetched=lambda key: typer.echo(key, err=True))
    for name in pins.changed:
        typer.echo(f"changed: {name}")
    typer.echo(f"{recipe}: {len(pins.added)} pins added, {len(pins.changed)} changed, {len(pins.kept)} kept")


@app.command()
def stats(corpus: _Corpus) -> None:
    """Print what a corpus contains, what was left out, and why."""
    from codesage.artifacts import open_artifact

    typer.echo(_tables(open_artifact(corpus, "corpus", verify=False).facts))


@app.command()
def sample(
    corpus: _Corpus,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=MOST, help="Number of pairs.")] = 5,
    kind: Annotated[str, typer.Option(help="Only pairs of this kind, such as function, class, example, comment or test.")] = "",
    language: Annotated[str, typer.Option(help="Only pairs in this language.")] = "",
    held_out: Annotated[bool, typer.Option("--held-out", help="Only pairs of the held-out packages.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the random choice.")] = 0,
) -> None:
    """Print randomly chosen pairs of a corpus."""
    import random

    from codesage.corpus.read import sample_pairs
    from codesage.errors import CodesageError

    pairs = sample_pairs(corpus, count, random.Random(seed), held_out=held_out, kind=kind, language=language)
    if not pairs:
        raise CodesageError(f"{corpus} has no such pair: run 'codesage corpus stats {corpus}' to see what it contains")
    for pair in pairs:
        head = f"{pair.language} {pair.kind}  {pair.package} {pair.version}  {pair.path}:{pair.start_line}  {pair.name}"
        lines = pair.code.rstrip().expandtabs(4).splitlines()
        shown = [f"    {line[:140]}" for line in lines[:_SHOWN]]
        if len(lines) > _SHOWN:
            shown.append(f"    ... {len(lines) - _SHOWN} more lines")
        text = [f"  {typer.style(pair.text, bold=True)}"] + [f"  {pair.description[:300]}"] * bool(pair.description)
        typer.echo("\n".join([typer.style(head, dim=True), *text, *shown, ""]))


def sources_of(
    paths: Sequence[Path], *, stdlib: bool = False, packages: Sequence[Path] = (), any_licence: bool = False
) -> list:
    """The sources that recipes (.toml) and other paths describe, in order. CodesageError when there are none."""
    from codesage.corpus.sources.given import source_at
    from codesage.corpus.sources.recipe import read_recipe
    from codesage.corpus.sources.trees import SitePackages, StandardLibrary
    from codesage.errors import CodesageError

    chosen = []
    for path in paths:
        chosen += read_recipe(path).sources() if path.suffix == ".toml" else [source_at(path, any_licence=any_licence)]
    chosen += [StandardLibrary()] if stdlib else []
    chosen += [SitePackages(str(path), any_licence) for path in packages]
    if not chosen:
        raise CodesageError("nothing to read: give a recipe (.toml), a folder, an archive, --stdlib or --packages SITE")
    return chosen


def _engine(name: str, workers: int) -> "Engine":
    from codesage.corpus.engine import LocalEngine, RayEngine
    from codesage.errors import CodesageError

    engines = {"local": LocalEngine, "ray": RayEngine}
    if name not in engines:
        raise CodesageError(f"unknown engine {name!r}: expected one of {', '.join(engines)}")
    return engines[name](workers)


def _default_cache() -> Path:
    from codesage.machine import cache_folder

    return cache_folder("sources")


def _tables(facts: dict) -> str:
    from codesage.corpus.report.card import languages_table, others_line, reasons_table

    return "\n\n".join(filter(None, (languages_table(facts), reasons_table(facts), others_line(facts))))
