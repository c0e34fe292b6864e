"""Tokenised, memory-mapped corpora: what training reads, so that it never parses and never tokenises.

In: a corpus and a tokenizer. Out: an artifact of kind "tokens", raw little-endian files and nothing else:

    documents.plain.ids     ids of all documents, end to end; uint16, or uint32 for vocabularies over 65,536
    documents.plain.borders int64 (N+1,): document i is ids[borders[i]:borders[i+1]]
    documents.named.*       the same, tokenised piece by piece for deobfuscation; empty where nothing can be hidden
    documents.named.names   uint16 beside each of named.ids: which name of the file it is a part of, 0: none
    documents.language      uint8 (N,): index into the manifest's `languages`
    pairs.{text,code,body,description,header}.{ids,borders}, pairs.{language,kind,source}, pairs.{text,body,group}.key,
    and held_out.*
    sources.json            the names that pairs.source (uint32) counts: packages

Documents end with the end token. Pair sides do not: a batch cuts them and appends it. Worker processes parse and
tokenise; parts are written in the order of the corpus, so that any number of workers gives the same bytes.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from codesage.artifacts import Artifact, open_artifact, publish
from codesage.corpus.read import read_documents, read_pairs
from codesage.corpus.tokens.files import KINDS, Files, read_items, read_ragged, read_sources
from codesage.corpus.tokens.ragged import Ragged
from codesage.corpus.tokens.tokenise import SIDES, Columns, Naming, Tokeniser, id_type
from codesage.errors import CodesageError
from codesage.lifetime import die_with, parent_of_children
from codesage.machine import processors
from codesage.records import Document, Pair
from codesage.tokenizer import Tokenizer, load

_UNIT = 500_000  # characters a worker takes at a time
_FIXED = ("vocab_size", "end_id", "mask_id", "pad_id", "text_tokens", "code_tokens")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is tokenised. Published evaluation lengths: 128 for text, 1,024 for code."""

    max_documents: int = 0  # a sample of so many, spread over the languages; 0: all
    pair_kinds: tuple[str, ...] = ()  # kinds of pairs to keep; (): all
    max_pairs: int = 0  # of each kind a sample of so many, spread over the languages; 0: all; groups always stay whole
    text_tokens: int = 128  # longest side a batch can ask for, end token included
    code_tokens: int = 1024
    description_tokens: int = 256
    header_tokens: int = 64
    naming: Naming = field(default_factory=Naming)  # what the named stream takes for an identifier
    seed: int = 0  # of the sample
    workers: int = 0  # processes that parse and tokenise; 0: one a core


@dataclass(frozen=True, slots=True)
class PairTokens:
    """The sides of P pairs, cut and without end token; equal keys are equal but for case and white space."""

    text: Ragged
    code: Ragged  # the whole definition
    body: Ragged  # the hard positive
    description: Ragged  # the rest of the docstring; empty rows where there is none
    header: Ragged  # end of the path, and name (records.header_of); empty rows where the code is no definition
    language: np.ndarray  # uint8 (P,), index into Tokens.languages
    kind: np.ndarray  # uint8 (P,), index into Tokens.kinds
    source: np.ndarray  # uint32 (P,), index into Tokens.sources: the package
    text_key: np.ndarray  # uint64 (P,)
    body_key: np.ndarray  # of the code where there is no body
    group_key: np.ndarray  # equal for members of one group, 0: in no group

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True, slots=True)
class Tokens:
    """An opened artifact of kind "tokens"; every array is a read-only view of a mapped file."""

    path: Path
    facts: dict
    fingerprint: str
    plain: Ragged
    named: Ragged
    names: np.ndarray  # uint16, beside named.ids
    language: np.ndarray  # uint8 (documents,)
    pairs: PairTokens
    held_out: PairTokens
    languages: tuple[str, ...]
    kinds: tuple[str, ...]
    sources: tuple[str, ...]  # names of packages
    vocab_size: int
    end_id: int
    mask_id: int
    pad_id: int
    text_tokens: int  # longest sides a batch can ask for, end token included
    code_tokens: int
    newline: tuple[int, ...]  # ids of a line break: what a batch puts between two sides it joins

    def check(self, tokenizer: Tokenizer) -> None:
        """CodesageError when another tokenizer made these tokens."""
        made_by = str(self.facts.get("tokenizer"))
        if made_by != tokenizer.fingerprint:
            raise CodesageError(
                f"{self.path} was made with another tokenizer ({made_by[:12]}, this one is {tokenizer.fingerprint[:12]}): "
                "give the tokenizer or model of the tokens, or run 'codesage tokens' again with this one"
            )

    def counted(self) -> tuple[Ragged, ...]:
        """The texts that a lexical start counts words in: both sides of the pairs, or documents where there are none."""
        return (self.pairs.text, self.pairs.code) if len(self.pairs) else (self.plain,)


def build(
    corpus: Path | str,
    tokenizer: Tokenizer,
    out: Path | str,
    *,
    settings: Settings | None = None,
    progress: Callable[[str, int], None] = lambda what, done: None,
) -> Artifact:
    """Tokenise the corpus at `corpus` and publish it at `out`; `progress` is called with the part and how many are done.

    Raises CodesageError when the corpus is missing or damaged, a kind of pairs is not known, or a worker dies.
    """
    origin = open_artifact(corpus, "corpus", verify=False)
    kinds = (settings or Settings()).pair_kinds or None
    return write(
        _Read(lambda: read_documents(corpus)),
        _Read(lambda: read_pairs(corpus, kinds=kinds)),
        tokenizer,
        out,
        held_out=_Read(lambda: read_pairs(corpus, held_out=True, kinds=kinds)),
        settings=settings,
        progress=progress,
        corpus_fingerprint=origin.fingerprint,
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """What is read when it is needed, and again when it is needed again, but never held."""

    read: Callable[[], Iterable]

    def __iter__(self) -> Iterator:
        return iter(self.read())


def write(
    documents: Iterable[Document],
    pairs: Iterable[Pair],
    tokenizer: Tokenizer,
    out: Path | str,
    *,
    held_out: Iterable[Pair] = (),
    settings: Settings | None = None,
    corpus_fingerprint: str = "",
    progress: Callable[[str, int], None] = lambda what, done: None,
) -> Artifact:
    """`build` from records; `documents` and `pairs` must be iterable twice when a sample of them is asked for."""
    settings = settings or Settings()
    _check(settings)
    facts = {
        "tokenizer": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "corpus": corpus_fingerprint,
        "end_id": tokenizer.end_id,
        "mask_id": tokenizer.mask_id,
        "pad_id": tokenizer.pad_id,
        "newline": tokenizer.encode_pieces(["\n"])[0],
        "dtype": id_type(tokenizer.vocab_size).name,
        "text_tokens": settings.text_tokens,
        "code_tokens": settings.code_tokens,
    }
    limits = {"text": settings.text_tokens, "description": settings.description_tokens, "header": settings.header_tokens}
    limits = {side: limits.get(side, settings.code_tokens) - 1 for side in SIDES}
    with publish(out, "tokens", settings=asdict(settings) | {"workers": None}, facts=facts) as folder, ExitStack() as stack:
        files = stack.enter_context(Files(folder, facts["dtype"]))
        workers = settings.workers or processors()
        pool = stack.enter_context(_pool(workers, tokenizer, limits, settings.naming))
        parts = (
            ("documents", _sampled(documents, settings), lambda document: len(document.text)),
            ("pairs", _sampled_pairs(pairs, settings), _pair_size),
            ("held_out", _of_kinds(held_out, settings.pair_kinds), _pair_size),
        )
        for name, records, size in parts:
            files.open(name)
            for columns in _mapped(pool, name == "documents", _units(records, size), most=3 * workers):
                progress(name, files.add(name, columns))
        facts |= files.facts()
    return open_artifact(out, "tokens", verify=False)


def open_tokens(path: Path | str, *, tokenizer: Tokenizer | None = None, verify: bool = True) -> Tokens:
    """Open tokens, mapped, not read; `verify` also reads everything once to check its hashes.

    Raises CodesageError when the folder is missing, foreign, damaged or cut short, or was made with another tokenizer
    than `tokenizer`.
    """
    artifact = open_artifact(path, "tokens", verify=verify)
    facts = artifact.facts
    try:
        ids = np.dtype(facts["dtype"]).newbyteorder("<")
        counts = {name: int(facts["counts"][name]) for name in ("documents", "pairs", "held_out")}
        fixed = {name: int(facts[name]) for name in _FIXED}
        languages, kinds, newline = (tuple(facts[name]) for name in ("languages", "kinds", "newline"))
    except (KeyError, TypeError, ValueError) as error:
        raise CodesageError(f"{path} states no {error}: make it again with 'codesage tokens'") from None
    folder, documents = artifact.path, counts["documents"]
    sources = read_sources(folder)
    named = read_ragged(folder, "documents.named", documents, ids)
    opened = Tokens(
        path=folder,
        facts=facts,
        fingerprint=artifact.fingerprint,
        named=named,
        plain=read_ragged(folder, "documents.plain", documents, ids),
        names=read_items(folder / "documents.named.names", "<u2", len(named.ids)),
        language=read_items(folder / "documents.language", "u1", documents),
        pairs=_pairs(folder, "pairs", counts["pairs"], ids),
        held_out=_pairs(folder, "held_out", counts["held_out"], ids),
        sources=sources,
        languages=languages,
        kinds=kinds,
        newline=newline,
        **fixed,
    )
    if tokenizer is not None:
        opened.check(tokenizer)
    return opened


def _check(settings: Settings) -> None:
    unknown = set(settings.pair_kinds) - set(KINDS)
    if unknown:
        raise CodesageError(f"unknown kind of pairs {min(unknown)!r}: expected some of {', '.join(KINDS)}")
    shortest = min(settings.text_tokens, settings.code_tokens, settings.description_tokens, settings.header_tokens)
    if shortest < 1 or min(settings.max_documents, settings.max_pairs, settings.workers) < 0:
        raise CodesageError(
            f"lengths of {shortest} tokens, {settings.max_documents} documents, {settings.max_pairs} pairs, "
            f"{settings.workers} workers: expected at least 1 token, and no negative number"
        )


def _pairs(folder: Path, name: str, count: int, ids: np.dtype) -> PairTokens:
    text, code, body, description, header = (read_ragged(folder, f"{name}.{side}", count, ids) for side in SIDES)
    text_key, body_key, group_key = (
        read_items(folder / f"{name}.{key}.key", "<u8", count) for key in ("text", "body", "group")
    )
    language, kind = (read_items(folder / f"{name}.{column}", "u1", count) for column in ("language", "kind"))
    source = read_items(folder / f"{name}.source", "<u4", count)
    return PairTokens(text, code, body, description, header, language, kind, source, text_key, body_key, group_key)


def _units(records: Iterable, size: Callable[[Any], int]) -> Iterator[list]:
    unit, characters = [], 0
    for record in records:
        unit.append(record)
        characters += size(record) + 100
        if characters >= _UNIT:
            yield unit
            unit, characters = [], 0
    if unit:
        yield unit


def _pair_size(pair: Pair) -> int:
    return len(pair.code) + len(pair.bare_body) + len(pair.text)


def _of_kinds(pairs: Iterable[Pair], kinds: tuple[str, ...]) -> Iterator[Pair]:
    return (pair for pair in pairs if not kinds or pair.kind in kinds)


def _sampled(documents: Iterable[Document], settings: Settings) -> Iterator[Document]:
    if not settings.max_documents:
        return iter(documents)
    kept = sample([document.language for document in documents], settings.max_documents, seed=settings.seed)
    return (document for document, keep in zip(documents, kept, strict=True) if keep)


def _sampled_pairs(pairs: Iterable[Pair], settings: Settings) -> Iterator[Pair]:
    if not settings.max_pairs:
        return _of_kinds(pairs, settings.pair_kinds)
    labels = [("" if pair.group else pair.kind, pair.language) for pair in _of_kinds(pairs, settings.pair_kinds)]
    kind_P = np.array([kind for kind, _ in labels])
    kept_P = kind_P == ""
    for kind in sorted(set(kind_P[~kept_P].tolist())):
        rows = np.flatnonzero(kind_P == kind)
        kept_P[rows] = sample([labels[row][1] for row in rows], settings.max_pairs, seed=settings.seed)
    return (pair for pair, keep in zip(_of_kinds(pairs, settings.pair_kinds), kept_P, strict=True) if keep)


def sample(languages: list[str], count: int, *, seed: int) -> np.ndarray:
    """Which `count` items to keep, bool (items,): equal shares of the languages, as far as each of them reaches."""
    of = np.asarray(languages)
    kept = np.zeros(len(of), bool)
    names, sizes = np.unique(of, return_counts=True)
    rng, left = np.random.default_rng(seed), count
    for rank, language in enumerate(np.argsort(sizes, kind="stable")):  # what a small one leaves goes to the larger
        share = min(int(sizes[language]), left // (len(names) - rank))
        kept[rng.choice(np.flatnonzero(of == names[language]), share, replace=False)] = True
        left -= share
    return kept


@contextmanager
def _pool(workers: int, tokenizer: Tokenizer, limits: dict[str, int], naming: Naming) -> Iterator[Executor | None]:
    """Processes that tokenise; None for one, which is this one."""
    if workers == 1:
        _start(tokenizer, limits, naming)
        yield None
        return
    with TemporaryDirectory() as folder:  # not in the call: a worker that dies before it has read it all would block us
        tokenizer.save(folder)
        spawn = get_context("spawn")  # no fork: threads
        with ProcessPoolExecutor(workers, spawn, _start_alone, (folder, limits, naming, parent_of_children())) as pool:
            yield pool


def _mapped(pool: Executor | None, documents: bool, units: Iterator[list], *, most: int) -> Iterator[Columns]:
    """Columns of all units in their order. At most `most` units are in work at a time."""
    if pool is None:
        yield from (_work(unit, documents) for unit in units)
        return
    pending = []
    try:
        for unit in units:
            pending.append(pool.submit(_work, unit, documents))
            if len(pending) >= most:
                yield pending.pop(0).result()
        while pending:
            yield pending.pop(0).result()
    except BrokenProcessPool:
        raise CodesageError(
            "a worker process died while tokenising: run again with --workers 1 to see where; in a script of your own, "
            "call it under if __name__ == '__main__'"
        ) from None


_STATE: dict[str, Tokeniser] = {}


def _start(tokenizer: Tokenizer, limits: dict[str, int], naming: Naming) -> None:
    _STATE["tokeniser"] = Tokeniser(tokenizer, limits=limits, naming=naming)


def _start_alone(folder: str, limits: dict[str, int], naming: Naming, parent: int) -> None:
    die_with(parent)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes share the cores already
    _start(load(folder), limits, naming)


def _work(unit: list, documents: bool) -> Columns:
    tokeniser = _STATE["tokeniser"]
    return tokeniser.documents(unit) if documents else tokeniser.pairs(unit)
