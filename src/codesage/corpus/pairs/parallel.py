"""Code that does the same thing, found by where it lies: groups of parallel code within one source.

Repositories with clients, solutions or samples in several languages lay them out alike: `python/two-sum.py` beside
`go/two-sum.go`, `sort/heap/java/HeapSort.java` beside `sort/heap/c/heap.c`, `send-sms/send-sms.9.x.py` beside
`send-sms/send-sms.6.x.cs`. aligned_key() takes the language out of a path, and files with equal keys form a group: whole
files where they are short, functions of equal names where they are long. The words of the path, or the title of the
README beside the file, are the text.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from codesage.corpus.pairs.howto import MOST_CHARACTERS, Sample, howto, is_sample, title_of, without_preamble
from codesage.corpus.sources.recognise import is_test
from codesage.languages import language_named
from codesage.records import Document, Function, Pair
from codesage.syntax import ParseRefused, functions, parse
from codesage.words import split_words

_PLACES = frozenset({
    "src", "lib", "main", "test", "tests", "code", "source", "sources", "app", "apps", "pkg", "internal", "cmd",
    "example", "examples", "sample", "samples",
})  # fmt: skip
_COMMON = frozenset({
    "index", "main", "init", "utils", "util", "test", "tests", "example", "examples", "setup", "app", "server", "client",
    "types", "config", "model", "models", "program", "solution", "solutions", "helper", "helpers", "common", "constants",
    "errors", "readme", "version", "doc", "docs", "run", "core", "base", "api",
})  # fmt: skip
_ACTIONS = frozenset({"create", "delete", "get", "instance", "list", "patch", "post", "put", "read", "update"})
_VERSION = re.compile(r"(?:[.-]v?\d+(?:\.[\dx]+)*)+$")
_TWINS = {"javascript", "typescript"}  # often one file compiled, or the other with types
_MOST_MEMBERS = 27  # three a language: more files than that share a layout, not a task
_LEAST_FUNCTION_LINES = 3
_README = re.compile(r"(?:^|/)readme(?:\.\w+)?$", re.IGNORECASE)
_HEADING = re.compile(r"^(?:\#{1,3}[ \t]+)?(\S.{0,200}?)[ \t#]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class File:
    """What alignment looks at: a path, and where the document is."""

    path: str
    language: str
    part: int  # row group of the source
    row: int  # in its row group


def aligned_key(path: str) -> str:
    """`path` without what names its language: equal for files that stand for each other, "" when it says too little.

    Folders and words that name one of the nine languages go, so do places such as `src`, versions and suffixes; the
    rest is compared as words, so `two-sum`, `TwoSum` and `two_sum` are equal.
    """
    *folders, name = path.split("/")
    stem = _VERSION.sub("", name.rpartition(".")[0] or name)
    parts = [_words(folder) for folder in folders] + [_words(stem)]
    kept = ["".join(words) for words in parts if words]
    informative = [word for word in chain.from_iterable(parts) if word not in _COMMON and not word.isdigit()]
    return "/".join(dict.fromkeys(kept)) if len(informative) >= 2 else ""


def _words(part: str) -> list[str]:
    """The words of one part of a path that do not name a language; numbers without leading zeros."""
    if language_named(part) or part.lower() in _PLACES:
        return []
    return [word.lstrip("0") or "0" for word in split_words(part) if not language_named(word)]


def folder_key(path: str) -> str:
    """The folder above a folder that names the language (`heap/java/HeapSort.java`: `heap`), or "" when there is none."""
    folders = path.split("/")[:-1]
    for depth in range(len(folders) - 1, 0, -1):
        if language_named(folders[depth]):
            return "folder:" + "/".join(folders[:depth])
    return ""


def groups_of(files: Iterable[File]) -> dict[str, list[File]]:
    """Groups of files that stand for each other, by key; each file is in one group at most, in the order of `files`.

    A group has two languages or more, which are not JavaScript and TypeScript alone, and one file of each: of several
    versions the last one. Where a folder has a subfolder for each language with a single file in it, these files form a
    group whatever their names.
    """
    files = [file for file in files if file.language and not is_test(file.path)]
    groups = _grouped(files, aligned_key)
    taken = {file.path for members in groups.values() for file in members}
    alone: dict[tuple[str, str], int] = defaultdict(int)
    for file in files:
        alone[folder_key(file.path), file.language] += 1
    single = [file for file in files if file.path not in taken and alone[folder_key(file.path), file.language] == 1]
    return groups | _grouped(single, folder_key)


def _grouped(files: Sequence[File], key_of: Callable[[str], str]) -> dict[str, list[File]]:
    found: dict[str, list[File]] = defaultdict(list)
    for file in files:
        if key := key_of(file.path):
            found[key].append(file)
    groups = {}
    for key, members in found.items():
        newest = {file.language: file for file in sorted(members, key=lambda file: _natural(file.path))}
        if len(newest) > 1 and not set(newest) <= _TWINS and len(members) <= _MOST_MEMBERS:
            groups[key] = [file for file in members if newest[file.language] is file]
    return groups


def _natural(path: str) -> list:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path)]


def pairs_of_group(key: str, members: Sequence[Document], title: str) -> Iterator[Pair]:
    """The pairs of one group of files: of the files themselves, or of their functions where a file is too long.

    `title`: of the README beside them, or "". Fewer than two members that hold code give nothing.
    """
    samples = [Sample(member.language, without_preamble(member.text), 1) for member in members]
    package = members[0].package
    if all(len(sample.code) <= MOST_CHARACTERS for sample in samples):
        found = [(member, sample) for member, sample in zip(members, samples, strict=True) if is_sample(sample)]
        text = title or title_of(" ".join(_title_words(found[0][0].path))) if found else ""
        if len(found) > 1:
            for member, sample in found:
                yield howto(member, text, sample, name=member.path.rpartition("/")[2], group=f"path:{package}:{key}")
        return
    yield from _functions(key, members, package)


def _title_words(path: str) -> list[str]:
    """The words of the last part of a path that says something; where it only says what is done, of the parts above too.

    So "activities/list/get/example-1" gives "activities list get".
    """
    *folders, name = path.split("/")
    found: list[str] = []
    for part in (_VERSION.sub("", name.rpartition(".")[0] or name), *reversed(folders)):
        words = [word for word in _words(part) if not word.isdigit()]
        if not any(word not in _COMMON for word in words):
            continue
        found = [word for word in words if word not in found] + found
        if any(word not in _COMMON | _ACTIONS for word in found):
            return found
    return []


def _functions(key: str, members: Sequence[Document], package: str) -> Iterator[Pair]:
    """Functions that have the same name, in words, once in each of at least two members."""
    named: dict[str, list[tuple[Document, Sample]]] = defaultdict(list)
    for member in members:
        for name, samples in _by_name(member).items():
            if len(samples) == 1:
                named[name].append((member, samples[0]))
    for name, found in named.items():
        if len({member.language for member, _ in found}) > 1 and not {member.language for member, _ in found} <= _TWINS:
            text = title_of(name)
            for member, sample in found:
                yield howto(member, text, sample, name=name, group=f"path:{package}:{key}:{name}")


def _by_name(document: Document) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    try:
        tree = parse(document.text, document.language, tsx=document.path.endswith(".tsx"))
    except ParseRefused:
        return found
    for function in functions(tree):
        long = function.end_line - function.start_line >= _LEAST_FUNCTION_LINES
        if function.kind == "function" and function.name != "main" and long:
            sample = Sample(document.language, function.signature + function.body, function.start_line)
            if is_sample(sample):
                found[" ".join(split_words(function.name))].append(sample)
    return found


def numbered_solutions(document: Document, found: Sequence[Function]) -> Iterator[Pair]:
    """Classes `Solution`, `Solution2`, ... among the definitions of one file: other ways to do the same."""
    classes = [function for function in found if function.kind == "class" and re.fullmatch(r"Solution_?\d*", function.name)]
    samples = [Sample(document.language, item.signature + item.body, item.start_line) for item in classes]
    samples = [sample for sample in samples if is_sample(sample)]
    if len(samples) > 1:
        text = title_of(" ".join(_title_words(document.path)))
        for sample in samples:
            yield howto(document, text, sample, name="Solution", group=f"file:{document.package}:{document.path}")


def readme_title(text: str) -> str:
    """The title of a README as a text, or ""."""
    heading = _HEADING.search(text[:2_000].lstrip())
    return title_of(heading.group(1)) if heading else ""


def is_readme(path: str) -> bool:
    """Whether a path is that of a folder's README."""
    return _README.search(path) is not None


def titled(documents: Sequence[Document], title: str) -> Iterator[Pair]:
    """The pair of a folder's README title and its only file of code; more files than one give nothing."""
    if len(documents) != 1 or not title:
        return
    document = documents[0]
    sample = Sample(document.language, without_preamble(document.text), 1)
    if is_sample(sample):
        yield howto(document, title, sample, name=document.path.rpartition("/")[2], group="")
