"""Stage I: hiding of tokens, packing of windows, and runs whose loss falls."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from codesage import CodesageError
from codesage.corpus.tokens import tokenised as station
from codesage.corpus.tokens.tokenised import open_tokens
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder, Layout
from codesage.encoder.weights import load_encoder, save_weights
from codesage.pretrain import examples, stage
from codesage.pretrain.masking import deobfuscate, draws_at, random_mask, revealed, softened
from codesage.records import Document
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import load, train
from codesage.training import loop
from codesage.training.guard import Guard
from codesage.training.order import draws

SOURCE = '''def total_price(items, tax_rate):
    """Sum of items with tax_rate."""
    subtotal = sum(item.price for item in items)  # items
    return print(subtotal * tax_rate)
'''
DOCUMENTS = [Document(f"shop{i}.py", "python", SOURCE.replace("shop", f"shop_{i}") * (1 + i % 3), "") for i in range(30)]
DOCUMENTS += [
    Document("deep.py", "python", "(\n" * 5_000, ""),
    Document("short.py", "python", "x", ""),
    Document("notes.md", "", "naïve notes — 价格 🎉 \n" * 20, ""),
    Document("long.py", "python", "alpha = beta(1)\n" * 15_000, ""),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train([SOURCE] * 5, tmp_path_factory.mktemp("tokenizer") / "t", settings=TokenizerSettings(vocab_size=300))


@pytest.fixture(scope="module")
def write(tokenizer, tmp_path_factory):
    def written(documents):
        out = tmp_path_factory.mktemp("tokens") / "tokens"
        station.write(documents, [], tokenizer, out, settings=station.Settings(workers=1))
        return open_tokens(out)

    return written


@pytest.fixture(scope="module")
def tokens(write):
    return write(DOCUMENTS)


def keys(count, seed=0):
    return draws(seed, np.arange(count))


def windows(batch):
    """Returns (inputs, labels, hidden) of each window; labels equal inputs except at hidden tokens."""
    labels, hidden = batch.inputs_T.copy(), np.zeros(len(batch.inputs_T), bool)
    labels[batch.hidden_M], hidden[batch.hidden_M] = batch.labels_M, True
    ends = np.cumsum(batch.lengths)[:-1]
    return list(zip(*(np.split(x, ends) for x in (batch.inputs_T, labels, hidden)), strict=True))


def test_random_masking_hides_the_rate_exactly_and_no_end_token():
    ids = np.arange(10_000) % 50 + 5
    ids[::100] = 0
    lengths = np.array([9_000, 500, 500])
    hidden = random_mask(ids, lengths, rate=0.15, keep_id=0, key_B=keys(3))
    for part, part_ids in zip(np.split(hidden, [9_000, 9_500]), np.split(ids, [9_000, 9_500]), strict=True):
        assert abs(part.sum() - 0.15 * (part_ids != 0).sum()) < 1
    assert not hidden[ids == 0].any()


def test_random_masking_is_exact_on_average_uniform_and_never_empty():
    hidden = random_mask(
        np.arange(1, 11).repeat(20_000).reshape(10, -1).T.ravel(), np.full(20_000, 10), rate=0.15, keep_id=0, key_B=keys(20_000)
    ).reshape(-1, 10)
    assert hidden.sum(1).mean() == pytest.approx(1.5, abs=0.02) and set(hidden.sum(1)) == {1, 2}
    np.testing.assert_allclose(hidden.mean(0), 0.15, atol=0.01)
    together = (hidden[:, 0] & hidden[:, 1]).mean()  # two of ten, half of the time
    assert together == pytest.approx(0.5 / 45, abs=0.003)
    assert not random_mask(np.zeros(9, int), np.array([9]), rate=0.5, keep_id=0, key_B=keys(1)).any()


def test_rates_are_random_between_two():
    hidden = random_mask(np.ones(1_000_000, int), np.full(1_000, 1_000), rate=(0.1, 0.5), keep_id=0, key_B=keys(1_000))
    share = hidden.reshape(1_000, 1_000).mean(1)
    assert 0.1 <= share.min() < 0.11 and 0.49 < share.max() <= 0.5 and share.mean() == pytest.approx(0.3, abs=0.01)


def test_a_window_is_masked_equally_in_any_batch():
    ids, names, key_B = np.arange(1, 61), np.arange(60) % 7, keys(3)
    lengths = np.array([20, 10, 30])
    for mask in (
        lambda part, lengths, key_B: random_mask(ids[part], lengths, rate=(0.1, 0.5), keep_id=0, key_B=key_B),
        lambda part, lengths, key_B: deobfuscate(names[part], lengths, max_share=0.3, key_B=key_B),
    ):
        whole = mask(slice(0, 60), lengths, key_B)
        alone = [
            mask(slice(start, start + length), np.array([length]), key_B[i : i + 1])
            for i, (start, length) in enumerate(zip((0, 20, 30), lengths, strict=True))
        ]
        assert whole.tolist() == np.concatenate(alone).tolist()


def test_80_10_10():
    lengths, at = np.array([50_000, 50_000]), np.arange(0, 100_000, 2)
    draw = draws_at(at, lengths, key_B=keys(2))
    assert draws_at(at[30_000:], lengths, key_B=keys(2)).tolist() == draw[30_000:].tolist()
    ordinary = np.arange(1, 40)
    shown = softened(np.full(len(at), 77), mask_id=99, ordinary=ordinary, draw_M=draw)
    assert np.mean(shown == 99) == pytest.approx(0.8, abs=0.01) and np.mean(shown == 77) == pytest.approx(0.1, abs=0.01)
    counts = np.bincount(shown[(shown != 99) & (shown != 77)], minlength=40)[1:]
    assert len(counts) == 39 and counts.min() > 0.7 * counts.mean()


def test_deobfuscation_golden(write, tokenizer):
    settings = examples.Settings(objective="deobfuscation", max_tokens=512, batch_tokens=512)
    batch = examples.Batches(write([Document("shop.py", "python", SOURCE, "")]), settings).at(0)
    ((inputs, labels, hidden),) = windows(batch)
    assert tokenizer.decode(labels) == SOURCE + "<|endoftext|>"
    assert (inputs[hidden] == tokenizer.mask_id).all()
    pieces = {
        name: len(tokenizer.encode_pieces([name])[0]) for name in ("total_price", "items", "tax_rate", "subtotal", "item")
    }
    want = "def {total_price}({items}, {tax_rate}):\n" + SOURCE.split("\n", 2)[1]
    want += "\n    {subtotal} = sum({item}.price for {item} in {items})  # items\n    return print({subtotal} * {tax_rate})\n"
    masks = {name: "<mask>" * count for name, count in pieces.items()}  # k sub-tokens, k masks
    assert tokenizer.decode(inputs) == want.format(**masks) + "<|endoftext|>"
    assert batch.labels_M.tolist() == [
        token
        for name in ("total_price", "items", "tax_rate", "subtotal", "item", "item", "items", "subtotal", "tax_rate")
        for token in tokenizer.encode_pieces([name])[0]
    ]


def test_a_cap_hides_whole_names_and_at_least_one():
    names = np.tile([0, 1, 1, 2, 0, 2, 3, 0, 0, 0], 200)
    names[:10] = 1  # one name fills the whole window
    hidden = deobfuscate(names, np.full(200, 10), max_share=0.3, key_B=keys(200)).reshape(200, 10)
    assert hidden[0].all() and (hidden[1:].sum(1) <= 3).all() and (hidden.sum(1) > 0).all()
    chosen = set()
    for row, of in zip(hidden[1:], names.reshape(200, 10)[1:], strict=True):
        assert all(row[of == name].all() for name in set(of[row]))
        chosen.add(tuple(sorted(set(of[row].tolist()))))
    assert chosen == {(1,), (2,), (1, 3), (2, 3)}  # until the next would exceed the share; 3 never does
    assert deobfuscate(names, np.full(200, 10), key_B=keys(200)).tolist() == (names > 0).tolist()


def test_two_shares_draw_one_for_each_window():
    names = np.tile(np.arange(1, 101), 300)
    hidden = deobfuscate(names, np.full(300, 100), max_share=(0.1, 0.6), key_B=keys(300)).reshape(300, 100).mean(1)
    assert hidden.min() >= 0.1 and hidden.max() <= 0.6 and hidden.mean() == pytest.approx(0.35, abs=0.02)
    with pytest.raises(CodesageError, match="a lower and a higher"):
        examples.Settings(deobfuscation_share=(0.5, 0.1))
    with pytest.raises(CodesageError, match="revealed"):
        examples.Settings(revealed=1.5)


def test_revealed_sub_tokens_are_the_beginnings_of_names_at_every_occurrence():
    window = [0, 1, 1, 1, 0, 2, 0, 1, 1, 1, 3, 3]
    names = np.tile(window, 400)
    shown = revealed(names, np.full(400, 12), share=0.5, key_B=keys(400)).reshape(400, 12)
    assert not shown[:, np.array(window) == 0].any() and not shown[:, 5].any()  # one sub-token: never shown
    assert (shown[:, 1:4] == shown[:, 7:10]).all() and not shown[:, [3, 9, 11]].any()
    assert (shown[:, 1] >= shown[:, 2]).all()
    counts = np.bincount(shown[:, 1:4].sum(1)) / 400  # nothing: half, and a third of the rest
    assert counts == pytest.approx([2 / 3, 1 / 6, 1 / 6], abs=0.07)
    assert not revealed(names, np.full(400, 12), share=0.0, key_B=keys(400)).any()
    assert not revealed(np.zeros(5, np.uint16), np.array([5]), share=1.0, key_B=keys(1)).any()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_goes_on_from_a_model(write, tokenizer, tmp_path, optimizer):
    tokens = write([Document(f"{i}.py", "python", SOURCE, "") for i in range(4)])
    drawn = examples.Settings(max_tokens=64, batch_tokens=512)
    shape = replace(CONFIG, projection_dim=8)  # Stage I has no vectors: their projection stays as it is
    settings = stage.Settings(shape, drawn, loop.Settings(1, 0, 1e-9, evaluations=0, optimizer=optimizer))
    stage.run(settings, tokens, tokenizer, tmp_path / "first")
    manifest = tmp_path / "first" / "manifest.json"  # as of a model that comes from another encoder
    written = json.loads(manifest.read_text())
    first_run = written["facts"]["pretrain"]
    written["facts"] |= {"start": "all-MiniLM-L6-v2", "shrunk_from": "abc", "contrast": {"steps": 9}, "teacher": {"name": "x"}}
    manifest.write_text(json.dumps(written))
    other = replace(settings, encoder=replace(CONFIG, num_hidden_layers=1))  # the shape is that of the model
    artifact = stage.run(other, tokens, tokenizer, tmp_path / "second", before=tmp_path / "first")
    assert artifact.facts["stages"] == ["pretrain", "pretrain"]
    kept = {"start": "all-MiniLM-L6-v2", "shrunk_from": "abc", "contrast": {"steps": 9}, "pretrain-before": first_run}
    assert kept.items() <= artifact.facts.items() and "teacher" not in artifact.facts
    first, second = (load_encoder(tmp_path / name).state_dict() for name in ("first", "second"))
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


@pytest.mark.parametrize("entries", [300, 290], ids=["as many entries", "fewer entries"])
def test_a_model_of_another_tokenizer_is_refused(write, tokenizer, tmp_path, entries):
    other = train([SOURCE.replace("item", "thing")] * 5, tmp_path / "t", settings=TokenizerSettings(vocab_size=entries))
    (tmp_path / "other").mkdir()
    save_weights(Encoder(replace(CONFIG, vocab_size=other.vocab_size)), tmp_path / "other")
    other.save(tmp_path / "other")
    tokens, settings = write(DOCUMENTS[:4]), stage.Settings(CONFIG, examples.Settings(max_tokens=64), loop.Settings(1, 0, 1e-9))
    message = rf"other has another tokenizer \({entries} entries\) than the tokens \(300 entries\): run 'codesage tokens'"
    with pytest.raises(CodesageError, match=message):
        stage.run(settings, tokens, tokenizer, tmp_path / "model", before=tmp_path / "other")
    with pytest.raises(CodesageError, match=message):
        stage.dry_run(settings, tokens, tokenizer, before=tmp_path / "other")
    assert not (tmp_path / "model").exists()


def test_a_model_with_more_rows_than_its_tokenizer_is_refused(write, tokenizer, tmp_path):
    save_weights(Encoder(replace(CONFIG, vocab_size=320)), tmp_path)
    tokenizer.save(tmp_path)
    settings = stage.Settings(CONFIG, examples.Settings(max_tokens=64), loop.Settings(1, 0, 1e-9))
    with pytest.raises(CodesageError, match="the tokenizer has 300 entries, the encoder 320"):
        stage.run(settings, write(DOCUMENTS[:4]), tokenizer, tmp_path / "model", before=tmp_path)


def test_the_estimate_is_that_of_the_model_to_go_on_from(write, tokenizer, tmp_path):
    small = replace(CONFIG, num_hidden_layers=1, vocab_size=tokenizer.vocab_size)
    save_weights(Encoder(small), tmp_path)
    tokenizer.save(tmp_path)
    settings = stage.Settings(CONFIG, examples.Settings(max_tokens=64, batch_tokens=512), loop.Settings(1, 0, 1e-9))
    told = stage.dry_run(settings, write(DOCUMENTS[:4]), tokenizer, before=tmp_path)
    assert told.parameters == small.parameters() < CONFIG.parameters()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"initial": "lexical"}, "start.initial normal, now lexical"),
        ({"position_scale": 3.0}, "start.position_scale 0.0, now 3.0"),
    ],
)
def test_a_run_resumes_only_with_its_own_start(write, tokenizer, tmp_path, change, message):
    tokens, drawn = write(DOCUMENTS[:4]), examples.Settings(max_tokens=64, batch_tokens=512)
    settings = stage.Settings(CONFIG, drawn, loop.Settings(1, 0, 1e-3, evaluations=0))
    given = {"tokens": tokens, "tokenizer": tokenizer, "out": tmp_path / "m", "checkpoints": tmp_path / "kept"}
    kept = stage.run(settings, **given).settings["pretrain"]
    assert (kept["initial"], kept["position_scale"]) == ("normal", 0.0)
    with pytest.raises(CodesageError, match=f"belongs to another run.*{message}"):
        stage.run(replace(settings, **change), **given)


def test_a_run_from_a_model_records_no_start_of_its_own(write, tokenizer, tmp_path):
    tokens, drawn = write(DOCUMENTS[:4]), examples.Settings(max_tokens=64, batch_tokens=512)
    settings = stage.Settings(CONFIG, drawn, loop.Settings(1, 0, 1e-9, evaluations=0), initial="lexical", position_scale=1.0)
    stage.run(settings, tokens, tokenizer, tmp_path / "first")
    kept = stage.run(settings, tokens, tokenizer, tmp_path / "second", before=tmp_path / "first").settings["pretrain"]
    assert "loop" in kept and "initial" not in kept and "position_scale" not in kept


def test_unparsable_documents_get_random_masking(write):
    settings = examples.Settings(objective="deobfuscation", max_tokens=64, batch_tokens=64)
    made = examples.Batches(write([Document("deep.py", "python", "(\n" * 5_000, "")]), settings)
    for step in range(9):
        assert 0.1 <= len(made.at(step).hidden_M) / len(made.at(step).inputs_T) <= 0.2


def test_an_epoch_has_all_windows_once_within_the_budget(tokens):
    settings = examples.Settings(max_tokens=32, batch_tokens=1_000, objective="masking")
    made, whole = examples.Batches(tokens, settings), [ids for ids in tokens.plain if len(ids) >= 8]
    pieces = [tuple(ids[start : start + 32].tolist()) for ids in whole for start in range(0, len(ids), 32)]
    want = sorted(piece for piece in pieces if len(piece) >= 8)
    assert len(whole) == len(DOCUMENTS) - 1 and max(map(len, whole)) > 100_000

    def epoch(step):
        seen = []
        while len(seen) < len(want):
            batch = made.at(step)
            assert len(batch.inputs_T) == sum(batch.lengths) <= 1_000 and batch.lengths == sorted(batch.lengths)
            seen += [tuple(labels.tolist()) for _, labels, _ in windows(batch)]
            step += 1
        return seen, step

    first, step = epoch(0)
    second, _ = epoch(step)
    assert sorted(first) == sorted(second) == want and first != second


@pytest.mark.parametrize("objective", ["masking", "deobfuscation"])
@pytest.mark.parametrize("end_each", [False, True])
def test_random_offsets_cut_whole_documents_elsewhere_in_each_epoch(tokens, tokenizer, objective, end_each):
    settings = examples.Settings(objective, max_tokens=32, batch_tokens=1_000, random_offsets=True, end_each=end_each)
    made = examples.Batches(tokens, settings)
    stream = tokens.plain if objective == "masking" else tokens.named
    firsts, step = [], 0
    for epoch in range(2):
        planned, first = made._epochs.planned(epoch), []
        cut, seen = planned.cut, {}
        for _ in range(len(planned)):
            epoch_of, (_, document_B, start_B, length_B) = made._epochs.at(step)
            assert epoch_of == epoch and sum(length_B + end_each) <= 1_000
            for document, start, length in zip(document_B.tolist(), start_B.tolist(), length_B.tolist(), strict=True):
                assert 8 <= length <= 32 - end_each
                seen.setdefault(document, []).append((start, length))
            step += 1
        for document, spans in seen.items():
            if planned.named_D[document] != (objective == "deobfuscation"):
                continue
            spans.sort()
            total = len(stream[document]) - end_each
            assert spans[0][0] == 0 and all(a + b == c for (a, b), (c, _) in pairwise(spans))
            assert total - 8 < sum(spans[-1]) <= total  # everything but a remainder that is too short
            assert total > 32 - end_each or len(spans) == 1
            first.append(spans[0][1])
        assert cut.count_D.sum() == sum(map(len, seen.values()))
        firsts.append(first)
    assert firsts[0] != firsts[1] and len(set(firsts[0])) > 5


def test_every_window_ends_like_a_text_cut_for_embedding(tokens, tokenizer):
    settings = examples.Settings(objective="masking", max_tokens=32, batch_tokens=1_000, mask_rate=0.5, end_each=True)
    made, step, seen = examples.Batches(tokens, settings), 0, set()
    for step in range(len(made._epochs.planned(0))):
        for inputs, labels, hidden in windows(made.at(step)):
            assert 9 <= len(inputs) <= 32 and inputs[-1] == tokenizer.end_id and not hidden[-1]
            assert tokenizer.end_id not in labels[:-1]
            seen.add(tuple(labels.tolist()))
    for document in DOCUMENTS[:30]:
        assert tuple(tokenizer.encode([document.text], max_tokens=32)[0]) in seen


def test_batches_are_a_function_of_seed_and_step(tokens):
    settings = examples.Settings(
        max_tokens=32, batch_tokens=500, mask_style="80-10-10", mask_rate=(0.1, 0.5), random_offsets=True, end_each=True
    )

    def taken(steps, opened=tokens, **changes):
        made = examples.Batches(opened, replace(settings, **changes))
        return [[x.tolist() for x in (b.inputs_T, b.labels_M, b.hidden_M)] for b in map(made.at, steps)]

    last = 700  # in a later epoch
    assert taken([3, last, 0, last])[1] == taken([last], open_tokens(tokens.path))[0] == taken([last, last])[1]
    assert taken([3]) != taken([3], seed=1) and taken([3]) != taken([4])
    code = (
        "from codesage.corpus.tokens.tokenised import open_tokens; from codesage.pretrain.examples import *; print(Batches("
        f"open_tokens({str(tokens.path)!r}), "
        "Settings(max_tokens=32, batch_tokens=500, mask_style='80-10-10', mask_rate=(.1, .5), random_offsets=True, "
        "end_each=True))"
        f".at({last}).inputs_T.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == taken([last])[0][0]


@pytest.mark.parametrize("changes", [{}, {"random_offsets": True, "end_each": True}])
@pytest.mark.parametrize("world", [2, 3, 50])
def test_the_shares_of_processes_are_the_batch(tokens, world, changes):
    made = examples.Batches(tokens, examples.Settings(max_tokens=64, batch_tokens=1_000, **changes))
    for step in range(3):
        whole = sorted((i.tolist(), h.tolist()) for i, _, h in windows(made.at(step)))
        shares = [made.at(step, rank=rank, world=world) for rank in range(world)]
        parts = [windows(share) for share in shares if share.lengths]  # with more processes than windows, some have none
        assert sorted((i.tolist(), h.tolist()) for i, _, h in chain.from_iterable(parts)) == whole
        assert sum(len(share.hidden_M) for share in shares) == len(made.at(step).hidden_M)


def test_objectives(tokens, tokenizer, write):
    def shares(objective, steps, opened=tokens, **changes):
        settings = examples.Settings(objective=objective, max_tokens=64, batch_tokens=4_096, **changes)
        made = examples.Batches(opened, settings)
        return [len(b.hidden_M) / len(b.inputs_T) for b in map(made.at, steps)], made

    masking, made = shares("masking", range(5))
    assert np.allclose(masking, 0.15, atol=0.01)
    hidden, after = shares("deobfuscation", range(5))
    assert min(hidden) > 0.2
    sequential, one = shares("sequential", range(10), masking_steps=5)
    assert np.allclose(sequential[:5], masking) and np.allclose(sequential[5:], hidden)
    assert one.at(4).inputs_T.tolist() == made.at(4).inputs_T.tolist()
    assert one.at(7).inputs_T.tolist() == after.at(2).inputs_T.tolist()
    halved, one = shares("sequential", range(3))
    one.switch(5)
    one.switch(8)  # a run limited by time calls it again; only an earlier step counts
    assert [len(b.hidden_M) / len(b.inputs_T) for b in map(one.at, range(10))] == sequential and halved == sequential[:3]
    shares("sequential", [0], masking_steps=2)[1].switch(1)
    assert shares("sequential", [1], masking_steps=2)[0] == sequential[1:2]
    uncapped, capped = (shares("deobfuscation", [0], write(DOCUMENTS[:30]), deobfuscation_share=s)[0] for s in (1.0, 0.2))
    assert capped[0] <= 0.2 < uncapped[0]
    coins = [examples.Batches(tokens, examples.Settings(max_tokens=64, seed=s))._plan(0).named_D[:30].mean() for s in range(40)]
    assert np.mean(coins) == pytest.approx(0.5, abs=0.05)
    assert tokenizer.mask_id == tokens.mask_id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "both"}, "expected one of parallel"),
        ({"mask_style": "90-5-5"}, "expected one of full"),
        ({"mask_rate": 0.0}, "mask_rate"),
        ({"mask_rate": (0.5, 0.1)}, "mask_rate"),
        ({"deobfuscation_share": 0}, "deobfuscation_share"),
        ({"max_tokens": 4}, "max_tokens"),
        ({"max_tokens": 64, "batch_tokens": 63}, "must hold a window"),
    ],
)
def test_contradictory_settings_are_refused(changes, message):
    with pytest.raises(CodesageError, match=message):
        examples.Settings(**changes)


@pytest.mark.parametrize("documents", [[], [Document("short.py", "python", "x", "")]])
def test_nothing_to_learn_from_is_one_line(write, documents):
    with pytest.raises(CodesageError, match="holds no document"):
        examples.Batches(write(documents), examples.Settings())


CONFIG = Config(32, 2, 4, vocab_size=300, max_position_embeddings=64).without_dropout()


def test_loss_counts_hidden_tokens_only(write):
    torch.manual_seed(0)
    encoder = Encoder(CONFIG).eval()
    tokens = write([Document("shop.py", "python", SOURCE, "")])
    batch = examples.Batches(tokens, examples.Settings(max_tokens=32)).at(0)
    loss = stage.summed_loss(encoder, batch)
    total = 0.0
    for inputs, labels, hidden in windows(batch):  # one window, one token at a time, over the full vocabulary
        states = encoder(torch.from_numpy(inputs), Layout.of([len(inputs)]))
        logs = F.linear(states, encoder.wte.weight).log_softmax(-1)
        total -= sum(logs[position, int(labels[position])].item() for position in np.flatnonzero(hidden))
    assert loss.item() == pytest.approx(total, rel=1e-5)


def test_stage_one_overfits_one_document_and_loads_again(write, tokenizer, tmp_path):
    settings = stage.Settings(
        CONFIG, examples.Settings(max_tokens=64, batch_tokens=512), loop.Settings(150, 10, 1e-2, evaluations=0)
    )
    tokens = write([Document(f"{i}.py", "python", SOURCE, "") for i in range(4)])
    artifact = stage.run(settings, tokens, tokenizer, tmp_path / "model")
    assert artifact.facts["pretrain"]["loss"] < 1.0 < np.log(300)
    assert load_encoder(tmp_path / "model").config.vocab_size == tokenizer.vocab_size
    assert load(tmp_path / "model").fingerprint == tokenizer.fingerprint
    assert len((tmp_path / "model" / "metrics.jsonl").read_text().splitlines()) >= 150


def test_a_sequential_run_switches_at_half_of_its_steps(write, tokenizer, tmp_path, monkeypatch):
    shares, accepted = {}, []
    at, forget = examples.Batches.at, Guard.forget

    def noted(self, step, **options):
        batch = at(self, step, **options)
        if self._after is not None:
            shares[step] = len(batch.hidden_M) / len(batch.inputs_T)
        return batch

    monkeypatch.setattr(examples.Batches, "at", noted)
    monkeypatch.setattr(Guard, "forget", lambda self: accepted.append(len(self.losses)) or forget(self))
    sampling = examples.Settings(objective="sequential", max_tokens=64, batch_tokens=512)
    settings = stage.Settings(CONFIG, sampling, loop.Settings(7, 1, 1e-3, evaluations=0), position_scale=1.0)
    stage.run(settings, write([Document(f"{i}.py", "python", SOURCE, "") for i in range(9)]), tokenizer, tmp_path / "model")
    assert [share > 0.2 for _, share in sorted(shares.items())] == [False] * 4 + [True] * 3
    assert accepted == [4]  # the guard compares no loss of deobfuscation with those of masking


def test_windows_longer_than_the_encoder_are_refused_early(write, tokenizer, tmp_path):
    settings = stage.Settings(CONFIG, examples.Settings(max_tokens=65), loop.Settings(1, 0, 1e-3))
    with pytest.raises(CodesageError, match="65 tokens"):
        stage.run(settings, write(DOCUMENTS[:2]), tokenizer, tmp_path / "model")
    assert not (tmp_path / "model").exists()
