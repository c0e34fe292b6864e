"""`codesage index`, `search`, `similar` and `status`: search from the command line."""

import json
import os
import sys
import unicodedata
from pathlib import Path
from typing import Annotated

import typer

from codesage.errors import CodesageError
from codesage.search.ranking import DENSE_WEIGHT

_SECONDS = 0.7  # in which a search updates the index and encodes what is left
_Path = Annotated[Path, typer.Argument(help="Folder or file to search.")]
_IndexDir = Annotated[Path | None, typer.Option(help="Where the index lives; default: the user's cache.")]
_Model = Annotated[Path | None, typer.Option(help="Model folder; default: the bundled one.")]


def index(
    path: _Path = Path("."), index_dir: _IndexDir = None, model: _Model = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Start over.")] = False,
) -> None:  # fmt: skip
    """Index the code under PATH, reading only what is new or changed."""
    _refresh(*_open(path, index_dir, model, rebuild=rebuild))


def search(
    query: Annotated[str, typer.Argument(help="What to look for, in plain words or code.")],
    path: _Path = Path("."), index_dir: _IndexDir = None, model: _Model = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of answers.")] = 10,
    language: Annotated[str, typer.Option(help="Only this language.")] = "",
    glob: Annotated[str, typer.Option(help="Only paths that match.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    dense_weight: Annotated[float, typer.Option(min=0, help="Weight of the vectors; full text has 1.")] = DENSE_WEIGHT,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each score is made of.")] = False,
    only_paths: Annotated[bool, typer.Option("--files", "-l", help="Only the paths of the files, best first.")] = False,
    no_update: Annotated[bool, typer.Option("--no-update", help="Do not look for changes first.")] = False,
) -> None:  # fmt: skip
    """Search the code under PATH, after indexing what is new. Exit code 0: found, 1: nothing found, 2: error."""
    from codesage.languages import LANGUAGES
    from codesage.search import query as station

    language = language.lower()
    if language and language not in LANGUAGES:
        raise CodesageError(f"unknown language {language!r}: expected one of {', '.join(LANGUAGES)}")
    opened, encoder = _open(path, index_dir, model, create=not no_update)
    if not no_update:
        _refresh_or_share(opened, encoder)
    hits = station.search(opened, encoder, query, top=top, language=language, glob=glob, dense_weight=dense_weight)
    partial = _say_if_partial(opened, path)
    if only_paths:
        for file in dict.fromkeys(hit.chunk.path for hit in hits):
            typer.echo(printable(file))
    for hit in () if only_paths else hits:
        typer.echo(_as_json(hit, explain, partial) if as_json else _as_text(hit, explain))
    if not hits:
        typer.echo("nothing found", err=True)
        raise typer.Exit(1)


def similar(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE", help="A line of the function to compare with.")],
    path: _Path = Path("."), index_dir: _IndexDir = None, model: _Model = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of answers.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    no_update: Annotated[bool, typer.Option("--no-update", help="Do not look for changes first.")] = False,
) -> None:  # fmt: skip
    """Find code under PATH that does the same as the function at FILE:LINE, in any language. Exit codes as of search."""
    from codesage.search.similar import similar as station

    file, _, line = place.rpartition(":")
    if not file or not line.isdigit():
        raise CodesageError(f"{place!r} is not a place: expected FILE:LINE, such as src/main.py:12")
    real = Path(file).resolve()
    below = real.relative_to(path.resolve()).as_posix() if real.is_relative_to(path.resolve()) else file
    opened, encoder = _open(path, index_dir, model, create=not no_update)
    if not no_update:
        _refresh_or_share(opened, encoder)
    hits = station(opened, below, int(line), top=top, encoder=encoder)
    partial = _say_if_partial(opened, path)
    for hit in hits:
        typer.echo(_as_json(hit, False, partial) if as_json else _as_text(hit, False))
    if not hits:
        typer.echo("nothing found", err=True)
        raise typer.Exit(1)


def status(path: _Path = Path("."), index_dir: _IndexDir = None, model: _Model = None) -> None:
    """Say what the index of PATH holds, and which indexes of other models are there."""
    from codesage.search.index import of_other_models

    opened, _ = _open(path, index_dir, model, create=False)
    held = opened.status()
    typer.echo(f"root: {held.root}\nindex: {held.folder}\nmodel: {held.model}\nfiles: {held.files:,}\n"
               f"chunks: {held.chunks:,}\nskipped: {_listed(held.skipped) or 'none'}\n"
               f"state: {_partial(opened) or 'complete'}")  # fmt: skip
    for folder in () if index_dir else of_other_models(opened.folder, opened.model):
        typer.echo(f"index of another model: {folder} (remove it if that model is not used any more)")


def _open(path: Path, index_dir: Path | None, model: Path | None, *, create: bool = True, rebuild: bool = False):
    """The index of `path` and the encoder it is written by; where there is none, a new one if `create`, else an error."""
    from codesage.encoder.runtime import load
    from codesage.search.index import Index, default_folder

    if not path.exists():
        raise CodesageError(f"{path}: no such file or folder: give a path that exists")
    encoder = load(model)
    folder = index_dir or default_folder(path, encoder.fingerprint)
    if not create and not (folder / "index.sqlite").exists():
        place = f" --index-dir {index_dir}" if index_dir else ""
        raise CodesageError(f"{path} has no index of this model in {folder}: run 'codesage index {path}{place}'")
    return Index.open(path, folder=index_dir, encoder=encoder, rebuild=rebuild), encoder


def _partial(opened) -> str:
    """What an index lacks, "" for nothing."""
    if opened.pending:
        return f"partial: {opened.pending:,} files are not indexed yet"
    held = opened.status()
    return f"partial: {held.unencoded:,} of {held.chunks:,} chunks are not encoded yet" if held.unencoded else ""


def _say_if_partial(opened, path: Path) -> bool:
    """What answers rest on, one line on stderr, while the encoder has not read everything; False when it has."""
    if lacking := _partial(opened):
        typer.echo(f"{lacking}: ranked by words, static vectors, and the encoder for the best; "
                   f"'codesage index {printable(str(path))}' completes it", err=True)  # fmt: skip
    return bool(lacking)


def _refresh(opened, encoder, *, seconds: float | None = None) -> None:
    """Bring an index up to date, and say on stderr what was new; `seconds` as in Index.update."""
    changes = _update(opened, encoder, seconds)
    held = opened.status()
    if changes["read"] or changes["gone"]:
        skipped = sum(held.skipped.values())
        reasons = f": {_listed(held.skipped)}" if skipped else ""
        typer.echo(f"{held.files:,} files indexed ({held.chunks:,} chunks), {skipped:,} skipped{reasons}", err=True)
    if not held.files:
        typer.echo(f"{held.root} holds no text file to index", err=True)


def _refresh_or_share(opened, encoder) -> None:
    """As _refresh; while another process does the same, what it has committed must do, once there is something."""
    from codesage.search.index import Busy

    busy = f"another process is indexing {opened.root}"
    while True:
        try:
            return _refresh(opened, encoder, seconds=_SECONDS)
        except Busy:
            if files := opened.status().files:
                return typer.echo(f"{busy}: answers come from the {files:,} files indexed so far", err=True)
        typer.echo(f"{busy}: waiting for it", err=True)
        opened.wait()


def _update(opened, encoder, seconds: float | None):
    if sys.stderr is None or not sys.stderr.isatty():
        return opened.update(encoder, seconds=seconds)
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("indexing", total=None)

        def show(what: str):
            return lambda done, total: bar.update(task, description=what, completed=done, total=total)

        return opened.update(encoder, progress=show("reading files"), encoding=show("encoding"), seconds=seconds)


def _as_json(hit, explain: bool, partial: bool) -> str:
    chunk = hit.chunk
    return json.dumps({"path": chunk.path, "start_line": chunk.start_line, "end_line": chunk.end_line,
                       "language": chunk.language, "name": chunk.name, "kind": chunk.kind,
                       "score": round(hit.score, 6), "alike": hit.alike, "tier": hit.tier, "partial": partial,
                       "snippet": chunk.text,
                       **({"parts": hit.parts} if explain else {})}, ensure_ascii=False)  # fmt: skip


def printable(text: str) -> str:
    """`text` without characters that a terminal obeys: each is shown as an escape."""
    return "".join(letter if letter == "\t" or unicodedata.category(letter) not in ("Cc", "Cf") else
                   letter.encode("unicode_escape").decode() for letter in text)  # fmt: skip


def _as_text(hit, explain: bool) -> str:
    chunk = hit.chunk
    head = typer.style(f"{printable(chunk.path)}:{chunk.start_line}", bold=_colour())
    snippet = "\n".join(f"    {printable(line[:160])}" for line in chunk.text.splitlines()[:4])
    more = f"  (and {hit.alike} alike)" if hit.alike else ""
    parts = "\n    = " + ", ".join(f"{rule} {value:.3f}" for rule, value in hit.parts.items()) if explain else ""
    return f"{head}: {printable(chunk.name) or chunk.kind}  {hit.score:.4f}{more}{parts}\n{snippet}"


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))
