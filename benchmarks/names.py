"""Names for hidden identifiers of packages that no training has seen, beside two baselines.

    python benchmarks/names.py --model FOLDER --corpus CORPUS --held-out python=FOLDER ... --out results.json

`--held-out LANGUAGE=FOLDER` names a checkout or an unpacked package, and may be given often; its packages must not be in the
corpus, and a file that is in it all the same is skipped and counted. Of each language `--count` identifiers are drawn at random
(`--seed`): one thing of a file each, hidden at every occurrence, everything else as it is. Names that say nothing (t, a2, var3)
are not drawn, since nobody could find them. A hit is the same name to the letter; F1 is that of the words of both names.
Measured are the proposals (the model, the table of names and the file together), those without the model, and, for `--bare` of
the identifiers, those for the file without its comments and documentation. The baselines: the name that is most frequent among
identifiers of the same language and kind in the training corpus, and the name of the same kind that is most frequent elsewhere
in the file.
"""

import argparse
import json
import os
import platform
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codesage import __version__, syntax
from codesage.artifacts import open_artifact
from codesage.corpus.sources.recognise import reason
from codesage.corpus.tokens.tokenised import sample
from codesage.encoder.folders import NAMES
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES, language_of
from codesage.names import joint, propose
from codesage.names.others import Others
from codesage.names.propose import Proposer, Settings
from codesage.names.surroundings import Occurrences, tokens_of, without_comments
from codesage.names.units import FileUnits, is_placeholder, units
from codesage.names.windows import Text
from codesage.walk import Skipped, read_text, walk
from codesage.words import split_words

_NUMBERS = {"count": 1000, "seed": 0, "window_tokens": 128, "baseline_files": 500, "bare": 200, "processes": 1}
_FILE_CHARACTERS = 60_000  # longer files are left out, and counted


def held_out(
    folders: list[Path], language: str, drawn: random.Random, count: int, skipped: Counter, known: frozenset[str]
) -> list:
    """Drawn identifiers: (tree, file_units, number of the unit), at most a fiftieth of them from one file.

    `known`: the SHA-256 of every file of the corpus, which are skipped.
    """
    files = sorted(file for folder in folders for file in walk(folder) if language_of(file.name) == language)
    drawn.shuffle(files)
    chosen, most = [], max(1, count // 50)
    for file in files:
        if len(chosen) >= count:
            break
        read = read_text(file, name=file.name)
        why = read.reason if isinstance(read, Skipped) else reason(str(file.relative_to(file.anchor)), read.text)
        if why or len(read.text) > _FILE_CHARACTERS:
            skipped[why or "long"] += 1
            continue
        if sha256(read.text.encode()).hexdigest() in known:
            skipped["in the corpus"] += 1
            continue
        try:
            tree = syntax.parse(read.text, language, tsx=file.suffix == ".tsx")
        except syntax.ParseRefused:
            skipped["not parsed"] += 1
            continue
        file_units = units(tree)
        numbers = [
            number for number, unit in enumerate(file_units.units) if not is_placeholder(unit.name) and unit.name.isascii()
        ]
        chosen += [(tree, file_units, number) for number in drawn.sample(numbers, min(most, len(numbers)))]
    return chosen[:count]


def frequent(corpus: Path, most: int, seed: int) -> dict[tuple[str, str], str]:
    """The most frequent name of each language and kind, each name counted once a file, in a sample of a corpus."""
    counts: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for path, language, text in drawn_documents(corpus, most, seed):
        try:
            file_units = units(syntax.parse(text, language, tsx=path.endswith(".tsx")))
        except CodesageError:
            continue
        for key in {(unit.kind, unit.name) for unit in file_units.units if not is_placeholder(unit.name)}:
            counts[language, key[0]][key[1]] += 1
    return {key: counter.most_common(1)[0][0] for key, counter in counts.items()}


def hashes(corpus: Path) -> frozenset[str]:
    """The SHA-256 of every file of a corpus."""
    files = (open_artifact(corpus, "corpus", verify=False).path / "files").glob("*.parquet")
    return frozenset(one for file in files for one in pq.read_table(file, columns=["sha256"])["sha256"].to_pylist())


def drawn_documents(corpus: Path, most: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Path, language and text of at most `most` documents of each language; only the drawn texts are decoded."""
    files = sorted((open_artifact(corpus, "corpus", verify=False).path / "files").glob("*.parquet"))
    languages = [pq.read_table(file, columns=["language"])["language"].to_pylist() for file in files]
    kept = sample([language for part in languages for language in part], most * len(LANGUAGES), seed=seed)
    for file, part in zip(files, np.split(kept, np.cumsum([len(part) for part in languages])[:-1]), strict=True):
        rows = pq.read_table(file, columns=["path", "language", "text"]).filter(pa.array(part)).to_pylist()
        yield from ((row["path"], row["language"], row["text"]) for row in rows)


def copied(file_units: FileUnits, number: int) -> str:
    """The name of the same kind that most other identifiers of the file have; ties to the earlier."""
    kind = file_units.units[number].kind
    names = Counter()
    for other, unit in enumerate(file_units.units):
        if other != number:
            names[unit.name] += len(unit.spans) * (1 if unit.kind == kind else 1e-6)
    return names.most_common(1)[0][0] if names else ""


def proposed(proposer: Proposer, drawn: list[tuple], *, alone: bool = False) -> list[str]:
    """What each drawn unit is called, hidden alone: the best name that is no word of the language.

    `alone`: without the model.
    """
    names, table = [], proposer.table
    for tree, rows in by_file(drawn):
        file_units, numbers, tokens = rows[0][1], [number for *_, number in rows], tokens_of(tree)
        if alone and table is not None:
            others = Others(file_units.units)
            around = [Occurrences(tokens, file_units.units[number]) for number in numbers]
            every = [joint.ranked(table, joint.candidates(table, one, others), tree.language, alone=True) for one in around]
        else:
            text = Text(tree.source, file_units.units, file_units.names, proposer.filler.tokenizer)
            every = proposer.every(text, tokens, numbers, file_units.units)
        names += [next((name for name, _ in one if name not in tokens.words), "") for one in every]
    return names


def by_file(drawn: list[tuple]) -> Iterator[tuple]:
    """Each tree with the units that were drawn from it, which stand side by side."""
    for _, group in groupby(drawn, key=lambda one: id(one[0])):
        rows = list(group)
        yield rows[0][0], rows


def word_f1(guess: str, truth: str) -> float:
    """F1 of the words of two names, each word as often as it stands."""
    one, other = Counter(split_words(guess)), Counter(split_words(truth))
    same = sum((one & other).values())
    return 2 * same / (sum(one.values()) + sum(other.values())) if same else 0.0


def figures(guesses: list[str], truths: list[str]) -> dict:
    """Exact match and F1 of words, in percent."""
    pairs = list(zip(guesses, truths, strict=True))
    return {
        "exact": round(100 * sum(guess == truth for guess, truth in pairs) / len(pairs), 2),
        "f1": round(100 * sum(word_f1(guess, truth) for guess, truth in pairs) / len(pairs), 2),
    }


def bare(drawn: list[tuple]) -> list[tuple]:
    """The drawn units in files without comments and documentation."""
    stripped = []
    for tree, rows in by_file(drawn):
        again = syntax.parse(without_comments(tree).decode("utf-8", "replace"), tree.language, tsx=tree.tsx)
        others = units(again)
        places = {unit.spans: number for number, unit in enumerate(others.units)}
        for _, before, number in rows:
            place = places.get(before.units[number].spans)
            stripped.append((tree, before, number) if place is None else (again, others, place))
    return stripped


def measured(proposer: Proposer, drawn: list[tuple], language: str, common: dict) -> tuple[dict[str, list[str]], float]:
    """Guesses by system, the truth among them, and the seconds of processor time that the proposals took."""
    started = time.process_time()
    rows = {"proposed": proposed(proposer, drawn)}
    seconds = time.process_time() - started
    rows["without the model"] = proposed(proposer, drawn, alone=True)
    hidden = [file_units.units[number] for _, file_units, number in drawn]
    rows["most frequent"] = [common.get((language, unit.kind), "") for unit in hidden]
    rows["copied"] = [copied(file_units, number) for _, file_units, number in drawn]
    rows["truth"] = [unit.name for unit in hidden]
    return rows, seconds


def by_kind(drawn: list[tuple], guesses: list[str], common: list[str]) -> dict[str, dict]:
    """Of each kind: how many identifiers, and the exact match of the proposals and of the most frequent name."""
    kinds: dict[str, list] = defaultdict(list)
    for (_, file_units, number), guess, usual in zip(drawn, guesses, common, strict=True):
        unit = file_units.units[number]
        kinds[unit.kind].append((guess == unit.name, usual == unit.name))
    means = {kind: np.mean(hits, axis=0) for kind, hits in kinds.items()}
    return {
        kind: {"count": len(kinds[kind]), "proposed": round(100 * float(one), 1), "most frequent": round(100 * float(other), 1)}
        for kind, (one, other) in sorted(means.items())
    }


def of_language(args: argparse.Namespace, language: str, folders: list[Path], common: dict, known: frozenset[str]) -> tuple:
    """The figures of a language, and its guesses by system, the truth among them."""
    skipped: Counter = Counter()
    proposer = propose.load(args.model, replace(Settings(), window_tokens=args.window_tokens))
    drawn = held_out(folders, language, random.Random(args.seed), args.count, skipped, known)
    rows, seconds = measured(proposer, drawn, language, common)
    truths = rows["truth"]
    plain = random.Random(args.seed).sample(drawn, min(args.bare, len(drawn)))
    told = {
        "identifiers": len(drawn),
        "files": len({id(tree) for tree, *_ in drawn}),
        "files skipped": dict(skipped),
        **{name: figures(guesses, truths) for name, guesses in rows.items() if name != "truth"},
        "without comments": without(proposer, plain),
        "kinds": by_kind(drawn, rows["proposed"], rows["most frequent"]),
        "milliseconds an identifier": round(1000 * seconds / max(1, len(drawn)), 1),
    }
    print(language, json.dumps(told), flush=True)
    return told, rows


def without(proposer: Proposer, drawn: list[tuple]) -> dict:
    """The proposals for some of the units, with comments and documentation and without them."""
    drawn = sorted(drawn, key=lambda one: id(one[0]))
    truths = [file_units.units[number].name for _, file_units, number in drawn]
    proposals = {"with": proposed(proposer, drawn), "without": proposed(proposer, bare(drawn))}
    return {"identifiers": len(drawn), **{name: figures(guesses, truths) for name, guesses in proposals.items()}}


def measure(args: argparse.Namespace) -> dict:
    """Everything that is measured, as one JSON value."""
    folders: dict[str, list[Path]] = defaultdict(list)
    for entry in args.held_out:
        language, _, folder = entry.partition("=")
        folders[language].append(Path(folder))
    common, known = frequent(args.corpus, args.baseline_files, args.seed), hashes(args.corpus)
    languages, everything = {}, defaultdict(list)
    with ProcessPoolExecutor(args.processes) as pool:
        asked = {one: pool.submit(of_language, args, one, folders[one], common, known) for one in sorted(folders)}
        for language, running in asked.items():
            languages[language], rows = running.result()
            for name, guesses in rows.items():
                everything[name] += guesses
    truths = everything.pop("truth")
    return {
        "what": "names of hidden identifiers in held-out packages",
        "languages": languages,
        "all": {name: figures(guesses, truths) for name, guesses in everything.items()} | {"identifiers": len(truths)},
        "settings": {name: getattr(args, name) for name in _NUMBERS},
        "held out": sorted(f"{language}={Path(folder).name}" for language in folders for folder in folders[language]),
        "model": json.loads((args.model or NAMES).joinpath("manifest.json").read_text())["facts"],
        "versions": {"codesage": __version__, "python": platform.python_version()},
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count()},
    }


def main() -> None:
    """Parse the arguments, measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="default: the model that ships")
    parser.add_argument("--corpus", type=Path, required=True, help="the training corpus, for the most frequent names")
    parser.add_argument("--held-out", action="append", required=True, metavar="LANGUAGE=FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    for name, value in _NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = parser.parse_args()
    args.out.write_text(json.dumps(measure(args), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
