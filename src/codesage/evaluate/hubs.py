"""Download the standard data sets, and convert their files into the layouts that the loaders read.

In: the name of a data set. Out: a folder in the user's cache, an artifact of kind "benchmark". It is complete or does not
exist. Files are pinned by a commit and git's object id, by a SHA-256, by a commit of the hub and a number of rows, or by a
version in the address. POJ-104 has a number of rows only, and is what is newest on the hub. The commit that the hub names with
each file is kept as a fact, "revisions", and stands in reports. Data sets keep the licences of their authors.
"""

import gzip
import json
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from codesage.artifacts import open_artifact, publish
from codesage.errors import CodesageError
from codesage.evaluate.download import Remote, fetch
from codesage.machine import cache_folder

CACHE = "benchmarks"  # the folder of the cache that data sets are kept in
GITHUB, HUB = "https://raw.githubusercontent.com", "https://huggingface.co"
CODENET = "https://dax-cdn.cdn.appdomain.cloud/dax-project-codenet/1.0.0/Project_CodeNet.tar.gz"
_COCLR = "Jun-jie-Huang/CoCLR/14ebcacf9e9bc3e7109102632bc63047876f27d2/data/search"
_CLONES = "microsoft/CodeXGLUE/ac74a62802a0dd159b3258c78a2df8ad36cdf2b9/Code-Code/Clone-detection-BigCloneBench/dataset"
_CODEBERT = "microsoft/CodeBERT/c0de43d3aaf38e89290f1efb771f8de845e7a489"
_ZERO_SHOT = f"{_CODEBERT}/UniXcoder/downstream-tasks/zero-shot-search/dataset"
_GLUE = "datasets/google/code_x_glue_"
_ADVTEST = f"{_GLUE}tc_nl_code_search_adv/resolve/bad29ae02f4650dffac1bcaeaaad545bfbcc9ec1/data"
_DEFECT = f"{_GLUE}cc_defect_detection/resolve/a618859d5c7a7aed0c495d4b9578fd64b77475b4/data"
_POJ104 = f"{_GLUE}cc_clone_detection_poj104/resolve/main/data"
_SEARCHNET = "datasets/code-search-net/code_search_net/resolve/17cab03e728f4b006c30823e1016d6d678c24f5d/data"
_ONE = "-00000-of-00001.parquet"

# Queries and candidates by language, as counted by the authors of the filtered set.
SEARCHNET_ROWS = {
    "go": (8122, 28120),
    "java": (10955, 40347),
    "javascript": (3291, 13981),
    "php": (14014, 52660),
    "python": (14918, 43827),
    "ruby": (1261, 4360),
}
# Rows of the tables, as their authors say.
TABLE_ROWS = {"advtest": {"test": 19210}, "poj104": {"test": 12000}, "defect": {"train": 21854, "valid": 2732, "test": 2732}}
_CODENET_FILES = {"java": ("Java", ".java"), "python": ("Python", ".py"), "ruby": ("Ruby", ".rb")}

Files = Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Published:
    """A data set on a hub. `files`: what is fetched, by name. `build` writes what the loader reads from them into a folder."""

    files: dict[str, Remote]
    build: Callable[[Files, Path], None]


def cached(name: str) -> Path | None:
    """The folder of a data set that was fetched before, or None if it is missing or damaged."""
    folder = cache_folder(CACHE) / name
    try:
        return open_artifact(folder, "benchmark").path
    except CodesageError:
        return None


def revisions(folder: Path) -> dict[str, str]:
    """By file that a data set was built from, the commit that the hub named for it; {} where none is known."""
    try:
        found = open_artifact(folder, "benchmark", verify=False).facts.get("revisions", {})
    except CodesageError:
        return {}
    return found if isinstance(found, dict) else {}


def fetched(name: str, *, say: Callable[[str], None]) -> Path:
    """The folder of a data set, fetched if it is not in the cache. `say` is called with a line about each file.

    CodesageError when the data set is not published in a form that can be read, or as in `download.fetch`.
    """
    folder_in_cache = cached(name)
    if folder_in_cache is not None:
        return folder_in_cache
    if name not in PUBLISHED:
        raise CodesageError(f"{name} cannot be fetched: {UNPUBLISHED[name]}")
    published, folder = PUBLISHED[name], cache_folder(CACHE) / name
    downloads = folder.with_name(f"{name}.downloads")
    files = {file: downloads / file for file in published.files}
    commits = {file: fetch(_at_mirror(remote), files[file], say=say) for file, remote in published.files.items()}
    facts = {"revisions": {file: commit for file, commit in commits.items() if commit}}
    settings = {file: remote.url for file, remote in published.files.items()}
    try:
        with publish(folder, "benchmark", settings=settings, facts=facts) as out:
            published.build(files, out)
    except CodesageError as error:
        raise CodesageError(f"{error}; remove {downloads} to fetch again") from None
    shutil.rmtree(downloads, ignore_errors=True)
    return folder


def _at_mirror(remote: Remote) -> Remote:
    """Of the same file, below HF_ENDPOINT if that is set, as the hub's own client does."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if endpoint and remote.url.startswith(f"{HUB}/"):
        return Remote(endpoint + remote.url.removeprefix(HUB), remote.sha256, remote.blob)
    return remote


def _copied(files: Files, out: Path) -> None:
    for name, file in files.items():
        shutil.copyfile(file, out / name)


def _write(file: Path, rows: Iterable[dict], *, expected: int) -> None:
    """JSON lines. CodesageError when there are not as many rows as the authors say."""
    count = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    if count != expected:
        raise CodesageError(
            f"{file.parent.name}/{file.name} has {count:,} rows, its authors say {expected:,}: the data on the hub has changed"
        )


def _from_parquet(data_set: str, columns: dict[str, str]) -> Callable[[Files, Path], None]:
    """A builder of PART.jsonl from PART.parquet. `columns`: field to column."""

    def build(files: Files, out: Path) -> None:
        for part, expected in TABLE_ROWS[data_set].items():
            _write(out / f"{part}.jsonl", _table(files[f"{part}.parquet"], columns), expected=expected)

    return build


def _table(file: Path, columns: dict[str, str]) -> Iterator[dict]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise CodesageError("pyarrow is not installed: pip install 'codesage[train]'") from None
    try:
        table = pq.ParquetFile(file)
        for batch in table.iter_batches(columns=list(columns.values())):
            for row in batch.to_pylist():
                yield {field: _plain(row[column]) for field, column in columns.items()}
    except (pa.ArrowException, OSError, KeyError) as error:
        raise CodesageError(f"{file} is not the table that was published ({error})") from None


def _plain(value: object) -> object:
    return int(value) if isinstance(value, bool) else value  # labels are 0 and 1 in the authors' own files


def _codesearchnet(files: Files, out: Path) -> None:
    """The functions at the addresses that the filtered set lists, in its order (GraphCodeBERT's preprocess.py)."""
    for language, expected in SEARCHNET_ROWS.items():
        lists = {part: _addresses(files["dataset.zip"], f"{language}/{part}.txt") for part in ("test", "codebase")}
        wanted = {address for addresses in lists.values() for address in addresses}
        by_url = {row["url"]: row for row in _functions(files[f"{language}.zip"]) if row["url"] in wanted}
        for (part, addresses), count in zip(lists.items(), expected, strict=True):
            rows = ({"idx": number, **by_url[address]} for number, address in enumerate(addresses) if address in by_url)
            _write(out / language / f"{part}.jsonl", rows, expected=count)


def _addresses(archive: Path, name: str) -> list[str]:
    with _opened(archive) as opened:
        member = next((one for one in opened.namelist() if f"/{one}".endswith(f"/{name}")), None)
        if member is None:
            raise CodesageError(f"{archive} holds no {name}: the data on the hub has changed")
        return opened.read(member).decode("utf-8").split()


def _functions(archive: Path) -> Iterator[dict]:
    with _opened(archive) as opened:
        for member in sorted(one for one in opened.namelist() if "/final/jsonl/" in one and one.endswith(".jsonl.gz")):
            with opened.open(member) as packed, gzip.open(packed, "rt", encoding="utf-8") as lines:
                for row in map(json.loads, lines):
                    yield {field: row[field] for field in ("url", "docstring_tokens", "code_tokens")}


def _opened(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except zipfile.BadZipFile:
        raise CodesageError(f"{archive} is not a whole zip archive") from None


def _codenet(files: Files, out: Path) -> None:
    """The programs that UniXcoder's lists name, from the archive of Project CodeNet (its preprocess.py)."""
    lists = {
        language: [json.loads(line) for line in files[f"{language}.jsonl"].read_text(encoding="utf-8").splitlines()]
        for language in _CODENET_FILES
    }
    place_of = {_program(language, row): row for language, rows in lists.items() for row in rows}
    try:
        _fill(files["Project_CodeNet.tar.gz"], place_of)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise CodesageError(f"{files['Project_CodeNet.tar.gz']} is not a whole archive ({error})") from None
    for language, rows in lists.items():
        _write(out / f"{language}_with_func.jsonl", (row for row in rows if row["func"]), expected=len(rows))


def _fill(archive: Path, place_of: Mapping[str, dict]) -> None:
    with tarfile.open(archive, "r|gz") as opened:
        for member in opened:
            row = place_of.get(member.name)
            content = None if row is None else opened.extractfile(member)
            if row is not None and content is not None:
                row["func"] = content.read().decode("utf-8", "replace")


def _program(language: str, row: dict) -> str:
    folder, suffix = _CODENET_FILES[language]
    return f"Project_CodeNet/data/p{int(row['label']):05}/{folder}/{row['index']}{suffix}"


def _github(folder: str, blobs: dict[str, str]) -> dict[str, Remote]:
    return {name: Remote(f"{GITHUB}/{folder}/{name}", blob=blob) for name, blob in blobs.items()}


PUBLISHED = {
    "cosqa": Published(
        _github(
            _COCLR,
            {
                "code_idx_map.txt": "a9dda4a5fc56ab7b95fb0d7fb90048c00a3bf831",
                "cosqa-retrieval-test-500.json": "07f1b83205c50a5e805930ffdfc5f05050f07742",
            },
        ),
        _copied,
    ),
    "advtest": Published(
        {"test.parquet": Remote(f"{HUB}/{_ADVTEST}/test{_ONE}")},
        _from_parquet(
            "advtest", {"docstring_tokens": "docstring_tokens", "function_tokens": "code_tokens", "url": "url", "idx": "id"}
        ),
    ),
    "codesearchnet": Published(
        {
            **_github(f"{_CODEBERT}/GraphCodeBERT/codesearch", {"dataset.zip": "e229c0247430feeb5a3c0f22ffd7acbe3b2165f4"}),
            **{f"{language}.zip": Remote(f"{HUB}/{_SEARCHNET}/{language}.zip") for language in SEARCHNET_ROWS},
        },
        _codesearchnet,
    ),
    "codenet": Published(
        {
            **_github(
                _ZERO_SHOT,
                {
                    "java.jsonl": "07a68287839eb11fd925b27c9a7b3a934147a850",
                    "python.jsonl": "f0f166729eef62dfff48660be025a89b3dc55c36",
                    "ruby.jsonl": "189124ae5158d5e1611bdf528820cfd66d71158a",
                },
            ),
            "Project_CodeNet.tar.gz": Remote(CODENET),
        },
        _codenet,
    ),
    "poj104": Published(
        {"test.parquet": Remote(f"{HUB}/{_POJ104}/test{_ONE}")},
        _from_parquet("poj104", {"label": "label", "index": "id", "code": "code"}),
    ),
    "bigclonebench": Published(
        _github(
            _CLONES,
            {
                "data.jsonl": "21f3cf5b0fb1d57db28b6bf8cacd2933e91f4bbc",
                "valid.txt": "9175d2fe7f6d5aefa3579ed5027b1b7050bbd7bd",
                "test.txt": "42f7d44cc954276b12f156a74659b9e0b5ea9feb",
            },
        ),
        _copied,
    ),
    "codecomplex": Published(
        {
            "data.jsonl": Remote(
                f"{HUB}/datasets/codeparrot/codecomplex/resolve/main/data.jsonl",
                sha256="0470a3d5ef598b872d47de43a479503cec5450a9e761f66247d47e78ea2251aa",
            )
        },
        _copied,
    ),
    "defect": Published(
        {
            f"{part}.parquet": Remote(f"{HUB}/{_DEFECT}/{hub}{_ONE}")
            for part, hub in (("train", "train"), ("valid", "validation"), ("test", "test"))
        },
        _from_parquet("defect", {"func": "func", "target": "target", "idx": "id"}),
    ),
}

UNPUBLISHED = {
    "runtime-error": "its authors publish tokens without source code (TFRecords of google-research/runtime-error-prediction)",
    "mbxp": "its authors publish it in another layout",
    "java-csharp": "its authors publish it in another layout",
    "repository-search": "its authors publish the queries in another layout",
}
