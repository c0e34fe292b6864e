"""Stage II pairs/s beside sentence-transformers' trainer: its ranking loss, and its cached ranking loss.

Run: python benchmarks/contrast_speed.py [--steps 2] [--rounds 3] [--out FILE.json]. Both sides train the architecture of
`nano` from the same weights on the same pairs of the standard library (docstring, bare body), batch 256, code up to 256
tokens, AdamW, no dropout; the peer runs it as people run it today: transformers' GPT-2 with a full attention mask, padded.
The loss is the peer's (text to code, scale 20) on both sides; it is compared on a first batch before anything is timed.
Rounds are interleaved; a round is a call of the trainer, whose first step is not counted. Wall time on a machine that does
something else is worth nothing, so the processor's time is measured beside it.
"""

import argparse
import json
import random
import statistics
import sysconfig
import tempfile
import time
from datetime import date
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, GPT2Config, GPT2Model, TrainerCallback

from codesage.contrast import cached
from codesage.contrast.batches import Batch, Batches
from codesage.contrast.batches import Settings as BatchSettings
from codesage.contrast.vectors import embed, stacked, taken
from codesage.corpus.tokens import tokenised as token_files
from codesage.encoder.config import SIZES
from codesage.encoder.hub import export_hub
from codesage.encoder.model import Encoder
from codesage.encoder.runtime import BUNDLED
from codesage.encoder.weights import load_encoder, save_weights
from codesage.evaluate.commands import environment
from codesage.records import Pair
from codesage.syntax import functions, parse
from codesage.tokenizer import load as load_tokenizer
from codesage.training import loop

TEXT_TOKENS, CODE_TOKENS, MICRO_TOKENS = 256, 256, 4_096
CHECKED = 32  # pairs of the batch whose losses are compared
SCALE = 20.0  # of the cosine: the peer's default, our temperature 0.05


class PaddedConfig(GPT2Config):
    """The peer's model type."""

    model_type = "gpt2-bidirectional"


class PaddedModel(GPT2Model):
    """GPT-2 with a full attention mask: the same function as our encoder, computed on padded rows."""

    config_class = PaddedConfig

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_unused):
        """Hidden states of padded rows."""
        seen = attention_mask[:, None, None, :].bool().expand(-1, 1, input_ids.shape[1], -1)
        return super().forward(input_ids, attention_mask=seen, use_cache=False)


def main() -> None:
    """Measure and print; write JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2, help="timed steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=SIZES["nano"].num_hidden_layers)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pairs = _pairs(arguments.batch * (arguments.steps + 1))
        tokens, ours, theirs = _prepare(folder, pairs, arguments.layers)
        losses = {cached_: _first_losses(tokens, ours, theirs, pairs, cached_) for cached_ in (False, True)}
        for mine, other in losses.values():
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
        print(f"losses of the first batch are equal: {losses[False][0]:.5f}, {losses[False][1]:.5f}")
        names = [side + suffix for suffix in ("", " cached") for side in ("codesage", "sentence-transformers")]
        runs = {name: [] for name in names}
        for _ in range(arguments.rounds):
            for cached_ in (False, True):
                suffix = " cached" * cached_
                size, steps = arguments.batch, arguments.steps
                runs["codesage" + suffix] += _train_ours(folder, tokens, ours, size, steps, cached_)
                runs["sentence-transformers" + suffix] += _train_theirs(folder, theirs, pairs, size, steps, cached_)
    rates = {name: {"pairs_per_second": arguments.batch / statistics.median(wall for wall, _ in found),
                    "pairs_per_processor_second": arguments.batch / statistics.median(used for _, used in found)}
             for name, found in runs.items()}  # fmt: skip
    for suffix in ("", " cached"):
        for unit in ("pairs_per_second", "pairs_per_processor_second"):
            mine, other = rates["codesage" + suffix][unit], rates["sentence-transformers" + suffix][unit]
            print(f"{unit}{suffix}: codesage {mine:.1f}, sentence-transformers {other:.1f}, ratio {mine / other:.2f}")
    record = {"date": date.today().isoformat(), **environment(), "batch": arguments.batch, "code_tokens": CODE_TOKENS,
              "threads": torch.get_num_threads(), "layers": arguments.layers, "rates": rates, "runs": runs}  # fmt: skip
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _pairs(count: int) -> list[Pair]:
    found = {}
    for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if len(found) >= 4 * count or "site-packages" in file.parts:
            continue
        try:
            source = parse(file.read_text(encoding="utf-8"), "python")
        except Exception:  # test files of the standard library that are not meant to be read
            continue
        for function in functions(source):
            text = function.docstring.strip().split("\n")[0]
            if text and function.bare_body.count("\n") >= 2:
                found.setdefault(text, (function, file.name))
    chosen = random.Random(0).sample(sorted(found), count)
    return [
        Pair(text=text, code=found[text][0].bare_body, bare_body=found[text][0].bare_body, description="", language="python",
             name=found[text][0].name, kind="function", path=found[text][1], start_line=1)
        for text in chosen
    ]  # fmt: skip


def _prepare(folder: Path, pairs: list[Pair], layers: int):
    """Tokens, and the same random weights as a folder of ours and as one of the peer."""
    from dataclasses import replace

    tokenizer = load_tokenizer(BUNDLED)
    options = token_files.Settings(text_tokens=TEXT_TOKENS, code_tokens=CODE_TOKENS, workers=1)
    token_files.write([], pairs, tokenizer, folder / "tokens", settings=options)
    torch.manual_seed(0)
    shape = replace(SIZES["nano"], num_hidden_layers=layers, vocab_size=tokenizer.vocab_size).without_dropout()
    plain = folder / "plain"
    plain.mkdir()
    save_weights(Encoder(shape), plain)
    tokenizer.save(plain)
    export_hub(plain, folder / "ours")
    AutoConfig.register("gpt2-bidirectional", PaddedConfig, exist_ok=True)
    AutoModel.register(PaddedConfig, PaddedModel, exist_ok=True)
    export_hub(plain, folder / "theirs")
    (folder / "theirs" / "manifest.json").unlink()
    config = PaddedConfig(
        vocab_size=shape.vocab_size, n_positions=shape.max_position_embeddings, n_embd=shape.hidden_size, n_layer=layers,
        n_head=shape.num_attention_heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    config.save_pretrained(folder / "theirs")
    return token_files.open_tokens(folder / "tokens"), folder / "ours", folder / "theirs"


def _ranking_loss(vectors_ND: Tensor) -> Tensor:
    text_PD, code_PD = (F.normalize(side, dim=-1) for side in vectors_ND.chunk(2))
    return F.cross_entropy(SCALE * text_PD @ code_PD.T, torch.arange(len(text_PD)))


def _gradients(encoder: Encoder, cached_: bool, batch: Batch) -> tuple[Tensor, int]:
    documents = stacked(batch.texts, batch.codes)
    rows = cached.micro_batches(documents.lengths.tolist(), tokens=MICRO_TOKENS)
    loss = cached.backward(lambda micro: embed(encoder, taken(documents, micro)), rows, _ranking_loss, cached=cached_)
    return loss, len(documents.ids)


def _batches(tokens: token_files.Tokens, size: int) -> Batches:
    return Batches(tokens, BatchSettings(size, TEXT_TOKENS, CODE_TOKENS))


def _peer(theirs: Path, cached_: bool):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import losses

    model = SentenceTransformer(str(theirs), device="cpu")
    model.max_seq_length = CODE_TOKENS
    if cached_:
        return model, losses.CachedMultipleNegativesRankingLoss(model, scale=SCALE, mini_batch_size=32)
    return model, losses.MultipleNegativesRankingLoss(model, scale=SCALE)


def _first_losses(
    tokens: token_files.Tokens, ours: Path, theirs: Path, pairs: list[Pair], cached_: bool
) -> tuple[Tensor, Tensor]:  # fmt: skip
    batch = _batches(tokens, CHECKED).at(0)
    mine, _ = _gradients(load_encoder(ours), cached_, batch)
    model, loss = _peer(theirs, cached_)
    chosen = [pairs[i] for i in batch.pair_P]
    features = [model.preprocess(side) for side in ([p.text for p in chosen], [p.bare_body for p in chosen])]
    return mine, loss(features, None).detach()


def _train_ours(
    folder: Path, tokens: token_files.Tokens, ours: Path, size: int, steps: int, cached_: bool
) -> list[tuple[float, float]]:  # fmt: skip
    encoder, clock = load_encoder(ours), _Clock()

    def timed(batch: Batch) -> tuple[Tensor, int]:
        clock.tick()
        return _gradients(encoder, cached_, batch)

    settings = loop.Settings(steps + 1, 1, 1e-5, checkpoint_seconds=0)
    out = Path(tempfile.mkdtemp(dir=folder))
    loop.train(encoder, settings, batches=_batches(tokens, size), gradients_of=timed, folder=out, stage="contrast")
    clock.tick()
    return clock.steps[1:]


def _train_theirs(
    folder: Path, theirs: Path, pairs: list[Pair], size: int, steps: int, cached_: bool
) -> list[tuple[float, float]]:  # fmt: skip
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    model, loss = _peer(theirs, cached_)
    clock = _Clock()

    class Ticks(TrainerCallback):
        def on_step_begin(self, *_unused, **__unused) -> None:
            clock.tick()

        def on_train_end(self, *_unused, **__unused) -> None:
            clock.tick()

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "peer"), per_device_train_batch_size=size, max_steps=steps + 1, learning_rate=1e-5,
        save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True, optim="adamw_torch_fused",
    )  # fmt: skip
    data = Dataset.from_dict({"anchor": [p.text for p in pairs], "positive": [p.bare_body for p in pairs]})
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss, callbacks=[Ticks()]).train()
    return clock.steps[1:]


class _Clock:
    """Wall and processor seconds between ticks."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = []
        self._last: tuple[float, float] | None = None

    def tick(self) -> None:
        now = time.perf_counter(), time.process_time()
        if self._last is not None:
            self.steps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now


if __name__ == "__main__":
    main()
