"""Maintain the cache of search: list it, remove parts of it, and check it.

In: paths, or nothing for everything. Out: folders with their sizes, findings with their remedies, models with their figures.
"""

import errno
import importlib.util
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codesage.artifacts import MANIFEST
from codesage.encoder import runtime
from codesage.encoder.folders import BUNDLED_MODELS
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.search import database, postings
from codesage.search.database import DATABASE, SCHEMA
from codesage.search.folders import command, default_folder, index_command, may_exist, real_path
from codesage.search.index import Index
from codesage.search.refresh import lacking
from codesage.search.remote import clones_folder, folders_of
from codesage.search.vectors import vectors_folder
from codesage.search.view import load as load_view
from codesage.walk import walk

if TYPE_CHECKING:
    from codesage.encoder.runtime import Embedder

_EXTRAS = {
    "train": "torch",
    "mcp": "mcp",
    "serve": "fastapi",
    "watch": "watchfiles",
    "lance": "lancedb",
    "languages": "tree_sitter_rust",
}
_SNIPPETS = {
    "python": "def f():\n    return 1\n",
    "php": "<?php function f() { return 1; }\n",
    "go": "package p\nfunc f() int { return 1 }\n",
    "ruby": "def f\n  1\nend\n",
    "c": "int f() { return 1; }\n",
    "java": "class A { int f() { return 1; } }\n",
    "csharp": "class A { int F() { return 1; } }\n",
}
_LITTLE = 200_000_000  # bytes of free space


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `remedy` is empty if there is no fault."""

    part: str
    state: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """An index in the cache."""

    folder: Path
    root: str  # "" where the index cannot be read
    size: int  # bytes


def kept_indexes() -> list[Kept]:
    """All indexes in the user's cache."""
    indexes = default_folder(Path("."), "").parent
    folders = sorted(path for path in indexes.glob("*") if (path / DATABASE).exists()) if indexes.is_dir() else []
    return [Kept(folder, _root_of(folder), size_of(folder)) for folder in folders]


def to_clear(paths: Sequence[str], *, everything: bool, gone: bool, vectors: bool, index_dir: Path | None) -> list[Kept]:
    """The indexes to remove; a path may be the address of a git repository or the name of a workspace (search.remote).

    CodesageError when the options contradict each other, or a path has no index.
    """
    if sum(map(bool, (paths, everything, gone, vectors))) > 1 or (index_dir and (everything or gone or vectors)):
        raise CodesageError("give paths, or one of --all, --gone and --vectors")
    folders = [Path(folder) for path in paths for folder in folders_of(path, clone=False)]
    if index_dir is not None:
        return [_kept_in(index_dir, folders)]
    if vectors:
        return []
    kept = kept_indexes()
    if everything or gone:
        return [one for one in kept if everything or (one.root and not may_exist(one.root))]
    matching = []
    for path in folders or [Path(".")]:
        beginning = default_folder(path, "").name  # the fingerprint of a model follows
        own = [one for one in kept if one.folder.name.startswith(beginning)]
        if not own:
            raise CodesageError(f"{path} has no index in the cache: '{command('doctor', path)}' shows what is there")
        matching += own
    return matching


def _kept_in(index_dir: Path, folders: Sequence[Path]) -> Kept:
    """The index in a folder. CodesageError if there is none, or it is not that of `folders`, where some are given."""
    if not (index_dir / DATABASE).exists():
        raise CodesageError(f"{index_dir} is not an index: give the folder that --index-dir named before")
    root = _root_of(index_dir)
    others = [folder for folder in folders if root and real_path(folder) != root]
    if others:
        raise CodesageError(f"{index_dir} is the index of {root}, not of {others[0]}: give that path, or no path")
    return Kept(index_dir, root, size_of(index_dir))


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


def remove(kept: Kept) -> int:
    """Remove an index and no other files in its folder; returns the freed bytes.

    CodesageError when another process is writing it, or it cannot be removed.
    """
    folder = kept.folder
    size = sum((folder / name).stat().st_size for name in database.FILES if (folder / name).exists())
    try:
        database.remove(folder, Path(kept.root or folder), lock_too=True)
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):  # another process has removed the folder, or begins a new index
            raise database.failure(error, folder, "") from None
    return size


def remove_vectors() -> int:
    """Remove the cache of vectors of all models; returns the freed bytes."""
    return _remove_folder(vectors_folder())


def remove_clones() -> int:
    """Remove the clones of remote repositories; returns the freed bytes."""
    return _remove_folder(clones_folder())


def _remove_folder(folder: Path) -> int:
    freed = size_of(folder) if folder.is_dir() else 0
    shutil.rmtree(folder, ignore_errors=True)
    return freed


def _root_of(folder: Path) -> str:
    try:
        with closing(database.connect(folder / DATABASE)) as connection:
            return database.meta_of(connection).get("root", "")
    except sqlite3.Error:
        return ""


def checked(paths: Sequence[Path], model: Path | None = None, index_dir: Path | None = None) -> Iterator[Finding]:
    """Findings about the installation, the cache and the index of each path, one at a time."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", version, "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer")
    encoder = None
    try:
        encoder = runtime.load(model)
        yield _model_finding(encoder)
    except CodesageError as error:
        yield Finding("model", str(error), "install codesage again" if model is None else "export or copy the model again")
    yield from map(_grammar_finding, LANGUAGES)
    yield _cache_finding()
    yield _vectors_finding()
    missing = [name for name, module in _EXTRAS.items() if importlib.util.find_spec(module) is None]
    yield Finding("extras", f"not installed, and not needed for search: {', '.join(missing)}" if missing else "all installed")
    for path in paths:
        for finding in _path_findings(path, index_dir, encoder):
            yield replace(finding, part=f"{path}, {finding.part}") if len(paths) > 1 else finding


def _path_findings(path: Path, index_dir: Path | None, encoder: "Embedder | None") -> Iterator[Finding]:
    if not path.exists():
        yield Finding("path", f"{path}: no such file or folder", "give a path that exists")
    elif encoder is not None:
        yield from _index_findings(path, index_dir, encoder)
        yield from _tree_findings(path)


def _model_finding(encoder: "Embedder") -> Finding:
    vectors = encoder.encode(["def add(a, b): return a + b", "read a file"])
    norms = np.linalg.norm(vectors, axis=1)
    if not np.allclose(norms, 1, atol=1e-3):
        return Finding("model", f"its vectors have lengths {norms.round(3).tolist()}, expected 1", "install onnxruntime again")
    return Finding("model", f"{encoder.fingerprint}, width {encoder.width}, reads {encoder.max_tokens} tokens at a time")


def _grammar_finding(language: str) -> Finding:
    from codesage.syntax import functions, parse

    package = LANGUAGES[language].grammar[0].replace("_", "-")
    try:
        definitions = list(functions(parse(_SNIPPETS.get(language, "function f() { return 1; }\n"), language)))
    except Exception as error:  # a broken wheel can raise anything
        return Finding(f"grammar of {language}", f"{type(error).__name__}: {error}", f"pip install --force-reinstall {package}")
    if not any(function.kind == "function" for function in definitions):
        return Finding(f"grammar of {language}", "it finds no function", f"pip install --force-reinstall {package}")
    return Finding(f"grammar of {language}", "finds functions")


def _cache_finding() -> Finding:
    folder = vectors_folder().parent
    above = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(above).free
    count = len(kept_indexes())
    state = f"{folder}, {free / 1e9:,.1f} GB free, {count:,} {'index' if count == 1 else 'indexes'}"
    if not os.access(above, os.W_OK):
        return Finding("cache", f"{folder} cannot be written", f"make {above} writable, or set XDG_CACHE_HOME")
    return Finding("cache", state, "free some space, or run 'codesage clear --gone'" if free < _LITTLE else "")


def _vectors_finding() -> Finding:
    files = sorted(vectors_folder().glob("*.sqlite")) if vectors_folder().is_dir() else []
    for file in files:
        if fault := _sqlite_fault(file):
            return Finding("cache of vectors", f"{file}: {fault}", "run 'codesage clear --vectors'")
    return Finding("cache of vectors", f"{sum(file.stat().st_size for file in files) / 1e6:,.1f} MB, sound")


def _sqlite_fault(file: Path) -> str:
    """The fault of a database, or ""."""
    try:
        with closing(database.connect(file)) as connection:
            result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        return str(error)
    return "" if result == "ok" else result


def _index_findings(path: Path, index_dir: Path | None, encoder: "Embedder") -> Iterator[Finding]:
    folder = index_dir or default_folder(path, encoder.fingerprint)
    complete, repair = (f"run '{index_command(path, encoder, index_dir, *options)}'" for options in ((), ("--rebuild",)))
    if not (folder / DATABASE).exists():
        yield Finding("index", f"{path} has none yet", complete)
        return
    try:
        index = Index.open(path, folder=index_dir, encoder=encoder, upgrade=False)
    except CodesageError as error:
        message, _, remedy = str(error).rpartition(": ")
        yield Finding("index", message, remedy)
        return
    with closing(index):
        yield from _content_findings(index, complete, repair)


def _content_findings(index: Index, complete: str, repair: str) -> Iterator[Finding]:
    result = index.connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if result != "ok":
        yield Finding("index", f"{index.folder / DATABASE}: {result}", repair)
        return
    status = index.status()
    size = size_of(index.folder) / 1e6
    yield Finding("index", f"version {SCHEMA}, {status.files:,} files, {status.chunks:,} chunks, {size:,.1f} MB")
    try:
        words = postings.words_in(index.connection)
        lost = index.connection.execute(
            "SELECT count(*) FROM spans WHERE NOT EXISTS (SELECT 1 FROM segments WHERE id >= first AND id < first + 65536)"
        ).fetchone()[0]
        index.texts_of(number for (number,) in index.connection.execute("SELECT id FROM spans"))
        fault = f"{lost:,} chunks without words" if lost else ""
        yield Finding("index, words", fault or f"{words:,} words", repair if fault else "")
    except sqlite3.Error as error:
        yield Finding("index, words", str(error), repair)
    try:
        view = load_view(index.connection, index.width)  # afresh, as it is on disk
        norms = np.linalg.norm(view.vectors_PD[view.encoded_N[view.owner_P]], axis=1)
        bad = int((~np.isclose(norms, 1, atol=0.01)).sum())
        fault = f"{bad:,} damaged vectors" if bad else ""
        yield Finding("index, vectors", fault or f"{len(norms):,} pieces", repair if fault else "")
    except (ValueError, IndexError, sqlite3.Error) as error:
        yield Finding("index, vectors", str(error), repair)
    lack = lacking(index)
    yield Finding("index, state", lack or "complete", complete if lack else "")


def _tree_findings(path: Path) -> Iterator[Finding]:
    nested: list[Path] = []
    files = sum(1 for _ in walk(path, nested=nested))
    named = ", ".join(str(folder) for folder in nested[:3]) + (", ..." if len(nested) > 3 else "")
    left_out = f"; {len(nested):,} nested repositories are not part of it (give them as paths): {named}" if nested else ""
    yield Finding("tree", f"{files:,} files that git does not ignore{left_out}")
    if path.is_dir():
        closed = [folder for folder, _, _ in os.walk(path) if not os.access(folder, os.R_OK | os.X_OK)]
        if closed:
            yield Finding("tree", f"{len(closed):,} folders cannot be read, such as {closed[0]}", "change their permissions")


@dataclass(frozen=True, slots=True)
class Model:
    """A model on this machine; `fault` says why it cannot be loaded."""

    name: str
    width: int = 0
    max_tokens: int = 0
    size: int = 0  # bytes on disk
    fingerprint: str = ""
    fault: str = ""


def models_at_hand(folders: list[Path]) -> Iterator[Model]:
    """The bundled models, and the models in `folders` or up to two folders below them."""
    for name, folder in BUNDLED_MODELS.items():
        yield _model(f"{name} (bundled)", folder)
    for start in folders:
        for pattern in (MANIFEST, f"*/{MANIFEST}", f"*/*/{MANIFEST}"):
            for manifest in sorted(start.glob(pattern)):
                if _is_model(manifest):
                    yield _model(str(manifest.parent), manifest.parent)


def _is_model(manifest: Path) -> bool:
    import json

    try:
        return json.loads(manifest.read_text(encoding="utf-8")).get("kind") == "model"
    except (OSError, ValueError, AttributeError):
        return False


def _model(name: str, folder: Path) -> Model:
    size = size_of(folder) if folder.is_dir() else 0
    try:
        encoder = runtime.load(folder)
    except CodesageError as error:
        return Model(name, size=size, fault=str(error))
    return Model(name, encoder.width, encoder.max_tokens, size, encoder.fingerprint)
