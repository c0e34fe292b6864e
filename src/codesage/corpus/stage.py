"""Sources to a corpus: files, functions and (text, code) pairs as Parquet, with every skip and drop counted.

Five phases, each in units that workers do in any order and any number: fetch what is not in the cache; read each source
into clean documents; parse what is left of them when duplicates are gone; decide which pairs stay; write shards. What a
unit leaves depends on its input alone, and decisions over all of them are made here, from keys, in the order of the
sources. So equal inputs give equal bytes, whatever the number of workers, the engine, and how often the build was killed.

The corpus is an artifact of kind "corpus": files/part-*.parquet, functions/part-*.parquet, pairs/part-*.parquet,
held_out_pairs.parquet, held_out_files.parquet, skipped.parquet (every file that was left out, and why), README.md and its
pictures.
"""

import errno
import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from codesage.artifacts import Artifact, check_target, open_artifact, publish
from codesage.corpus.build.keys import Keys, read_keys
from codesage.corpus.build.parts import PART_CHARACTERS, PART_FILE, PartUnit, Piece, plan, rows_of, write_part
from codesage.corpus.build.tables import Writer, schema_of, strings
from codesage.corpus.build.work import Work, open_work
from codesage.corpus.build.worker import MOST_UNCOLLECTED
from codesage.corpus.distinct.verdicts import drop_alone, drop_copied, drop_excess, drop_shared
from codesage.corpus.documents.reading import CODES, DOCUMENTS, DOCUMENTS_FILE, ReadSource, SourceUnit
from codesage.corpus.engine import Engine, LocalEngine
from codesage.corpus.pairs.aligning import AlignFiles
from codesage.corpus.pairs.copies import FindCopies
from codesage.corpus.pairs.joining import JoinTests, JoinUnit
from codesage.corpus.pairs.parsing import FUNCTIONS_FILE, PAIRS, PAIRS_FILE, Parse, ParseUnit
from codesage.corpus.report.card import write_card
from codesage.corpus.report.facts import Progress, Report
from codesage.corpus.sources.inputs import archive_of, benchmarks_of, state_of
from codesage.corpus.sources.naming import named_apart
from codesage.corpus.sources.trees import Source, limits_of
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.records import Function
from codesage.remote.places import Place, Remote

_DOWNLOADS = 4  # at a time
_SKIPPED = pa.schema([("source", pa.string()), ("path", pa.string()), ("reason", pa.string())])
_SCHEMAS = {
    "files": DOCUMENTS,
    "functions": schema_of(Function, without=("body_byte", "bare", "source"), path=str, package=str),
    "pairs": PAIRS,
    "held_out_pairs": PAIRS,
    "held_out_files": DOCUMENTS,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What goes into a corpus."""

    held_out: tuple[str, ...] = ()  # packages that only give evaluation pairs
    exclude: str = ""  # folder of benchmark items that must not be in the corpus
    most_shared: int = 5  # functions and classes that may share a text; more, and all of them go; 0: any number may
    workers: int = 0  # of the local engine; 0: one a core. Has no part in the result


def build(
    settings: Settings,
    sources: Sequence[Source],
    out: Path | str,
    *,
    engine: Engine | None = None,
    cache: Path | str = "cache",
    work: str = "",
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Artifact:
    """Build a corpus from `sources` and publish it at `out`; `progress` is called with the state of the build.

    Finished units are kept in `work`, a folder or an address, until then; "": beside `out`.

    Interrupted or killed, the same call resumes where it left off. Raises CodesageError, in one line, when a source cannot
    be fetched, is damaged or not what its recipe pins, when there is nothing to read, when no package is called as
    `settings.held_out` says, when another build writes `out`, when the disk is full.
    """
    out = check_target(out, "corpus")
    sources = named_apart(sources, settings.held_out)
    with (
        _full_disk(out),
        _rarely_collected(),
        open_work(out, work) as opened,
        engine or LocalEngine(settings.workers) as running,
    ):
        _Build(settings, sources, Path(os.path.abspath(cache)), opened, running, progress).publish(out)
    return open_artifact(out, "corpus", verify=False)


@contextmanager
def _full_disk(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise CodesageError(
            f"the disk of {out} is full: free some space, and run the same command again: it resumes where it left off"
        ) from None


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Collect garbage as rarely as a worker does: a seventh of the time that the pictures take is for that."""
    usual = gc.get_threshold()
    gc.set_threshold(MOST_UNCOLLECTED)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group on its way: its source, the keys of all its documents, and what to parse of it."""

    source: SourceUnit
    keys: dict[str, np.ndarray]
    unit: ParseUnit


class _Build:
    """One build under way: its phases in order, each a method that takes what the one before gives."""

    def __init__(
        self,
        settings: Settings,
        sources: tuple[Source, ...],
        cache: Path,
        work: Work,
        engine: Engine,
        progress: Callable[[Progress], None],
    ) -> None:
        self._settings, self._sources, self._cache = settings, sources, cache
        self._work, self._engine, self._progress = work, engine, progress
        self._report = Report()
        self._held_out = frozenset(settings.held_out)
        self._pair_inputs = [sorted(self._held_out), benchmarks_of(settings.exclude)]  # what pairs depend on besides files

    def publish(self, out: Path) -> None:
        """Do every phase and seal the result at `out`."""
        self._fetch()
        groups = self._plan(self._read())
        reports = self._parse(groups)
        joined, copies = self._join(groups, reports)
        shards = self._shards(groups, reports, joined, copies)
        self._write(shards)
        stated = asdict(self._settings) | {"exclude": bool(self._settings.exclude), "workers": None}
        with publish(out, "corpus", settings=stated, facts=self._report.facts) as folder:
            for name, units in shards.items():
                for number, unit in enumerate(units):
                    target = folder / (f"{name}.parquet" if name.startswith("held_out") else f"{name}/part-{number:05}.parquet")
                    target.parent.mkdir(exist_ok=True)
                    _link(unit.folder / PART_FILE, target)
            with Writer(folder / "skipped.parquet", _SKIPPED) as writer:
                columns = list(zip(*self._report.skipped, strict=True)) or [(), (), ()]
                writer.add(pa.table(list(map(strings, columns)), schema=_SKIPPED))
            write_card(folder, self._report.facts)

    def _fetch(self) -> None:
        """Fetch all sources, several at a time; what was fetched stays in the cache when one of them fails."""
        self._cache.mkdir(parents=True, exist_ok=True)
        advance = self._phase("fetch", len(self._sources))
        with ThreadPoolExecutor(_DOWNLOADS) as pool:
            under_way = [pool.submit(source.fetch, self._cache) for source in self._sources]
            try:
                for one in under_way:
                    one.result()
                    advance()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _read(self) -> list[tuple[SourceUnit, dict]]:
        """Every source as documents, with the keys and a verdict on each document."""
        units = []
        for source in self._sources:
            size, state = state_of(source, self._cache)
            units.append(SourceUnit(source, self._work.place("documents", repr(source), source.key, state), size))
        advance = self._phase("read", len(units))
        task = ReadSource(self._cache, fetch=not self._engine.shares_machine)
        reports = self._work.run(self._engine, task, units, on_done=lambda unit, fresh: advance())
        sources_read = []
        filled = [unit.folder for unit, report in zip(units, reports, strict=True) if report["documents"]]
        columns = iter(self._work.each(read_keys, filled))
        for unit, report in zip(units, reports, strict=True):
            self._report.add_source(unit.source, report, archive_of(unit.source, self._cache))
            if report["documents"]:
                keys = next(columns)
                packages = [unit.source.held_out or name in self._held_out for name, *_ in report["packages"]]
                keys["held"] = np.array(packages)[keys["package"]]
                sources_read.append((unit, keys))
        if not any((keys["language"] != CODES[""]).any() for _, keys in sources_read):
            raise CodesageError(
                f"no source file of the nine languages to read (seen: {self._report.seen()}): give folders, archives or "
                f"Parquet that hold {', '.join(LANGUAGES)}"
            )
        self._report.check_held_out(self._held_out)
        self._phase("compare", sum(len(keys["held"]) for _, keys in sources_read))
        verdicts = self._engine.judge.documents(filled, [keys for _, keys in sources_read])
        for (_, keys), verdict in zip(sources_read, verdicts, strict=True):
            keys["verdict"] = verdict
        self._report.add_documents([keys["verdict"] for _, keys in sources_read])
        return sources_read

    def _plan(self, sources_read: list[tuple[SourceUnit, dict]]) -> list[_Group]:
        """The row groups to parse, without the documents that go."""
        groups = []
        for source, keys in sources_read:
            held_out = source.source.held_out
            written = np.bincount(keys["language"], keys["characters"], minlength=len(CODES))[: len(LANGUAGES)]
            language = list(LANGUAGES)[int(written.argmax())]
            borders = np.searchsorted(keys["group"], np.arange(keys["group"][-1] + 2))
            for number, (start, end) in enumerate(pairwise(borders)):
                inside = {name: values[start:end] for name, values in keys.items()}
                rows = rows_of(inside["verdict"] == 0)
                if rows:
                    place = self._work.place("parsed", source.folder.name, number, rows, held_out, language, self._pair_inputs)
                    weight = int(inside["characters"][list(rows)].sum())
                    file = source.folder / DOCUMENTS_FILE
                    groups.append(_Group(source, inside, ParseUnit(file, number, rows, held_out, language, place, weight)))
        return groups

    def _parse(self, groups: list[_Group]) -> list[dict]:
        units = [group.unit for group in groups]
        advance = self._phase("parse", len(units), sum(unit.weight for unit in units), sum(len(unit.rows) for unit in units))
        reports = self._work.run(
            self._engine,
            Parse(self._held_out, self._settings.exclude),
            units,
            on_done=lambda unit, fresh: advance(unit.weight, len(unit.rows), fresh),
        )
        for group, report in zip(groups, reports, strict=True):
            self._report.add_parsed(group.source.source, report, group.keys)
        return reports

    def _join(self, groups: list[_Group], reports: list[dict]) -> tuple[list[tuple[Place, Source]], dict[Place, list[int]]]:
        """What is found over the files of a source: tests with what they test, files that stand for each other, and copies.

        Returns the folders of new pairs, each with its source, and by folder the pairs with copied documentation.
        """
        parsed: dict[Place, list[ParseUnit]] = {}
        sources: dict[Place, Source] = {}
        tested: set[Place] = set()
        languages: dict[Place, set[int]] = {}
        for group, report in zip(groups, reports, strict=True):
            folder = group.source.folder
            parsed.setdefault(folder, []).append(group.unit)
            sources[folder] = group.source.source
            languages.setdefault(folder, set()).update(group.keys["language"][list(group.unit.rows)].tolist())
            if report["tests"]:
                tested.add(folder)
        with_tests = [folder for folder in parsed if folder in tested]
        several = [folder for folder in parsed if len(languages[folder]) > 1]
        tests = [self._join_unit("joined", parsed[folder]) for folder in with_tests]
        aligned = [self._join_unit("aligned", parsed[folder]) for folder in several]
        siblings = [self._join_unit("copies", parts) for parts in parsed.values()]
        advance = self._phase("join", len(tests) + len(aligned) + len(siblings))
        for task, units in ((JoinTests, tests), (AlignFiles, aligned)):
            made = task(self._held_out, self._settings.exclude)
            for report in self._work.run(self._engine, made, units, on_done=lambda unit, fresh: advance()):
                self._report.add_joined(report)
        copies: dict[Place, list[int]] = {}
        found = self._work.run(self._engine, FindCopies(), siblings, on_done=lambda unit, fresh: advance())
        for unit, report in zip(siblings, found, strict=True):
            copies |= dict(zip([part.folder for part in unit.parsed], report["copies"], strict=True))
        origins = [sources[folder] for folder in with_tests + several]
        return list(zip([unit.folder for unit in tests + aligned], origins, strict=True)), copies

    def _join_unit(self, kind: str, parts: list[ParseUnit]) -> JoinUnit:
        place = self._work.place(kind, [unit.folder.name for unit in parts])
        return JoinUnit(tuple(parts), parts[0].held_out, place, sum(unit.weight for unit in parts))

    def _shards(
        self,
        groups: list[_Group],
        reports: list[dict],
        joined: list[tuple[Place, Source]],
        copies: dict[Place, list[int]],
    ) -> dict[str, list[PartUnit]]:
        """The shards to write of files, functions and pairs, once it is decided which pairs stay."""
        origins = [(group.unit.folder, group.source.source) for group in groups] + joined
        places = [place for place, _ in origins]
        keys = self._work.each(read_keys, places)
        self._phase("compare", sum(len(key["held"]) for key in keys))
        verdicts = self._judged(keys, places, [source for _, source in origins], copies)
        self._report.add_pairs(keys, verdicts)
        pieces: dict[str, list[Piece]] = {name: [] for name in _SCHEMAS}
        for group, report in zip(groups, reports, strict=True):
            unit = group.unit
            for name, read in (("files", "read"), ("held_out_files", "held_read")):
                pieces[name].append(Piece(unit.documents, tuple(report[read]), unit.weight, unit.group))
            pieces["functions"].append(Piece(unit.folder / FUNCTIONS_FILE, None, unit.weight))
        for place, key, verdict in zip(places, keys, verdicts, strict=True):
            for name, held in (("pairs", False), ("held_out_pairs", True)):
                stays = (verdict == 0) & (key["held"] == held)
                pieces[name].append(Piece(place / PAIRS_FILE, rows_of(stays), int(key["characters"][stays].sum())))
        shards = {}
        for name, of_name in pieces.items():
            size = sys.maxsize if name.startswith("held_out") else PART_CHARACTERS
            shards[name] = plan(self._work, of_name, schema=_SCHEMAS[name], characters=size)
        return shards

    def _judged(
        self, keys: list[Keys], places: list[Place], sources: list[Source], copies: dict[Place, list[int]]
    ) -> list[np.ndarray]:
        """Verdicts on the pairs of all units, each of which has a place and a source."""
        number = {source.key: index for index, source in enumerate(self._sources)}
        limits = [limits_of(source) for source in self._sources]
        verdicts = drop_copied(self._engine.judge.pairs(places, keys), [copies.get(place, []) for place in places])
        verdicts = drop_alone(keys, verdicts)
        verdicts = drop_shared(keys, verdicts, most=self._settings.most_shared)
        verdicts = drop_excess(keys, verdicts, [number[source.key] for source in sources], limits)
        return drop_alone(keys, verdicts)

    def _write(self, shards: dict[str, list[PartUnit]]) -> None:
        units = [unit for parts in shards.values() for unit in parts]
        advance = self._phase("write", len(units))
        self._work.run(self._engine, write_part, units, on_done=lambda unit, fresh: advance())

    def _phase(self, name: str, units: int, characters: int = 0, documents: int = 0) -> Callable[..., None]:
        """Begin a phase; the answer is to be called for every unit that is done."""
        state = Progress(name, units, characters, documents)
        self._progress(state)

        def advance(characters: int = 0, documents: int = 0, fresh: bool = True) -> None:
            state.add(characters, documents, fresh)
            self._progress(state)

        return advance


def _link(source: Place, target: Path) -> None:
    if isinstance(source, Remote):
        source.download(target)
        return
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
