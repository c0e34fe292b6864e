"""Small random source trees, and a light encoder, for benchmarks that break indexes hundreds of times."""

import hashlib
import random
from pathlib import Path

import numpy as np

from codesage.records import Encoder
from codesage.search.index import Index
from codesage.search.query import search
from codesage.words import split_words

WORDS = "open file parse http header socket reader table config rows token größe index batch vector query".split()
QUERIES = ("open the file", "parse http header", "ConfigTable", '"return parse"', "how are rows read from a socket")
_FOLDERS = ("src", "src/http", "tests", "docs")


class Hashed:
    """An encoder of hashed words: deterministic, and similar texts are near. Each of its 256 tokens has a vector."""

    width, max_tokens, vocab_size, fingerprint = 64, 64, 256, "hashed:1"

    def encode(self, texts: list[str], *, kind: str = "code") -> np.ndarray:
        """float32 (n, width), rows of unit length."""
        rows = np.full((len(texts), self.width), 1e-3, np.float32)
        for row, text in enumerate(texts):
            for word in split_words(text):
                rows[row, hashlib.sha256(word.encode()).digest()[0] % self.width] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def token_counts(self, texts: list[str]) -> list[int]:
        """Words of each text."""
        return [len(text.split()) for text in texts]

    def whole_ids(self, texts: list[str]) -> list[list[int]]:
        """A token for each word."""
        return [[sum(word.encode()) % self.vocab_size for word in text.split()] or [0] for text in texts]

    def encode_ids(self, documents: list[list[int]]) -> np.ndarray:
        """float32 (n, width), the sum of random vectors."""
        table = np.random.default_rng(0).standard_normal((self.vocab_size, self.width)).astype(np.float32)
        return np.stack([table[ids].sum(0) / np.linalg.norm(table[ids].sum(0)) for ids in documents])


def write_tree(root: Path, drawn: random.Random, *, files: int) -> None:
    """Write `files` random files, some in the place of others that are there."""
    for _ in range(files):
        folder, suffix = drawn.choice(_FOLDERS), drawn.choice((".py", ".py", ".go", ".md"))
        file = root / folder / f"{drawn.choice(WORDS)}{drawn.randrange(9)}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(_function(drawn) if suffix == ".py" else _line(drawn) for _ in range(drawn.randint(1, 8)))
        file.write_text(text, encoding="utf-8")


def change_tree(root: Path, drawn: random.Random) -> None:
    """Remove some files, write some others, rename one."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    for file in drawn.sample(files, len(files) // 4):
        file.unlink()
    write_tree(root, drawn, files=len(files) // 4)
    kept = drawn.choice(sorted(path for path in root.rglob("*") if path.is_file()))
    kept.rename(kept.with_name(f"renamed_{kept.name}"))


def _function(drawn: random.Random) -> str:
    words = drawn.choices(WORDS, k=5)
    body = f"    # {' '.join(words)}\n    return {words[1]}({words[2]})\n\n\n"
    return f"class {words[0].title()}Table:\n{body}" if drawn.random() < 0.2 else f"def {words[0]}_{words[3]}(path):\n{body}"


def _line(drawn: random.Random) -> str:
    return " ".join(drawn.choices(WORDS, k=8)) + "\n"


def answers(index: Index, encoder: Encoder) -> list:
    """What the index answers to some queries, with scores."""
    return [
        [(hit.chunk.path, hit.chunk.start_line, hit.chunk.name, hit.chunk.text, round(hit.score, 9)) for hit in hits]
        for hits in (search(index, encoder, query, top=8) for query in QUERIES)
    ]
