"""Stage II pairs/s beside sentence-transformers' trainer: its ranking loss, and its cached ranking loss.

Run: python benchmarks/contrast_speed.py [--rounds 2] [--steps 1] [--out FILE.json]. Both sides train the architecture of
`nano` from the same weights on the same pairs of the standard library (docstring, bare body), batch 256, code up to 256
tokens, AdamW, no dropout, in bf16 where the processor has it, else in fp32 (CODESAGE_PRECISION=fp32 in the environment: fp32
everywhere), the same on all sides; the peer runs it as people run it today: padded_gpt2.py, texts tokenised by its collator.
The loss is the peer's (text to code, scale 20) on both sides; it is compared in fp32 on a first batch before anything is
timed. Ours without a cache stands beside its ranking loss, ours with cached gradients beside its cached one. Rounds are
interleaved, each form of one in a process of its own; steps.py says how they are measured.
"""

import argparse
import json
import random
import sysconfig
import tempfile
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import steps
from codesage.encoder.folders import BUNDLED
from codesage.evaluate.reports import environment
from codesage.records import Pair

TEXT_TOKENS, CODE_TOKENS, MICRO_TOKENS = 256, 256, 4_096
CHECKED = 32  # pairs of the batch whose losses are compared
SCALE = 20.0  # of the cosine: the peer's default, our temperature 0.05
PEER_ROWS = 32  # of a micro-batch of the peer's cached loss: its default
FORMS = ("codesage", "peer", "codesage-cached", "peer-cached")
GOALS = {"peer": 1.5, "peer-cached": 2.0}  # times its pairs/s


def main() -> None:
    """Measure and print; write JSON with --out."""
    arguments = _arguments()
    if arguments.work:
        print(json.dumps(WORKERS[arguments.form](arguments)))
        return
    options = {name: getattr(arguments, name) for name in ("steps", "batch", "layers")}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        _prepare(work, _pairs(arguments.batch * (arguments.steps + 2)), arguments.layers)
        checked = steps.run(__file__, "check", work, **options)
        print("losses of the first batch: " + ", ".join(f"{k} {a:.6f} and {b:.6f}" for k, (a, b) in checked.items()))
        runs = {form: [] for form in FORMS}
        for round_ in range(arguments.rounds):
            for form in FORMS:
                runs[form].append(steps.run(__file__, form, work, **options))
                print(f"round {round_ + 1}, {form}: {steps.told(runs[form][-1], 'pairs')}", flush=True)
    ratios = {form: steps.ratios(runs[form.replace("peer", "codesage")], runs[form]) for form in GOALS}
    from codesage.training import precision

    used = {**precision.environment(), "precision": steps.same_precision(runs)}
    record = {
        "date": date.today().isoformat(),
        **environment(),
        **used,
        **options,
        "code_tokens": CODE_TOKENS,
        "losses": checked,
        "ratios": ratios,
        "runs": runs,
    }
    print(f"{record['cpu']}: {used}")
    for form, figures in ratios.items():
        print(
            f"codesage against {form}: "
            + ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
            + f" (goal: {GOALS[form]} in pairs/s)"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _pairs(count: int) -> list[Pair]:
    """A sample of the documented functions of the standard library, no text twice."""
    from codesage.syntax import functions, parse

    documented = {}
    for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if len(documented) >= 4 * count or "site-packages" in file.parts:
            continue
        try:
            source = parse(file.read_text(encoding="utf-8"), "python")
        except Exception:  # test files of the standard library that are not meant to be read
            continue
        for function in functions(source):
            text = function.docstring.strip().split("\n")[0]
            if text and function.bare_body.count("\n") >= 2:
                documented.setdefault(text, (function, file.name))
    chosen = random.Random(0).sample(sorted(documented), count)
    return [
        Pair(
            text=text,
            code=documented[text][0].bare_body,
            bare_body=documented[text][0].bare_body,
            description="",
            language="python",
            name=documented[text][0].name,
            kind="function",
            path=documented[text][1],
            start_line=1,
        )
        for text in chosen
    ]


def _prepare(work: Path, pairs: list[Pair], layers: int) -> None:
    """The pairs as tokens and as texts, and the same random weights as a folder of ours and as one of the peer."""
    import torch

    from codesage.corpus.tokens import tokenised
    from codesage.encoder.config import SIZES
    from codesage.encoder.hub import export_hub
    from codesage.encoder.model import Encoder
    from codesage.encoder.weights import save_weights
    from codesage.tokenizer import load
    from padded_gpt2 import padded_config

    tokenizer = load(BUNDLED)
    options = tokenised.Settings(text_tokens=TEXT_TOKENS, code_tokens=CODE_TOKENS, workers=1)
    tokenised.write([], pairs, tokenizer, work / "tokens", settings=options)
    (work / "pairs.json").write_text(json.dumps([asdict(pair) for pair in pairs]), encoding="utf-8")
    torch.manual_seed(0)
    shape = replace(SIZES["nano"], num_hidden_layers=layers, vocab_size=tokenizer.vocab_size).without_dropout()
    (work / "plain").mkdir()
    save_weights(Encoder(shape), work / "plain")
    tokenizer.save(work / "plain")
    export_hub(work / "plain", work / "ours")
    export_hub(work / "plain", work / "theirs")
    (work / "theirs" / "manifest.json").unlink()
    padded_config(shape).save_pretrained(work / "theirs")


def _batches(arguments: argparse.Namespace, size: int):
    from codesage.contrast.batches import Batches, Settings
    from codesage.corpus.tokens.tokenised import open_tokens

    return Batches(open_tokens(arguments.work / "tokens"), Settings(size, TEXT_TOKENS, CODE_TOKENS))


def _gradients(encoder, batch, *, with_cache: bool):
    """The peer's loss by our means: its gradients are left in `.grad`."""
    import torch
    from torch.nn import functional as F

    from codesage.contrast import cached
    from codesage.contrast.vectors import embed, stacked, taken

    def loss_of(vectors_ND):
        text_PD, code_PD = (F.normalize(side, dim=-1) for side in vectors_ND.chunk(2))
        return F.cross_entropy(SCALE * text_PD @ code_PD.T, torch.arange(len(text_PD)))

    documents = stacked(batch.texts, batch.codes)
    rows = cached.micro_batches(documents.lengths.tolist(), tokens=MICRO_TOKENS)
    loss = cached.backward(lambda micro: embed(encoder, taken(documents, micro)), rows, loss_of, cached=with_cache)
    return loss, len(documents.ids)


def _peer(work: Path, *, with_cache: bool):
    """The peer's model and loss."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import losses
    from transformers import AutoConfig, AutoModel

    from padded_gpt2 import PaddedConfig, PaddedModel

    AutoConfig.register(PaddedConfig.model_type, PaddedConfig, exist_ok=True)
    AutoModel.register(PaddedConfig, PaddedModel, exist_ok=True)
    model = SentenceTransformer(str(work / "theirs"), device="cpu")
    model.max_seq_length = CODE_TOKENS
    if with_cache:
        return model, losses.CachedMultipleNegativesRankingLoss(model, scale=SCALE, mini_batch_size=PEER_ROWS)
    return model, losses.MultipleNegativesRankingLoss(model, scale=SCALE)


def _texts(work: Path) -> list[tuple[str, str]]:
    return [(pair["text"], pair["bare_body"]) for pair in json.loads((work / "pairs.json").read_text(encoding="utf-8"))]


def _check(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Our loss and the peer's on a first batch, without and with a cache; an error when they differ."""
    import torch

    from codesage.encoder.weights import load_encoder

    encoder, losses = load_encoder(arguments.work / "ours"), {}
    batch, texts = _batches(arguments, CHECKED).at(0), _texts(arguments.work)
    for form in GOALS:
        mine, _ = _gradients(encoder, batch, with_cache="cached" in form)
        model, loss = _peer(arguments.work, with_cache="cached" in form)
        features = [model.preprocess([texts[pair][side] for pair in batch.pair_P]) for side in (0, 1)]
        other = loss(features, None).detach()
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
        losses[form] = [mine.item(), other.item()]
    return losses


def _ours(arguments: argparse.Namespace) -> dict:
    from codesage.encoder.weights import load_encoder

    encoder, with_cache = load_encoder(arguments.work / "ours"), "cached" in arguments.form
    return steps.measured_ours(
        encoder,
        _batches(arguments, arguments.batch),
        lambda batch: _gradients(encoder, batch, with_cache=with_cache),
        items=lambda batch: len(batch.pair_P),
        steps=arguments.steps,
        stage="contrast",
    )


def _theirs(arguments: argparse.Namespace) -> dict:
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    from codesage.training import precision

    model, loss = _peer(arguments.work, with_cache="cached" in arguments.form)
    clock, texts = steps.Clock(), _texts(arguments.work)
    data = Dataset.from_dict({"text": [text for text, _ in texts], "code": [code for _, code in texts]})
    clock.items = [arguments.batch] * (arguments.steps + 1)
    with tempfile.TemporaryDirectory() as out:
        settings = SentenceTransformerTrainingArguments(
            output_dir=out,
            per_device_train_batch_size=arguments.batch,
            max_steps=arguments.steps + 1,
            learning_rate=1e-5,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            optim="adamw_torch_fused",
            bf16=precision.has_bf16(torch.device("cpu")),
        )
        clock.watch(model)
        trainer = SentenceTransformerTrainer(
            model=model, args=settings, train_dataset=data, loss=loss, callbacks=[clock.callback()]
        )
        return steps.measured(clock, trainer.train)


WORKERS = {"check": _check, "codesage": _ours, "codesage-cached": _ours, "peer": _theirs, "peer-cached": _theirs}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1, help="timed steps a round")
    parser.add_argument("--batch", type=int, default=256, help="pairs")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--form", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
