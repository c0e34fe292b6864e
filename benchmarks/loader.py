"""The loaders of both stages beside the training that eats from them, and the rates at which a corpus is tokenised.

Run: python benchmarks/loader.py [--size nano] [--tokens FOLDER] [--rounds 7] [--out FILE.json]. Without --tokens, a part
of the standard library is tokenised by the bundled tokenizer. Loader and training take turns, so many rounds of each
after one that is not counted; training is forward, backward and AdamW of steps on all cores, without what else a loop does,
which makes it look a little faster than it is. The loader is one thread. Medians.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from codesage import recipes
from codesage import tokenizer as tokenizers
from codesage.contrast import batches as contrast_batches
from codesage.contrast import stage as contrast
from codesage.corpus.pairs.rules import pairs_of
from codesage.corpus.sources.trees import StandardLibrary
from codesage.corpus.tokens import tokenised as station
from codesage.corpus.tokens.pretokens import Pretokens
from codesage.corpus.tokens.tokenise import pieces_of
from codesage.encoder.model import Encoder
from codesage.evaluate.reports import environment
from codesage.pretrain import examples
from codesage.pretrain import stage as pretrain
from codesage.records import Document, Pair
from codesage.syntax import ParseRefused, functions, parse
from codesage.training import optimizers

DOCUMENTS = 250
BUNDLED = Path(tokenizers.__file__).parent / "models" / "default"


def main() -> None:
    """Measure and print; write JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="nano")
    parser.add_argument("--tokens", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    record = {"date": date.today().isoformat(), **environment(), "size": arguments.size, "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as temporary:
        tokenizer = tokenizers.load(BUNDLED)
        folder = arguments.tokens
        if folder is None:
            documents, pairs = _standard_library()
            record["tokenise_megabytes_per_second"] = _tokenising(documents, tokenizer)
            folder = station.write(documents, pairs, tokenizer, Path(temporary) / "tokens").path
        tokens = station.open_tokens(folder)
        encoder = Encoder(replace(recipes.encoder_of(arguments.size), vocab_size=tokens.vocab_size))
        record["stage_one"] = _stage_one(tokens, encoder, recipes.pretraining(arguments.size), arguments.rounds)
        settings = recipes.contrasting(arguments.size, pairs=len(tokens.pairs))
        record["stage_two"] = _stage_two(tokens, encoder, settings, arguments.rounds)
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _stage_one(tokens: station.Tokens, encoder: Encoder, settings: pretrain.Settings, rounds: int) -> dict:
    made = {
        "as the recipe": examples.Batches(tokens, settings.examples),
        "2048 x 1024": examples.Batches(tokens, examples.Settings()),
        "80-10-10, rate 10-50%, capped": examples.Batches(
            tokens, replace(settings.examples, mask_style="80-10-10", mask_rate=(0.1, 0.5), deobfuscation_share=0.3)
        ),
    }
    counts = {"as the recipe": 25, "2048 x 1024": 1, "80-10-10, rate 10-50%, capped": 25}
    work = {name: lambda step, name=name: len(made[name].at(step).inputs_T) for name in made}

    optimizer = optimizers.build(encoder, settings.loop)

    def trained(step: int) -> int:
        _, count = pretrain.gradients(encoder, made["as the recipe"].at(step), micro_tokens=settings.micro_tokens)
        _update(optimizer)
        return count

    rates = _rates({**work, "training": trained}, {**counts, "training": 1}, rounds)
    return {"tokens_per_second": rates, "times_training": round(rates["as the recipe"] / rates["training"], 1)}


def _stage_two(tokens: station.Tokens, encoder: Encoder, settings: contrast.Settings, rounds: int) -> dict:
    """Each phase of the recipe beside its own loader: the one that bypasses the blocks eats a hundred times as fast."""
    work, counts = {}, {}
    for name, phase in settings.phases().items():
        drawn = contrast_batches.Batches(tokens, phase.batches)

        optimizer = optimizers.build(encoder, phase.loop)

        def trained(step: int, *, phase=phase, drawn=drawn, optimizer=optimizer) -> int:
            batch = drawn.at(step)
            contrast.gradients(encoder, phase, batch)
            _update(optimizer)
            return len(batch.pair_P)

        work |= {name: lambda step, drawn=drawn: len(drawn.at(step).pair_P), f"{name}, training": trained}
        counts |= {name: 25, f"{name}, training": 10 if phase.depth == 0 else 1}
    whole = contrast_batches.Batches(tokens, contrast_batches.Settings(hard_positives=0.5, documented=0.25))
    work["8192 pairs, mixed views"] = lambda step: len(whole.at(step).pair_P)
    rates = _rates(work, {**counts, "8192 pairs, mixed views": 1}, rounds)
    times = {name: round(rates[name] / rates[f"{name}, training"], 1) for name in settings.phases()}
    return {"pairs_per_second": rates, "times_training": times}


def _update(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _rates(work: dict[str, Callable[[int], int]], counts: dict[str, int], rounds: int) -> dict[str, float]:
    """Median items per second of each kind of work, taken in turns; `counts`: steps of each in a round."""
    speeds = {name: [] for name in work}
    for round_ in range(rounds + 1):
        for name, one in work.items():
            steps = range(round_ * counts[name], (round_ + 1) * counts[name])
            started = time.perf_counter()
            items = sum(map(one, steps))
            if round_:
                speeds[name].append(items / (time.perf_counter() - started))
    return {name: round(statistics.median(rates)) for name, rates in speeds.items()}


def _tokenising(documents: list[Document], tokenizer: tokenizers.Tokenizer) -> dict[str, float]:
    """MB of text a second of one core's time: ours beside the library's, and the parse alone."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    texts = [document.text for document in documents]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    pieces: list[bytes] = []
    strings: list[str] = []

    def parsed() -> None:
        for document in documents:
            pieces_of(document, pieces, [])
        strings.extend(piece.decode() for piece in pieces)

    def parts(items: list[str]) -> list[list[str]]:
        size = max(1, len(items) // 10)
        return [items[at : at + size] for at in range(0, len(items), size)]

    def by_words(items: list[str]) -> np.ndarray:
        words = Pretokens(tokenizer, dtype=np.dtype("<u4"))
        return np.concatenate([words.encode(part)[0] for part in parts(items)])

    def by_library(items: list[str]) -> np.ndarray:
        return np.array([t for part in parts(items) for ids in tokenizer.encode_pieces(part) for t in ids], np.uint32)

    rates, ids = {}, {}
    for name, work in (
        ("parse", parsed),
        ("plain", lambda: by_words(texts)),
        ("plain, library", lambda: by_library(texts)),
        ("named", lambda: by_words(strings)),
        ("named, library", lambda: by_library(strings)),
    ):
        started = time.process_time()
        ids[name] = work()
        rates[name] = round(megabytes / (time.process_time() - started), 2)
    if any((ids[name] != ids[f"{name}, library"]).any() for name in ("plain", "named")):
        raise SystemExit("the words give other ids than the library: nothing was measured")
    return rates


def _standard_library() -> tuple[list[Document], list[Pair]]:
    entries = StandardLibrary().documents(Path())
    documents = list(islice((one for one in entries if isinstance(one, Document)), DOCUMENTS))
    pairs: list[Pair] = []
    for document in documents:
        try:
            tree = parse(document.text, document.language)
        except (ParseRefused, KeyError):
            continue
        pairs += pairs_of(functions(tree), document, Counter())
    return documents, pairs


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
