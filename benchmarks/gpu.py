"""Training speed on a GPU: tokens a second of Stage I, pairs a second of Stage II, and their share of the device's peak.

Run: python benchmarks/gpu.py TOKENS [--sizes small nano] [--stages 1 2] [--forms plain compiled] [--out FILE.json]. Whole
steps of the training loop on the batches of TOKENS (codesage tokens), made beforehand: gradients in micro-batches, clipping,
optimizer; dropout, lengths and vocabulary as the size is trained with. The peak is the vendor's for dense bf16, and beside it
what one large product reaches here. Stage II is a batch of 8,192 pairs through cached gradients, whose second forward counts
as time, not as operations.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch

from codesage import recipes
from codesage.contrast import batches as pairs
from codesage.contrast import stage as contrast
from codesage.corpus.tokens.tokenised import Tokens, open_tokens
from codesage.encoder.config import SIZES
from codesage.encoder.model import Encoder
from codesage.pretrain import examples
from codesage.pretrain import stage as pretrain
from codesage.training import estimate, loop, metrics, precision, processes

BATCH_TOKENS, BATCH_PAIRS = 262_144, 8_192
DEVICE = torch.device("cuda")


def main() -> None:
    """Measure and print; write JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["small", "nano"])
    parser.add_argument("--stages", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--forms", nargs="+", default=["plain", "compiled"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    tokens = open_tokens(arguments.tokens, verify=False)
    peak = estimate.peak_flops(DEVICE, bf16=True)
    record = {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "peak_teraflops": peak / 1e12,
        "product_teraflops": round(product() / 1e12),
        "copy_gigabytes_per_second": round(copied() / 1e9),
        "rows": [],
    }
    print({name: value for name, value in record.items() if name != "rows"}, flush=True)
    for size in arguments.sizes:
        for form in arguments.forms:
            for stage in arguments.stages:
                measured = {1: stage_one, 2: stage_two}[stage]
                row = {"size": size, "form": form, **measured(size, tokens, form == "compiled", arguments.steps, peak)}
                record["rows"].append(row)
                print(row, flush=True)
                if arguments.out:
                    arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def stage_one(size: str, tokens: Tokens, compiled: bool, steps: int, peak: float) -> dict:
    """Tokens a second of Stage I at windows of up to 1,024 tokens."""
    settings = recipes.pretraining(size, memory=processes.memory(DEVICE))
    drawn = examples.Batches(tokens, replace(settings.examples, max_tokens=1024, batch_tokens=BATCH_TOKENS))
    batches = Made([drawn.at(step) for step in range(3)])
    encoder = fresh(size)
    rate, figures = timed(
        encoder,
        replace(settings.loop, steps=steps + 2, compile=compiled),
        batches,
        lambda batch: pretrain.gradients(encoder, batch, micro_tokens=settings.micro_tokens),
    )
    length, head_share = pretrain.shape_of(batches.at(0))
    flops = estimate.flops_per_token(encoder.config, head_share=head_share, length=length)
    return {
        "stage": 1,
        "tokens_per_second": round(rate),
        "share_of_peak": round(rate * flops / peak, 3),
        "hidden": round(head_share, 3),
        "attended": round(length),
        **figures,
    }


def stage_two(size: str, tokens: Tokens, compiled: bool, steps: int, peak: float) -> dict:
    """Pairs a second of Stage II in batches of 8,192, texts and codes as long as TOKENS hold them."""
    settings = recipes.contrasting(size, pairs=len(tokens.pairs), memory=processes.memory(DEVICE))
    lengths = {"text_tokens": min(128, tokens.text_tokens), "code_tokens": min(1024, tokens.code_tokens)}
    drawn = pairs.Batches(tokens, replace(settings.batches, batch_pairs=BATCH_PAIRS, **lengths))
    batches = Made([drawn.at(step) for step in range(2)])
    encoder = fresh(size)
    rate, figures = timed(
        encoder,
        replace(settings.loop, steps=max(2, steps // 2) + 2, compile=compiled),
        batches,
        lambda batch: contrast.gradients(encoder, replace(settings, cached=True), batch),
    )
    held = sum(len(side.ids) for batch in batches.made for side in (batch.texts, batch.codes))
    tokens_per_pair = held / sum(len(batch.pair_P) for batch in batches.made)
    flops = estimate.flops_per_token(encoder.config, length=contrast.mean_length(batches.at(0)))
    return {
        "stage": 2,
        "pairs_per_second": round(rate / tokens_per_pair),
        "tokens_per_second": round(rate),
        "share_of_peak": round(rate * flops / peak, 3),
        "tokens_per_pair": round(tokens_per_pair),
        **figures,
    }


@dataclass(frozen=True, slots=True)
class Made:
    """A few batches, over and over."""

    made: Sequence

    def at(self, step: int, **share):
        """The batch of a step."""
        return self.made[step % len(self.made)]


def fresh(size: str) -> Encoder:
    """An untrained encoder of the size, with the published vocabulary where the size is published."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    return Encoder(replace(recipes.encoder_of(size), vocab_size=SIZES[size].vocab_size)).to(DEVICE)


def timed(encoder: Encoder, settings: loop.Settings, batches: Made, gradients: Callable) -> tuple[float, dict]:
    """Median tokens a second of the steps after the first two; graphs compiled, peak memory in GB."""
    before = precision.graphs()
    torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        facts = loop.train(encoder, settings, loop.Run("timed", Path(folder), batches, gradients))
        lines = metrics.read(Path(folder) / metrics.FILE)
    if facts["skipped"]:
        raise SystemExit(f"{facts['skipped']} steps were not finite")
    rates = [(line["tokens"] - last["tokens"]) / (line["seconds"] - last["seconds"]) for last, line in pairwise(lines[1:])]
    return median(rates), {
        "graphs": precision.graphs() - before,
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
    }


def product(size: int = 8192) -> float:
    """Operations a second of one large bf16 product of random numbers."""
    a, b = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / events(lambda: a @ b)


def copied(size: int = 2**30) -> float:
    """Bytes a second, read and written, of a copy on the device."""
    a, b = (torch.empty(size, device=DEVICE, dtype=torch.uint8).random_() for _ in range(2))
    return 2 * size / events(lambda: a.copy_(b))


def events(work: Callable, rounds: int = 10) -> float:
    """Median seconds of `work` on the device."""
    seconds = []
    for _ in range(rounds + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return median(seconds[3:])


if __name__ == "__main__":
    main()
