"""The commands of search: `codesage search`, `similar`, `clones`, `index`, and those that maintain indexes.

Filters and output follow ripgrep where it has the same feature.
"""

import gc
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesage.bounds import MOST, MOST_PROCESSES, finite
from codesage.encoder.folders import MODEL_HELP
from codesage.errors import CodesageError
from codesage.search.defaults import CLONE_LINES, CLONE_SIMILARITY, DENSE_WEIGHT, MOST_DENSE_WEIGHT, OBJECTS_BETWEEN_COLLECTIONS

if TYPE_CHECKING:
    from codesage.search.index import Index
    from codesage.search.patterns import Patterns
    from codesage.search.places import Place
    from codesage.search.searcher import Answer, Groups, Searcher

_Path = Annotated[str, typer.Argument(help="Folder, file, git address or @WORKSPACE.")]
_Paths = Annotated[
    list[str] | None, typer.Argument(help="Folders, files, git addresses or @WORKSPACE; default: .", show_default=False)
]
_IndexDir = Annotated[Path | None, typer.Option(help="Folder of the index; default: in the user's cache.")]
_Model = Annotated[Path | None, typer.Option(help=MODEL_HELP)]
_Top = Annotated[int, typer.Option("--top", "-k", min=1, max=MOST, help="Number of answers.")]
_Types = Annotated[
    list[str] | None,
    typer.Option("--type", "-t", "--language", metavar="LANGUAGE", help="Only this language or type: py, js, md; repeatable."),
]
_Globs = Annotated[
    list[str] | None,
    typer.Option("--glob", "-g", metavar="GLOB", help="Only paths that match; with ! in front, only others. Repeatable."),
]
_Content = Annotated[str, typer.Option(metavar="KIND", help="Only code, docs or config; or all.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]
_JsonLines = Annotated[bool, typer.Option("--jsonl", help="One JSON object a line, for each answer.")]
_Context = Annotated[
    int | None,
    typer.Option("--context", "-C", min=0, metavar="N", max=MOST, help="Lines of context around each answer, numbered."),
]
_OnlyPaths = Annotated[bool, typer.Option("--files", "-l", help="Only the paths of the files, best first.")]
_Null = Annotated[bool, typer.Option("--null", "-0", help="With -l: a null byte after each path, for xargs -0.")]
_Colour = Annotated[str, typer.Option("--color", metavar="WHEN", help="auto, always or never.")]
_Store = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="A store instead of a local index: lance://FOLDER or lance://s3://BUCKET/FOLDER."),
]
_NoUpdate = Annotated[bool, typer.Option("--no-update", help="Search the index as it is, without updating it.")]


def index(
    paths: _Paths = None,
    index_dir: _IndexDir = None,
    model: _Model = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the index anew.")] = False,
    store: _Store = None,
    engine: Annotated[str, typer.Option(help="With --store. local: this process; ray: a Ray cluster.")] = "local",
    workers: Annotated[
        int, typer.Option(min=0, max=MOST_PROCESSES, help="With --engine ray: number of encoders; 0: one per processor.")
    ] = 0,
) -> None:
    """Index the code under each PATH. Only what is new or changed is read."""
    if workers and engine == "local":
        raise CodesageError("--workers goes with --engine ray: this process encodes alone")
    if store or engine != "local":
        from codesage.search.store.commands import index_into

        _refuse_both(store, index_dir)
        return index_into(store or "", paths or ["."], model, engine, workers, rebuild=rebuild)
    from codesage.encoder.runtime import load
    from codesage.search.index import Index
    from codesage.search.places import places_of
    from codesage.search.refresh import refresh
    from codesage.search.searcher import collected

    encoder = load(model)
    faults: list[CodesageError] = []
    places = places_of(paths or ["."], encoder, index_dir=index_dir, separate=True, faults=faults)
    for place in places:
        with collected(faults), closing(Index.open(place.root, folder=index_dir, encoder=encoder, rebuild=rebuild)) as opened:
            refresh(opened, encoder, own=_own(places))
    _report(faults)


def search(
    query: Annotated[str, typer.Argument(help="What to look for, in plain words or code.")],
    paths: _Paths = None,
    top: _Top = 10,
    types: _Types = None,
    glob: _Globs = None,
    content: _Content = "all",
    regexp: Annotated[
        list[str] | None,
        typer.Option(
            "--regexp", "-e", metavar="REGEX", help="Only code with a line that matches, ranked by the query; repeatable."
        ),
    ] = None,
    context: _Context = None,
    only_paths: _OnlyPaths = False,
    null: _Null = False,
    as_json: _Json = False,
    jsonl: _JsonLines = False,
    color: _Colour = "auto",
    explain: Annotated[bool, typer.Option("--explain", help="Show what each score is made of.")] = False,
    no_update: _NoUpdate = False,
    weak: Annotated[bool, typer.Option("--weak", help="Show the nearest code even when none matches the query.")] = False,
    dense_weight: Annotated[
        float, typer.Option(min=0, max=MOST_DENSE_WEIGHT, callback=finite, help="Weight of the vectors; full text has 1.")
    ] = DENSE_WEIGHT,
    index_dir: _IndexDir = None,
    model: _Model = None,
    store: _Store = None,
) -> None:
    """Search the code under each PATH, after indexing what is new. Exit code 0: found, 1: nothing found, 2: error."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    if not (store or no_update) and _is_new(paths or ["."], index_dir):
        from codesage.search.reader import start_early

        start_early((paths or ["."])[0])
    from codesage.search.filters import filter_of

    where = filter_of(types or (), glob or (), content, regexp or ())
    form = _Form(color, as_json, jsonl, only_paths, null, context, explain)
    if store:
        from codesage.search.store.commands import answer_from

        _refuse_both(store, index_dir)
        answer = answer_from(store, _readable(query), where, paths or (), model, top=top, dense_weight=dense_weight, weak=weak)
    else:
        searcher = _searcher(paths, index_dir, model, update=not no_update)
        answer = searcher.search(_readable(query), where, top=top, dense_weight=dense_weight, weak=weak)
    form.show(answer, where.patterns, hint="" if weak or where.patterns else "; --weak shows the nearest code all the same")


def similar(
    place: Annotated[str, typer.Argument(metavar="FILE:LINE", help="A line of the function to compare with.")],
    paths: _Paths = None,
    top: _Top = 10,
    types: _Types = None,
    glob: _Globs = None,
    context: _Context = None,
    only_paths: _OnlyPaths = False,
    null: _Null = False,
    as_json: _Json = False,
    jsonl: _JsonLines = False,
    color: _Colour = "auto",
    no_update: _NoUpdate = False,
    index_dir: _IndexDir = None,
    model: _Model = None,
    store: _Store = None,
) -> None:
    """Find code that does the same as the function at FILE:LINE. It searches PATH, in any language. Exit codes as in search."""
    from codesage.search.filters import filter_of
    from codesage.search.places import parted, place_in

    where = filter_of(types or (), glob or ())
    form = _Form(color, as_json, jsonl, only_paths, null, context, False)
    file, line = place_in(place)
    if store:
        from codesage.search.store.commands import similar_from

        _refuse_both(store, index_dir)
        return form.show(similar_from(store, parted(place)[0], line, where, paths or (), top=top), where.patterns)
    form.show(_searcher(paths, index_dir, model, update=not no_update).similar(file, line, where, top=top), where.patterns)


def status(
    path: _Path = ".",
    index_dir: _IndexDir = None,
    model: _Model = None,
    skipped: Annotated[bool, typer.Option("--skipped", help="List the files that are skipped, with the reasons.")] = False,
    store: _Store = None,
) -> None:
    """Show what the index of PATH or a store holds. It also lists indexes of other models. In a folder of clones: of each."""
    if store:
        from codesage.search.store.commands import show_status

        _refuse_both(store, index_dir)
        return show_status(store)
    from codesage.search.remote import folders_of
    from codesage.search.searcher import collected

    searcher = _searcher(folders_of(path, clone=False), index_dir, model, update=False)
    faults: list[CodesageError] = []
    for number, place in enumerate(searcher.places):
        with collected(faults), searcher.opened(place) as opened:
            if skipped:
                _list_skipped(opened, place, searcher.places)
            else:
                _show_status(opened, _own(searcher.places), others=not index_dir, after=number > len(faults))
    _report([*searcher.faults, *faults])


def _list_skipped(opened: "Index", place: "Place", places: "Sequence[Place]") -> None:
    """Print the files of a place that are skipped, without the repositories in it that are among the `places`."""
    from codesage.search.files import NESTED
    from codesage.search.filters import is_below
    from codesage.search.show import printable

    own = _own(places)
    rows = opened.connection.execute("SELECT path, reason FROM files WHERE reason != '' ORDER BY path").fetchall()
    for name, reason in rows:
        if is_below(name, place.below) and not (reason in NESTED and (place.root / name).resolve() in own):
            hint = " (give it as a path to search it)" if reason in NESTED else ""
            typer.echo(f"{printable(place.shown(name))}: {reason}{hint}")


def _own(places: "Sequence[Place]") -> set[Path]:
    """The real folders that places have indexes of."""
    return {place.root.resolve() for place in places}


def _show_status(opened: "Index", own: set[Path], *, others: bool, after: bool) -> None:
    """Print what an index holds, and with `others` the indexes of other models; an empty line first if it comes `after` one.

    Repositories in it that are among the real folders `own` do not count as skipped.
    """
    from codesage.search.folders import other_model_indexes
    from codesage.search.refresh import lacking, listed, skipped_of
    from codesage.search.show import printable

    held = opened.status()
    in_part = f"indexed in part: {listed(held.in_part)}\n" if held.in_part else ""
    if after:
        typer.echo()
    typer.echo(
        f"root: {printable(held.root)}\nindex: {printable(held.folder)}\nmodel: {held.model}\n"
        f"files: {held.files:,}\nchunks: {held.chunks:,}\nskipped: {listed(skipped_of(opened, own)) or 'none'}\n"
        f"{in_part}state: {lacking(opened) or 'complete'}"
    )
    for folder in other_model_indexes(opened.folder, opened.model) if others else ():
        typer.echo(f"index of another model: {printable(str(folder))} (remove it if that model is not used any more)")


def clones(
    paths: _Paths = None,
    types: _Types = None,
    glob: _Globs = None,
    threshold: Annotated[
        float, typer.Option(min=0.3, max=1, callback=finite, help="Lowest similarity within a group.")
    ] = CLONE_SIMILARITY,
    min_lines: Annotated[int, typer.Option(min=1, max=MOST, help="Shorter functions are left out.")] = CLONE_LINES,
    top: Annotated[int, typer.Option("--top", "-k", min=1, max=MOST, help="Number of groups.")] = 20,
    across: Annotated[bool, typer.Option("--across", help="Only groups with several languages.")] = False,
    as_json: _Json = False,
    color: _Colour = "auto",
    no_update: _NoUpdate = False,
    index_dir: _IndexDir = None,
    model: _Model = None,
    store: _Store = None,
) -> None:
    """List groups of functions under PATH that do the same. They may be in several languages. Exit codes as in search."""
    from codesage.search.filters import filter_of
    from codesage.search.show import Screen

    where, screen = filter_of(types or (), glob or ()), Screen(color)
    if store:
        from codesage.search.store.commands import clones_from

        _refuse_both(store, index_dir)
        answer = clones_from(store, where, paths or (), threshold=threshold, min_lines=min_lines)
    else:
        searcher = _searcher(paths, index_dir, model, update=not no_update, whole=True)
        answer = searcher.clones(where, threshold=threshold, min_lines=min_lines)
    groups = answer.groups
    for lack in (*answer.partial, *answer.hidden):
        _say(lack)
    if answer.left_out:
        _say(f"{answer.left_out:,} long functions are not compared, because they are indexed in parts")
    if across:
        groups = [group for group in groups if len({chunk.language for chunk in group.chunks}) > 1]
    if as_json:
        results = [group.as_json() for group in groups[:top]]
        screen.json({"partial": bool(answer.partial), "groups": len(groups), "results": results})
    else:
        screen.groups(groups, top)
    if not groups:
        _say_unused(answer)
        _say("nothing found")
    _report(answer.faults)
    if not groups:
        raise typer.Exit(1)


def clear(
    paths: _Paths = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything in the cache: indexes, vectors and clones.")] = False,
    gone: Annotated[bool, typer.Option("--gone", help="Indexes of folders that no longer exist.")] = False,
    vectors: Annotated[bool, typer.Option("--vectors", help="The cache of vectors, which all indexes share.")] = False,
    index_dir: _IndexDir = None,
    store: _Store = None,
) -> None:
    """Remove the indexes of each PATH. Print how much space this frees."""
    if store:
        from codesage.search.store.commands import clear_from

        _refuse_both(store, index_dir)
        return clear_from(store, paths or [])
    from codesage.search.maintenance import remove, remove_clones, remove_vectors, to_clear
    from codesage.search.show import printable

    freed = 0
    for kept in to_clear(paths or [], everything=everything, gone=gone, vectors=vectors, index_dir=index_dir):
        size = remove(kept)
        freed += size
        typer.echo(f"{printable(kept.root) or 'an index that cannot be read'}: {size / 1e6:,.1f} MB")
    if everything:
        size = remove_clones()
        freed += size
        typer.echo(f"clones: {size / 1e6:,.1f} MB")
    if everything or vectors:
        size = remove_vectors()
        freed += size
        typer.echo(f"vectors: {size / 1e6:,.1f} MB")
    typer.echo(f"{freed / 1e6:,.1f} MB freed")


def doctor(path: _Path = ".", index_dir: _IndexDir = None, model: _Model = None) -> None:
    """Check the installation, the cache and the index of PATH. Exit code 0: no faults, 1: faults."""
    from codesage.search.maintenance import checked
    from codesage.search.remote import folders_of
    from codesage.search.show import printable

    faults, folders = 0, list(map(Path, folders_of(path, clone=False)))
    for finding in checked(folders, model, index_dir):
        faults += bool(finding.remedy)
        remedy = f": {finding.remedy}" if finding.remedy else ""
        typer.echo(f"{'FAULT' if finding.remedy else 'ok':<6}{finding.part}: {printable(finding.state + remedy)}")
    if faults:
        raise typer.Exit(1)


def models(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders that hold models; default: the working folder.", show_default=False)
    ] = None,
    as_json: _Json = False,
) -> None:
    """List the bundled models and those in each FOLDER. Each has its width, tokens at a time, size and fingerprint."""
    from dataclasses import asdict

    from codesage.search.maintenance import models_at_hand
    from codesage.search.show import Screen, printable

    missing = [folder for folder in folders or () if not folder.is_dir()]
    if missing:
        raise CodesageError(f"{missing[0]}: no such folder: give folders that exist")
    listed_models = list(models_at_hand(folders or [Path(".")]))
    if as_json:
        return Screen().json({"models": [asdict(one) for one in listed_models]})
    typer.echo(f"{'width':>5}  {'tokens':>6}  {'MB':>7}  {'fingerprint':<24}  model")
    for one in listed_models:
        typer.echo(
            f"{one.width:>5}  {one.max_tokens:>6}  {one.size / 1e6:>7,.1f}  {one.fingerprint:<24}  {printable(one.name)}"
            + (f" (cannot be loaded: {printable(one.fault)})" if one.fault else "")
        )


def watch(paths: _Paths = None, index_dir: _IndexDir = None, model: _Model = None) -> None:
    """Update the index of each PATH while files change. Ctrl-C ends it. This needs the extra `watch`."""
    import signal
    from dataclasses import replace

    from codesage.cli import print_error
    from codesage.search.refresh import refresh
    from codesage.search.watching import watch as watch_places

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    searcher = _searcher(paths, index_dir, model, update=True, separate=True)
    for fault in searcher.faults:
        print_error(str(fault))
    try:
        watch_places(replace(searcher, refresh=lambda opened: refresh(opened, searcher.encoder, own=_own(searcher.places))))
    except KeyboardInterrupt:
        _say("stopped; the index is kept")


workspace = typer.Typer(help="Names for several paths, which search takes as @NAME.", no_args_is_help=True)


@workspace.command("add")
def add_workspace(
    name: Annotated[str, typer.Argument(help="The name.")],
    paths: Annotated[list[str], typer.Argument(help="Folders, files or addresses of git repositories.")],
) -> None:
    """Make NAME stand for all of PATHS. This replaces an earlier meaning of NAME."""
    from codesage.search.remote import set_workspace

    set_workspace(name, paths)


@workspace.command("remove")
def remove_workspace(name: Annotated[str, typer.Argument(help="The name.")]) -> None:
    """Remove the name of a workspace. Its indexes stay."""
    from codesage.search.remote import set_workspace

    set_workspace(name, [])


@workspace.command("list")
def list_workspaces() -> None:
    """List the workspaces and their paths."""
    from codesage.search.remote import public, workspaces
    from codesage.search.show import printable

    for name, paths in sorted(workspaces().items()):
        typer.echo(f"@{name}: {printable(' '.join(map(public, paths)))}")


class _Form:
    """How answers are shown. CodesageError for options that do not go together."""

    def __init__(
        self, color: str, as_json: bool, jsonl: bool, only_paths: bool, null: bool, context: int | None, explain: bool
    ) -> None:
        from codesage.search.show import Screen

        if color not in ("auto", "always", "never"):
            raise CodesageError(f"--color is {color!r}: expected auto, always or never")
        if as_json + jsonl + only_paths > 1:
            raise CodesageError("give one of --json, --jsonl and -l")
        if null and not only_paths:
            raise CodesageError("-0 goes with -l: it says how paths are separated")
        self._as_json, self._jsonl, self._only_paths, self._null = as_json, jsonl, only_paths, null
        self._context, self._explain, self._screen = context, explain, Screen(color)

    def show(self, answer: "Answer", patterns: "Patterns", hint: str = "") -> None:
        """Print an answer; raises typer.Exit(1) when it is empty, after saying why. `hint`: what to do about that."""
        from codesage.search.refresh import say
        from codesage.search.show import as_json

        for lack in (*answer.partial, *answer.hidden):
            say(lack)
        records = (
            [
                as_json(
                    hit,
                    patterns=patterns,
                    explain=self._explain,
                    stale=hit.chunk.path in answer.stale,
                    partial=bool(answer.partial),
                )
                for hit in answer.hits
            ]
            if self._as_json or self._jsonl
            else []
        )
        if self._as_json:
            self._screen.json({"partial": bool(answer.partial), "results": records})
        elif self._jsonl:
            for record in records:
                self._screen.json(record)
        elif self._only_paths:
            self._screen.paths((hit.chunk.path for hit in answer.hits), null=self._null)
        else:
            for hit in answer.hits:
                self._screen.hit(
                    hit, patterns=patterns, context=self._context, explain=self._explain, stale=hit.chunk.path in answer.stale
                )
        if not answer.hits:
            _say_unused(answer)
            say("nothing found" + (hint if answer.files and not answer.unused_filters else ""))
        _report(answer.faults)
        if not answer.hits:
            raise typer.Exit(1)


def _refuse_both(store: str | None, index_dir: Path | None) -> None:
    if store and index_dir:
        raise CodesageError("give one of --store and --index-dir")


def _report(faults: Sequence[CodesageError]) -> None:
    """Print the faults of some paths, after those without a fault are done, and end with exit code 2."""
    from codesage.cli import print_error

    for fault in faults[:-1]:
        print_error(str(fault))
    if faults:
        raise faults[-1]


def _say_unused(answer: "Answer | Groups") -> None:
    for option in answer.unused_filters:
        _say(f"{option} matches none of the {answer.files:,} indexed files")


def _say(message: str) -> None:
    from codesage.search.refresh import say

    say(message)


def _searcher(
    paths: list[str] | None,
    index_dir: Path | None,
    model: Path | None,
    *,
    update: bool,
    separate: bool = False,
    whole: bool = False,
) -> "Searcher":
    from codesage.encoder.runtime import load

    encoder = load(model, wait=False)  # it is read while the modules of search are imported and the index is opened
    from codesage.search.places import places_of
    from codesage.search.refresh import SECONDS, refresh_or_share
    from codesage.search.searcher import Searcher

    seconds = None if whole else SECONDS
    faults: list[CodesageError] = []
    places = places_of(paths or ["."], encoder, index_dir=index_dir, separate=separate, faults=faults)
    own = _own(places)
    return Searcher(
        places,
        encoder,
        (lambda opened: refresh_or_share(opened, encoder, seconds=seconds, own=own)) if update else None,
        index_dir,
        faults,
    )


def _is_new(paths: list[str], index_dir: Path | None) -> bool:
    """Whether there is one path, which is a folder without an index."""
    from codesage.search.folders import has_index

    return len(paths) == 1 and os.path.isdir(paths[0]) and not has_index(Path(paths[0]), index_dir)


def _readable(query: str) -> str:
    """What is searched for: a query without the bytes that the terminal's encoding cannot hold, and not more than counts."""
    from codesage.search.query import considered
    from codesage.search.refresh import say

    readable = query.encode("utf-8", "ignore").decode()
    if readable != query:
        say("the query holds bytes that are not UTF-8: they are left out")
    counted = considered(readable)
    if len(counted) < len(readable.strip()):
        say(f"only the first {len(counted):,} of {len(readable):,} characters of the query are searched for")
    return counted
