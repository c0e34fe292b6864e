"""Search itself, on whole packages that the model was not trained on, tests and documentation included.

    python benchmarks/known_item.py recipes/release.toml --cache DIR [--queries N] [--out FILE.json]

Of each held-out package of a recipe, functions outside tests are drawn that make a pair; their docstrings are taken out of
the files, the package is indexed, and the first sentence of each docstring must find its function among all chunks. Sentences
that several functions have, such as overloads in Java, are left out: only one of them would count as right. MRR
over the 200 best, for full text and vectors apart and fused, with tests and their subjects ranked alike and as search does.
"""

import argparse
import json
import random
import statistics
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path

import codesage
from codesage.corpus.commands import sources_of
from codesage.corpus.pairs.rules import pairs_of, qualified
from codesage.corpus.sources.recognise import is_test
from codesage.evaluate.reports import environment
from codesage.records import Document, Function
from codesage.search import query as station
from codesage.search.defaults import DENSE_WEIGHT
from codesage.search.index import Index
from codesage.search.ranking import Rules
from codesage.syntax import ParseRefused, functions, parse

SYSTEMS = {  # (weight of the vectors, rules)
    "full text": (0.0, Rules()),
    "vectors": (1e6, Rules()),
    "fused": (DENSE_WEIGHT, Rules()),
    "fused, kinds of files ranked alike": (DENSE_WEIGHT, Rules(kinds={})),
}


def main() -> None:
    """Measure, print, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=100, help="of a package, at most")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    encoder = codesage.load()
    packages, reciprocals = {}, {name: [] for name in SYSTEMS}
    for source in sources_of([arguments.recipe]):
        if source.held_out:
            with tempfile.TemporaryDirectory() as folder:
                asked = lay_out(source, arguments, Path(folder) / "package")
                index = Index.open(Path(folder) / "package", folder=Path(folder) / "index", encoder=encoder)
                index.update(encoder)
                ranks = {name: reciprocal_ranks(index, encoder, asked, *system) for name, system in SYSTEMS.items()}
                packages[source.key] = {"chunks": index.status().chunks, "queries": len(asked)}
                packages[source.key] |= {name: round(100 * statistics.mean(ones), 1) for name, ones in ranks.items()}
                print(source.key, packages[source.key], flush=True)
                for name, ones in ranks.items():
                    reciprocals[name] += ones
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "model": encoder.fingerprint,
        "queries": len(reciprocals["fused"]),
        "packages": packages,
        "MRR x 100": {name: round(100 * statistics.mean(ones), 1) for name, ones in reciprocals.items()},
    }
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def lay_out(source, arguments: argparse.Namespace, root: Path) -> list[tuple[str, str, int, str]]:
    """Write a package's files without the docstrings asked for; the answer is (text, path, line, qualified name) of each."""
    source.fetch(arguments.cache)
    documents = [one for one in source.documents(arguments.cache) if isinstance(one, Document)]
    parsed = {}
    for document in documents:
        if document.language and not is_test(document.path):
            try:
                parsed[document.path] = functions(parse(document.text, document.language, tsx=document.path.endswith(".tsx")))
            except ParseRefused:
                continue
    pairs = [
        pair
        for document in documents
        if document.path in parsed
        for pair in pairs_of(parsed[document.path], document, Counter())
        if pair.kind == "function"
    ]
    counts = Counter(pair.text.lower() for pair in pairs)
    pairs = [pair for pair in pairs if counts[pair.text.lower()] == 1]
    asked = random.Random(0).sample(pairs, min(arguments.queries, len(pairs)))
    chosen = {(pair.path, pair.start_line, pair.name) for pair in asked}
    for document in documents:
        text = document.text.encode("utf-8", "replace")
        for function in reversed(parsed.get(document.path, [])):
            if (document.path, function.start_line, qualified(function)) in chosen:
                start, end = _docstring(function)
                text = text[:start] + b"\n" * text[start:end].count(b"\n") + text[end:]  # lines keep their numbers
        (root / document.path).parent.mkdir(parents=True, exist_ok=True)
        (root / document.path).write_bytes(text)
    return [(pair.text, pair.path, pair.start_line, pair.name) for pair in asked]


def _docstring(function: Function) -> tuple[int, int]:
    if function.language == "python":
        return function.start_byte + len(function.signature.encode()), function.body_byte
    return function.doc_start_byte, function.start_byte


def reciprocal_ranks(index: Index, encoder, asked: list, dense_weight: float, rules: Rules) -> list[float]:
    """Of each query, one over the rank of the first chunk that is the function asked for; 0 where none is."""
    reciprocals = []
    for text, path, line, name in asked:
        hits = station.search(index, encoder, text, top=200, dense_weight=dense_weight, rules=rules)
        ranks = [rank for rank, hit in enumerate(hits, start=1) if _is(hit.chunk, path, line, name)]
        reciprocals.append(1 / ranks[0] if ranks else 0.0)
    return reciprocals


def _is(chunk, path: str, line: int, name: str) -> bool:
    return (chunk.path, chunk.name) == (path, name) and chunk.start_line <= line <= chunk.end_line


if __name__ == "__main__":
    main()
