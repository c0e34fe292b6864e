"""The commands of search with `--store`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from codesage.errors import CodesageError
from codesage.search.folders import command

if TYPE_CHECKING:
    from codesage.search.filters import Filter
    from codesage.search.searcher import Answer, Groups
    from codesage.search.store.table import Root


def index_into(address: str, paths: Sequence[str], model: Path | None, engine: str, workers: int, *, rebuild: bool) -> None:
    """Update the roots of `paths` in a store, and print what it holds of them."""
    if not address:
        raise CodesageError(f"--engine {engine} goes with --store: give lance://FOLDER or lance://s3://BUCKET/FOLDER")
    require_extra()
    from codesage.encoder.runtime import load
    from codesage.search.refresh import Lines, say
    from codesage.search.store.engines import ENGINES, Local, OnRay
    from codesage.search.store.fill import fill, roots_of

    if engine not in ENGINES:
        raise CodesageError(f"--engine is {engine!r}: expected one of {', '.join(ENGINES)}")
    encoder = load(model)
    runner = OnRay(encoder, model, workers) if engine == "ray" else Local(encoder)
    roots = fill(address, roots_of(paths, encoder), encoder, runner, rebuild=rebuild, progress=Lines("indexing", "files"))
    for root in roots:
        say(f"{root.root}: {root.files:,} files in {address}; {_left_out(root)}")


def answer_from(
    address: str,
    query: str,
    where: "Filter",
    paths: Sequence[str],
    model: Path | None,
    *,
    top: int,
    dense_weight: float,
    weak: bool,
) -> "Answer":
    """The answer of a store to a query."""
    require_extra()
    from codesage.encoder.runtime import load
    from codesage.search.store.query import search
    from codesage.search.store.table import Store

    encoder = load(model)
    return search(Store.open(address, encoder), encoder, query, where, paths, top=top, dense_weight=dense_weight, weak=weak)


def similar_from(address: str, place: str, line: int, where: "Filter", paths: Sequence[str], *, top: int) -> "Answer":
    """The code of a store that is most similar to that at a place. Its model need not be at hand."""
    require_extra()
    from codesage.search.store.similar import similar
    from codesage.search.store.table import Store

    return similar(Store.open(address, None), place, line, where, paths, top=top)


def clones_from(address: str, where: "Filter", paths: Sequence[str], *, threshold: float, min_lines: int) -> "Groups":
    """Groups of functions of a store that do the same. Its model need not be at hand."""
    require_extra()
    from codesage.search.clones import grouped
    from codesage.search.searcher import Groups
    from codesage.search.store.conditions import below, unused_of
    from codesage.search.store.query import partial_of
    from codesage.search.store.similar import functions_of
    from codesage.search.store.table import Store

    store = Store.open(address, None)
    functions = functions_of(store, where, paths, min_lines=min_lines)
    unused = unused_of(store, where, below(store, paths)) if not functions.chunks else []
    groups, files = grouped(functions.chunks, functions.vectors_ND, threshold), sum(one.files for one in store.roots())
    return Groups(groups, partial_of(store), functions.left_out, files, unused)


def clear_from(address: str, paths: Sequence[str]) -> None:
    """Delete the roots of `paths` from a store. CodesageError when it lacks one of them."""
    if not paths:
        raise CodesageError("name what to remove from the store: a folder, or the address of a repository")
    require_extra()
    from codesage.search.remote import is_url, public
    from codesage.search.store.address import one_writer
    from codesage.search.store.table import Store

    names = [public(path) if is_url(path) else Path(path).resolve().as_posix() for path in paths]
    with one_writer(address):
        store = Store.open(address, None)
        held = {root.root for root in store.roots()}
        for path, name in zip(paths, names, strict=True):
            if name not in held:
                raise CodesageError(f"{address} holds no root {path}: '{command('status', '--store', address)}' lists them")
        for name in names:
            store.drop(name)
        store.finish()


def show_status(address: str) -> None:
    """Print what a store holds of each root."""
    require_extra()
    from codesage.search.show import printable
    from codesage.search.store.table import Store

    store = Store.open(address, None)
    typer.echo(f"store: {printable(address)}\nmodel: {store.model}\nchunks: {store.count('piece = 0'):,}")
    for root in store.roots():
        state = f"partial: {root.pending:,} files are not indexed yet" if root.pending else "complete"
        typer.echo(f"{printable(root.root)}: {root.files:,} files, {_left_out(root)}, {state}")


def _left_out(root: "Root") -> str:
    """What of a root is not in the store, or only in part."""
    from codesage.search.refresh import listed

    in_part = f", indexed in part: {listed(root.in_part)}" if root.in_part else ""
    return f"skipped: {listed(root.skipped) or 'none'}{in_part}"


def require_extra() -> None:
    """CodesageError where LanceDB is not installed."""
    from importlib.util import find_spec

    if find_spec("lancedb") is None or find_spec("pyarrow") is None:
        raise CodesageError("lancedb is not installed: run pip install 'codesage[lance]'")
