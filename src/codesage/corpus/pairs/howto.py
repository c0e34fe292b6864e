"""Titles and tags with the code that does what they name: pairs of kind "howto".

They come from two places. First, source files mark samples for the documentation with tags
(`[START storage_upload_file]`), and the tag names the task. Second, articles in Markdown, reStructuredText or AsciiDoc have
headings with blocks of code below them. Blocks in several languages without prose between them are tabs that do the same
thing, so they share a `group`. Samples with the same tag also share a group, across files, languages and repositories.

Everything here takes time linear in the text. MOST_LINES limits the lines of a sample, _MOST_OPEN the tags open at a time.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from codesage.corpus.pairs.declarations import only_declares
from codesage.corpus.pairs.docreader import dedented, indent
from codesage.corpus.pairs.lines import has_lines
from codesage.corpus.pairs.markup import clean
from codesage.corpus.pairs.rules import refusal
from codesage.corpus.pairs.sentences import first_sentence
from codesage.corpus.pairs.snippets import is_foreign, parsed
from codesage.languages import language_named
from codesage.records import Document, Pair
from codesage.syntax import functions
from codesage.words import split_names

LEAST_LINES, MOST_LINES, MOST_CHARACTERS = 2, 120, 8_000  # of a sample's code
ARTICLES = (".md", ".markdown", ".mdx", ".rst", ".adoc", ".asciidoc")
DROPS = (OPEN, VAGUE, EMPTY, UNNAMED, OTHER, AGAIN, NO_SAMPLE, FOREIGN, UNTITLED) = (
    "tag without its other end",
    "tag that says nothing",
    "tag around no sample",
    "block that names no language",
    "block in another language",
    "second block in its language",
    "block that is no sample",
    "block that is not in its language",
    "block without a title",
)
_LEAST_WORDS, _MOST_WORDS = 2, 24  # of a title
_GROUP_WORDS = 3  # tags of fewer words ("quickstart") may name different tasks
_MOST_OPEN = 50

_TAG = re.compile(
    r"^[ \t]*(?://+|\#+|/\*+|<!--)[ \t]*(?:"
    r"\[(?P<opened>START|END)[ \t]+(?P<google>[\w.-]{1,120})\]"
    r"|snippet-(?P<snippet>start|end):[ \t]?\[(?P<aws>[\w. -]{1,120})\]"
    r"|(?P<doctor>tag|end)::(?P<ascii>[\w.-]{1,120})\[\]"
    r"|<(?P<slash>/?)snippet_?(?P<azure>[\w-]{1,120})>)",
    re.MULTILINE,
)
_TAG_PARTS = ("[START", "[END", "snippet", "tag::", "end::")  # a text with a tag contains one of them
_NO_TITLE = frozenset({
    "a", "about", "added", "advanced", "algorithm", "an", "and", "api", "app", "application", "basic", "basics", "bonus",
    "breaking", "bug", "bugfixes", "changed", "changelog", "changes", "class", "deprecated", "features", "fixed", "fixes",
    "client", "code", "complete", "complexity", "conclusion", "constraints", "curl", "demo", "description", "details", "e.g",
    "example", "examples", "explanation", "faq", "following", "for", "full", "function", "functions", "getting", "here",
    "how", "idea", "implementation", "import", "imports", "in", "initialize", "install", "installation", "instructions",
    "into", "intro", "introduction", "intuition", "main", "method", "methods", "more", "motivation", "next", "note",
    "notes", "of", "optional", "options", "or", "output", "overview", "parameters", "part", "preliminaries",
    "prerequisites", "problem", "program", "quick", "quickstart", "readme", "reference", "references", "requirements",
    "response",
    "result", "results", "return", "run", "running", "sample", "samples", "script", "see", "set", "setup", "snippet",
    "solution", "solutions", "start", "started", "step", "steps", "summary", "synopsis", "syntax", "test", "tests",
    "the", "this",
    "title", "to", "tutorial", "types", "up", "usage", "use", "using", "variables", "version", "with", "your",
})  # fmt: skip
_NUMBER = re.compile(
    r"^(?!\d-(?:way|bit|step|phase|level|ary|sided|fold|tier|color|dimensional|d|sum|by|to)\b)(?:(?:step|part|chapter|approach|method|solution|example)\s+)?\(?\d{1,5}(?:\.\d{1,3})*\\?[.):\s-]+\s*",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(  # comments, imports and headers before the first statement
    r"(?:[ \t]*(?:"
    r"(?:import|from[ \t]+\S+[ \t]+import)[ \t]*\([^()]{0,4000}\)[^\n]*"
    r"|(?:import|const|var|let)[ \t]*\{[^{}]{0,4000}\}[ \t]*(?:from|=[ \t]*require)[^\n]*"
    r"|(?://|\#(?!(?:define|undef|if|ifdef|ifndef|pragma)\b)|--|"
    r"<\?php|declare[ \t]*\(strict|package\b|import\b|from[ \t]+\S+[ \t]+import\b|using[ \t]+[\w.= \t]+;"
    r"|use[ \t]+[\w\\{}, \t]+;"
    r"|require\b|require_once\b|require_relative\b|include\b|namespace[ \t]+[\w\\.]+;|['\"]use strict['\"]"
    r"|(?:const|var|let)\b[^\n=]{1,200}=[ \t]*require\()[^\n]*"
    r"|/\*(?s:.*?)\*/[ \t]*|[rRuU]?\"{3}(?s:.*?)\"{3}[ \t]*)?\n)+"
)
_POINTS = re.compile(  # beginnings of sentences that need the sentence before them or the code
    r"(?:for (?:example|instance)|e\.g|then|the (?:same|following|above|below|next)|here|this|these|that|those|as|now|next"
    r"|finally|also|you can also|note|in (?:this|the following)|below|above|it|its|they|otherwise|however|so|but|and|or|see"
    r"|let's|first|second|similarly|alternatively|instead|if (?:you|this|the above))\b",
    re.IGNORECASE,
)
_DOCTEST = re.compile(r"^[ \t]*>>> ", re.MULTILINE)
_ANCHOR = re.compile(
    r"\s*\{#[\w-]+\}|^(?:async )?(?:method|event|property|option|param|class): |\[(?:method|event|property): [^\]]*\]|`"
)
_CHANGES = re.compile(
    r"(?:change-?_?log|release-?_?notes)\b|(?:changes|history|releases|news)$|"
    r"upgrad(?:e|ing)(?:$|[-_ ]?(?:from|to|v?\d|guide|notes))",
    re.IGNORECASE,
)
_TAG_ENDS = frozenset(
    {
        "main",
        "complete",
        "full",
        "decl",
        "snippet",
        "example",
        "code",
        "sample",
        "body",
    }
)
_WORD = re.compile(r"[\w$]+")
_KEPT_NAMES = frozenset(
    {
        "main",
        "constructor",
        "initialize",
        "setUp",
        "tearDown",
        "new",
        "toString",
    }
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Code in one language, with the line of the document where it begins (from 1)."""

    language: str
    code: str
    line: int


def tagged_of(document: Document, drops: Counter | None = None) -> Iterator[Pair]:
    """Yields a pair for each tagged region of a source file: the words of the tag and its code.

    A tag gives no pair if it has no other end, if its code is too short or too long, or if its words say too little. Such tags
    are counted in `drops` under one of DROPS. Of more than 50 open tags, the newest stay.
    """
    if not any(part in document.text for part in _TAG_PARTS):
        return
    drops = Counter() if drops is None else drops
    open_tags: dict[str, int] = {}  # tag -> start of the next line, in characters
    breaks: list[int] = []
    for match in _TAG.finditer(document.text):
        tag = match["google"] or match["aws"] or match["ascii"] or match["azure"]
        opens = (match["opened"] or match["snippet"] or match["doctor"] or "").lower() in ("start", "tag")
        if match["azure"]:
            opens = not match["slash"]
        if opens:
            drops[OPEN] += open_tags.pop(tag, 0) > 0
            if len(open_tags) == _MOST_OPEN:
                del open_tags[next(iter(open_tags))]
                drops[OPEN] += 1
            open_tags[tag] = document.text.find("\n", match.end()) + 1
            continue
        start = open_tags.pop(tag, 0)
        if not start:
            drops[OPEN] += 1
        elif match.start() - start > 2 * MOST_CHARACTERS:
            drops[EMPTY] += 1
        else:
            breaks = breaks or [place.start() for place in re.finditer("\n", document.text)]
            outcome = _tagged(document, tag, document.text[start : match.start()], bisect_left(breaks, start) + 1)
            if isinstance(outcome, Pair):
                yield outcome
            else:
                drops[outcome] += 1
    drops[OPEN] += len(open_tags)


def _tagged(document: Document, tag: str, region: str, line: int) -> Pair | str:
    """The pair of a tag, or the reason why there is none (one of DROPS)."""
    named = [part for part in re.split(r"[\s._-]+", tag) if not language_named(part.rstrip("0123456789").removesuffix("v"))]
    words = [word for part in named for word in split_names(part) if not word.isdigit()]
    words = words[2:] if words[:2] == ["example", "code"] else words
    while words and words[-1] in _TAG_ENDS:
        words.pop()
    text = title_of(" ".join(words))
    if not text:
        return VAGUE
    code = without_preamble("\n".join([row for row in region.split("\n") if not _TAG.match(row)]))
    sample = Sample(document.language, code, line)
    if not is_sample(sample):
        return EMPTY
    group = f"tag:{' '.join(words)}" if len(words) >= _GROUP_WORDS else ""
    return howto(document, text, sample, name=tag, group=group)


def articles_of(document: Document, drops: Counter | None = None) -> Iterator[Pair]:
    """Yields a pair for each heading of an article with the code below it; tabs in several languages share a group.

    Each block of code without a pair is counted in `drops` under one of DROPS.
    """
    path = PurePosixPath(document.path)
    if path.suffix.lower() not in ARTICLES or _CHANGES.match(path.stem):
        return
    drops = Counter() if drops is None else drops
    for number, run in enumerate(_Reader(document, drops).read()):
        samples = []
        for sample in run.samples:
            if why := _unsuitable(sample, run):
                drops[why] += 1
            else:
                samples.append(sample)
        title, lead = run.title, run.lead
        several = len({sample.language for sample in samples}) > 1
        group = f"article:{document.package}:{document.path}#{number}" if several else ""
        for index, sample in enumerate(samples):
            text = lead if lead and (not title or (several and index % 2)) else title  # tabs take turns with the two texts
            yield howto(document, text, sample, name=PurePosixPath(document.path).stem, group=group)


def _unsuitable(sample: Sample, run: "_Run") -> str:
    """Why a block of an article gives no pair (one of DROPS), or ""."""
    if not is_sample(sample):
        return NO_SAMPLE
    if is_foreign(sample.code, sample.language):
        return FOREIGN
    return "" if run.title or run.lead else UNTITLED


def howto(document: Document, text: str, sample: Sample, *, name: str, group: str) -> Pair:
    """The pair of a title and a sample. Its `bare_body` is the code with the names that it defines hidden."""
    return Pair(
        text=text,
        code=sample.code,
        bare_body=without_names(sample.code, sample.language),
        description="",
        language=sample.language,
        name=name,
        kind="howto" if text else "parallel",
        path=document.path,
        start_line=sample.line,
        package=document.package,
        version=document.version,
        licence=document.licence,
        group=group,
    )


def title_of(stated: str) -> str:
    """A heading or tag as the text of a pair, or "" if it says too little without leading numbers, marks and languages."""
    text = clean(_NUMBER.sub("", _ANCHOR.sub("", stated.strip()[:300]))).strip(" .:#*_-–")
    words = split_names(text)
    text = text if " " in text else " ".join(words)
    telling = [word for word in words if word not in _NO_TITLE and not language_named(word) and not word.isdigit()]
    if not telling or not _LEAST_WORDS <= len(words) <= _MOST_WORDS or not text.isascii():
        return ""
    return "" if refusal(text) in ("says nothing", "code", "no sentence", "too long") else text


def is_sample(sample: Sample) -> bool:
    """Whether code is long enough to show something, short enough to do one thing, and neither output nor a declaration."""
    code = sample.code
    if not has_lines(code, LEAST_LINES, sample.language) or len(code) > MOST_CHARACTERS or code.count("\n") >= MOST_LINES:
        return False
    if only_declares(code, sample.language):
        return False
    return any(mark in code for mark in "(=;{[") and not code.lstrip().startswith(("$ ", "% ", "HTTP/", "|", "+--"))


def without_preamble(code: str) -> str:
    """`code` without the comments, imports and headers before its first statement, dedented."""
    if _DOCTEST.search(code):
        code = "\n".join([line.strip()[4:] for line in code.split("\n") if line.strip().startswith((">>> ", "... "))])
    match = _PREAMBLE.match(code + "\n")
    lines = (code[match.end() :] if match else code).expandtabs(4).split("\n")
    return dedented(lines)


def without_names(code: str, language: str) -> str:
    """`code` with the names of the functions and classes that it defines replaced by f1, f2, ...

    The names often repeat the title. Returns `code` unchanged if it cannot be parsed.
    """
    tree = parsed(code, language)
    if tree is None:
        return code
    names = [function.name for function in functions(tree) if function.name.isidentifier()]
    names = [name for name in dict.fromkeys(names) if name not in _KEPT_NAMES and not name.startswith("__")]
    if not names:
        return code
    number = {name: f"f{index}" for index, name in enumerate(names, start=1)}
    pattern = _WORD  # it takes much longer to compile a pattern than to use it
    if not code.isascii():  # a name may contain other characters than \w
        pattern = re.compile(rf"(?<![\w$])(?:{'|'.join(sorted(map(re.escape, names), key=len, reverse=True))})(?![\w$])")
    return pattern.sub(lambda match: number.get(match.group(), match.group()), code)


@dataclass(slots=True)
class _Run:
    """Blocks of code without prose between them, and the texts above them."""

    title: str
    lead: str
    samples: list[Sample] = field(default_factory=list)


_HEADING = re.compile(r"^(#{1,6}|={1,6})[ \t]+(\S.{0,300}?)[ \t#=]*$")
_UNDERLINE = re.compile(r"^([=\-~^\"'+*])\1{2,}$")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,}|-{4,}$)[ \t]*\{?[ \t]*(?:\.|code-block\}[ \t]*)?([\w#+]*)")
_RULE = re.compile(r"^[ \t]{0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")  # between parts of a page; in AsciiDoc, a fence
_ITEM = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]")
_STEP = re.compile(r"\d{1,3}[.)][ \t]")
_SOURCE = re.compile(
    r"^[ \t]*(?:\[source,[ \t]*([\w#+]+)[^\]]*\]|\.\. (?:code-block|code|sourcecode|tab)::[ \t]*([\w#+]*))[ \t]*$"
)
_FRONT = re.compile(r"\A---\n(.{0,4000}?)\n---\n", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)
_TAB = re.compile(  # markup around tabs, and labels that name a language
    r"^[ \t]*(?:</?[A-Za-z][^>]*>|<!--.*-->|:{2,}.*|={3}[ \t].*|\{[%{].*[%}]\}|\{\{<.*>\}\}|\.\. tabs?(?:-set)?::.*"
    r"|\[[\w, \"=.-]*\]|\+{4,}|import .*)?[ \t]*$"
)


class _Reader:
    """Reads an article in one pass over its lines: headings, paragraphs, and runs of code blocks."""

    def __init__(self, document: Document, drops: Counter) -> None:
        text, self._drops = document.text, drops
        front = _FRONT.match(text)
        self._lines = text.split("\n")
        self._titles = {0: ""}
        self._at = 0
        if front:
            title = _FRONT_TITLE.search(front.group(1))
            self._titles[0] = title.group(1) if title else ""
            self._at = front.group().count("\n")
        self._readme = PurePosixPath(document.path).stem.lower() == "readme"
        self._ruled = PurePosixPath(document.path).suffix.lower() not in (".adoc", ".asciidoc")
        if not self._titles[0] and not self._readme and PurePosixPath(document.path).stem.lower() != "index":
            self._titles[0] = " ".join(split_names(PurePosixPath(document.path).stem))
        self._paragraph: list[str] = []
        self._first = self._last = ""  # the first paragraph below the heading, and the latest one
        self._samples: list[Sample] = []

    def read(self) -> Iterator[_Run]:
        """Yields the runs of the article in order."""
        while self._at < len(self._lines):
            run = self._step()
            if run:
                yield run
        if self._samples:
            yield self._close()

    def _step(self) -> _Run | None:
        line = self._lines[self._at]
        below = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else ""
        first = line.lstrip()[:1]
        marked = not first.isalnum()  # most lines are prose, which no pattern for a mark needs to read
        if marked and self._ruled and _RULE.match(line):
            self._end_paragraph()
            self._at += 1
            return self._close() if self._samples else None
        if marked and (fence := _FENCE.match(line)):
            self._end_paragraph()
            self._fenced(fence.group(1), fence.group(2))
        elif marked and (source := _SOURCE.match(line)):
            self._end_paragraph()
            self._sourced(source.group(1) or source.group(2) or "", directive=not source.group(1))
        elif marked and (heading := _HEADING.match(line)):
            return self._headed(len(heading.group(1)), heading.group(2), lines=1)
        elif line[:1].strip() and _UNDERLINE.match(below) and len(below) >= len(line.strip()) - 2:
            return self._headed("=-~^\"'+*".index(below[0]) + 1, line.strip(), lines=2)
        elif ((marked or first == "i") and _TAB.match(line)) or language_named(line.strip(" *:#")):
            self._end_paragraph()
            self._at += 1
        else:
            run = self._close() if self._samples else None
            if _ITEM.match(line):
                self._end_paragraph()
            self._paragraph.append(line.strip())
            self._at += 1
            return run
        return None

    def _headed(self, level: int, title: str, *, lines: int) -> _Run | None:
        self._end_paragraph()
        self._at += lines
        if language_named(title.strip(" *:`")):  # a tab
            return None
        run = self._close() if self._samples else None
        self._titles = {above: known for above, known in self._titles.items() if above < level} | {level: title}
        self._last = ""
        if level <= 2 or not self._first:
            self._first = ""
        return run

    def _end_paragraph(self) -> None:
        if self._paragraph:
            self._last = " ".join(self._paragraph)
            self._first = self._first or self._last
            self._paragraph = []

    def _fenced(self, fence: str, stated: str) -> None:
        start, at = self._at + 1, self._at + 1
        while at < len(self._lines) and not self._lines[at].strip().startswith(fence):
            at += 1
        self._add(stated, self._lines[start:at], start + 1)
        self._at = at + 1

    def _sourced(self, stated: str, *, directive: bool) -> None:
        """Read a block of AsciiDoc between rulers, or a directive of reST with the indented lines below it."""
        at = self._at + 1
        if not directive:
            fence = self._lines[at].strip() if at < len(self._lines) else ""
            if not re.fullmatch(r"-{4,}|`{3,}", fence):
                self._at = at
                return
            self._at = at
            self._fenced(fence, stated)
            return
        while at < len(self._lines) and (not self._lines[at].strip() or self._lines[at].lstrip().startswith(":")):
            at += 1
        start = at
        margin = indent(self._lines[self._at].expandtabs())  # inside another directive, what is below the block is indented too
        while at < len(self._lines) and (not self._lines[at].strip() or indent(self._lines[at].expandtabs()) > margin):
            at += 1
        self._add(stated, self._lines[start:at], start + 1)
        self._at = max(at, self._at + 1)

    def _add(self, stated: str, lines: Sequence[str], line: int) -> None:
        language = language_named(stated)
        known = {sample.language for sample in self._samples}
        if language and language not in known:
            self._samples.append(Sample(language, without_preamble("\n".join(lines)), line))
        else:
            self._drops[AGAIN if language else OTHER if stated else UNNAMED] += 1

    def _close(self) -> _Run:
        run = _Run(self._title(), _lead(self._last or self._first), self._samples)
        self._samples = []
        return run

    def _title(self) -> str:
        """The nearest heading that says something; a short heading is joined with the one above it.

        The first heading of a README names a whole project, so alone it is no title.
        """
        stated = [self._titles[level] for level in sorted(self._titles) if self._titles[level]]
        chosen: list[str] = []
        for heading in reversed(stated):
            words = [word for word in split_names(_NUMBER.sub("", heading)) if not (word in _NO_TITLE or language_named(word))]
            if words and (not chosen or " ".join(split_names(chosen[0])) not in " ".join(split_names(heading))):
                if self._readme and heading is stated[0] and not chosen:
                    return ""
                chosen.insert(0, _NUMBER.sub("", heading).strip(" :#"))
            if sum(len(split_names(part)) for part in chosen) > 5:
                break
        return title_of(": ".join(chosen[:2]) if len(chosen) > 1 else "".join(chosen))


def _lead(paragraph: str) -> str:
    """The first sentence of a paragraph, or "" if it says nothing or is a step of a numbered list."""
    if _STEP.match(paragraph):
        return ""
    text = clean(first_sentence(paragraph[:2_000])).rstrip(": ")
    return "" if refusal(text) or _POINTS.match(text) or not title_of(text) else text
