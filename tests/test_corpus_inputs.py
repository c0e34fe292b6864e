"""Inputs of a corpus: Parquet, archives, pins, repositories, files in other languages, and sources with equal names."""

import bz2
import gzip
import lzma
import os
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codesage import CodesageError
from codesage.artifacts import open_artifact
from codesage.corpus.commands import _tables, sources_of
from codesage.corpus.read import read_documents, read_pairs
from codesage.corpus.report.facts import Report
from codesage.corpus.sources import packages
from codesage.corpus.sources.archives import members
from codesage.corpus.sources.digests import record
from codesage.corpus.sources.given import Archive, GitHead, source_at
from codesage.corpus.sources.inputs import state_of
from codesage.corpus.sources.naming import named_apart
from codesage.corpus.sources.others import OtherFiles, Others
from codesage.corpus.sources.packages import DebianSource, NpmPackage, PipPackage
from codesage.corpus.sources.pinning import pin
from codesage.corpus.sources.recipe import read_recipe
from codesage.corpus.sources.trees import Folder, GitRepository, SitePackages, StackParquet, StandardLibrary
from codesage.corpus.stage import Settings, build
from codesage.records import Document
from codesage.walk import Skipped
from command_line import run
from test_sources import deb, make_debian, tar, zipped
from timing import takes_less

CODE = '''def add_{0}(value):
    """Add {0} to the value and print what came out."""
    total = value + {0}
    print(total, value, {0})
    return total
'''


def code(number: int) -> bytes:
    return CODE.format(number).encode()


def built(tmp_path: Path, *paths, **settings):
    sources = sources_of([tmp_path / path for path in paths])
    return build(Settings(workers=1, **settings), sources, tmp_path / "corpus", cache=tmp_path / "cache")


def command(tmp_path: Path, *arguments) -> subprocess.CompletedProcess:
    """Run `codesage corpus ...` in `tmp_path`, as a user does."""
    return run("corpus", *arguments, folder=tmp_path)


def documents_of(source, cache: Path = Path("none")) -> list[str]:
    return [item.path for item in source.documents(cache) if isinstance(item, Document)]


def skips_of(source, cache: Path = Path("none")) -> list[tuple[str, str]]:
    return [(item.path, item.reason) for item in source.documents(cache) if isinstance(item, Skipped)]


def others_of(source, cache: Path = Path("none")) -> dict[str, int]:
    return {item.kind: item.count for item in source.documents(cache) if isinstance(item, OtherFiles)}


def test_every_kind_of_path_is_built_by_one_command(tmp_path):
    shard(tmp_path / "the-stack/data/a.parquet", "the-stack")
    (tmp_path / "made.tgz").write_bytes(tar(("p-1/a.py", code(20)), ("p-1/b.cpp", b"x"), ("p-1/c.json", b"x")))
    (tmp_path / "own").mkdir()
    (tmp_path / "own/a.py").write_bytes(code(30))
    git(tmp_path / "own", "init", "-q")
    commit(tmp_path / "own")
    git(tmp_path, "clone", "-q", "--bare", "own", "bare.git")
    (tmp_path / "own/a.py").write_bytes(code(31))
    paths = ("the-stack/", "made.tgz", "bare.git", "own")
    done = command(tmp_path, "build", *paths, "--out", "corpus", "--cache", "cache", "--workers", "1")
    assert done.returncode == 0, done.stderr
    packages = Counter(pair.package for pair in read_pairs(tmp_path / "corpus"))
    assert packages == {"me/it": 2, "made": 1, "bare": 1, "own": 1}
    line = "Not read, since not in one of the nine languages: 1 C++ file, 1 Rust file."
    assert line in done.stdout and line in (tmp_path / "corpus/README.md").read_text()
    facts = open_artifact(tmp_path / "corpus", "corpus").facts
    assert facts["other_languages"] == {"C++": 1, "Rust": 1} and line in _tables(facts)
    del facts["other_languages"]  # as in a corpus of an earlier version
    assert "Not read" not in _tables(facts)


def test_a_link_that_is_given_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.py").write_bytes(code(1))
    (tmp_path / "real/b.py").symlink_to("a.py")
    (tmp_path / "link.py").symlink_to("real/a.py")
    (tmp_path / "folder").symlink_to("real")
    file, folder = source_at(tmp_path / "link.py"), source_at(tmp_path / "folder")
    assert [item.text for item in file.documents(tmp_path)] == [code(1).decode()] and documents_of(file) == ["link.py"]
    assert documents_of(folder) == ["a.py"] and skips_of(folder) == []
    before = state_of(file, tmp_path), state_of(folder, tmp_path)
    (tmp_path / "real/a.py").write_bytes(code(22))
    assert state_of(file, tmp_path) != before[0] and state_of(folder, tmp_path) != before[1]


# Parquet

LAYOUTS = {  # content, path, repository, licences, commit
    "the-stack": ("content", "max_stars_repo_path", "max_stars_repo_name", "max_stars_repo_licenses", "hexsha"),
    "the-stack-smol": ("content", "path", "repository_name", "licenses", None),
    "the-stack-v2-with-texts": ("content", "path", "repo_name", "detected_licenses", "revision_id"),
    "github-code": ("code", "path", "repo_name", "license", None),
}


def shard(file: Path, layout: str, start: int = 0, licence: str = "MIT") -> None:
    content, path, repository, licences, commit = LAYOUTS[layout]
    rows = [
        {
            content: code(start + i).decode(),
            path: f"/src/{start + i}.{suffix}",
            repository: "me/it",
            "other": 1,
            licences: licence if licences == "license" else [licence],
        }
        | ({commit: "abc"} if commit else {})
        for i, suffix in enumerate(("py", "py", "rs"))
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parquet_of_known_layouts_is_read_from_a_path(tmp_path, layout):
    shard(tmp_path / "data/python/a.parquet", layout)
    shard(tmp_path / "data/b.parquet", layout, 10, licence="GPL-3.0")
    (tmp_path / "data/README.md").write_text("# A data card\n")
    for path in ("data", "data/python/a.parquet"):
        (source,) = sources_of([tmp_path / path])
        assert isinstance(source, StackParquet)
        assert documents_of(source) == ["src/0.py", "src/1.py"]
    (source,) = sources_of([tmp_path / "data"])
    assert skips_of(source) == [("src/10.py", "licence"), ("src/11.py", "licence")] and others_of(source) == {"Rust": 2}
    first = next(source.documents(tmp_path))
    stated = "" if LAYOUTS[layout][4] is None else "abc"
    if first.path == "src/0.py":
        assert (first.package, first.version, first.licence) == ("me/it", stated, "MIT")
    assert len(documents_of(sources_of([tmp_path / "data"], any_licence=True)[0])) == 4


def test_a_recipe_chooses_rows_of_parquet(tmp_path):
    table = pa.table(
        {
            "text": [code(i).decode() for i in range(4)],
            "file": ["a.py", "b.py", "c.go", "d.py"],
            "license": ["MIT", "GPL-3.0", "MIT", ""],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")

    def read(more: str) -> list[str]:
        head = '[[parquet]]\npath = "a.parquet"\ncolumns = { content = "text", path = "file" }\n'
        (tmp_path / "r.toml").write_text(head + more)
        (source,) = read_recipe(tmp_path / "r.toml").sources()
        source.fetch(tmp_path)
        assert next(source.documents(tmp_path)).package == "a"
        return documents_of(source)

    assert read("") == ["a.py", "c.go"] and read('languages = ["python"]\n') == ["a.py"]
    assert read("any_licence = true\n") == ["a.py", "b.py", "c.go", "d.py"]
    (tmp_path / "hub.toml").write_text('[[parquet]]\nhub = "a/b"\nsubset = "data/go"\nheld_out = true\n')
    assert read_recipe(tmp_path / "hub.toml").sources() == [StackParquet("a/b", held_out=True, subset="data/go")]
    table = '[[parquet]]\npath = "a.parquet"\nlicences = ["GPL-3.0"]\ncolumns = { content = "text", path = "file" }\n'
    (tmp_path / "r.toml").write_text(table)
    assert documents_of(read_recipe(tmp_path / "r.toml").sources()[0]) == ["b.py"]


def test_a_row_is_read_if_each_of_its_licences_allows_it(tmp_path):
    stated = {
        "a.py": ["MIT OR Apache-2.0", "GPL-3.0"],
        "b.py": ["GPL-3.0", "MIT OR Apache-2.0"],
        "c.py": ["MIT/X11", "GPL-2.0"],
        "d.py": ["MIT OR Apache-2.0", "ISC"],
        "e.py": ["Apache-2.0 OR GPL-3.0"],
        "f.py": ["MIT) OR (MIT", "GPL-3.0"],
        "g.py": ["Not MIT"],
        "h.py": [],
        "i.py": ["MIT", "ISC"],
    }
    contents = [code(number).decode() for number in range(len(stated))]
    table = pa.table({"content": contents, "path": list(stated), "license": list(stated.values())})
    pq.write_table(table, tmp_path / "a.parquet")
    documents = [entry for entry in StackParquet(str(tmp_path)).documents(tmp_path) if isinstance(entry, Document)]
    assert [(document.path, document.licence) for document in documents] == [
        ("d.py", "(MIT OR Apache-2.0) AND ISC"),
        ("e.py", "Apache-2.0 OR GPL"),
        ("i.py", "MIT AND ISC"),
    ]
    some = StackParquet(str(tmp_path), licences=("MIT OR Apache-2.0", "ISC"))
    assert documents_of(some) == ["d.py"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[parquet]]\npath = "a"\nhub = "b"\n', "either path, or hub"),
        ("[[parquet]]\n", "either path, or hub"),
        ('[[parquet]]\npath = "a"\nsubset = "b"\n', "either path, or hub"),
        ('[[parquet]]\nhub = "a"\nlanguages = ["cobol"]\n', "parquet a: unknown language 'cobol'"),
        ('[[parquet]]\nhub = "a"\ncolumns = { text = "x" }\n', "columns has 'text'"),
        ('[[parquet]]\nhub = "a"\ncolumns = { path = 1 }\n', "columns has 'path'"),
        ('[[parquet]]\nhub = "a"\nlicences = "MIT"\n', "expected a list of strings"),
        ('[[parquet]]\nhub = "a"\nrows = 3\n', "unknown key 'rows'"),
        ('[[parquet]]\nhub = "a"\nlicences = ["MIT"]\nany_licence = true\n', "parquet a: expected either licences or"),
    ],
)
def test_mistakes_about_parquet_in_a_recipe_are_one_line(tmp_path, text, message):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(CodesageError) as error:
        read_recipe(tmp_path / "r.toml")
    assert message in str(error.value) and "\n" not in str(error.value)


ROW = {"content": [code(1).decode()], "path": ["a.py"], "license": ["MIT"]}
ODD_LICENCES = [
    (1, "int64"),
    (True, "bool"),
    ({"MIT": 1}, "struct<"),
    ([{"name": "MIT"}], "list<"),
    ([1], "list<"),
    ([["MIT"]], "list<"),
]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"x": [1]}, "no column of content (expected content or code, found x)"),
        ({"content": ["x"], "size": [1]}, "no column of path (expected max_stars_repo_path or path, found content, size)"),
        ({"content": ["x"], "path": ["a.py"]}, "--any-licence"),
        ({"blob_id": ["x"], "path": ["a.py"], "detected_licenses": [["MIT"]]}, "no column of content"),
        ({"content": [1], "path": ["a.py"], "license": ["MIT"]}, "column content holds int64, expected text:"),
        *[(ROW | {"license": [value]}, f"column license holds {kind}") for value, kind in ODD_LICENCES],
        (ROW | {"revision_id": [1]}, "column revision_id holds int64, expected text:"),
        (ROW | {"repo_name": [["me/it"]]}, "column repo_name holds list<"),
    ],
)
def test_parquet_of_another_layout_is_one_line(tmp_path, table, message):
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(CodesageError) as error:
        built(tmp_path, "a.parquet")
    assert message in str(error.value) and "a.parquet" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["content", "path", "license"])
def test_a_column_that_is_there_twice_is_one_line(tmp_path, name):
    columns = [(key, pa.array(values)) for key, values in (ROW | {"other": ["x"]}).items()]
    table = pa.Table.from_arrays([*[array for _, array in columns], dict(columns)[name]], [*dict(columns), name])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(CodesageError, match=f"a.parquet has 2 columns {name}: rename one") as error:
        built(tmp_path, "a.parquet")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "stated",
    [
        pa.array([b"MIT"]),
        pa.array([[b"MIT", None]]),
        pa.array(["MIT"]).dictionary_encode(),
        pa.array([["MIT"]], pa.list_(pa.string(), 1)),
    ],
)
def test_licences_and_commits_of_any_text_type_are_read(tmp_path, stated):
    table = pa.table(ROW | {"license": stated, "revision_id": pa.array([b"abc"]), "repo_name": pa.nulls(1)})
    pq.write_table(table, tmp_path / "a.parquet")
    (document,) = [item for item in StackParquet(str(tmp_path)).documents(tmp_path) if isinstance(item, Document)]
    assert (document.licence, document.version, document.package) == ("MIT", "abc", tmp_path.name)


def test_parquet_beside_source_files_is_named_and_not_read(tmp_path):
    shard(tmp_path / "mixed/data.parquet", "the-stack")
    (tmp_path / "mixed/sub").mkdir()
    (tmp_path / "mixed/sub/a.py").write_bytes(code(3))
    (source,) = sources_of([tmp_path / "mixed"])
    assert source == Folder(str(tmp_path / "mixed")) and documents_of(source) == ["sub/a.py"]
    assert skips_of(source) == [("data.parquet", "Parquet beside source files")]


def harmed(data: bytes) -> dict[str, bytes]:
    """The bytes of a file with every damage that a download or a disk may cause."""
    size = len(data)
    cuts = {f"cut at {share}": data[: int(size * share)] for share in (0.02, 0.3, 0.6, 0.9, 0.99)} | {"last": data[:-2]}
    return {"empty": b"", "a page": b"<!DOCTYPE html><html>404 Not Found</html>" * 40, **cuts}


@pytest.mark.parametrize("fault", harmed(b""))
def test_a_damaged_parquet_file_stops_the_build(tmp_path, fault):
    shard(tmp_path / "p/a.parquet", "the-stack")
    file = tmp_path / "p/b.parquet"
    file.write_bytes(harmed((tmp_path / "p/a.parquet").read_bytes())[fault])
    with pytest.raises(CodesageError, match=r"p/b\.parquet is damaged or not a Parquet file \(.*\): download it") as error:
        built(tmp_path, "p")
    assert "\n" not in str(error.value) and not (tmp_path / "corpus").exists()


# Damaged archives

FILES = [("p-1/a.py", code(1)), ("p-1/b.bin", os.urandom(4_000)), ("p-1/c.py", code(2)), ("p-1/d.py", code(3))]
METADATA = ("p-1.dist-info/METADATA", b"Metadata-Version: 2.1\nName: p\nVersion: 1\nLicense-Expression: MIT\n")
NPM = ("package/package.json", b'{"name": "p", "version": "1", "license": "MIT"}')


def archives() -> dict[str, bytes]:
    whole = {
        f"a.tar{suffix}": tar(*FILES, mode=f"w:{mode}")
        for suffix, mode in ((".gz", "gz"), (".bz2", "bz2"), (".xz", "xz"), ("", ""))
    }
    whole |= {"a.zip": zipped(*FILES), "a.whl": zipped(*FILES, METADATA), "a.deb": deb(*FILES)}
    whole["b.deb"] = deb(*FILES, mode="w:gz", name="data.tar.gz")
    whole["a.tgz"] = tar(*FILES)
    try:
        import zstandard
    except ImportError:
        return whole
    return whole | {"a.tar.zst": zstandard.ZstdCompressor(write_checksum=True).compress(tar(*FILES, mode="w"))}


WHOLE = archives()


@pytest.mark.parametrize("name", WHOLE)
def test_archives_are_read_from_a_path(tmp_path, name):
    (tmp_path / name).write_bytes(WHOLE[name])
    (source,) = sources_of([tmp_path / name])
    assert source == Archive(str(tmp_path / name))
    documents = [documents for documents in source.documents(tmp_path) if isinstance(documents, Document)]
    assert [document.path for document in documents] == ["p-1/a.py", "p-1/c.py", "p-1/d.py"]
    assert {document.package for document in documents} == {name[0]}


def test_a_cut_archive_stops_the_build(tmp_path):
    (tmp_path / "b.tgz").write_bytes(WHOLE["a.tgz"][:-20])
    with pytest.raises(CodesageError, match=r"b\.tgz is cut off: give a complete copy"):
        built(tmp_path, "b.tgz")
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize("name", WHOLE)
def test_every_damage_of_an_archive_stops_with_one_line(tmp_path, name):
    file = tmp_path / name
    for fault, data in harmed(WHOLE[name]).items():
        if name in ("a.tar", "a.tar.zst") and fault in ("cut at 0.9", "cut at 0.99", "last"):
            continue  # the zeros at the end of a tar, or a checksum: nothing is lost
        file.write_bytes(data)
        with pytest.raises(CodesageError, match=f"{name} is (cut off|empty|damaged|not an archive).*: give a") as error:
            list(source_at(file).documents(tmp_path))
        assert "\n" not in str(error.value), fault
        assert ("is empty:" in str(error.value)) == (fault == "empty"), fault


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "a.tar"])  # a plain tar has no checksum of its contents
def test_a_flipped_bit_never_silently_changes_documents(tmp_path, name):
    file, whole = tmp_path / name, WHOLE[name]
    file.write_bytes(whole)
    expected = [(items.path, items.text) for items in source_at(file).documents(tmp_path) if isinstance(items, Document)]
    stopped = 0
    for at in range(0, len(whole), len(whole) // 60):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            items = list(source_at(file).documents(tmp_path))
        except CodesageError as error:
            stopped += 1
            assert "\n" not in str(error)
            continue
        read = [(item.path, item.text) for item in items if isinstance(item, Document)]
        assert read == expected or any(isinstance(item, Skipped) for item in items), at
    assert stopped > 3


def test_a_checksum_behind_the_last_member_is_compared(tmp_path):
    for name, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        data = bytearray(pack(tar(*FILES, mode="w") + bytes(200_000)))
        data = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:] if name == "gz" else data[:-9]
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CodesageError, match="is (damaged|cut off)"):
            list(members(tmp_path / name, lambda member: member.endswith(".py")))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.tgz", "a.zip"])
def test_archives_joined_in_one_file_stop_the_build(tmp_path, name):
    other = (("p-1/z.py", code(9)),)
    second = zipped(*other) if name == "a.zip" else tar(*other, mode=f"w:{name[6:] if name != 'a.tgz' else 'gz'}")
    (tmp_path / name).write_bytes(WHOLE[name] + second)
    with pytest.raises(CodesageError, match=rf"{name} is damaged \(.* archive.*\): give a complete copy"):
        built(tmp_path, name)
    assert not (tmp_path / "corpus").exists()


def test_a_zip_behind_a_program_is_read(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"#!/bin/sh\nexit 1\n" + WHOLE["a.zip"])
    assert documents_of(source_at(tmp_path / "a.zip"), tmp_path) == ["p-1/a.py", "p-1/c.py", "p-1/d.py"]


def cached(cache: Path, source, **files: bytes) -> None:
    """Put files into the cache as a client would."""
    source.folder(cache).mkdir(parents=True)
    for name, data in files.items():
        (source.folder(cache) / name.replace("__", ".")).write_bytes(data)
    record(source.folder(cache), source.folder(cache))


PACKAGES = {
    "pip": (PipPackage("p", "1", licence="MIT"), {"p-1-py3-none-any__whl": zipped(*FILES, METADATA)}),
    "sdist": (PipPackage("p", "1", "sdist", licence="MIT"), {"p-1__tar__gz": tar(("p-1/PKG-INFO", METADATA[1]), *FILES)}),
    "npm": (NpmPackage("p", "1", licence="MIT"), {"p-1__tgz": tar(NPM, *FILES)}),
    "debian": (DebianSource("p", "1", kind="binary", licence="MIT"), {"p_1_all__deb": deb(*FILES)}),
}


METADATA_LAST = {
    "pip": zipped(*FILES, METADATA),
    "sdist": tar(*FILES, ("p-1/PKG-INFO", METADATA[1])),
    "npm": tar(*FILES, ("p-1/package.json", NPM[1])),
}


@pytest.mark.parametrize("name", METADATA_LAST)
def test_an_archive_is_read_once_even_if_its_licence_comes_last(tmp_path, monkeypatch, name):
    source, files = PACKAGES[name]
    cached(tmp_path, source, **dict.fromkeys(files, METADATA_LAST[name]))
    opened = []
    monkeypatch.setattr(packages, "members", lambda path, wanted: opened.append(path) or members(path, wanted))
    documents = [entry for entry in source.documents(tmp_path) if isinstance(entry, Document)]
    assert [(document.path.removeprefix("p-1/"), document.licence) for document in documents] == [
        (path, "MIT") for path in ("a.py", "c.py", "d.py")
    ]
    assert len(opened) == 1
    assert [entry.reason for entry in replace(source, licence="Apache-2.0").documents(tmp_path)] == ["licence"]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_damaged_package_in_the_cache_stops_the_build(tmp_path, name):
    source, files = PACKAGES[name]
    cached(tmp_path, source, **files)
    (file,) = source.folder(tmp_path).iterdir()
    source.fetch(tmp_path)
    assert len(documents_of(source, tmp_path)) == 3
    whole = file.read_bytes()
    flipped = {f"flip {at}": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(30, len(whole), 2_000)}
    for data in (harmed(whole) | flipped).values():
        file.write_bytes(data)
        with pytest.raises(CodesageError, match="was damaged after it was fetched .*: remove .* and run again") as error:
            source.fetch(tmp_path)
        assert str(file) in str(error.value) and "\n" not in str(error.value)
    file.unlink()
    (source.folder(tmp_path) / "other").touch()
    with pytest.raises(CodesageError, match="the file is missing"):
        source.fetch(tmp_path)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_damaged_package_of_an_old_cache_stops_too(tmp_path, name):
    """Without a record of what was fetched, the damage is found while reading."""
    source, files = PACKAGES[name]
    cached(tmp_path, source, **files)
    (tmp_path / source.client / f"{source.folder(tmp_path).name}.sha256").unlink()
    (file,) = source.folder(tmp_path).iterdir()
    for fault, data in harmed(file.read_bytes()).items():
        file.write_bytes(data)
        with pytest.raises(CodesageError, match=f"{source.key}: .* is .*: remove {source.folder(tmp_path)} and run") as error:
            list(source.documents(tmp_path))
        assert "\n" not in str(error.value), fault


def test_the_exit_code_of_a_build_on_a_damaged_package_is_not_zero(tmp_path):
    source, files = PACKAGES["pip"]
    cached(tmp_path / "cache", source, **files)
    (tmp_path / "r.toml").write_text(recipe("pip", "p"))
    options = ("--out", "c", "--cache", "cache", "--workers", "1")
    (file,) = source.folder(tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    done = command(tmp_path, "build", "r.toml", *options, "--out", "d")
    assert done.returncode == 2 and "was damaged after it was fetched" in done.stderr and not (tmp_path / "d").exists()


def test_fetched_files_are_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(NpmPackage, "_download", lambda self, folder, cache: (folder / "p-1.tgz").write_bytes(tar(NPM, *FILES)))
    source = NpmPackage("p", "1", licence="MIT")
    source.fetch(tmp_path)
    done = subprocess.run(["sha256sum", "-c", "../p-1.sha256"], cwd=tmp_path / "npm/p-1", capture_output=True, check=False)
    assert done.returncode == 0 and b"p-1.tgz: OK" in done.stdout


# Pins

HASH = "0123456789abcdef" * 4


def recipe(client: str, name: str, more: str = "") -> str:
    head = f'# why {name}\n[[package]]\nclient = "{client}"\nname = "{name}"\nversion = "1"  # this one\n'
    return f'{head}{more}languages = ["python", "c"]\nlicence = "MIT"\n\n'


@pytest.fixture
def pinned(tmp_path):
    """A recipe with a wheel, an npm package and a Debian source package of several archives, all in the cache."""
    for client in ("pip", "npm"):
        source, files = PACKAGES[client]
        cached(tmp_path / "cache", source, **files)
    folder = tmp_path / "cache/debian/thing-1.0-1"
    folder.mkdir(parents=True)
    make_debian(folder)
    (folder / "Sources").unlink()
    text = 'description = "d"\n' + recipe("pip", "p") + recipe("npm", "p").replace('"npm"', '"npm" # here')
    text += recipe("debian", "thing").replace('version = "1"', 'version = "1.0-1"') + '[[folder]]\npath = "own"\n'
    (tmp_path / "r.toml").write_text(text)
    return tmp_path / "r.toml"


def test_pins_are_written_below_the_versions_and_checked(tmp_path, pinned):
    before = pinned.read_text()
    pins = pin(pinned, tmp_path / "cache")
    assert pins.added == ["p 1", "p 1", "thing 1.0-1"] and not pins.changed and not pins.kept
    assert "\n".join(line for line in pinned.read_text().splitlines() if "sha256" not in line) + "\n" == before
    packages = read_recipe(pinned).sources()[:3]
    for package in packages:
        package.fetch(tmp_path / "cache")
        assert documents_of(package, tmp_path / "cache")
        (digest,) = package.sha256
        listed = subprocess.run(
            ["sha256sum", *package.folder(tmp_path / "cache").iterdir()], capture_output=True, text=True, check=True
        ).stdout
        assert digest in listed and (package.client != "debian" or f"{digest}  {tmp_path}" in listed.replace("\n", " "))
    assert pin(pinned, tmp_path / "cache").kept == pins.added
    after = pinned.read_text()
    done = command(tmp_path, "pin", "r.toml", "--cache", "cache")
    assert done.stdout == "r.toml: 0 pins added, 0 changed, 3 kept\n" and pinned.read_text() == after


def test_a_wrong_pin_is_one_line_with_both_hashes(tmp_path, pinned):
    pin(pinned, tmp_path / "cache")
    for package in read_recipe(pinned).sources()[:3]:
        (right,) = package.sha256
        pinned.write_text(pinned.read_text().replace(right, HASH))
        wrong = next(source for source in read_recipe(pinned).sources() if source.key == package.key)
        with pytest.raises(CodesageError) as error:
            wrong.fetch(tmp_path / "cache")
        message = str(error.value)
        assert package.key in message and right in message and HASH in message and "remove" in message and "\n" not in message
        with pytest.raises(CodesageError, match="to another SHA-256 than was fetched"):
            pin(pinned, tmp_path / "cache")
        assert pin(pinned, tmp_path / "cache", others="add").changed == [f"{package.name} {package.version}"]
        both = next(source for source in read_recipe(pinned).sources() if source.key == package.key)
        assert both.sha256 == (HASH, right)
        both.fetch(tmp_path / "cache")  # either hash is right
        pinned.write_text(pinned.read_text().replace(right, "f" * 64))  # a list, over several lines
        assert len(pin(pinned, tmp_path / "cache", others="replace").changed) == 1
        assert next(s for s in read_recipe(pinned).sources() if s.key == package.key).sha256 == (right,)


def test_a_tarball_behind_a_pinned_dsc_is_checked(tmp_path, pinned):
    pin(pinned, tmp_path / "cache")
    debian = read_recipe(pinned).sources()[2]
    tarball = tmp_path / "cache/debian/thing-1.0-1/thing_1.0.orig.tar.gz"
    tarball.write_bytes(tarball.read_bytes() + b"x")
    with pytest.raises(CodesageError, match=r"thing_1\.0\.orig\.tar\.gz does not match its \.dsc"):
        documents_of(debian, tmp_path / "cache")


@pytest.mark.parametrize("value", ['"abc"', f'["{HASH}", "x"]', f'"{HASH.upper()}"', "3", "[3]"])
def test_a_pin_that_is_not_a_hash_is_one_line(tmp_path, value):
    (tmp_path / "r.toml").write_text(recipe("pip", "p", f"sha256 = {value}\n"))
    with pytest.raises(CodesageError, match="package p: sha256 is .*: expected") as error:
        read_recipe(tmp_path / "r.toml")
    assert "\n" not in str(error.value)


def test_the_release_recipe_and_the_benchmark_pin_every_package():
    root = Path(__file__).parent.parent
    release, benchmark = (read_recipe(root / name).sources() for name in ("recipes/release.toml", "benchmarks/corpus.toml"))
    assert len(release) == 150 and len(benchmark) == 18
    assert not [source.key for source in (*release, *benchmark) if not source.sha256]
    pins = {source.key: source.sha256 for source in release}
    assert all(pins[source.key] == source.sha256 for source in benchmark)


# Files in other languages

OTHERS = {"a.rs": "Rust", "b.RS": "Rust", "c.cpp": "C++", "d.hpp": "C++", "e.kt": "Kotlin", "f.swift": "Swift",
          "g.scala": "Scala", "h.lua": "Lua", "i.sh": "Shell", "j.hs": "Haskell", "k.dart": "Dart", "l.R": "R",
          "m.json": ".json", "n": "other", ".env": "other", "o.1234": "other", "x.y/p": "other"}  # fmt: skip
COUNTED = {
    "Rust": 2,
    "C++": 2,
    "Kotlin": 1,
    "Swift": 1,
    "Scala": 1,
    "Lua": 1,
    "Shell": 1,
    "Haskell": 1,
    "Dart": 1,
    "R": 1,
    ".json": 1,
    "other": 4,
}


def _sources_of_others(tmp_path: Path) -> dict:
    files = [(f"p-1/{name}", b"x\n") for name in OTHERS] + [("p-1/a.py", code(1))]
    for name, data in files:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(data)
    (tmp_path / "a.tar.gz").write_bytes(tar(*files))
    git(tmp_path / "tree", "init", "-q")
    commit(tmp_path / "tree")
    wheel, npm = PACKAGES["pip"][0], PACKAGES["npm"][0]
    cached(tmp_path, wheel, p__whl=zipped(*files))
    cached(tmp_path, npm, p__tgz=tar(*files))
    rows = [{"content": data.decode(), "path": name, "license": "MIT"} for name, data in files]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    deb_source = PACKAGES["debian"][0]
    cached(tmp_path, deb_source, p_1_all__deb=deb(*files))
    return {
        "folder": Folder(str(tmp_path / "tree")),
        "archive": Archive(str(tmp_path / "a.tar.gz")),
        "pip": wheel,
        "npm": npm,
        "git": GitHead(str(tmp_path / "tree/.git")),
        "parquet": StackParquet(str(tmp_path / "a.parquet")),
        "debian": deb_source,
    }


def test_every_source_counts_files_of_other_languages(tmp_path):
    for name, source in _sources_of_others(tmp_path).items():
        assert others_of(source, tmp_path) == COUNTED, name
        assert len(documents_of(source, tmp_path)) == 1, name


def test_files_that_a_recipe_leaves_out_are_not_counted(tmp_path):
    source = PipPackage("p", "1", licence="MIT", languages=("go",), include=("p/*",), exclude=("p/x/",))
    files = [(name, b"x\n") for name in ("p/a.rs", "p/x/b.rs", "q/c.rs", "p/d.py")]
    cached(tmp_path, source, p__whl=zipped(*files))
    assert others_of(source, tmp_path) == {"Rust": 1}


def test_nothing_readable_lists_the_files_seen(tmp_path):
    (tmp_path / "rust").mkdir()
    for number in range(100):
        (tmp_path / "rust" / f"{number}.rs").write_text("fn main() {}\n")
    (tmp_path / "rust/a.json").write_text("{}\n")
    (tmp_path / "rust/bad.py").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(CodesageError) as error:
        built(tmp_path, "rust")
    assert "seen: 100 Rust files, 1 .json file, 1 skipped as encoding" in str(error.value) and "\n" not in str(error.value)
    assert Report().seen() == "no file at all"


def test_counting_costs_nothing_noticeable():
    paths, counted = [f"some/folder/of/files/file{i}.{i % 7_000:x}z" for i in range(100_000)], []

    def count() -> None:
        others = Others()
        for path in paths:
            others.add(path)
        counted.append(list(others.counts()))

    assert takes_less(0.5, count)
    assert len(counted[0]) <= 31 and sum(item.count for item in counted[0]) == 100_000


# Repositories


def git(folder: Path, *arguments: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    identity = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "-c",
        "protocol.file.allow=always",
        "-c",
        "init.defaultBranch=main",
    ]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-q", "-m", "1")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path):
    """A working tree of two commits; a later change of a file is not committed."""
    folder = tmp_path / "origin"
    for number in (1, 2):
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.py").write_bytes(code(number))
        if number == 1:
            git(folder, "init", "-q")
        commit(folder)
    (folder / "1.py").write_bytes(code(99))
    return folder


def _repositories(tmp_path: Path, origin: Path) -> dict[str, Path]:
    git(tmp_path, "clone", "-q", "--bare", "origin", "bare.git")
    git(tmp_path, "clone", "-q", "--bare", "origin", "plain")
    git(tmp_path / "plain", "pack-refs", "--all")
    git(origin, "worktree", "add", "-q", "--detach", "../tree")
    git(tmp_path, "clone", "-q", "--depth", "1", origin.as_uri(), "shallow")
    git(tmp_path, "clone", "-q", "origin", "detached")
    git(tmp_path / "detached", "checkout", "-q", "--detach", "HEAD")
    git(origin, "bundle", "create", "-q", "../made.bundle", "HEAD")
    return {
        "bare.git": tmp_path / "bare.git",
        "plain": tmp_path / "plain",
        "origin": origin / ".git",
        "tree": tmp_path / "tree/.git",
        "shallow": tmp_path / "shallow/.git",
        "detached": tmp_path / "detached/.git",
        "made.bundle": tmp_path / "made.bundle",
    }


def test_repositories_of_every_form_are_read_at_head(tmp_path, origin):
    head = git(origin, "rev-parse", "HEAD")
    for name, path in _repositories(tmp_path, origin).items():
        (source,) = sources_of([path])
        source.fetch(tmp_path / "cache")
        documents = [item for item in source.documents(tmp_path / "cache") if isinstance(item, Document)]
        assert [(item.path, item.text) for item in documents] == [(f"{n}.py", code(n).decode()) for n in (1, 2)], name
        assert {(item.package, item.version) for item in documents} == {(name.partition(".")[0], head)}, name
    assert documents_of(sources_of([origin])[0]) == ["1.py", "2.py"]  # a working tree is read as it is
    assert next(sources_of([origin])[0].documents(tmp_path)).text == code(99).decode()
    assert [item.text for item in sources_of([tmp_path / "tree"])[0].documents(tmp_path)] == [code(n).decode() for n in (1, 2)]


def test_repositories_without_a_commit_at_head_say_what_to_do(tmp_path, origin):
    git(tmp_path, "init", "-q", "--bare", "empty.git")
    with pytest.raises(CodesageError, match=r"empty\.git: the repository has no commit: commit something first") as error:
        built(tmp_path, "empty.git")
    assert "\n" not in str(error.value)
    git(origin, "push", "-q", "../empty.git", "HEAD:refs/heads/trunk")
    with pytest.raises(CodesageError, match="the branches are trunk: run 'git .* symbolic-ref HEAD refs/heads/trunk'"):
        built(tmp_path, "empty.git")
    git(tmp_path / "empty.git", "symbolic-ref", "HEAD", "refs/heads/trunk")
    (source,) = sources_of([tmp_path / "empty.git"])
    assert documents_of(source) == ["1.py", "2.py"]
    before = state_of(source, tmp_path)
    (origin / "3.py").write_bytes(code(3))
    commit(origin)
    git(origin, "push", "-q", "../empty.git", "HEAD:refs/heads/trunk")
    assert documents_of(source) == ["1.py", "2.py", "3.py"] and state_of(source, tmp_path) != before
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost/.git").write_text("gitdir: /nowhere\n")
    with pytest.raises(CodesageError, match="git cannot read this repository"):
        built(tmp_path, "lost/.git")


def test_submodules_and_nested_repositories_are_skipped_and_reported(tmp_path, origin):
    top = tmp_path / "top"
    git(top, "init", "-q")
    git(top, "submodule", "add", "-q", str(origin), "deps/sub")
    (top / "a.py").write_bytes(code(5))
    commit(top)
    git(tmp_path, "clone", "-q", "--bare", "top", "bare.git")
    git(tmp_path, "clone", "-q", "top", "unfilled")
    git(top, "clone", "-q", str(origin), "nested")
    for path, also in (("top", [("nested", "nested repository")]), ("unfilled", []), ("top/.git", []), ("bare.git", [])):
        (source,) = sources_of([tmp_path / path])
        assert documents_of(source) == ["a.py"] and skips_of(source) == [("deps/sub", "submodule"), *also], path
    head = git(top, "rev-parse", "HEAD")
    pinned = GitRepository(str(tmp_path / "bare.git"), head)
    pinned.fetch(tmp_path / "cache")
    assert skips_of(pinned, tmp_path / "cache") == [("deps/sub", "submodule")]


def test_a_damaged_repository_or_bundle_stops_with_one_line(tmp_path, origin):
    head = git(origin, "rev-parse", "HEAD")
    git(tmp_path, "clone", "-q", "--bare", "--no-local", "origin", "bare.git")
    source = GitRepository(str(origin), head)
    source.fetch(tmp_path / "cache")
    copies = {sources_of([tmp_path / "bare.git"])[0]: tmp_path / "bare.git", source: source._folder(tmp_path / "cache")}
    for one, folder in copies.items():
        git(folder, "repack", "-q", "-a", "-d")
        (packed,) = folder.glob("objects/pack/*.pack")
        whole = packed.read_bytes()
        packed.chmod(0o644)
        for data in (b"", whole[: len(whole) // 2], whole[:40], whole[:-30]):
            packed.write_bytes(data)
            with pytest.raises(CodesageError) as error:
                list(one.documents(tmp_path / "cache"))
            assert "\n" not in str(error.value) and ("remove" in str(error.value) or "complete copy" in str(error.value))
        for at in range(12, len(whole) - 20, 7):
            packed.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
            try:
                documents = [item for item in one.documents(tmp_path / "cache") if isinstance(item, Document)]
            except CodesageError:
                continue
            assert [item.text for item in documents] == [code(n).decode() for n in (1, 2)], at  # the flip was in a parent
    git(origin, "bundle", "create", "-q", "../made.bundle", "HEAD")
    bundle = tmp_path / "made.bundle"
    for share in (0.2, 0.6, 0.95):
        bundle.write_bytes(bundle.read_bytes()[: int(bundle.stat().st_size * share)])
        with pytest.raises(CodesageError) as error:
            built(tmp_path, "made.bundle")
        assert "\n" not in str(error.value)


# Sources with equal names


def test_names_are_the_shortest_unique_ones():
    one, two = "1" * 40, "2" * 40
    sources = [
        Folder("/w/a/src"),
        Folder("/w/b/src"),
        Folder("/v/b/src"),
        Folder("/w/alone"),
        Folder("/x/python"),
        StandardLibrary(),
        PipPackage("same", "1"),
        NpmPackage("same", "1"),
        PipPackage("only", "1"),
        GitRepository("https://host.org/me/samples.git", one),
        GitRepository("git@host.org:you/samples", one),
        GitRepository("https://host.org/me/twice", one),
        GitRepository("https://host.org/me/twice", two),
        Archive("/w/p.zip"),
        Archive("/w/p.tar.gz"),
        GitHead("/w/r.git"),
        GitHead("/v/r/.git"),
        SitePackages("/w/site"),
    ]
    expected = [
        "a/src", "w/b/src", "v/b/src", "alone", "x/python", "python", "pip/same", "npm/same", "only", "me/samples",
        "you/samples", f"host.org/me/twice@{one}", f"host.org/me/twice@{two}", "/w/p.zip", "/w/p.tar.gz", "w/r", "v/r", None,
    ]  # fmt: skip
    for order in (1, -1):
        named = named_apart(sources[::order])[::order]
        assert [getattr(s, "package", "") or (s.names[0] if hasattr(s, "names") else None) for s in named] == expected
        assert [source.key for source in named] == [source.key for source in sources]
    assert named_apart([Folder("/w/a/src"), Folder("/w/a/src")]) == (Folder("/w/a/src"),)
    assert named_apart([Folder("/w/a/src"), Folder("/w/a/src", held_out=True)])[1].package == ""
    with pytest.raises(CodesageError, match="held-out 'src' names several sources: choose from 'a/src', 'v/b/src', 'w/b"):
        named_apart(sources, ["alone", "src"])
    named_apart(sources, ["alone", "python", "a/src"])


def test_equal_names_stay_apart_in_card_pairs_and_held_out(tmp_path):
    for number, name in enumerate(("a/src", "b/src")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "code.py").write_bytes(code(number))
        (tmp_path / name / "bad.py").write_bytes(b"\xff\xfe\xfd")
    artifact = built(tmp_path, "a/src", "b/src", held_out=("b/src",))
    assert set(artifact.facts["packages"]) == {"a/src", "b/src"}
    assert {pair.package for pair in read_pairs(artifact.path)} == {"a/src"}
    assert {pair.package for pair in read_pairs(artifact.path, held_out=True)} == {"b/src"}
    assert {document.package for document in read_documents(artifact.path)} == {"a/src"}
    card = (artifact.path / "README.md").read_text()
    assert "| a/src |" in card and "| b/src |" in card
    skipped = pq.read_table(artifact.path / "skipped.parquet")["source"].to_pylist()
    assert skipped == [facts["source"] for _, facts in sorted(artifact.facts["packages"].items())] and len(set(skipped)) == 2
    with pytest.raises(CodesageError, match="held-out 'src' names several sources"):
        built(tmp_path, "a/src", "b/src", held_out=("src",))
    with pytest.raises(CodesageError, match="no source has a package 'c' to hold out: expected some of a/src, b/src"):
        built(tmp_path, "a/src", "b/src", held_out=("c",))


def test_packages_found_under_one_name_stay_apart_in_the_card(tmp_path):
    site = tmp_path / "site"
    (site / "p-1.dist-info").mkdir(parents=True)
    (site / "p-1.dist-info/METADATA").write_text("Metadata-Version: 2.4\nName: p\nVersion: 1\nLicense-Expression: MIT\n")
    (site / "p-1.dist-info/RECORD").write_text("p.py,,\n")
    (site / "p.py").write_bytes(code(8))
    cached(tmp_path / "cache", PACKAGES["npm"][0], p__tgz=tar(NPM, *FILES))
    sources = [PACKAGES["npm"][0], SitePackages(str(site))]
    for part in ("one", "two"):  # a repository with files in two parts of a data set is one package
        shard(tmp_path / f"{part}.parquet", "the-stack", start=len(part) * 100 + ord(part[0]))
        sources.append(StackParquet(str(tmp_path / f"{part}.parquet")))
    facts = build(Settings(workers=1), sources, tmp_path / "corpus", cache=tmp_path / "cache").facts
    assert set(facts["packages"]) == {"p", f"p (site-packages:{site})", "me/it"}
