"""Read archives of software packages member by member, without extracting them.

In: a tar (plain, gz, bz2, xz, zst), a zip (wheels too) or a Debian package (.deb: an ar archive whose data.tar holds the
installed files). Out: the bytes of the wanted members, in the order of the archive, and a Skipped for each refused member:
links, names that lead out of the archive, devices, and bombs (too many members, too many bytes, or a too high compression
ratio). An archive that is cut off, damaged, empty or of another kind raises DamagedArchive, at the latest after its last
member, since every checksum of the format is verified. Archives inside archives are not opened.

Design: tarfile reads from a stream that only moves forward and refuses reads that are larger than the largest allowed
member. So a forged header cannot allocate much memory or make the reader loop. Every decompressed byte is counted.
"""

import bz2
import gzip
import importlib
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from codesage.errors import CodesageError
from codesage.records import sound
from codesage.walk import MAX_BYTES, Skipped

_READ = 4 * MAX_BYTES  # the largest single read: a member, or a header of several blocks
_PIECE = 1 << 16
_AR = b"!<arch>\n"
_HEADS = (b"PK", _AR, b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x5d\0\0", b"\x28\xb5\x2f\xfd")
_BLOCK = 512  # bytes of a header in a tar
_OCTAL = rb"(?:[0-7]{6}[0-7 \0][ \0]|\0{8})"  # a number of 8 bytes in octal digits, as programs write it
_NUMBERS = re.compile(  # of a file or folder, from its mode on: its size, the sum of the header, and its kind
    rb"%(short)b{3}(%(long)b)%(long)b(%(short)b)([05])" % {b"short": _OCTAL, b"long": rb"[0-7]{10}[0-7 \0][ \0]"}
)
_DEVICES = re.compile(_OCTAL + rb"{2}")
_AR_HEADER = re.compile(rb"([!-~ ]{16})[\d ]{24}[0-7 ]{8}(\d{1,10}) *`\n")  # 60 bytes: name, dates and owners, mode, size
_LZMA_MEMORY = 1 << 29  # bytes; the dictionary of `xz -9` takes 65 MB, but a forged header may request 4 GB
_BROKEN = (
    EOFError,
    OSError,
    ValueError,
    LookupError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits above which an archive counts as a bomb. The largest real archives stay below a quarter of each."""

    members: int = 500_000
    total: int = 8_000_000_000  # bytes after decompression
    ratio: int = 200  # bytes after decompression per byte on disk (source code: 3 to 15), checked after `free` bytes
    free: int = 32_000_000
    member: int = MAX_BYTES  # bytes of one member; larger members are skipped


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file of an archive."""

    name: str  # with forward slashes, never absolute, without empty, "." or ".." parts
    data: bytes


class DamagedArchive(CodesageError):
    """The file is not a complete archive. The message names the file and what is wrong with it, but not how to fix it."""


class _Bomb(Exception):
    pass


class _Unreadable(Exception):
    pass


def is_archive(path: Path | str) -> bool:
    """Whether `path` has the name of an archive that `members` can read."""
    return re.search(r"\.(tar(\.(gz|bz2|xz|lzma|zst))?|tgz|tbz2?|txz|zip|whl|deb)$", str(path), re.IGNORECASE) is not None


def members(path: Path, wanted: Callable[[str], bool], *, limits: Limits = Limits()) -> Iterator[Member | Skipped]:
    """The members of the archive at `path` whose name is wanted, and all refused members, whatever their name.

    The reasons are "link", "escapes", "device", "bomb", "huge", "duplicate" and "unreadable". `wanted` is called once for each
    regular file. Raises DamagedArchive, and OSError when the file cannot be opened.
    """
    with open(path, "rb") as file:
        read = _reader_of(path, file)
        seen: set[str] = set()
        try:
            for member in read(file, path.name, wanted, limits):
                if isinstance(member, Member) and member.name in seen:
                    member = Skipped(member.name, "duplicate")
                elif isinstance(member, Member):
                    seen.add(member.name)
                yield member
        except _Bomb:
            yield Skipped(path.name, "bomb")
        except _Unreadable:
            raise DamagedArchive(f"{path} cannot be read (Zstandard needs Python 3.14 or 'pip install zstandard')") from None
        except _BROKEN as error:
            raise DamagedArchive(f"{path} {_fault(file, error)}") from None


def _fault(file: BinaryIO, error: Exception) -> str:
    """Describe what is wrong with an archive."""
    file.seek(0)
    head = file.read(262)
    if not head:
        return "is empty"
    if not head.startswith(_HEADS) and head[257:] != b"ustar":
        return "is not an archive of a supported kind (zip, tar, deb)"
    message = (str(error).splitlines() or [""])[0] or type(error).__name__
    if isinstance(error, EOFError) or message in ("unexpected end of data", "truncated header"):
        return "is cut off"
    return f"is damaged ({message})"


def _reader_of(path: Path, file: BinaryIO) -> Callable[..., Iterator[Member | Skipped]]:
    start = file.read(len(_AR))
    file.seek(0)
    if start[:2] == b"PK" or path.suffix in (".whl", ".zip"):
        return _zip_members
    return _deb_members if start == _AR or path.suffix == ".deb" else _tar_members


def _safe(name: str) -> str:
    """`name` with forward slashes and without "." parts; "" when it leads out of the archive."""
    parts = name.replace("\\", "/").split("/")
    if not name or parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", parts[0]) or "\0" in name:
        return ""
    return "/".join([part for part in parts if part not in ("", ".")])


def _deb_members(file: BinaryIO, label: str, wanted: Callable[[str], bool], limits: Limits) -> Iterator[Member | Skipped]:
    """The members of data.tar. The layout is that of deb(5), version 2: files one after the other, each with a text header.

    Raises EOFError, before it reads any content, when a header is wrong or a size points beyond the end of the file.
    """
    end, names, start, size = file.seek(0, 2), [], 0, 0
    file.seek(0)
    if file.read(len(_AR)) != _AR:
        raise EOFError
    while not names or not names[-1].startswith("data.tar"):
        header = _AR_HEADER.fullmatch(file.read(60))
        start = file.tell()
        if header is None or start + int(header.group(2)) > end:
            raise EOFError
        size = int(header.group(2))
        names.append(header.group(1).decode().rstrip("/ "))
        if names[0] != "debian-binary":
            raise EOFError
        if len(names) > limits.members:
            raise _Bomb
        file.seek(start + size + size % 2)  # the next file begins at an even offset
    yield from _tar_members(_Part(file, start, size), label, wanted, limits)


class _Readable(Protocol):
    """The methods of a file that the decompressors use."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, target: int, /) -> int: ...
    def tell(self) -> int: ...


class _Part:
    """Part of a file as a file object: `size` bytes from `start` on."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size = file, start, size
        file.seek(start)

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, target: int) -> int:
        return self._file.seek(self._start + target) - self._start

    def read(self, size: int = -1) -> bytes:
        rest = max(0, self._size - self.tell())
        return self._file.read(rest if size < 0 else min(size, rest))


class _Header(tarfile.TarInfo):
    """The header of a member. That of a file or folder in the usual form is read sooner than by tarfile, without its owner."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> tarfile.TarInfo:
        """The header in `buf`, a block of a tar. Raises what tarfile raises."""
        numbers = _NUMBERS.match(buf, 100) if len(buf) == _BLOCK else None
        if numbers is None or not _DEVICES.match(buf, 329) or _octal(numbers[2]) != sum(buf) - sum(buf[148:156]) + 8 * ord(" "):
            return super().frombuf(buf, encoding, errors)
        name, prefix = buf[:100].partition(b"\0")[0], buf[345:500].partition(b"\0")[0]
        if numbers[3] == tarfile.DIRTYPE:
            name = name.rstrip(b"/")
        info = cls((prefix + b"/" + name if prefix else name).decode(encoding, errors))
        info.size, info.type = _octal(numbers[1]), numbers[3]
        return info


def _octal(digits: bytes) -> int:
    return int(digits.strip(b" \0") or b"0", 8)


class _Tar(tarfile.TarFile):
    """A tar file of which only the present header is in memory."""

    tarinfo = _Header
    firstmember: tarfile.TarInfo | None
    members: list[tarfile.TarInfo]  # tarfile keeps every header that it has read


def _tar_members(file: _Readable, label: str, wanted: Callable[[str], bool], limits: Limits) -> Iterator[Member | Skipped]:
    stream = _Forward(_decompressed(file), file, limits)
    file_of_tar: Any = stream  # the type demands that it can write
    tar = _Tar(fileobj=file_of_tar, mode="r", errorlevel=2, encoding="utf-8", errors="surrogateescape")
    count, info = 0, tar.firstmember
    tar.firstmember = None  # otherwise the first next() returns it again
    while info is not None:
        count += 1
        if count > limits.members:
            raise _Bomb
        yield from _tar_member(stream, info, wanted, limits)
        tar.members.clear()
        info = tar.next()
    if not stream.last:  # a complete archive ends with a block of zeros
        raise EOFError
    if stream.last.strip(b"\0"):
        raise tarfile.ReadError("a header is damaged")
    while piece := stream.read(_PIECE):  # the checksums of gzip, bzip2 and xz come at the end
        if piece.strip(b"\0"):
            raise tarfile.ReadError("there is more behind its end, perhaps a second archive")


def _tar_member(
    stream: "_Forward", info: tarfile.TarInfo, wanted: Callable[[str], bool], limits: Limits
) -> Iterator[Member | Skipped]:
    shown = sound(info.name)
    name = _safe(shown)
    if info.isdir() and info.name.strip("./") == "":  # "./" is the root itself
        return
    if not name:
        yield Skipped(shown, "escapes")
    elif info.issym() or info.islnk():
        yield Skipped(name, "link")
    elif info.ischr() or info.isblk() or info.isfifo():
        yield Skipped(name, "device")
    elif info.size < 0 or info.size > limits.total:
        raise _Bomb
    elif info.isreg() and wanted(name):
        if info.size > limits.member or info.issparse():
            yield Skipped(name, "huge")
            return
        data = stream.read(info.size)  # the data follows the header
        if len(data) != info.size:
            raise EOFError
        yield Member(name, data)


def _zip_members(file: BinaryIO, label: str, wanted: Callable[[str], bool], limits: Limits) -> Iterator[Member | Skipped]:
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        if len(infos) > limits.members:
            raise _Bomb
        _check_whole(file, archive)
        total, size = 0, file.seek(0, 2)
        for info in infos:
            shown = sound(info.orig_filename)
            name, kind = _safe(shown), stat.S_IFMT(info.external_attr >> 16)
            if not name:
                yield Skipped(shown, "escapes")
            elif stat.S_ISLNK(kind):
                yield Skipped(name, "link")
            elif kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                yield Skipped(name, "device")
            elif info.is_dir():
                continue
            elif not wanted(name):
                with suppress(RuntimeError):  # encrypted, or an unknown compression
                    archive.open(info).close()  # BadZipFile when the directory and the member's header differ in the name
            else:
                member = _zip_member(archive, info, name, limits)
                total += len(member.data) if isinstance(member, Member) else 0
                if total > limits.total or total > max(limits.free, limits.ratio * size):
                    raise _Bomb
                yield member


def _check_whole(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """BadZipFile if a zip has other members than its directory says, or another zip in front of it."""
    infos = archive.infolist()
    if _stated_members(file, len(archive.comment)) not in (None, len(infos)):
        raise zipfile.BadZipFile("the number of members is wrong")
    file.seek(0)
    if file.read(4) == b"PK\3\4" and min([info.header_offset for info in infos], default=1):
        raise zipfile.BadZipFile("another archive is in front of it")


def _stated_members(file: BinaryIO, comment: int) -> int | None:
    """The number of members in the end record of a zip; None when it needs more than 16 bits. zipfile does not check it."""
    file.seek(-22 - comment, 2)
    count = int.from_bytes(file.read(22)[10:12], "little")
    return None if count == 0xFFFF else count


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, limits: Limits) -> Member | Skipped:
    if info.flag_bits & 0x1:  # encrypted
        return Skipped(name, "unreadable")
    if info.file_size > limits.member:
        return Skipped(name, "huge")
    try:
        member = archive.open(info)
    except NotImplementedError:  # an unknown compression
        return Skipped(name, "unreadable")
    with member:
        data = member.read(limits.member + 1)  # the size in the directory may be false
    if len(data) != info.file_size:
        raise zipfile.BadZipFile
    return Member(name, data)


class _Forward:
    """A decompressed stream for tarfile. Reads are limited and counted, and seeks only go forward."""

    def __init__(self, stream: Callable[[int], bytes], raw: _Readable, limits: Limits) -> None:
        self._stream, self._raw, self._limits, self._given = stream, raw, limits, 0
        self._piece, self._at = b"", 0  # decompressed bytes, and how many of them were read
        self.last = b""  # the result of the last read

    def tell(self) -> int:
        return self._given - len(self._piece) + self._at

    def seek(self, target: int) -> int:
        if target < self.tell():
            raise ValueError("an archive is read forward only")
        while target > self.tell() and self.read(min(_PIECE, target - self.tell())):
            pass
        return self.tell()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end. A request larger than any member or header counts as a bomb."""
        if size < 0 or size > _READ:
            raise _Bomb
        if size > len(self._piece) - self._at:
            self._take(size)
        self.last = self._piece[self._at : self._at + size]
        self._at += len(self.last)
        return self.last

    def _take(self, size: int) -> None:
        """Decompress until `size` bytes are available or the stream ends."""
        pieces = [self._piece[self._at :]]
        size -= len(pieces[0])
        while size > 0 and (piece := self._stream(_PIECE)):
            pieces.append(piece)
            size -= len(piece)
            self._given += len(piece)
            allowed = max(self._limits.free, self._limits.ratio * self._raw.tell())
            if self._given > self._limits.total or self._given > allowed:
                raise _Bomb
        self._piece, self._at = b"".join(pieces), 0


def _decompressed(file: _Readable) -> Callable[[int], bytes]:
    """A function that takes a number and returns up to that many of the next bytes, b"" at the end."""
    start = file.read(6)
    file.seek(0)
    if start[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file).read1  # if a file is cut off, `read` would lose the last bytes before the cut
    if start[:3] == b"BZh":
        return _Inflated(file, bz2.BZ2Decompressor).read
    if start == b"\xfd7zXZ\0" or start[:3] == b"\x5d\0\0":
        return _Inflated(file, lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)).read
    if start[:4] == b"\x28\xb5\x2f\xfd":
        return _Zstandard(file).read
    return file.read


class _Inflated:
    """Reads bzip2 and xz like the file classes of their modules, also several streams in a row, with limited memory."""

    def __init__(self, file: _Readable, make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> None:
        self._file, self._make, self._decompressor = file, make, make()

    def read(self, size: int) -> bytes:
        """At most `size` bytes, b"" at the end of the last stream; EOFError when one is cut off."""
        while True:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data.lstrip(b"\0") or self._file.read(_PIECE).lstrip(b"\0")
                if not rest:
                    return b""
                self._decompressor = self._make()
                piece = self._decompressor.decompress(rest, max_length=size)
            else:
                more = self._file.read(_PIECE) if self._decompressor.needs_input else b""
                if self._decompressor.needs_input and not more:
                    raise EOFError
                piece = self._decompressor.decompress(more, max_length=size)
            if piece:
                return piece


class _Zstandard:
    """Reads Zstandard, with the standard library (Python 3.14) or an installed package."""

    def __init__(self, file: _Readable) -> None:
        for module in ("compression.zstd", "backports.zstd", "zstandard"):
            try:
                library = importlib.import_module(module)
            except ImportError:
                continue
            self._reader = library.ZstdFile(file) if hasattr(library, "ZstdFile") else library.open(file, "rb")
            return
        raise _Unreadable

    def read(self, size: int) -> bytes:
        try:
            return self._reader.read(size)
        except EOFError:
            raise
        except Exception as error:  # each library raises its own exceptions
            raise ValueError(error) from None
