"""Stage I real tokens/s and peak memory beside transformers' Trainer on the same architecture.

Run: python benchmarks/pretrain_speed.py [--rounds 3] [--steps 3] [--size nano] [--out FILE.json]. Both sides train the same
random weights on the same documents (files of the standard library, cut at --max-tokens as the peer cuts them: one window
each), the same tokens hidden in them, AdamW, gradients clipped, no dropout, in bf16 where the processor has it, else in fp32
(CODESAGE_PRECISION=fp32 in the environment: fp32 everywhere), the same on all sides. The peer is padded_gpt2.py in two forms:
"padded", a document a row, padded to the longest of its batch by the collator (as DataCollatorForLanguageModeling pads);
"concatenated", the texts of the same batches end to end, cut into full blocks whose tokens see the whole block (as
run_mlm.py groups texts). A step has the same real tokens in all three, which are those that are no padding.

Losses of a first batch that is padded are compared in fp32 before anything is timed: ours with the padded form, and on its
blocks, each taken as one document, with the concatenated form. Rounds are interleaved, each form in a process of its own;
steps.py says how they are measured.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import count
from pathlib import Path

import numpy as np

import steps
from codesage.encoder.folders import BUNDLED
from codesage.evaluate.reports import environment

FORMS = ("codesage", "padded", "concatenated")
GOALS = {"padded": 2.5, "concatenated": 1.3}  # times its tokens/s
DOCUMENTS = 1_000


def main() -> None:
    """Measure and print; write JSON with --out."""
    arguments = _arguments()
    if arguments.work:
        print(json.dumps(WORKERS[arguments.form](arguments)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        prepare(Path(temporary), arguments.size)
        options = {name: getattr(arguments, name) for name in ("steps", "max_tokens", "batch_tokens", "micro_tokens")}
        checked = steps.run(__file__, "check", Path(temporary), **options)
        print("losses of the first batch: " + ", ".join(f"{k} {a:.6f} and {b:.6f}" for k, (a, b) in checked.items()))
        runs = {form: [] for form in FORMS}
        for round_ in range(arguments.rounds):
            for form in FORMS:
                runs[form].append(steps.run(__file__, form, Path(temporary), **options))
                print(f"round {round_ + 1}, {form}: {steps.told(runs[form][-1], 'tokens')}", flush=True)
    ratios = {form: steps.ratios(runs["codesage"], runs[form]) for form in FORMS[1:]}
    from codesage.training import precision

    used = {**precision.environment(), "precision": steps.same_precision(runs)}
    record = {
        "date": date.today().isoformat(),
        **environment(),
        **used,
        "size": arguments.size,
        **options,
        "losses": checked,
        "ratios": ratios,
        "runs": runs,
    }
    print(f"{record['cpu']}: {used}")
    for form, figures in ratios.items():
        print(
            f"codesage against {form}: "
            + ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
            + f" (goals: {GOALS[form]} in tokens/s, 0.5 in memory)"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def prepare(work: Path, size: str) -> None:
    """Token ids of the documents and random weights of a size, for every process to read."""
    import torch

    from codesage import recipes
    from codesage.corpus.tokens import tokenised
    from codesage.encoder.model import Encoder
    from codesage.encoder.weights import save_weights
    from codesage.tokenizer import load

    tokenizer = load(BUNDLED)
    tokenised.write(_documents(), [], tokenizer, work / "tokens", settings=tokenised.Settings(workers=1))
    torch.manual_seed(0)
    (work / "model").mkdir()
    save_weights(Encoder(replace(recipes.encoder_of(size), vocab_size=tokenizer.vocab_size)), work / "model")


def _documents() -> list:
    """A sample of the standard library's files; without a language, since nothing here needs their names."""
    import random

    from codesage.corpus.sources.trees import StandardLibrary
    from codesage.records import Document

    documents = [one for one in StandardLibrary().documents(Path()) if isinstance(one, Document) and one.text.strip()]
    chosen = random.Random(0).sample(documents, min(DOCUMENTS, len(documents)))
    return [replace(one, text=one.text[:20_000], language="") for one in chosen]  # longer than any window is


def _batches(arguments: argparse.Namespace):
    """Batches of Stage I over documents that are a window each."""
    from codesage.corpus.tokens.ragged import Ragged, spans
    from codesage.corpus.tokens.tokenised import open_tokens
    from codesage.pretrain import examples

    tokens = open_tokens(arguments.work / "tokens")
    lengths = np.minimum(tokens.plain.lengths, arguments.max_tokens)
    ids = tokens.plain.ids[spans(tokens.plain.borders[:-1], lengths)]
    cut = replace(tokens, plain=Ragged(ids, np.concatenate(([0], lengths.cumsum()))))
    settings = examples.Settings(objective="masking", max_tokens=arguments.max_tokens, batch_tokens=arguments.batch_tokens)
    return examples.Batches(cut, settings)


def _padded(batches, first: int = 0) -> Iterator[dict]:
    """Ids, mask and labels (B, L) of the batches of steps first, first + 1, ..., a window a row."""
    import torch

    for batch in map(batches.at, count(first)):
        seen = np.arange(max(batch.lengths)) < np.array(batch.lengths)[:, None]
        labels = np.full(len(batch.inputs_T), -100)
        labels[batch.hidden_M] = batch.labels_M
        rows = {"input_ids": np.zeros(seen.shape, np.int64), "labels": np.full(seen.shape, -100)}
        rows["input_ids"][seen], rows["labels"][seen] = batch.inputs_T, labels
        yield {"attention_mask": torch.from_numpy(seen.astype(np.int64)), **{k: torch.from_numpy(v) for k, v in rows.items()}}


def _concatenated(batches, block: int, first: int = 0) -> Iterator[dict]:
    """The same tokens end to end in blocks of one length, as many full ones a step as there are; the rest goes on."""
    import torch

    left = {"input_ids": torch.empty(0, dtype=torch.int64), "labels": torch.empty(0, dtype=torch.int64)}
    for rows in _padded(batches, first):
        seen = rows["attention_mask"].bool()
        left = {name: torch.cat([kept, rows[name][seen]]) for name, kept in left.items()}
        whole = len(left["labels"]) // block * block
        blocks = {name: kept[:whole].view(-1, block) for name, kept in left.items()}
        left = {name: kept[whole:] for name, kept in left.items()}
        yield {"attention_mask": torch.ones_like(blocks["labels"]), **blocks}


def _check(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Our loss and the peer's on a first batch, in both forms; an error when they differ."""
    import torch

    from codesage.encoder.weights import load_encoder
    from codesage.pretrain import stage
    from codesage.pretrain.examples import Batch
    from padded_gpt2 import load_masked_lm

    encoder, peer, losses = load_encoder(arguments.work / "model"), load_masked_lm(arguments.work / "model"), {}
    batches = _batches(argparse.Namespace(**{**vars(arguments), "batch_tokens": 4 * arguments.max_tokens}))
    step = next(step for step in range(100) if len(set(batches.at(step).lengths)) > 1)  # one that is padded at all
    with torch.no_grad():
        rows = next(_padded(batches, step))
        blocks = next(_concatenated(batches, arguments.max_tokens, step))
        labels = blocks["labels"].flatten()
        hidden = (labels >= 0).nonzero()[:, 0]
        as_documents = Batch(
            blocks["input_ids"].flatten().numpy(),
            labels[hidden].numpy(),
            hidden.numpy(),
            [arguments.max_tokens] * len(blocks["labels"]),
        )
        for form, batch, given in (("padded", batches.at(step), rows), ("concatenated", as_documents, blocks)):
            mine, other = stage.summed_loss(encoder, batch) / len(batch.hidden_M), peer(**given).loss
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
            losses[form] = [mine.item(), other.item()]
    return losses


def _ours(arguments: argparse.Namespace) -> dict:
    from codesage.encoder.weights import load_encoder
    from codesage.pretrain import stage

    encoder, micro = load_encoder(arguments.work / "model"), arguments.micro_tokens or arguments.batch_tokens
    return steps.measured_ours(
        encoder,
        _batches(arguments),
        lambda batch: stage.gradients(encoder, batch, micro_tokens=micro),
        items=lambda batch: len(batch.inputs_T),
        steps=arguments.steps,
        stage="pretrain",
    )


def _theirs(arguments: argparse.Namespace) -> dict:
    import torch
    from transformers import Trainer, TrainingArguments

    from codesage.training import precision
    from padded_gpt2 import load_masked_lm

    clock, batches = steps.Clock(), _batches(arguments)
    made = _padded(batches) if arguments.form == "padded" else _concatenated(batches, arguments.max_tokens)

    def collate(_numbers: list[int]) -> dict:
        rows = next(made)
        clock.items.append(int(rows["attention_mask"].sum()))
        return rows

    with tempfile.TemporaryDirectory() as out:
        settings = TrainingArguments(
            output_dir=out,
            per_device_train_batch_size=1,
            max_steps=arguments.steps + 1,
            learning_rate=1e-5,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            optim="adamw_torch_fused",
            remove_unused_columns=False,
            bf16=precision.has_bf16(torch.device("cpu")),
        )
        model = load_masked_lm(arguments.work / "model")
        clock.watch(model)
        trainer = Trainer(
            model=model,
            args=settings,
            data_collator=collate,
            train_dataset=list(range(arguments.steps + 1)),
            callbacks=[clock.callback()],
        )
        return steps.measured(clock, trainer.train)


WORKERS = {"check": _check, "codesage": _ours, "padded": _theirs, "concatenated": _theirs}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="timed steps a round")
    parser.add_argument("--size", default="nano")
    parser.add_argument("--max-tokens", type=int, default=1024, help="of a document, and of a block")
    parser.add_argument("--batch-tokens", type=int, default=8192, help="real tokens a step")
    parser.add_argument("--micro-tokens", type=int, default=0, help="of one forward and backward of ours; 0: the whole batch")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--form", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
