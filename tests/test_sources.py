"""Sources, offline: hostile archives, and the real clients on packages made here."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from email import message_from_string
from pathlib import Path

import pytest

from codesage.corpus.sources import archives, debian, licences, recognise, stack
from codesage.corpus.sources.archives import DamagedArchive, Limits, Member, is_archive, members
from codesage.corpus.sources.clients import once, run
from codesage.corpus.sources.packages import DebianSource, NpmPackage, PipPackage
from codesage.corpus.sources.recipe import read_recipe
from codesage.corpus.sources.trees import Folder, GitRepository, SitePackages, Source, StackParquet, StandardLibrary
from codesage.errors import CodesageError
from codesage.records import Document
from codesage.walk import Skipped

CODE = b'def f(x):\n    """Add one to it."""\n    return x + 1\n'
GPL = b"# This program is free software under the terms of the GNU General Public License, version 2.\n"


def tar(*entries, mode="w:gz", **options) -> bytes:
    """A tar with (name, bytes) or TarInfo entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, **options) as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                archive.addfile(info, io.BytesIO(entry[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def header(numbers: tuple[bytes, ...] = (), kind: bytes = b"0", name: bytes = b"a/b.py", prefix: bytes = b"") -> bytes:
    """A header of a tar whose mode, owner, group, size, time and device numbers are written as given, with the right sum."""
    mode, owner, group, size, time, *devices = numbers or (b"0000644", b"0001750", b"0001750", b"00000000012", b"14371573652")
    fields = [(100, mode), (108, owner), (116, group), (124, size), (136, time), (148, b" " * 8), (156, kind)]
    fields += [(0, name), (257, b"ustar\x0000"), (345, prefix), *zip((329, 337), devices, strict=False)]
    block = bytearray(512)
    for at, field in fields:
        block[at : at + len(field)] = field
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


HEADERS = {
    "usual": header(),
    "digits and a blank": header(
        (b"000644 ", b"001750 ", b"001750 ", b"00000000012 ", b"14371573652 ", b"000000 ", b"000000 ")
    ),
    "no owner": header((b"000644 ", b"", b"", b"0000000012 ", b"1437157365 ")),
    "folder": header(kind=b"5", name=b"a/b/"),
    "folder with a prefix": header(kind=b"5", name=b"b//", prefix=b"a"),
    "prefix": header(name=b"\xc3\xa4\xff.py", prefix=b"x/y"),
    "a name of a hundred bytes": header(name=b"n" * 100),
    "a large number": header((b"0000644", b"0001750", b"0001750", b"\x80" + bytes(10) + b"\x07", b"14371573652")),
    "no number": header((b"0000644", b"0001750", b"00x1750", b"00000000012", b"14371573652")),
    "no device": header((b"0000644", b"0001750", b"0001750", b"00000000012", b"14371573652", b"zz")),
    "old kind": header(kind=b"\0", name=b"a/b/"),
    "link": header(kind=b"2"),
    "wrong sum": header().replace(b"a/b", b"a/c"),
    "cut off": header()[:511],
    "empty": b"",
    "end": bytes(512),
}


def zipped(*entries, mode: int = 0, compression=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, data, compression)
    return buffer.getvalue()


def header(info: tarfile.TarInfo, **fields) -> bytes:
    """A raw tar header with overwritten fields and a correct checksum."""
    raw = bytearray(info.tobuf(tarfile.GNU_FORMAT)[:512])
    for start, data in fields.get("at", {}).items():
        raw[start : start + len(data)] = data
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def encrypted() -> bytes:
    data = bytearray(zipped(("p/a.py", CODE)))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


def deflated64() -> bytes:
    data = bytearray(zipped(GOOD, ("p/a.py", CODE)))
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.rindex(mark) + offset] = 9
    return bytes(data)


def broken_middle() -> bytes:
    data = bytearray(tar(*((f"p/{i}.py", os.urandom(3000).hex().encode()) for i in range(40))))
    data[len(data) // 2 : len(data) // 2 + 400] = b"\xff" * 400
    return bytes(data)


def bad_checksum() -> bytes:
    data = bytearray(zipped(("p/a.py", CODE), ("p/b.py", CODE), compression=zipfile.ZIP_STORED))
    data[data.rindex(b"return x + 1")] ^= 1
    return bytes(data)


def ar(*parts, **fields) -> bytes:
    """An ar archive with (name, bytes) parts. The last header may have a false size or end, or may be cut."""
    out = b"!<arch>\n"
    for name, data in parts:
        last = (name, data) == parts[-1]
        size, end = (fields.get("size", len(data)), fields.get("end", b"`\n")) if last else (len(data), b"`\n")
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{size:<10}".encode() + end + data + b"\n" * (len(data) % 2)
    return out


def deb(*entries, mode="w:xz", name="data.tar.xz", control=b"odd", **fields) -> bytes:
    """A Debian package that installs (path, bytes) entries."""
    data = tar(*((f"./{e[0]}", e[1]) if isinstance(e, tuple) else e for e in entries), mode=mode)
    return ar(("debian-binary", b"2.0\n"), ("control.tar.xz", control), (name, data), **fields)


GOOD = ("p/good.py", CODE)
DAMAGED = "damaged"  # an error, not a skip
PLAIN = tar(GOOD, ("p/b.py", b"y" * 5000), mode="w")
ZEROS = b"\0" * 1024
FORGED = b"\x80" + b"\0" * 3 + b"\x7f" * 8  # base-256: 9 * 10^18 bytes
NEGATIVE = b"\xff" * 11 + b"\x00"
HOSTILE = {  # name: (makes the archive, the reason or reasons)
    "tar symbolic link": (lambda: tar(GOOD, special("p/l.py", tarfile.SYMTYPE, "/etc/passwd")), "link"),
    "tar hard link": (lambda: tar(GOOD, special("p/l.py", tarfile.LNKTYPE, "p/good.py")), "link"),
    "tar absolute path": (lambda: tar(GOOD, ("/etc/evil.py", CODE)), "escapes"),
    "tar parent": (lambda: tar(GOOD, ("p/../../evil.py", CODE)), "escapes"),
    "tar parent by backslash": (lambda: tar(GOOD, ("p\\..\\..\\evil.py", CODE)), "escapes"),
    "tar drive letter": (lambda: tar(GOOD, ("C:/evil.py", CODE)), "escapes"),
    "tar absolute link": (lambda: tar(GOOD, special("/l.py", tarfile.SYMTYPE, "x")), "escapes"),
    "tar character device": (lambda: tar(GOOD, special("p/d.py", tarfile.CHRTYPE)), "device"),
    "tar block device": (lambda: tar(GOOD, special("p/d.py", tarfile.BLKTYPE)), "device"),
    "tar pipe": (lambda: tar(GOOD, special("p/d.py", tarfile.FIFOTYPE)), "device"),
    "tar many members": (lambda: tar(GOOD, *((f"p/{i}.py", b"") for i in range(60))), "bomb"),
    "tar ratio gz": (lambda: tar(GOOD, ("p/z.bin", bytes(9_000_000))), "bomb"),
    "tar ratio xz": (lambda: tar(GOOD, ("p/z.bin", bytes(9_000_000)), mode="w:xz"), "bomb"),
    "tar ratio bz2": (lambda: tar(GOOD, ("p/z.bin", bytes(9_000_000)), mode="w:bz2"), "bomb"),
    "tar total": (lambda: tar(GOOD, ("p/z.bin", bytes(16_000_000)), mode="w"), "bomb"),
    "tar forged size": (lambda: tar(GOOD, mode="w")[:1024] + header(special("p/x.py", b"0"), at={124: FORGED}) + ZEROS, "bomb"),
    "tar forged long name": (lambda: tar(GOOD, mode="w")[:1024] + header(special("n", b"L"), at={124: FORGED}) + ZEROS, "bomb"),
    "tar forged pax header": (
        lambda: tar(GOOD, mode="w")[:1024] + header(special("n", b"x"), at={124: FORGED}) + ZEROS,
        "bomb",
    ),
    "tar negative size": (
        lambda: tar(GOOD, mode="w")[:1024] + header(special("p/x.py", b"0"), at={124: NEGATIVE}) + ZEROS,
        ("bomb", DAMAGED),
    ),
    "tar huge member": (lambda: tar(GOOD, ("p/x.py", b"x = 1\n" * 200_000)), "huge"),
    "tar same name twice": (lambda: tar(GOOD, GOOD), "duplicate"),
    "tar cut in a member": (lambda: PLAIN[:2000], DAMAGED),
    "tar cut in a header": (lambda: PLAIN[:1300], DAMAGED),
    "tar without end": (lambda: PLAIN[:1024], DAMAGED),
    "tar cut after rubbish": (lambda: PLAIN[:1024] + b"rubbish" * 200, DAMAGED),
    "gz cut": (lambda: tar(GOOD, ("p/r.bin", os.urandom(50_000)))[:-20_000], DAMAGED),
    "xz cut": (lambda: tar(GOOD, ("p/r.bin", os.urandom(50_000)), mode="w:xz")[:-20_000], DAMAGED),
    "bz2 cut": (lambda: tar(GOOD, ("p/r.bin", os.urandom(50_000)), mode="w:bz2")[:-9_000], DAMAGED),
    "gz damaged": (lambda: broken_middle(), DAMAGED),
    "gz no tar": (lambda: gzip.compress(b"no tar at all" * 100), DAMAGED),
    "xz wants memory": (lambda: b"\x5d\0\0\0\xff" + b"\xff" * 8 + bytes(200), DAMAGED),
    "xz wrong header": (lambda: lzma.compress(b"x")[:6] + os.urandom(200), DAMAGED),
    "bz2 empty stream": (lambda: bz2.compress(b""), DAMAGED),
    "zst damaged": (
        lambda: b"\x28\xb5\x2f\xfd" + b"\xff" * 300,
        ("unreadable", DAMAGED),
    ),  # depending on whether a reader is installed
    "no archive": (lambda: b"hello", DAMAGED),
    "empty file": (lambda: b"", DAMAGED),
    "deb symbolic link": (lambda: deb(GOOD, special("./p/l.py", tarfile.SYMTYPE, "/etc/passwd")), "link"),
    "deb parent": (lambda: deb(GOOD, ("p/../../evil.py", CODE)), "escapes"),
    "deb ratio": (lambda: deb(GOOD, ("p/z.bin", bytes(9_000_000))), "bomb"),
    "deb huge member": (lambda: deb(GOOD, ("p/x.py", b"x = 1\n" * 200_000), mode="w:gz", name="data.tar.gz/"), "huge"),
    "deb data cut": (lambda: deb(GOOD, ("p/r.bin", os.urandom(50_000)))[:-20_000], DAMAGED),
    "deb cut in a header": (lambda: deb(GOOD)[:100], DAMAGED),
    "deb cut after a header": (lambda: deb(GOOD)[:72], DAMAGED),
    "deb cut inside data.tar": (
        lambda: ar(("debian-binary", b"2.0\n"), ("data.tar", PLAIN[:1300])),
        DAMAGED,
    ),
    "deb forged size": (lambda: deb(GOOD, size=9_999_999_999), DAMAGED),
    "deb negative size": (lambda: deb(GOOD, size=-60), DAMAGED),
    "deb size in words": (lambda: deb(GOOD, size="1e3"), DAMAGED),
    "deb size too small": (lambda: deb(GOOD, size=40), DAMAGED),
    "deb wrong end of a header": (lambda: deb(GOOD, end=b"xx"), DAMAGED),
    "deb without data": (lambda: ar(("debian-binary", b"2.0\n"), ("control.tar.xz", b"x")), DAMAGED),
    "deb that is another ar archive": (lambda: ar(("a.o", b"x"), ("data.tar", PLAIN)), DAMAGED),
    "deb many members": (lambda: ar(("debian-binary", b"2.0\n"), *(("x", b"") for _ in range(60))), "bomb"),
    "deb data is not a tar": (lambda: ar(("debian-binary", b"2.0\n"), ("data.tar.xz", b"no tar at all" * 100)), DAMAGED),
    "deb in a deb": (lambda: ar(("debian-binary", b"2.0\n"), ("data.tar", deb(GOOD))), DAMAGED),
    "zip symbolic link": (lambda: zipped(("p/l.py", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "link"),
    "zip pipe": (lambda: zipped(("p/l.py", b""), mode=stat.S_IFIFO | 0o600), "device"),
    "zip absolute path": (lambda: zipped(GOOD, ("/etc/evil.py", CODE)), "escapes"),
    "zip parent": (lambda: zipped(GOOD, ("p/../../evil.py", CODE)), "escapes"),
    "zip huge member": (lambda: zipped(GOOD, ("p/x.py", b"x = 1\n" * 200_000)), "huge"),
    "zip many members": (lambda: zipped(*((f"p/{i}.py", CODE) for i in range(60))), "bomb"),
    "zip ratio": (lambda: zipped(*((f"p/{i}.py", b"#" * 900_000) for i in range(12))), "bomb"),
    "zip encrypted": (lambda: encrypted(), "unreadable"),
    "zip unknown compression": (lambda: deflated64(), "unreadable"),
    "zip cut": (lambda: zipped(GOOD, ("p/b.py", CODE))[:-60], DAMAGED),
    "zip damaged member": (lambda: bad_checksum(), DAMAGED),
}
NOTHING_BEFORE = {
    "gz damaged",
    "gz no tar",
    "xz wants memory",
    "xz wrong header",
    "bz2 empty stream",
    "zst damaged",
    "no archive",
    "empty file",
    "bz2 cut",
    "zip many members",
    "zip symbolic link",
    "zip pipe",
    "zip encrypted",
    "zip cut",
    "zip damaged member",
    *(name for name in HOSTILE if name.startswith("deb ") and HOSTILE[name][1] == DAMAGED),
    "deb many members",
} - {"deb cut inside data.tar"}
SMALL = Limits(members=50, total=12_000_000, ratio=60, free=4_000_000)


@pytest.mark.parametrize("case", HEADERS)
def test_headers_of_a_tar_are_read_as_by_tarfile(case):
    def read(kind):
        try:
            info = kind.frombuf(HEADERS[case], "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            return type(error), str(error)
        return info.name, info.size, info.type, info.isreg(), info.isdir()

    assert read(archives._Header) == read(tarfile.TarInfo)


def test_usual_headers_of_a_tar_are_read_without_tarfile(tmp_path, monkeypatch):
    entries = ("a/b.py", CODE), ("x" * 90 + "/" + "y" * 90 + ".py", b"z = 1\n")
    (tmp_path / "a.tar").write_bytes(tar(*entries, special("c", tarfile.DIRTYPE), mode="w:", format=tarfile.USTAR_FORMAT))
    monkeypatch.setattr(tarfile, "calc_chksums", None)
    assert list(members(tmp_path / "a.tar", lambda name: True)) == [Member(*entry) for entry in entries]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_and_counted(tmp_path, name):
    make, expected = HOSTILE[name]
    (tmp_path / "a.bin").write_bytes(make())
    items = []
    try:
        items += members(tmp_path / "a.bin", lambda member: member.endswith(".py"), limits=SMALL)
        reasons = Counter(item.reason for item in items if isinstance(item, Skipped))
    except DamagedArchive as error:
        reasons = Counter([DAMAGED])
        assert "a.bin" in str(error) and "\n" not in str(error)
    assert list(reasons.values()) == [1] and set(reasons) <= ({expected} if isinstance(expected, str) else set(expected))
    read = [item for item in items if isinstance(item, Member)]
    assert all(member.data in (CODE, b"") or not member.name.endswith("good.py") for member in read)
    assert not any(".." in member.name or member.name.startswith("/") for member in read)
    if name not in NOTHING_BEFORE:
        assert read  # everything before it is kept
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_members_come_in_order_and_nested_archives_stay_closed(tmp_path, mode):
    entries = [(f"p/{name}", name.encode()) for name in ("z.py", "a.py", "inner.tgz", "m.txt")]
    (tmp_path / "x").write_bytes(tar(*entries, mode=mode))
    assert [m.name for m in members(tmp_path / "x", lambda name: name.endswith(".py"))] == ["p/z.py", "p/a.py"]
    name = {"w": "data.tar", "w:gz": "data.tar.gz", "w:bz2": "data.tar.bz2", "w:xz": "data.tar.xz"}[mode]
    for control in (b"odd", b"even"):
        (tmp_path / "x").write_bytes(deb(*entries, mode=mode, name=name, control=control))
        assert [m.name for m in members(tmp_path / "x", lambda name: name.endswith(".py"))] == ["p/z.py", "p/a.py"]
    assert is_archive("a-1.tar.zst") and is_archive("a_1_all.deb") and is_archive("x.whl") and not is_archive("a.py")


def test_long_and_unicode_names_are_read(tmp_path):
    names = ["p/" + "d" * 90 + "/" + "f" * 120 + ".py", "p/ü.py"]
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        (tmp_path / "x").write_bytes(tar(*((name, CODE) for name in names), format=form))
        assert [m.name for m in members(tmp_path / "x", lambda name: True)] == names


def read(source: Source, cache: Path) -> tuple[list, Counter]:
    """Returns the documents of a source and the reasons of skips. Also pickles the source."""
    source = pickle.loads(pickle.dumps(source))
    assert isinstance(source, Source)
    source.fetch(cache)
    source.fetch(cache)  # fetching twice does no harm
    items = list(source.documents(cache))
    assert items == list(source.documents(cache))
    return [d for d in items if isinstance(d, Document)], Counter(s.reason for s in items if isinstance(s, Skipped))


def test_folders_keep_tests_and_prose(tmp_path):
    for name in ("a.py", "test_a.py", "README.md", "vendor/b.py", "notes.txt", "gpl.py"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_bytes((GPL if name == "gpl.py" else b"") + CODE)
    documents, skipped = read(Folder(str(tmp_path / "own")), tmp_path)
    assert [d.path for d in documents] == ["README.md", "a.py", "gpl.py", "test_a.py"] and skipped == {"vendored": 1}
    assert [d.language for d in documents] == ["", "python", "python", "python"] and documents[0].package == "own"
    with pytest.raises(CodesageError, match="no such file"):
        Folder(str(tmp_path / "gone")).fetch(tmp_path)


def test_standard_library_and_site_packages(tmp_path):
    first = next(d for d in StandardLibrary().documents(tmp_path) if not isinstance(d, Skipped))  # all would take seconds
    assert first.licence == "PSF-2.0" and first.path.startswith("python/")
    for name, licence in (("fine", "MIT"), ("tied", "GPL-3.0-only")):
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1\nLicense-Expression: {licence}\n")
        (info / "RECORD").write_text(f"{name}.py,,\n../../bin/{name}.py,,\n")
        (tmp_path / f"{name}.py").write_bytes(CODE)
    documents, skipped = read(SitePackages(str(tmp_path)), tmp_path)
    assert [(d.path, d.version, d.licence) for d in documents] == [("fine.py", "1", "MIT")] and skipped == {"licence": 1}
    assert len(read(SitePackages(str(tmp_path), any_licence=True), tmp_path)[0]) == 2
    with pytest.raises(CodesageError, match="no installed package"):
        SitePackages(str(tmp_path / "gone")).fetch(tmp_path)


def make_wheel(folder: Path, licence: str) -> None:
    metadata = f"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nLicense: © Ü\n{licence}\n".encode()
    wheel = b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    entries = [("thing/__init__.py", CODE), ("thing/gpl.py", GPL + CODE), ("thing/tests/test_a.py", CODE)]
    info = [("thing-1.0.dist-info/METADATA", metadata), ("thing-1.0.dist-info/WHEEL", wheel)]
    record = "".join(f"{name},,\n" for name, _ in entries + info).encode()
    data = zipped(*entries, *info, ("thing-1.0.dist-info/RECORD", record))
    (folder / "thing-1.0-py3-none-any.whl").write_bytes(data)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A local folder as pip's only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(folder)), ("CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def test_pip_wheel_is_downloaded_and_read(tmp_path, index):
    make_wheel(index, "Classifier: License :: OSI Approved :: MIT License")
    documents, skipped = read(PipPackage("thing", "1.0"), tmp_path)
    assert [d.path for d in documents] == ["thing/__init__.py", "thing/tests/test_a.py"]
    assert skipped == {"copyleft header": 1} and documents[0].licence == "MIT"
    assert len(read(PipPackage("thing", "1.0", any_licence=True), tmp_path)[0]) == 3
    chosen = PipPackage("thing", "1.0", include=("thing/*",), exclude=("thing/tests/",), licence="MIT")
    assert [d.path for d in read(chosen, tmp_path)[0]] == ["thing/__init__.py"]
    assert read(PipPackage("thing", "1.0", licence="Apache-2.0"), tmp_path) == ([], {"licence": 1})
    assert read(PipPackage("thing", "1.0", languages=("go",)), tmp_path)[0] == []


def test_pip_sdist_is_read_and_never_run(tmp_path, index):
    trap = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n".encode()
    project = b'[build-system]\nrequires = ["setuptools"]\nbuild-backend = "trap"\nbackend-path = ["."]\n'
    info = b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nLicense: BSD\n"
    for extra in ([], [("thing-1.0/pyproject.toml", project)]):
        entries = [("setup.py", trap), ("trap.py", trap), ("PKG-INFO", info), ("src/thing.py", CODE)]
        data = tar(*((f"thing-1.0/{name}", content) for name, content in entries), *extra)
        (index / "thing-1.0.tar.gz").write_bytes(data)
        cache = tmp_path / f"cache{len(extra)}"
        documents, _ = read(PipPackage("thing", "1.0", "sdist"), cache)
        assert {"setup.py", "src/thing.py"} <= {d.path for d in documents} and documents[0].licence == "BSD"
        assert not (tmp_path / "ran").exists()
        assert (cache / "pip/thing-1.0.sdist/thing-1.0.tar.gz").read_bytes() == data


def test_npm_package_is_packed_without_scripts(tmp_path):
    (tmp_path / "made/src").mkdir(parents=True)
    scripts = {"prepack": "touch ran", "prepare": "touch ran"}
    package = {"name": "@me/thing", "version": "1.0.0", "license": "(MIT OR GPL-2.0)", "scripts": scripts}
    (tmp_path / "made/package.json").write_text(json.dumps(package))
    (tmp_path / "made/src/a.ts").write_text("export function f(x: number) { return x + 1 }\n")
    source = NpmPackage("@me/thing", "1.0.0", licence="MIT")

    def fill(folder: Path) -> None:  # npm pack on a folder, instead of the registry's name@version
        if shutil.which("npm"):
            options = ["--ignore-scripts", "--pack-destination", str(folder), "--silent"]
            run(["npm", "pack", str(tmp_path / "made"), *options], what="npm", cwd=tmp_path)
        else:
            files = [(f"package/{p.relative_to(tmp_path / 'made')}", p.read_bytes()) for p in tmp_path.rglob("made/**/*.*")]
            (folder / "me-thing-1.0.0.tgz").write_bytes(tar(*files))

    once(source.folder(tmp_path / "cache"), fill, "npm")
    documents, skipped = read(source, tmp_path / "cache")
    assert [(d.path, d.language, d.licence) for d in documents] == [("src/a.ts", "typescript", "MIT OR GPL")]
    assert not skipped and not list(tmp_path.rglob("ran"))
    assert (tmp_path / "cache/npm/@me__thing-1.0.0").is_dir()


COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: thing

Files: *
Copyright: 2020 A
License: Expat

Files: src/tied/* other?.c
Copyright: 2020 B
License: GPL-2+ with OpenSSL exception

Files: src/own.c
License: Homemade
 Permission is hereby granted, free of charge, to any person obtaining a copy
"""


def make_debian(folder: Path) -> None:
    """A source package with two orig tarballs in a flat repository, laid out as by the tools."""
    names = ("src/a.c", "src/tied/b.c", "src/own.c", "other1.c", "debian/x.c")
    files = {
        "thing_1.0.orig.tar.gz": tar(*((f"thing-1.0/{name}", b"int f(void);\n") for name in names), ("thing-1.0/in.tgz", b"x")),
        "thing_1.0.orig-part.tar.xz": tar(("part-1.0/c.c", b"int g(void);\n"), mode="w:xz"),
        "thing_1.0-1.debian.tar.xz": tar(("debian/copyright", COPYRIGHT.encode()), mode="w:xz"),
    }
    sums = "".join(f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n" for name, data in files.items())
    fields = "Format: 3.0 (quilt)\n{}: thing\nBinary: thing\nVersion: 1.0-1\nMaintainer: A <a@example.org>\nArchitecture: any\n"
    description = fields.format("Source") + f"Checksums-Sha256:\n{sums}"
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "thing_1.0-1.dsc").write_text(description)
    sums += f" {hashlib.sha256(description.encode()).hexdigest()} {len(description)} thing_1.0-1.dsc\n"
    (folder / "Sources").write_text(fields.format("Package") + f"Directory: .\nChecksums-Sha256:\n{sums}\n")


INSTALLED_COPYRIGHT = COPYRIGHT.replace("src/own.c", "lib/own.rb").replace(
    "src/tied/* other?.c", "lib/thing/bound.rb other?.rb debian/*"
)


def make_binary(folder: Path) -> bytes:
    """A binary Ruby package in a flat repository."""
    place = "usr/lib/ruby/vendor_ruby"
    names = (
        f"{place}/thing.rb",
        f"{place}/thing/bound.rb",
        f"{place}/other1.rb",
        f"{place}/own.rb",
        f"{place}/vendor/x.rb",
        "usr/share/doc/thing/README.md",
        f"{place}/thing/spec/a_spec.rb",
        "etc/thing.rb",
        "usr/bin/thing",
    )
    files = [("usr/share/doc/thing/copyright", INSTALLED_COPYRIGHT.encode()), *((name, b"def f; end\n") for name in names)]
    data = deb(*files)
    (folder / "thing_1.0-1_all.deb").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    (folder / "Packages").write_text(
        "Package: thing\nVersion: 1.0-1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: a\n"
        f"Filename: ./thing_1.0-1_all.deb\nSize: {len(data)}\nSHA256: {digest}\n\n"
    )
    return data


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A repository of plain files, and an apt configuration with only this repository, as a deb line and as a stanza."""
    if not shutil.which("apt-get"):
        pytest.skip("apt is not installed")
    folder, etc = tmp_path / "mirror", tmp_path / "etc"
    for made in (folder, etc / "sources.list.d", etc / "apt.conf.d", etc / "preferences.d"):
        made.mkdir(parents=True)
    make_debian(folder)
    (etc / "sources.list").write_text(f"# the machine's\ndeb [trusted=yes] file:{folder} ./\n")
    (etc / "apt.conf").write_text(f'Dir::Etc "{etc}";\n')
    monkeypatch.setenv("APT_CONFIG", str(etc / "apt.conf"))
    return folder


def test_debian_source_through_apt(tmp_path, mirror):
    cache = tmp_path / "cache"
    documents, skipped = read(DebianSource("thing", "1.0-1", licence="MIT"), cache)
    assert [(d.path, d.licence) for d in documents] == [("src/a.c", "MIT"), ("src/own.c", "MIT"), ("part/c.c", "MIT")]
    assert skipped == {"licence": 2}
    assert len(read(DebianSource("thing", "1.0-1", any_licence=True), cache)[0]) == 5
    assert read(DebianSource("thing", "1.0-1", licence="Apache-2.0"), cache) == ([], {"licence": 1})
    with pytest.raises(CodesageError, match="Unable to find a source package"):
        DebianSource("thing", "2.0-1").fetch(cache)
    assert not list((cache / "debian").glob(".*tmp*"))
    (cache / "debian/thing-1.0-1/thing_1.0.orig.tar.gz").write_bytes(b"changed")
    with pytest.raises(CodesageError, match=r"does not match its \.dsc"):
        list(DebianSource("thing", "1.0-1").documents(cache))


def test_debian_binary_through_apt(tmp_path, mirror):
    data = make_binary(mirror)
    cache = tmp_path / "cache"
    source = DebianSource("thing", "1.0-1", kind="binary", licence="MIT", languages=("ruby",))
    documents, skipped = read(source, cache)
    assert [(d.path, d.licence) for d in documents] == [
        ("ruby/vendor_ruby/thing.rb", "MIT"),
        ("ruby/vendor_ruby/own.rb", "MIT"),
        ("doc/thing/README.md", "MIT"),
        ("ruby/vendor_ruby/thing/spec/a_spec.rb", "MIT"),
        ("etc/thing.rb", "MIT"),
    ]
    assert skipped == {"licence": 2, "vendored": 1} and documents[0].version == "1.0-1"
    assert (cache / "debian/thing-1.0-1/thing_1.0-1_all.deb").read_bytes() == data
    chosen = DebianSource("thing", "1.0-1", kind="binary", licence="MIT", include=("ruby/*",), exclude=("*spec/",))
    assert [d.path for d in read(chosen, cache)[0]] == ["ruby/vendor_ruby/thing.rb", "ruby/vendor_ruby/own.rb"]
    assert read(DebianSource("thing", "1.0-1", kind="binary", licence="Apache-2.0"), cache) == ([], {"licence": 1})
    assert len(read(DebianSource("thing", "1.0-1", kind="binary", any_licence=True), cache)[0]) == 7
    with pytest.raises(CodesageError, match="1.0-2.*not found"):
        DebianSource("thing", "1.0-2", kind="binary").fetch(cache)
    with pytest.raises(CodesageError, match="Unable to locate package"):
        DebianSource("nothing", "1", kind="binary").fetch(cache)
    with pytest.raises(CodesageError, match=r"holds 0 \.dsc files"):
        list(DebianSource("thing", "1.0-1").documents(cache))
    (mirror / "thing_1.0-1_all.deb").write_bytes(data[:-1] + b"x")
    with pytest.raises(CodesageError) as error:
        DebianSource("thing", "1.0-1", kind="binary").fetch(tmp_path / "other")
    assert "\n" not in str(error.value) and not (tmp_path / "other/debian/thing-1.0-1").exists()


def test_binary_packages_for_one_architecture_are_refused(tmp_path):
    folder = tmp_path / "debian/thing-1.0-1"
    folder.mkdir(parents=True)
    (folder / "thing_1.0-1_amd64.deb").write_bytes(deb(GOOD))
    with pytest.raises(CodesageError, match="for one architecture"):
        list(DebianSource("thing", "1.0-1", kind="binary", licence="MIT").documents(tmp_path))


def test_apt_sources_of_both_forms_become_deb_src():
    one_line = "deb [arch=amd64 signed-by=/k.gpg] http://x/debian stable main # c\n#deb http://o ./\ndeb-src http://y z main\n"
    assert debian.one_line_sources(one_line) == (
        "deb-src [arch=amd64 signed-by=/k.gpg] http://x/debian stable main\ndeb-src http://y z main\n"
    )
    stanzas = "Types: deb\n# note\nURIs: http://x\nSuites: a b\nSigned-By:\n -----BEGIN\n .\n\nEnabled: no\nTypes: deb\nURIs: http://y\n"
    assert debian.stanza_sources(stanzas) == "Types: deb-src\nURIs: http://x\nSuites: a b\nSigned-By:\n -----BEGIN\n .\n"
    assert debian.one_line_sources(one_line, "deb").startswith("deb [arch=amd64")
    assert debian.stanza_sources(stanzas, "deb").startswith("Types: deb\n")


def test_git_commit_is_read_as_committed(tmp_path):
    origin, git = tmp_path / "origin", ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    origin.mkdir()
    hook = tmp_path / "origin/.git/hooks/post-checkout"
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "0"]):
        subprocess.run([*git, *command], cwd=origin, check=True)
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    (origin / "a.py").write_bytes(CODE)
    (origin / "ü b.py").write_bytes(CODE + b"y = '$Format:%H$'\n")
    (origin / "big.py").write_bytes(b"x = 1\n" * 200_000)
    (origin / "l.py").symlink_to("/etc/passwd")
    (origin / ".gitattributes").write_text("*.py filter=trap export-subst\na.py export-ignore\n")
    subprocess.run([*git, "add", "-A"], cwd=origin, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "1"], cwd=origin, check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], cwd=origin, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([*git, "rm", "-q", "a.py"], cwd=origin, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "2"], cwd=origin, check=True)
    for address in (str(origin), origin.as_uri()):
        documents, skipped = read(GitRepository(address, commit), tmp_path / "cache")
        assert [d.path for d in documents] == ["a.py", "ü b.py"] and skipped == {"huge": 1, "link": 1}
        assert "$Format:%H$" in documents[1].text and documents[0].version == commit
        shutil.rmtree(tmp_path / "cache")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(CodesageError, match="not our ref|couldn't find remote ref"):
        GitRepository(str(origin), "0" * 39 + "1").fetch(tmp_path / "cache")
    assert not (tmp_path / "cache/git/x").exists() and not list((tmp_path / "cache/git").glob("*"))
    with pytest.raises(CodesageError, match="not in the cache"):
        list(GitRepository(str(origin), commit).documents(tmp_path / "cache"))
    for url, name in (("ext::sh -c true", commit), ("--upload-pack=x", commit), (str(origin), "main")):
        with pytest.raises(CodesageError):
            GitRepository(url, name).fetch(tmp_path / "cache")
    assert "secret" not in GitRepository("https://me:secret@example.org/x.git", commit).key


def _stack_shard(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "content": CODE.decode(),
            "lang": "Python",
            "max_stars_repo_path": f"{i}.{'py' if i < 3 else 'xyz'}",
            "hexsha": "h",
            "max_stars_repo_name": "me/it",
            "max_stars_repo_licenses": ["GPL-3.0"] if i == 1 else ["MIT", "Apache-2.0"],
        }
        for i in range(4)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")


def test_a_hub_is_streamed_through_its_client(tmp_path, monkeypatch):
    """The datasets library streams a folder in the same way as a hub. Also tests an unreachable hub."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    _stack_shard(tmp_path / "data")
    assert list(stack._hub_rows(str(tmp_path / "data"))) == list(stack.rows(str(tmp_path / "data")))
    code = (
        "import sys; from codesage.corpus.sources import stack; from codesage import CodesageError\n"
        "try: list(stack.rows('somebody/the-stack'))\nexcept CodesageError as error: sys.exit(str(error))"
    )
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=offline, check=False, capture_output=True, text=True)
    assert done.stderr.startswith("somebody/the-stack cannot be read from a hub") and done.stderr.count("\n") == 1


def test_stack_parquet_is_read_batch_by_batch(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    _stack_shard(tmp_path)
    documents, skipped = read(StackParquet(str(tmp_path)), tmp_path)
    assert [(d.path, d.package, d.licence) for d in documents] == [(f"{i}.py", "me/it", "MIT AND Apache-2.0") for i in (0, 2)]
    assert skipped == {"licence": 1}
    for name, whole in (("b", pa.table({"x": [1]})), ("c", None)):
        file = tmp_path / f"{name}.parquet"
        if whole is None:
            file.write_bytes((tmp_path / "a.parquet").read_bytes()[:-40])
        else:
            pq.write_table(whole, file)
        with pytest.raises(CodesageError, match=f"{name}.parquet (has no column of content|is damaged)"):
            StackParquet(str(tmp_path)).fetch(tmp_path)
        file.unlink()
    (tmp_path / "none").mkdir()
    with pytest.raises(CodesageError, match=r"no \.parquet"):
        StackParquet(str(tmp_path / "none")).fetch(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CodesageError, match=r"pip install .codesage\[stack\]"):
        StackParquet("somebody/the-stack").fetch(tmp_path)


@pytest.mark.parametrize(
    ("client", "name", "version"),
    [
        (PipPackage, "--index-url=x", "1"),
        (NpmPackage, "../../etc", "1"),
        (DebianSource, "a b", "1"),
        (PipPackage, "a", "1/../2"),
        (PipPackage, "a", ""),
        (NpmPackage, "@a/b", "^1"),
        (PipPackage, "a;b", "1"),
    ],
)
def test_invalid_names_are_refused(client, name, version):
    with pytest.raises(CodesageError, match="is not a valid (name|version)"):
        client(name, version)


def test_a_failed_download_leaves_nothing(tmp_path, index):
    with pytest.raises(CodesageError, match="No matching distribution") as error:
        PipPackage("thing", "9").fetch(tmp_path)
    assert "\n" not in str(error.value) and list((tmp_path / "pip").iterdir()) == []


def test_an_include_outranks_the_vendored_rule(tmp_path):
    source = NpmPackage("x", "1", licence="MIT", include=("vendor/ours/*",))
    source.folder(tmp_path).mkdir(parents=True)
    names = ("vendor/ours/a.js", "vendor/ours/vendor/b.js", "vendor/theirs/c.js")
    (source.folder(tmp_path) / "x-1.tgz").write_bytes(tar(*((f"package/{n}", b"function f() {}\n") for n in names)))
    documents, skipped = read(source, tmp_path)
    assert [d.path for d in documents] == ["vendor/ours/a.js"] and skipped == {"vendored": 1}


@pytest.mark.parametrize(
    ("stated", "expression", "permissive"),
    [("MIT", "MIT", True), ("(MIT OR GPL-2.0)", "MIT OR GPL", True), ("MIT and LGPL-2.1+", "MIT AND LGPL", False),
     ("Expat", "MIT", True), ("GPL-2 with Classpath exception", "GPL", False), ("MIT/Apache-2.0", "MIT OR Apache-2.0", True),
     ("Apache-2.0 WITH LLVM-exception AND MIT", "Apache-2.0 AND MIT", True), ("Homemade", "Homemade", False), ("", "", False),
     ("BSD-2-clause or Ruby", "BSD-2-Clause OR Ruby", True), ("MPL-2.0", "MPL-2.0", False), ("PHP-3.01", "PHP-3.01", True),
     ("curl", "curl", True), ("PSF-2.0", "PSF-2.0", True), ("BSL-1.0", "BSL-1.0", True), ("blessing", "blessing", True),
     ("EPL-2.0 OR Apache-2.0", "EPL OR Apache-2.0", True), ("CDDL-1.0", "CDDL", False), ("(MIT", "(MIT", False),
     ("(" * 5000 + "MIT", "(" * 5000 + "MIT", False), ("UNLICENSED", "UNLICENSED", False), ("BSL-1.1", "restricted", False),
     ("Unlicense", "Unlicense", True), ("MIT, BSD", "MIT AND BSD", True), ("not GPL", "GPL", False),
     ("MIT OR Apache-2.0, GPL-3.0", "(MIT OR Apache-2.0) AND GPL", False), ("GPL-3.0, MIT/X11", "GPL AND (MIT OR X11)", False),
     ("MIT OR ISC; GPL-3.0", "(MIT OR ISC) AND GPL", False), ("MIT/X11 AND GPL-2.0", "(MIT OR X11) AND GPL", False),
     ("GPL-2+ or Artistic-2.0, and ISC", "(GPL OR Artistic-2.0) AND ISC", True), ("MIT, or GPL-2+", "MIT OR GPL", True),
     ("Not MIT", "Not-MIT", False), ("non-MIT licence", "non-MIT-licence", False), ("(MIT/X11)", "MIT OR X11", True),
     ("not under the MIT license", "not-under-the-MIT-license", False),
     ("Apache-2.0 with Commons Clause", "Apache-2.0 AND restricted", False)],
)  # fmt: skip
def test_licence_expressions(stated, expression, permissive):
    assert licences.expression(stated) == expression
    assert licences.is_permissive(expression) is permissive


@pytest.mark.parametrize(
    ("stated", "expression"),
    [
        (["MIT OR Apache-2.0", "GPL-3.0"], "(MIT OR Apache-2.0) AND GPL"),
        (["GPL-3.0", "MIT OR Apache-2.0"], "GPL AND (MIT OR Apache-2.0)"),
        (["MIT/X11", "GPL-2.0"], "(MIT OR X11) AND GPL"),
        (["MIT", "GPL-2.0 OR ISC"], "MIT AND (GPL OR ISC)"),
        (["MIT OR ISC"], "MIT OR ISC"),
        (["MIT", ""], "MIT"),
        ([], ""),
    ],
)
def test_every_licence_of_a_list_must_hold(stated, expression):
    assert licences.every(stated) == expression
    assert licences.is_permissive(expression) is bool(stated and not {"GPL-3.0", "GPL-2.0"} & set(stated))


def test_licences_of_metadata_and_headers():
    def of(text):
        return licences.of_distribution(message_from_string(text))

    assert of("License-Expression: BSD-3-Clause AND MIT\n") == "BSD-3-Clause AND MIT"
    assert of("Classifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)\n") == "LGPL"
    assert of("License: Redistribution and use in source and binary forms, with\n") == "BSD-2-Clause" and of("") == ""
    assert licences.of_npm({"licenses": [{"type": "MIT"}, {"type": "GPL-2.0"}]}) == "MIT OR GPL"
    assert of("License: MIT\n") == "MIT" and of("License: Not MIT\n") == "not-MIT"
    assert not licences.is_permissive(licences.of_npm({"licenses": ["GPL-3.0, MIT/X11", "GPL-2.0"]}))
    assert licences.of_npm({"license": "SEE LICENSE IN x"}) == "" == licences.of_npm({"license": 3})
    assert licences.agree("BSD", "BSD-3-Clause") and not licences.agree("MIT", "Apache-2.0")
    assert licences.copyleft_header(GPL.decode()) and not licences.copyleft_header("x" * 2_100 + GPL.decode())
    assert not licences.copyleft_header("Either the GNU General Public License or the MIT license.")
    assert licences.read_copyright("This is free text about the GNU General Public License.").main == ""


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [("src/a.py", "x = 1\n", ""), ("tests/a.py", "x = 1\n", "test"), ("pkg/a_test.go", "", "test"),
     ("FooTest.java", "", "test"),
     ("src/latest.py", "", ""), ("contest.go", "", ""), ("testing.py", "", ""), ("spec/a_spec.rb", "", "test"),
     ("lib/vendor/a.js", "", "vendored"), ("a.min.js", "", "minified"), ("x/testdata/a.go", "", "data"),
     ("a.pb.go", "", "generated"), ("a_pb2.py", "", "generated"), ("F.g.cs", "", "generated"),
     ("F.Designer.cs", "", "generated"),
     ("zz_generated.go", "", "generated"), ("y.tab.c", "", "generated"),
     ("a.go", "// Code generated by x. DO NOT EDIT.\n", "generated"),
     ("a.c", "/* A Bison parser, made by GNU Bison */", "generated"), ("a.py", "# prints what was generated\n", ""),
     ("a.py", '"""Names are automatically generated from keys; do not modify them."""\n', ""), ("code_gen.py", "", ""),
     ("src/corpus/a.py", "", ""), ("a.md", '["a", "b"],\n' * 400, ""), ("m.js", "d[0] = s * (m[1] + m[5] * x);\n" * 99, ""),
     ("a.js", "var a=1;function f(){return a}" * 200, "minified"), ("a.c", "0x1f, 0x2e, 0x3d,\n" * 300, "data"),
     ("a.py", GPL.decode(), "copyleft header"), ("tests/a.py", GPL.decode(), "copyleft header"),
     ("app_de.ts", '<?xml version="1.0"?>\n<TS language="de"/>\n', "data"), ("app_de.ts", "<!DOCTYPE TS>\n<TS/>\n", "data"),
     ("a.php", '<?xml version="1.0"?>\n<?php f();\n', ""), ("a.tsx", "<!DOCTYPE html>;\n", ""), ("a.md", "<?xml ?>\n", ""),
     ("a.py", CODE.decode() * 100, ""), ("a.py", "x = [1.5, 2.25]\n" * 400, "data")],
)  # fmt: skip
def test_files_to_leave_out_are_recognised(name, text, reason):
    assert recognise.reason(name, text) == reason
    if reason == "test":
        assert recognise.is_test(name)


PACKAGE = '[[package]]\nclient = "pip"\nname = "a"\nversion = "1"\nlanguages = ["python"]\nlicence = "MIT"\n'


REPOSITORY = f'[[repository]]\nurl = "x"\ncommit = "{"a" * 40}"\n'
LONG = "x" * 5_000


def test_a_recipe_gives_sources(tmp_path):
    more = 'include = ["a/*"]\nexclude = ["a/x/"]\nheld_out = true\nkind = "sdist"\n'
    npm = PACKAGE.replace("pip", "npm").replace("MIT", "(MIT OR GPL-2.0)")
    text = f'description = "d"\nstandard_library = true\n{PACKAGE}{more}{npm}[[folder]]\npath = "own"\n'
    (tmp_path / "r.toml").write_text(text + f'[[repository]]\nurl = "https://example.org/x"\ncommit = "{"a" * 40}"\n')
    library, pip, npm, folder, repository = read_recipe(tmp_path / "r.toml").sources()
    assert library == StandardLibrary() and npm.licence == "MIT OR GPL" and repository.name == "x"
    assert (pip.key, pip.held_out, pip.kind, pip.include, pip.exclude) == ("pip:a==1", True, "sdist", ("a/*",), ("a/x/",))
    assert folder == Folder(str(tmp_path / "own"))
    (tmp_path / "b.toml").write_text(PACKAGE.replace("pip", "debian") + 'kind = "binary"\n')
    assert read_recipe(tmp_path / "b.toml").sources()[0].kind == "binary"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PACKAGE.replace('version = "1"\n', ""), "package a: version is missing"),
        (PACKAGE + 'colour = "red"\n', "unknown key 'colour'"),
        (PACKAGE * 2, "pip:a is listed twice"),
        (PACKAGE + PACKAGE.replace('"1"', '"2"'), "twice"),
        ("x = 1", "unknown key 'x'"),
        (PACKAGE.replace("MIT", "GPL-3.0"), "package a: licence 'GPL-3.0' is not permissive"),
        ("[[package]", "cannot be read"),
        (PACKAGE.replace("MIT", "Mystery"), "not permissive"),
        (PACKAGE.replace('"pip"', '"gem"'), "client 'gem'"),
        ("", "names no source"),
        (PACKAGE.replace('["python"]', '"python"'), "expected a list"),
        (PACKAGE.replace('["python"]', '["cobol"]'), "language 'cobol'"),
        (PACKAGE.replace('"1"', "1"), "version is 1: expected a string"),
        (PACKAGE + "held_out = 1\n", "true or false"),
        (PACKAGE + 'kind = "egg"\n', "kind 'egg'"),
        (PACKAGE + 'kind = "binary"\n', "packages of pip: any, wheel, sdist"),
        (PACKAGE.replace("pip", "npm") + 'kind = "any"\n', "packages of npm: none"),
        ("package = [3]", "expected a table"),
        (PACKAGE.replace('"a"', '"../a"'), "is not a valid name"),
        ('[[repository]]\nurl = "x"\ncommit = "main"\n', "not a full commit hash"),
        ("[[folder]]\n", "path is missing"),
        (f"a = {'[' * 5_000}", "cannot be read as a recipe"),
        ('[[folder]]\npath = "a\\u0000b"\n', "r.toml: folder 1: path is 'a\\x00b': expected 1 to 4096 characters"),
        (f'[[folder]]\npath = "{LONG}"\n', "r.toml: folder 1: path is 'x"),
        (f'[[folder]]\npath = "{LONG[:300]}"\n', "r.toml: folder 1: the path cannot be read (File name too long)"),
        (f'[[repository]]\nurl = "{LONG}"\ncommit = "{"a" * 40}"\n', "r.toml: repository 1: url is 'x"),
        (f'[[repository]]\nurl = "{LONG[:300]}"\ncommit = "{"a" * 40}"\n', "repository 1: the path cannot be read"),
        (f'[[parquet]]\npath = "{LONG[:300]}"\n', "r.toml: parquet 1: the path cannot be read"),
        (f'[[parquet]]\nhub = "{LONG[:300]}"\n', "r.toml: parquet 1: the path cannot be read"),
        ('[[parquet]]\nhub = ""\n', "r.toml: parquet 1: hub is '': expected 1 to 4096 characters"),
        ('[[parquet]]\npath = ""\n', "r.toml: parquet 1: path is '': expected 1 to 4096 characters"),
        ('[[parquet]]\npath = "a"\ncolumns = { path = "" }\n', "columns has 'path'"),
        (PACKAGE + 'include = ["a\\u0000"]\n', "r.toml: package a: include is ['a\\x00']: expected 1 to"),
        (PACKAGE + f"held_out = {[1] * 5_000}\n", "r.toml: package a: held_out is [1, 1, "),
        (PACKAGE + PACKAGE.replace('"a"', '"A"'), "pip:A is listed twice"),
        (PACKAGE.replace('"a"', '"a-b"') + PACKAGE.replace('"a"', '"A_.b"'), "pip:A_.b is listed twice"),
        (PACKAGE + "most = { function = -1 }\n", "r.toml: package a: most has function = -1: expected"),
        (REPOSITORY + "most = { function = -1 }\n", "r.toml: repository x: most has function = -1: expected"),
    ],
)
def test_mistakes_in_a_recipe_are_one_line(tmp_path, text, message):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(CodesageError) as error:
        read_recipe(tmp_path / "r.toml")
    line = str(error.value)
    assert message in line and line.isprintable() and len(line) < 700 and line.count("r.toml") == 1


def test_names_that_only_pip_takes_for_one_are_two_elsewhere(tmp_path):
    npm = PACKAGE.replace("pip", "npm")
    (tmp_path / "r.toml").write_text(npm.replace('"a"', '"a-b"') + npm.replace('"a"', '"a.b"') + PACKAGE)
    assert [source.key for source in read_recipe(tmp_path / "r.toml").sources()] == ["npm:a-b==1", "npm:a.b==1", "pip:a==1"]


def test_the_quick_check_passes_all_generated_and_minified_names():
    generated = """a.pb.go a.pb.cc a_pb2_grpc.pyi a_pb.js a.pb.ts a.g.i.cs x/AssemblyInfo.cs x/zz_generated a_gen.go a.gen.ts
        a.generated.x a-generated.js generated/a x/generated-sources/a lex.yy.h a.tab.c b.yy.h parsetab.py lextab.py
        yacctab.py LexerListener.x ParserBaseVisitor.java bindata.go moc_a.cpp qrc_b.cpp x/ui_a.h"""
    minified = "a.min.js a-min.css x.bundle.js dist/a.umd.js x/dist/b.iife.c dist/z.prod.mjs"
    for reason, names in (("generated", generated), ("minified", minified)):
        assert {name for name in names.split() if recognise.reason(name, "x = 1\n") != reason} == set()
