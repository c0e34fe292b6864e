"""Learn the table of static vectors from the pairs of a corpus, and write it beside the bundled default.

    python scripts/static_table.py CORPUS [--out FILE]

Run it whenever the tokenizer of the bundled default has changed. Other models need none: the table serves all of them.
"""

import argparse
from pathlib import Path

from codesage import tokenizer as tokenizers
from codesage.corpus.read import read_pairs
from codesage.encoder.folders import BUNDLED
from codesage.search.learned import KINDS, learned
from codesage.search.statics import TABLE, write_table

_EVERY = 50  # steps between two lines


def main() -> None:
    """Read, learn, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    tokenizer = tokenizers.load(BUNDLED)
    pairs = read_pairs(arguments.corpus, kinds=KINDS)
    write_table(learned(pairs, tokenizer.encode_words, tokenizer.vocab_size, say=_say), tokenizer, arguments.out)
    print(arguments.out)


def _say(step: int, loss: float) -> None:
    if step % _EVERY == 0:
        print(f"step {step}: loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    main()
