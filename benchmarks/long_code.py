"""Do long functions gain from being read whole? MRR of held-out functions by models that read different numbers of tokens.

    python benchmarks/long_code.py TOKENS MODEL=LENGTH... [--long 600] [--others 1400] [--out FILE]

TOKENS is a tokens folder with code of at least the longest LENGTH, made with the tokenizer of the models. Each text searches
the bodies of its language. A function is long if its body has over 255 tokens. The differences are from the first model, query
by query, with the 95% interval of their mean.
"""

import argparse
import json
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from codesage.corpus.tokens.tokenised import open_tokens
from codesage.encoder.weights import load_encoder
from codesage.evaluate.reports import environment
from codesage.training import precision, retrieval

_SHORT = 255  # tokens, without the end token
_TEXT_TOKENS = 64


def main() -> None:
    """Measure, print a line for each model, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokens", type=Path)
    parser.add_argument("models", nargs="+", metavar="MODEL=LENGTH")
    parser.add_argument("--long", type=int, default=600)
    parser.add_argument("--others", type=int, default=1400)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    tokens = open_tokens(arguments.tokens)
    rows, long = sample(tokens.held_out, arguments.long, arguments.others)
    figures, first = [], np.zeros(len(rows))
    for given in arguments.models:
        folder, _, length = given.rpartition("=")
        scores = reciprocal_ranks(tokens, rows, folder, int(length))
        first = first if figures else scores
        figures.append({"model": Path(folder).name, "reads": int(length), **parts(scores, first, long)})
        print(figures[-1], flush=True)
    record = {"date": date.today().isoformat(), **environment(), "long": int(long.sum()), "others": int((~long).sum())}
    if arguments.out:
        arguments.out.write_text(json.dumps(record | {"MRR": figures}, indent=1) + "\n", encoding="utf-8")


def sample(held_out, most_long: int, most_others: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of held-out pairs with distinct texts, and which of them are long."""
    rows = retrieval.distinct(held_out, most=len(held_out))
    long, random = held_out.body.lengths_at(rows) > _SHORT, np.random.default_rng(0)
    chosen = [random.permutation(np.flatnonzero(part))[:most] for part, most in ((long, most_long), (~long, most_others))]
    return rows[np.concatenate(chosen)], np.arange(sum(map(len, chosen))) < len(chosen[0])


def reciprocal_ranks(tokens, rows: np.ndarray, folder: str, length: int) -> np.ndarray:
    """100 / rank of each text's own body among those of its language."""
    encoder, held_out = load_encoder(folder).eval(), tokens.held_out
    sides = [retrieval.cut(held_out.text, rows, _TEXT_TOKENS, tokens.end_id)]
    sides.append(retrieval.cut(held_out.body, rows, length, tokens.end_id))
    with torch.no_grad(), precision.autocast("auto", torch.device("cpu"))():
        texts_ND, codes_ND = (F.normalize(retrieval.vectors(encoder, side), dim=-1) for side in sides)
    scores = np.zeros(len(rows))
    for language in np.unique(held_out.language[rows]):
        own = np.flatnonzero(held_out.language[rows] == language)
        scores_LL = texts_ND[own] @ codes_ND[own].T
        scores[own] = 100 / (scores_LL >= scores_LL.diagonal()[:, None]).sum(1).double().numpy()
    return scores


def parts(scores: np.ndarray, first: np.ndarray, long: np.ndarray) -> dict:
    """The mean of all, long and other functions, and the differences from the first model."""
    figures = {}
    for name, rows in (("all", np.ones(len(long), bool)), ("long", long), ("others", ~long)):
        gain = scores[rows] - first[rows]
        half = 1.96 * gain.std() / len(gain) ** 0.5
        means = {"mrr": scores[rows].mean(), "gain": gain.mean(), "half": half}
        figures[name] = {key: round(float(value), 2) for key, value in means.items()}
    return figures


if __name__ == "__main__":
    main()
