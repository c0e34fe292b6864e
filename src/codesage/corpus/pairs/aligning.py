"""Files of a source that do the same thing in several languages. This step needs all paths of the source."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from codesage.corpus.build.tables import records_of
from codesage.corpus.build.work import result
from codesage.corpus.build.worker import Guard
from codesage.corpus.pairs.joining import JoinUnit
from codesage.corpus.pairs.parallel import File, groups_of, is_readme, pairs_of_group, readme_title, titled
from codesage.corpus.pairs.parsing import ParseUnit, without_benchmarks, write_pairs
from codesage.records import Document, Pair
from codesage.remote.places import parquet


@dataclass(frozen=True, slots=True)
class AlignFiles:
    """Task: pairs of kinds "howto" and "parallel" of one source, from files that correspond by their paths."""

    held_out: frozenset[str]
    exclude: str

    def __call__(self, unit: JoinUnit, guard: Guard) -> str:
        """Write the pairs of the source; returns the folder."""
        files = [
            File(path, language, part, row) for part, parsed in enumerate(unit.parsed) for path, language, row in _paths(parsed)
        ]
        groups = groups_of(files)
        lone = _lone_files(files)
        readmes = {_folder(file.path): file for file in files if is_readme(file.path)}
        wanted = [file for members in groups.values() for file in members] + list(lone.values())
        folders = {_folder(file.path) for file in wanted}
        wanted += [file for folder, file in readmes.items() if folder in folders]
        documents = dict(_documents(unit.parsed, wanted))
        titles = {folder: readme_title(documents[file].text) for folder, file in readmes.items() if file in documents}
        counts: Counter = Counter()
        pairs = without_benchmarks(self.exclude, _pairs(groups, lone, documents, titles), counts)
        with result(unit.folder) as (folder, report):
            write_pairs(folder, pairs, self.held_out, everything=unit.held_out)
            report |= {"benchmark pairs": counts, "dropped": {}}
        return str(unit.folder)


def _pairs(groups: dict[str, list[File]], lone: dict[str, File], documents: dict, titles: dict[str, str]) -> Iterator[Pair]:
    grouped = set()
    shared = Counter(folder for members in groups.values() for folder in {_folder(file.path) for file in members})
    for key, members in groups.items():
        grouped |= {file.path for file in members}
        folders = [folder for file in members if shared[folder := _folder(file.path)] == 1]  # else a title of several groups
        title = next(filter(None, (titles.get(folder, "") for folder in folders)), "")
        yield from pairs_of_group(key, [documents[file] for file in members], title)
    for folder, file in lone.items():
        if file.path not in grouped:
            yield from titled([documents[file]], titles.get(folder, ""))


def _lone_files(files: Iterable[File]) -> dict[str, File]:
    """The only file of code in a folder below the root that has a README, by folder."""
    inside: dict[str, list[File]] = defaultdict(list)
    for file in files:
        inside[_folder(file.path)].append(file)
    lone = {}
    for folder, members in inside.items():
        code = [file for file in members if file.language]
        if folder and len(code) == 1 and any(is_readme(file.path) for file in members):
            lone[folder] = code[0]
    return lone


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _paths(unit: ParseUnit) -> list[tuple[str, str, int]]:
    """(path, language, row) of each kept document of a row group."""
    with parquet(unit.documents) as file:
        table = file.read_row_group(unit.group, columns=["path", "language"]).take(pa.array(unit.rows, pa.int64()))
    return list(zip(table["path"].to_pylist(), table["language"].to_pylist(), unit.rows, strict=True))


def _documents(parsed: Sequence[ParseUnit], wanted: Iterable[File]) -> Iterator[tuple[File, Document]]:
    """The documents of `wanted`, one row group in memory at a time."""
    of_part: dict[int, list[File]] = defaultdict(list)
    for file in dict.fromkeys(wanted):
        of_part[file.part].append(file)
    for part, files in of_part.items():
        with parquet(parsed[part].documents) as file:
            table = file.read_row_group(parsed[part].group).take(pa.array([item.row for item in files], pa.int64()))
        yield from zip(files, records_of(table, Document), strict=True)
