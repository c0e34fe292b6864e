"""Names for hidden identifiers of packages that no training has seen, beside two baselines.

    python benchmarks/names.py --model FOLDER --corpus CORPUS --held-out python=FOLDER ... --out results.json

`--held-out LANGUAGE=FOLDER` names a checkout or an unpacked package, and may be given often; its packages must not be in the
corpus. Of each language `--count` identifiers are drawn at random (`--seed`): one thing of a file each, hidden at every
occurrence, everything else as it is. Names that say nothing (t, a2, var3) are not drawn, since nobody could find them. A hit is
the same name to the letter; F1 is that of the words of both names. The baselines: the name that is most frequent among
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
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codesage import __version__, syntax
from codesage.artifacts import open_artifact
from codesage.corpus.sources.recognise import reason
from codesage.corpus.tokens.tokenised import sample
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES, language_of
from codesage.names import filler
from codesage.names.propose import Proposer, Settings
from codesage.names.units import Found, is_placeholder, units
from codesage.names.windows import Text
from codesage.names.words import taken
from codesage.walk import Skipped, read_text, walk
from codesage.words import split_words

_NUMBERS = {"count": 1000, "seed": 0, "beam": 2, "windows": 1, "window_tokens": 128, "baseline_files": 500, "power": 1.0}
_FILE_CHARACTERS = 60_000  # longer files are left out, and counted


def held_out(folders: list[Path], language: str, drawn: random.Random, count: int, skipped: Counter) -> list:
    """Drawn identifiers: (tree, found, number of the unit), at most a fiftieth of them from one file."""
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
        try:
            tree = syntax.parse(read.text, language, tsx=file.suffix == ".tsx")
        except syntax.ParseRefused:
            skipped["not parsed"] += 1
            continue
        found = units(tree)
        numbers = [number for number, unit in enumerate(found.units) if not is_placeholder(unit.name) and unit.name.isascii()]
        chosen += [(tree, found, number) for number in drawn.sample(numbers, min(most, len(numbers)))]
    return chosen[:count]


def frequent(corpus: Path, most: int, seed: int) -> dict[tuple[str, str], str]:
    """The most frequent name of each language and kind, each name counted once a file, in a sample of a corpus."""
    counts: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for path, language, text in drawn_documents(corpus, most, seed):
        try:
            found = units(syntax.parse(text, language, tsx=path.endswith(".tsx")))
        except CodesageError:
            continue
        for key in {(unit.kind, unit.name) for unit in found.units if not is_placeholder(unit.name)}:
            counts[language, key[0]][key[1]] += 1
    return {key: counter.most_common(1)[0][0] for key, counter in counts.items()}


def drawn_documents(corpus: Path, most: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Path, language and text of at most `most` documents of each language; only the drawn texts are decoded."""
    files = sorted((open_artifact(corpus, "corpus", verify=False).path / "files").glob("*.parquet"))
    languages = [pq.read_table(file, columns=["language"])["language"].to_pylist() for file in files]
    kept = sample([language for part in languages for language in part], most * len(LANGUAGES), seed=seed)
    for file, part in zip(files, np.split(kept, np.cumsum([len(part) for part in languages])[:-1]), strict=True):
        rows = pq.read_table(file, columns=["path", "language", "text"]).filter(pa.array(part)).to_pylist()
        yield from ((row["path"], row["language"], row["text"]) for row in rows)


def copied(found: Found, number: int) -> str:
    """The name of the same kind that most other identifiers of the file have; ties to the earlier."""
    kind = found.units[number].kind
    names = Counter()
    for other, unit in enumerate(found.units):
        if other != number:
            names[unit.name] += len(unit.spans) * (1 if unit.kind == kind else 1e-6)
    return names.most_common(1)[0][0] if names else ""


def filled(proposer: Proposer, tree, found: Found, number: int) -> str:
    """What the model calls the unit: its best name that is no word of the language."""
    text = Text(tree.source, found.units, found.names, proposer.filler.tokenizer)
    words = taken(tree.language)
    return next((name for name, _ in proposer.candidates(text, number) if name not in words), "")


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


def measure(args: argparse.Namespace) -> dict:
    """Everything that is measured, as one JSON value."""
    folders: dict[str, list[Path]] = defaultdict(list)
    for entry in args.held_out:
        language, _, folder = entry.partition("=")
        folders[language].append(Path(folder))
    settings = Settings(windows=args.windows, window_tokens=args.window_tokens)
    settings = replace(settings, search=replace(settings.search, beam=args.beam, keep=2, power=args.power))
    proposer = Proposer(filler.load(args.model), settings)
    common = frequent(args.corpus, args.baseline_files, args.seed)
    languages, everything = {}, defaultdict(list)
    for language in sorted(folders):
        skipped: Counter = Counter()
        drawn = held_out(folders[language], language, random.Random(args.seed), args.count, skipped)
        started = time.process_time()
        rows = {"model": [filled(proposer, *one) for one in drawn]}
        seconds = time.process_time() - started
        truths = [found.units[number].name for _, found, number in drawn]
        rows["most frequent"] = [common.get((language, found.units[number].kind), "") for _, found, number in drawn]
        rows["copied"] = [copied(found, number) for _, found, number in drawn]
        for name, guesses in {**rows, "truth": truths}.items():
            everything[name] += guesses
        languages[language] = {
            "identifiers": len(drawn),
            "files skipped": dict(skipped),
            **{name: figures(guesses, truths) for name, guesses in rows.items()},
            "kinds": dict(Counter(found.units[number].kind for _, found, number in drawn)),
            "milliseconds an identifier": round(1000 * seconds / max(1, len(drawn)), 1),
        }
        print(language, json.dumps(languages[language]), flush=True)
    truths = everything.pop("truth")
    return {
        "what": "names of hidden identifiers in held-out packages",
        "languages": languages,
        "all": {name: figures(guesses, truths) for name, guesses in everything.items()} | {"identifiers": len(truths)},
        "settings": {name: getattr(args, name) for name in _NUMBERS},
        "held out": sorted(f"{language}={Path(folder).name}" for language in folders for folder in folders[language]),
        "model": json.loads((args.model or filler.BUNDLED).joinpath("manifest.json").read_text())["facts"],
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
