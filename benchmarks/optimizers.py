"""Muon beside AdamW in Stage I, at equal time: the loss that each has reached, at several rates of the blocks' matrices.

    python benchmarks/optimizers.py TOKENS TOKENIZER [--rates 1e-3 2e-3] [--seconds 120] [--out FILE.json]

Every run starts from the same weights, sees the same examples in the same order and has one core to itself; as many run at
a time as there are cores. The loss is the mean over the last tenth of the steps, all of examples not seen before.
"""

import argparse
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import torch

from codesage import recipes
from codesage import tokenizer as tokenizers
from codesage.corpus.tokens.tokenised import open_tokens
from codesage.evaluate.reports import environment
from codesage.pretrain import stage


def main() -> None:
    """Run all, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokens", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--size", default="nano")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        runs = [(optimizer, rate) for rate in arguments.rates for optimizer in ("adamw", "muon")]
        under_way = [pool.submit(trained, arguments, *run) for run in runs]
        figures = [job.result() for job in under_way]
    print("| optimizer | rate | steps | loss |\n|---|---:|---:|---:|")
    for run in figures:
        print(f"| {run['optimizer']} | {run['rate']} | {run['steps']} | {run['loss']:.3f} |")
    if arguments.out:
        record = {
            "date": date.today().isoformat(),
            **environment(),
            "size": arguments.size,
            "seconds": arguments.seconds,
            "runs": figures,
        }
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def trained(arguments: argparse.Namespace, optimizer: str, rate: float) -> dict:
    """One run: steps taken, and the loss over the last tenth of them."""
    torch.set_num_threads(1)
    recipe = recipes.pretraining(arguments.size, seconds=arguments.seconds)
    # The recipe's rate is that of AdamW everywhere; the embedding, which AdamW moves in both, keeps its own.
    loop = replace(
        recipe.loop,
        optimizer=optimizer,
        learning_rate=rate,
        evaluations=0,
        embedding_rate=recipe.loop.embedding_rate * recipe.loop.learning_rate / rate,
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        stage.run(replace(recipe, loop=loop), open_tokens(arguments.tokens), tokenizers.load(arguments.tokenizer), out=out)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    return {"optimizer": optimizer, "rate": rate, "steps": len(losses), "loss": fmean(losses[-max(1, len(losses) // 10) :])}


if __name__ == "__main__":
    main()
