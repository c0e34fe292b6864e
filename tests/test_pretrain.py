"""Stage I: what is hidden, and that the loss falls."""

import numpy as np
import pytest
import torch

from codesage import CodesageError
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder, Layout
from codesage.encoder.weights import load_encoder
from codesage.pretrain import examples, stage
from codesage.pretrain.masking import deobfuscate, random_mask
from codesage.records import Document
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import load, train
from codesage.training import loop

SOURCE = '''def total_price(items, tax_rate):
    """Sum of items with tax_rate."""
    subtotal = sum(item.price for item in items)  # items
    return print(subtotal * tax_rate)
'''
DOCUMENT = Document("shop.py", "python", SOURCE, "")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train([SOURCE] * 5, tmp_path_factory.mktemp("tokenizer") / "t", settings=TokenizerSettings(vocab_size=300))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_random_masking_hides_the_rate_and_only_with_masks():
    ids = np.arange(10_000, dtype=np.uint32) % 50 + 5
    ids[::100] = 0  # end tokens
    inputs, hidden = random_mask(ids, rate=0.15, mask_id=99, keep_id=0, rng=rng())
    assert hidden.sum() == pytest.approx(0.15 * 9900, abs=1)
    assert (inputs[hidden] == 99).all() and (inputs[~hidden] == ids[~hidden]).all()  # no 80-10-10
    assert not hidden[ids == 0].any()


def test_random_masking_is_exact_on_average_and_never_empty():
    counts = [random_mask(np.arange(1, 11), rate=0.15, mask_id=99, keep_id=0, rng=rng(s))[1].sum() for s in range(2000)]
    assert np.mean(counts) == pytest.approx(1.5, abs=0.05) and min(counts) == 1


def test_deobfuscation_golden(tokenizer):
    ids, names = examples.tokenise(DOCUMENT, tokenizer, by_identifier=True)
    inputs, hidden = deobfuscate(ids, names, mask_id=tokenizer.mask_id, rng=rng())
    assert tokenizer.decode(ids) == SOURCE + "<|endoftext|>"
    assert (names[hidden] > 0).all() and (inputs[hidden] == tokenizer.mask_id).all()
    pieces = {
        name: len(tokenizer.encode_pieces([name])[0]) for name in ("total_price", "items", "tax_rate", "subtotal", "item")
    }
    want = "def {total_price}({items}, {tax_rate}):\n" + SOURCE.split("\n", 2)[1]
    want += "\n    {subtotal} = sum({item}.price for {item} in {items})  # items\n    return print({subtotal} * {tax_rate})\n"
    masks = {name: "<mask>" * count for name, count in pieces.items()}  # k sub-tokens, k masks
    assert tokenizer.decode(inputs) == want.format(**masks) + "<|endoftext|>"
    assert ids[hidden].tolist() == [
        token for name in ("total_price", "items", "tax_rate", "subtotal", "item", "item", "items", "subtotal", "tax_rate")
        for token in tokenizer.encode_pieces([name])[0]
    ]  # fmt: skip


def test_a_cap_hides_whole_names():
    names = np.array([0, 1, 1, 2, 0, 2, 3, 0, 0, 0])
    for seed in range(20):
        _, hidden = deobfuscate(np.arange(10), names, mask_id=99, max_share=0.3, rng=rng(seed))
        chosen = set(names[hidden])
        assert 0 < hidden.sum() <= 3 and all(hidden[names == name].all() for name in chosen)


def test_unparsable_documents_take_random_masking(tokenizer):
    deep = Document("deep.py", "python", "(\n" * 5_000, "")
    settings = examples.Settings(objective="deobfuscation", max_tokens=64)
    windows = list(examples.windows_of(deep, tokenizer, settings, rng()))
    assert windows and all(0 < w.hidden_L.sum() <= 0.2 * len(w.hidden_L) for w in windows)


def test_batches_are_a_function_of_the_seed_and_keep_the_budget(tokenizer):
    settings = examples.Settings(max_tokens=32, batch_tokens=100, buffer_windows=4)

    def first(count, **changes):
        from dataclasses import replace
        from itertools import islice

        return [
            [w.inputs_L.tolist() for w in batch]
            for batch in islice(examples.batches([DOCUMENT] * 3, tokenizer, replace(settings, **changes)), count)
        ]

    assert first(5) == first(5) != first(5, seed=1)
    assert all(sum(map(len, batch)) <= 100 for batch in first(5))


CONFIG = Config(32, 2, 4, vocab_size=300, max_position_embeddings=64).without_dropout()


def test_loss_counts_hidden_tokens_only(tokenizer):
    torch.manual_seed(0)
    encoder = Encoder(CONFIG).eval()
    settings = examples.Settings(max_tokens=32)
    batch = sorted(examples.windows_of(DOCUMENT, tokenizer, settings, rng()), key=lambda w: len(w.inputs_L))
    loss, tokens = stage.masked_loss(encoder, batch)
    total, count = 0.0, 0
    for window in batch:  # one window, one token at a time, over the full vocabulary
        hidden = encoder(torch.from_numpy(window.inputs_L.astype(np.int64)), Layout.of([len(window.inputs_L)]))
        logs = encoder.logits(hidden).log_softmax(-1)
        for position in np.flatnonzero(window.hidden_L):
            total -= logs[position, int(window.labels_L[position])].item()
            count += 1
    assert loss.item() == pytest.approx(total / count, rel=1e-5)
    assert tokens == sum(len(w.inputs_L) for w in batch)


def test_stage_one_overfits_one_document_and_loads_again(tokenizer, tmp_path):
    settings = stage.Settings(
        CONFIG, examples.Settings(max_tokens=64, batch_tokens=256, buffer_windows=2), loop.Settings(150, 10, 1e-2)
    )
    artifact = stage.run(settings, [DOCUMENT], tokenizer, tmp_path / "model")
    assert artifact.facts["pretrain"]["loss"] < 1.0 < np.log(300)
    assert load_encoder(tmp_path / "model").config.vocab_size == tokenizer.vocab_size
    assert load(tmp_path / "model").fingerprint == tokenizer.fingerprint
    assert len((tmp_path / "model" / "metrics.jsonl").read_text().splitlines()) == 150


@pytest.mark.parametrize(("documents", "max_tokens", "message"), [([], 32, "no documents"), ([DOCUMENT], 65, "65 tokens")])
def test_what_cannot_be_trained_is_said_before(tokenizer, tmp_path, documents, max_tokens, message):
    settings = stage.Settings(CONFIG, examples.Settings(max_tokens=max_tokens), loop.Settings(1, 0, 1e-3))
    with pytest.raises(CodesageError, match=message):
        stage.run(settings, documents, tokenizer, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_steps_that_are_not_finite_never_reach_the_weights(tmp_path):
    encoder = Encoder(CONFIG)
    before = encoder.wte.weight.detach().clone()

    def loss_of(batch):
        return encoder.wte.weight.sum() * float("nan"), 1

    with pytest.raises(CodesageError, match="not finite"):
        loop.train(encoder, loop.Settings(50, 0, 1e-3), batches=iter(range(50)), loss_of=loss_of, folder=tmp_path, stage="x")
    assert torch.equal(encoder.wte.weight, before)
