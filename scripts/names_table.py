"""Make the table that `codesage names` has beside its model: which names programs give to what is used in a certain way.

    python scripts/names_table.py examples CORPUS examples.pkl
    python scripts/names_table.py learn examples.pkl names.npz
    python scripts/names_table.py fit CORPUS names.npz --model FOLDER
    python scripts/names_table.py ship FOLDER names.npz src/codesage/models/names

`examples` draws files of a corpus, a few of each package, and takes the features of their names. `learn` trains the table on
them and counts how often each rule is right. `fit` fits the weights of the joint score on packages that `learn` left out
(DEVELOPMENT), with the model in FOLDER and without one, and writes them into the table. FOLDER is one of `codesage export
--names`. `ship` puts model and table into one folder.
"""

import argparse
import pickle
import random
import shutil
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from codesage import syntax
from codesage import tokenizer as tokenizers
from codesage.artifacts import open_artifact, publish
from codesage.encoder.folders import TOKENS
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.names import filler, joint
from codesage.names.derived import suggested
from codesage.names.others import Others
from codesage.names.propose import Proposer, Settings
from codesage.names.surroundings import Occurrences, features, tokens_of
from codesage.names.table import FILE, Table, group_of, load, save
from codesage.names.units import KINDS, is_placeholder, units
from codesage.names.windows import Text

DEVELOPMENT = frozenset(
    "petsc krb5 unbound sktime sqlalchemy twisted netty libpdfbox2-java phaser webpack openai fabric @antv/g2 libpod hugo "
    "doctrine phpunit rubocop ruby-sequel ruby-graphql thrift dotnet-docs-samples".split()
)
_CHARACTERS = 60_000  # longer files are left out, as in benchmarks/names.py
_UNITS, _RULED = 40, 12  # names of a file that are examples; those whose rules are counted
_BATCH, _RATE = 1_024, 0.02


def chosen(corpus: Path, most: int, seed: int, *, only: frozenset[str] | None = None) -> dict[str, dict[int, tuple[str, str]]]:
    """Language and package of the drawn rows, by file of the corpus: about `most` files of a language.

    A package gets a share by the square root of its size. `only`: of these packages.
    """
    rows, drawn = defaultdict(lambda: defaultdict(list)), random.Random(seed)
    for file in sorted((open_artifact(corpus, "corpus", verify=False).path / "files").glob("*.parquet")):
        columns = pq.read_table(file, columns=["language", "package", "test"]).to_pydict()
        for row, (language, package, test) in enumerate(zip(*columns.values(), strict=True)):
            if not test and (only is None or package in only):
                rows[language][package].append((str(file), row))
    origins: dict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
    for language, packages in rows.items():
        total = sum(len(one) ** 0.5 for one in packages.values())
        for package, places in packages.items():
            for file, row in drawn.sample(places, min(len(places), max(3, int(most * len(places) ** 0.5 / total)))):
                origins[file][row] = language, package
    return origins


def documents(drawn: dict[str, dict[int, tuple[str, str]]]) -> Iterator[tuple]:
    """Path, language, package and tree of the drawn files that can be parsed."""
    for file in sorted(drawn):
        opened, start = pq.ParquetFile(file), 0
        for group in range(opened.num_row_groups):
            size = opened.metadata.row_group(group).num_rows
            wanted = [row for row in drawn[file] if start <= row < start + size]
            table = opened.read_row_group(group, columns=["path", "text"]) if wanted else None
            for row in wanted:
                path, text = (table[name][row - start].as_py() for name in ("path", "text"))
                language, package = drawn[file][row]
                if len(text) <= _CHARACTERS:
                    try:
                        yield path, language, package, syntax.parse(text, language, tsx=path.endswith(".tsx"))
                    except CodesageError:
                        continue
            start += size


def told(file_units, path: str, most: int) -> list[int]:
    """Numbers of units whose names say something, at most `most` of a file."""
    numbers = [number for number, unit in enumerate(file_units.units) if not is_placeholder(unit.name) and unit.name.isascii()]
    return random.Random(zlib.crc32(path.encode())).sample(numbers, min(most, len(numbers)))


def examples(args: argparse.Namespace) -> None:
    """Write (language, kind, name, package, features, rules by suggested name or None) of each drawn name."""
    rows = []
    for path, language, package, tree in documents(chosen(args.corpus, args.files, args.seed)):
        file_units, tokens = units(tree), tokens_of(tree)
        others = Others(file_units.units)
        for place, number in enumerate(told(file_units, path, _UNITS)):
            unit = file_units.units[number]
            around = Occurrences(tokens, unit)
            rules = suggested(around, others) if place < _RULED else None
            rows.append((language, unit.kind, unit.name, package, np.array(features(around), np.uint32), rules))
    args.out.write_bytes(pickle.dumps(rows, protocol=5))
    print(f"{args.out}: {len(rows):,} names")


def learn(args: argparse.Namespace) -> None:
    """Train the table on the examples of all packages but DEVELOPMENT, and say how good it is there."""
    every = pickle.loads(args.examples.read_bytes())
    rows = [row for row in every if row[3] not in DEVELOPMENT]
    names = vocabulary(rows, args.names)
    kept = common_features(rows, args.features)
    known = {name: place for place, name in enumerate(names)}
    rows_FD, name_rows_VD, priors_GV = trained(rows, known, kept, args)
    table = Table(kept, rows_FD, tuple(names), name_rows_VD, priors_GV, rule_odds(rows), {})
    store(table, args.table)
    held = [row for row in every if row[3] in DEVELOPMENT]
    hits, common = defaultdict(list), defaultdict(list)
    for language, kind, name, _, hashes, _ in held:
        hits[language].append(table.names[table.log_probabilities(hashes, language, kind).argmax()] == name)
        common[language].append(table.names[priors_GV[group_of(language, kind)].argmax()] == name)
    for language, own in hits.items():
        print(f"{language}: {np.mean(own):.1%} of {len(own):,}, most frequent {np.mean(common[language]):.1%}")


def vocabulary(rows: list[tuple], most: int) -> list[str]:
    """The most frequent names of at least two packages."""
    counts, packages = Counter(row[2] for row in rows), defaultdict(set)
    for row in rows:
        packages[row[2]].add(row[3])
    return [name for name, count in counts.most_common() if count > 2 and len(packages[name]) > 1][:most]


def common_features(rows: list[tuple], most: int) -> np.ndarray:
    """The features that most names have, of those seen in two packages: uint32, ascending."""
    packages = {package: number for number, package in enumerate(sorted({row[3] for row in rows}))}
    pairs = [row[4].astype(np.int64) << 12 | packages[row[3]] for row in rows]
    one, counts = np.unique(np.concatenate(pairs), return_counts=True)
    distinct, first = np.unique(one >> 12, return_index=True)
    spread = np.diff(np.append(first, len(one)))
    total = np.add.reduceat(counts, first)
    score = np.where((spread > 1) & (total > 4), total, 0)
    return np.sort(distinct[np.argsort(-score, kind="stable")[: min(most, int((score > 0).sum()))]]).astype(np.uint32)


def trained(rows: list[tuple], known: dict[str, int], kept: np.ndarray, args: argparse.Namespace) -> tuple:
    """Vectors of features and of names, and the priors of the groups: Adam on cross entropy over all names."""
    import torch
    from torch.nn import functional as F

    torch.manual_seed(0)
    rows = [row for row in rows if row[2] in known]
    truth_N = torch.tensor([known[row[2]] for row in rows])
    group_N = torch.tensor([group_of(row[0], row[1]) for row in rows])
    places = [_places(kept, row[4]) for row in rows]
    counts_GV = torch.zeros(len(LANGUAGES) * len(KINDS), len(known))
    counts_GV.index_put_((group_N, truth_N), torch.ones(len(rows)), accumulate=True)
    every_V = (counts_GV.sum(0) + 1) / (len(rows) + len(known))
    priors_GV = torch.log((counts_GV + 30 * every_V) / (counts_GV.sum(1, keepdim=True) + 30))
    rows_FD = (0.1 * torch.randn(len(kept), args.width)).requires_grad_()
    name_rows_VD = (0.1 * torch.randn(len(known), args.width)).requires_grad_()
    adam = torch.optim.Adam([rows_FD, name_rows_VD], lr=_RATE, betas=(0.9, 0.99))
    order, steps = np.random.default_rng(0), args.epochs * (len(rows) // _BATCH)
    for step in range(steps):
        if step % (len(rows) // _BATCH) == 0:
            shuffled = order.permutation(len(rows))
        batch = shuffled[step % (len(rows) // _BATCH) * _BATCH :][:_BATCH]
        lengths = np.array([len(places[row]) for row in batch])
        flat = torch.from_numpy(np.concatenate([places[row] for row in batch]))
        state_ND = F.embedding_bag(flat, rows_FD, torch.from_numpy(np.cumsum(lengths) - lengths), mode="sum")
        state_ND = state_ND / torch.from_numpy(np.sqrt(np.maximum(lengths, 1))).float()[:, None]
        adam.param_groups[0]["lr"] = _RATE * max(0.02, 1 - step / steps)
        loss = F.cross_entropy(state_ND @ name_rows_VD.T + priors_GV[group_N[batch]], truth_N[batch])
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 50 == 0:
            print(f"step {step} of {steps}, loss {loss.item():.3f}", flush=True)
    return rows_FD.detach().numpy(), name_rows_VD.detach().numpy(), priors_GV.numpy()


def _places(kept: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    places = np.minimum(np.searchsorted(kept, hashes), len(kept) - 1)
    return places[kept[places] == hashes].astype(np.int64)


def rule_odds(rows: list[tuple]) -> dict[str, float]:
    """Log-odds that a rule is right, by language and kind, by kind, and at all, where it was seen often enough."""
    right, given = Counter(), Counter()
    for language, kind, name, _, _, rules in rows:
        for other, names in (rules or {}).items():
            for rule in names:
                for key in (f"{language} {kind} {rule}", f" {kind} {rule}", rule):
                    given[key] += 1
                    right[key] += other == name
    return {
        key: round(float(np.log((right[key] + 0.2) / (count - right[key] + 20))), 2)
        for key, count in given.items()
        if count > 40
    }


def fit(args: argparse.Namespace) -> None:
    """Fit the weights of the joint score by language, with and without the model, and write them into the table."""
    table = load(args.table)
    proposer = Proposer(filler.load(args.model), Settings(window_tokens=args.window_tokens))
    rows = defaultdict(list)
    for path, language, _, tree in documents(chosen(args.corpus, args.files, args.seed + 1, only=DEVELOPMENT)):
        file_units, tokens = units(tree), tokens_of(tree)
        text = Text(tree.source, file_units.units, file_units.names, proposer.filler.tokenizer)
        numbers = told(file_units, path, 6)
        for number, one in zip(numbers, proposer.judged(text, tokens, numbers, file_units.units, table), strict=True):
            rows[language].append((one, file_units.units[number].name))
    weights = {}
    for suffix in ("", " alone"):
        data = {language: [told_apart(*one, suffix) for one in own if one[1] in one[0].names] for language, own in rows.items()}
        shared = minimum([row for own in data.values() for row in own], np.zeros(joint.WEIGHTS), 1e-3)
        for language, own in data.items():
            fitted = minimum(own, shared, 0.02)
            weights[language + suffix] = [round(float(one), 4) for one in fitted]
            hits, count = sum((known @ fitted).argmax() == truth for known, truth in own), len(rows[language])
            print(f"{language}{suffix}: {hits / count:.1%} of {count}, {len(own) / count:.1%} among the candidates", flush=True)
    store(replace(table, weights=weights), args.table)


def told_apart(candidates: joint.Candidates, name: str, suffix: str) -> tuple[np.ndarray, int]:
    """What is known of candidates, and the place of the right one."""
    return candidates.without_model() if suffix else candidates.known_CW, candidates.names.index(name)


def minimum(rows: list[tuple[np.ndarray, int]], start_W: np.ndarray, penalty: float) -> np.ndarray:
    """Weights that minimise the mean cross entropy over the candidates of each row, plus a penalty on leaving `start_W`."""
    import torch

    owner = torch.from_numpy(np.repeat(np.arange(len(rows)), [len(known) for known, _ in rows]))
    every = torch.from_numpy(np.concatenate([known for known, _ in rows]))
    starts = np.cumsum([0, *[len(known) for known, _ in rows]])[:-1]
    truth = torch.from_numpy(starts + np.array([place for _, place in rows]))
    centre = torch.from_numpy(np.asarray(start_W, np.float64))
    weights = centre.clone().requires_grad_()
    solver = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        scores = every @ weights
        powers = torch.zeros(len(rows), dtype=torch.float64).index_add(0, owner, scores.clamp(-60, 60).exp())
        value = (powers.log() - scores[truth]).mean() + penalty * (weights - centre).square().sum()
        value.backward()
        return value

    solver.step(loss)
    return weights.detach().numpy()


def ship(args: argparse.Namespace) -> None:
    """Publish the model and the table as one folder; an existing one is replaced."""
    source = open_artifact(args.model, "model")
    told = {"names": len(load(args.table).names), "packages left out": sorted(DEVELOPMENT)}
    card = Path(__file__).parent / "names_card.md"
    with publish(args.out, "model", settings=source.settings, facts={**source.facts, "table": told}) as folder:
        for name in ("config.json", TOKENS, tokenizers.FILE):
            shutil.copy(args.model / name, folder / name)
        shutil.copy(args.table, folder / FILE)
        (folder / "README.md").write_text(card.read_text(encoding="utf-8"), encoding="utf-8")
    print(f"{args.out}: {sum(file.stat().st_size for file in args.out.iterdir()) / 1e6:.2f} MB")


def store(table: Table, file: Path) -> None:
    """Write the table to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save(table, file)
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB, {len(table.features_F):,} features, {len(table.names):,} names")


def main() -> None:
    """Parse the arguments and run a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    one = steps.add_parser("examples")
    one.add_argument("corpus", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--files", type=int, default=1_500, help="of each language")
    one.set_defaults(run=examples)
    one = steps.add_parser("learn")
    one.add_argument("examples", type=Path)
    one.add_argument("table", type=Path)
    for name, value in (("names", 8_192), ("features", 36_000), ("width", 48), ("epochs", 4)):
        one.add_argument(f"--{name}", type=int, default=value)
    one.set_defaults(run=learn)
    one = steps.add_parser("fit")
    one.add_argument("corpus", type=Path)
    one.add_argument("table", type=Path)
    one.add_argument("--model", type=Path, required=True)
    one.add_argument("--files", type=int, default=80, help="of each language")
    one.add_argument("--window-tokens", type=int, default=128)
    one.set_defaults(run=fit)
    one = steps.add_parser("ship")
    one.add_argument("model", type=Path)
    one.add_argument("table", type=Path)
    one.add_argument("out", type=Path)
    one.set_defaults(run=ship)
    for parsed in steps.choices.values():
        parsed.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
