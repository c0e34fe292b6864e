"""Groups code of one source that does the same thing in several languages, by the paths of the files.

Repositories with clients, solutions or samples in several languages use parallel paths: `python/two-sum.py` and
`go/two-sum.go`, `sort/heap/java/HeapSort.java` and `sort/heap/c/heap.c`, `send-sms/send-sms.9.x.py` and
`send-sms/send-sms.6.x.cs`. aligned_key() removes the language from a path, and files with equal keys form a group. Short
files give pairs as a whole, long files give their functions with equal names. The text is the words of the path or the title
of the README in the same folder.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from codesage.corpus.pairs.howto import MOST_CHARACTERS, Sample, howto, is_sample, title_of, without_preamble
from codesage.languages import language_named
from codesage.paths import is_test
from codesage.records import Document, Function, Pair
from codesage.syntax import ParseRefused, functions, parse
from codesage.words import split_names

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
_DIMENSIONS = re.compile(r"(?<![A-Za-z\d])(\d)D(?=[A-Z])")  # "1DConvolution" is about "1d", not "d"
_TWINS = {"javascript", "typescript"}  # one is often compiled from the other or has its types added
_MOST_MEMBERS = 27  # three per language; more files share a layout and not a task
_LEAST_FUNCTION_LINES = 3
_SOLUTION = re.compile(r"Solution_?\d*")
_README = re.compile(r"(?:^|/)readme(?:\.\w+)?$", re.IGNORECASE)
_HEADING = re.compile(  # marked, underlined or alone; not the first line of a paragraph
    r"(?:\#{1,3}[ \t]+(\S[^\n]{0,200}?)[ \t#]*|([^\s#][^\n]{0,200}?)[ \t]*(?=\n[ \t]*(?:\n|[=~*-]{3})|\s*\Z))(?:\n|\Z)"
)


@dataclass(frozen=True, slots=True)
class File:
    """A file as alignment sees it: its path, and where its document is stored."""

    path: str
    language: str
    part: int  # number of the row group in the source
    row: int  # number of the row in its row group


def aligned_key(path: str) -> str:
    """`path` without its language; equal for files that correspond to each other, "" if the rest says too little.

    Folders and words that name one of the nine languages are removed, and so are folders such as `src`, versions and
    suffixes. The rest is split into words, so `two-sum`, `TwoSum` and `two_sum` give equal keys.
    """
    *folders, name = path.split("/")
    if "playground" in folders:  # where its author tried something, in each language something else
        return ""
    stem = _VERSION.sub("", name.rpartition(".")[0] or name)
    parts = [_words(folder) for folder in folders] + [_words(stem)]
    kept = ["".join(words) for words in parts if words]
    informative = [word for word in chain.from_iterable(parts) if word not in _COMMON and not word.isdigit()]
    return "/".join(dict.fromkeys(kept)) if len(informative) >= 2 else ""


@lru_cache(maxsize=4096)  # many paths have the same folders
def _words(part: str) -> tuple[str, ...]:
    """The words of one part of a path, without those that name a language; numbers have no leading zeros."""
    if language_named(part) or part.lower() in _PLACES:
        return ()
    part = _DIMENSIONS.sub(r"\1d_", part)
    return tuple([word.lstrip("0") or "0" for word in split_names(part) if not language_named(word)])


def folder_key(path: str) -> str:
    """A key made of the folder above the language's folder (`heap/java/HeapSort.java`: `heap`), or "" if there is none."""
    folders = path.split("/")[:-1]
    for depth in range(len(folders) - 1, 0, -1):
        if language_named(folders[depth]):
            return "folder:" + "/".join(folders[:depth])
    return ""


def groups_of(files: Iterable[File]) -> dict[str, list[File]]:
    """Groups of corresponding files by key, in the order of `files`. Each file is in at most one group.

    A group has one file in each of at least two languages, not counting JavaScript with TypeScript; of several versions, the
    latest is used. If a folder has a subfolder for each language with a single file in it, these files form a group whatever
    their names are.
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
    by_key: dict[str, list[File]] = defaultdict(list)
    for file in files:
        if key := key_of(file.path):
            by_key[key].append(file)
    groups = {}
    for key, members in by_key.items():
        newest = {file.language: file for file in sorted(members, key=lambda file: _natural(file.path))}
        if len(newest) > 1 and not set(newest) <= _TWINS and len(members) <= _MOST_MEMBERS:
            groups[key] = [file for file in members if newest[file.language] is file]
    return groups


def _natural(path: str) -> list:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path)]


def pairs_of_group(key: str, members: Sequence[Document], title: str) -> Iterator[Pair]:
    """Yields the pairs of one group of files: one for each file, or, if a file is too long, pairs of their functions.

    `title` is that of the README in the same folder, or "". Whole files give pairs only if at least two are usable samples.
    """
    samples = [Sample(member.language, without_preamble(member.text), 1) for member in members]
    package = members[0].package
    if all(len(sample.code) <= MOST_CHARACTERS for sample in samples):
        usable = [(member, sample) for member, sample in zip(members, samples, strict=True) if is_sample(sample)]
        text = title or title_of(" ".join(_title_words(usable[0][0].path))) if usable else ""
        if len(usable) > 1:
            for member, sample in usable:
                yield howto(member, text, sample, name=member.path.rpartition("/")[2], group=f"path:{package}:{key}")
        return
    yield from _functions(key, members, package)


def _title_words(path: str) -> list[str]:
    """The words of the last meaningful part of a path. If they only name an action, those of the parts above are added.

    For example, "activities/list/get/example-1" gives "activities list get".
    """
    *folders, name = path.split("/")
    title: list[str] = []
    for part in (_VERSION.sub("", name.rpartition(".")[0] or name), *reversed(folders)):
        words = [word for word in _words(part) if not word.isdigit()]
        if not any(word not in _COMMON for word in words):
            continue
        title = [word for word in words if word not in title] + title
        if any(word not in _COMMON | _ACTIONS for word in title) and not _is_request(title):
            return title
    return []


def _is_request(words: Sequence[str]) -> bool:
    """Whether words begin with a request to an interface and not with its object: "instance get example phone number"."""
    return words[0] in ("instance", "list") and words[1:2] != [] and words[1] in ("get", "post", "put", "delete")


def _functions(key: str, members: Sequence[Document], package: str) -> Iterator[Pair]:
    """Yields the pairs of functions whose name, in words, occurs once in each of at least two members."""
    named: dict[str, list[tuple[Document, Sample]]] = defaultdict(list)
    for member in members:
        for name, samples in _by_name(member).items():
            if len(samples) == 1:
                named[name].append((member, samples[0]))
    for name, versions in named.items():
        languages = {member.language for member, _ in versions}
        if len(languages) > 1 and not languages <= _TWINS:
            text = title_of(name)
            for member, sample in versions:
                yield howto(member, text, sample, name=name, group=f"path:{package}:{key}:{name}")


def _by_name(document: Document) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = defaultdict(list)
    try:
        tree = parse(document.text, document.language, tsx=document.path.endswith(".tsx"))
    except ParseRefused:
        return samples
    for function in functions(tree):
        long = function.end_line - function.start_line >= _LEAST_FUNCTION_LINES
        if function.kind == "function" and function.name != "main" and long:
            sample = Sample(document.language, function.signature + function.body, function.start_line)
            if is_sample(sample):
                samples[" ".join(split_names(function.name))].append(sample)
    return samples


def numbered_solutions(document: Document, definitions: Sequence[Function]) -> Iterator[Pair]:
    """Yields the pairs of classes `Solution`, `Solution2`, ... in one file, which solve the same task in different ways."""
    classes = [item for item in definitions if item.kind == "class" and _SOLUTION.fullmatch(item.name)]
    if len(classes) < 2:
        return
    samples = [Sample(document.language, item.signature + item.body, item.start_line) for item in classes]
    samples = [sample for sample in samples if is_sample(sample)]
    if len(samples) > 1:
        text = title_of(" ".join(_title_words(document.path)))
        for sample in samples:
            yield howto(document, text, sample, name="Solution", group=f"file:{document.package}:{document.path}")


def readme_title(text: str) -> str:
    """The title of a README as the text of a pair, or ""."""
    heading = _HEADING.match(text[:2_000].lstrip())
    return title_of(heading.group(1) or heading.group(2)) if heading else ""


def is_readme(path: str) -> bool:
    """Whether a path is that of a README."""
    return _README.search(path) is not None


def titled(documents: Sequence[Document], title: str) -> Iterator[Pair]:
    """Yields the pair of a README's title and the only file of code in its folder; several files give nothing."""
    if len(documents) != 1 or not title:
        return
    document = documents[0]
    sample = Sample(document.language, without_preamble(document.text), 1)
    if is_sample(sample):
        yield howto(document, title, sample, name=document.path.rpartition("/")[2], group="")
