"""Stage II: losses against a plain loop over the paper's formula, cached gradients, filtering, the stage itself."""

import math

import numpy as np
import pytest
import torch
import torch.multiprocessing

import codesage.contrast
from codesage import CodesageError
from codesage.contrast import cached, tiled
from codesage.contrast.loss import NEGATIVES, contrastive_loss
from codesage.contrast.matryoshka import check_dims, matryoshka_loss
from codesage.contrast.vectors import embed
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder


def loop(text, code, temperature, negatives):
    """Equation 3, one anchor and one negative at a time, in float64."""
    vectors = [v / v.norm() for v in [*text, *code]]
    pairs, total = len(text), 0.0
    for i, anchor in enumerate(vectors):
        partner = (i + pairs) % (2 * pairs)
        scores = [float(anchor @ v) / temperature for v in vectors]
        others = [k for k in range(2 * pairs) if k not in (i, partner)]
        partition = sum(math.exp(scores[k]) for k in others)
        scale = {"uniform": None, "softmax": 1.0, "mean_one": 2 * pairs - 2}[negatives]
        weights = {k: 1.0 if scale is None else scale * math.exp(scores[k]) / partition for k in others}
        negative = sum(weights[k] * math.exp(scores[k]) for k in others)
        total += -math.log(math.exp(scores[partner]) / (math.exp(scores[partner]) + negative))
    return total / pairs


def vectors(pairs, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(pairs, width, generator=generator, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("pairs", [2, 3, 9])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_equals_the_formula(negatives, pairs, temperature):
    text, code = vectors(pairs)
    got = contrastive_loss(text, code, temperature=temperature, negatives=negatives)
    assert got.item() == pytest.approx(loop(text, code, temperature, negatives), rel=1e-9)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_gradient_flows_through_the_weights(negatives):
    text, code = (v.requires_grad_() for v in vectors(4))
    assert torch.autograd.gradcheck(lambda a, b: contrastive_loss(a, b, temperature=0.5, negatives=negatives), (text, code))


def test_scale_and_order_of_pairs_do_not_matter():
    text, code = vectors(6)
    base = contrastive_loss(text, code)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert contrastive_loss(7 * text, 0.1 * code).item() == pytest.approx(base.item(), rel=1e-12)
    assert contrastive_loss(text[order], code[order]).item() == pytest.approx(base.item(), rel=1e-12)


def test_golden_value_of_orthogonal_pairs():
    eye = torch.eye(2, dtype=torch.float64)  # both negatives of an anchor score 0: softmax weights are 1/2 each
    want = {"softmax": 1.0, "uniform": 2.0, "mean_one": 2.0}
    for negatives, weight in want.items():
        expected = 2 * math.log(1 + weight * math.exp(-2))
        assert contrastive_loss(eye, eye, temperature=0.5, negatives=negatives).item() == pytest.approx(expected)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_a_single_pair_has_no_negatives(negatives):
    text, code = (v.requires_grad_() for v in vectors(1))
    loss = contrastive_loss(text, code, negatives=negatives)
    loss.backward()
    assert loss.item() == 0 and text.grad.isfinite().all()


def test_large_scores_stay_finite_in_float32():
    same = torch.ones(64, 8)
    for negatives in NEGATIVES:
        loss = contrastive_loss(same.requires_grad_(), same, temperature=0.001, negatives=negatives)
        assert loss.isfinite()


@pytest.mark.parametrize(
    ("text", "code", "options"),
    [
        (torch.ones(2, 3), torch.ones(3, 3), {}),
        (torch.ones(0, 3), torch.ones(0, 3), {}),
        (torch.ones(3), torch.ones(3), {}),
        (torch.ones(2, 3), torch.ones(2, 3), {"negatives": "hard"}),
        (torch.ones(2, 3), torch.ones(2, 3), {"temperature": 0.0}),
    ],
)
def test_bad_arguments_are_refused(text, code, options):
    with pytest.raises(ValueError, match="expected"):
        contrastive_loss(text, code, **options)


def test_is_public():
    assert codesage.contrast.contrastive_loss is contrastive_loss


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize(("pairs", "tile"), [(1, 4), (2, 4), (9, 1), (9, 4), (9, 5), (9, 100), (10, 10)])
def test_tiles_give_the_loss_and_its_gradient(monkeypatch, kept, negatives, pairs, tile):
    monkeypatch.setattr(tiled, "_KEPT", 2**20 if kept else 0)
    sides = [v.requires_grad_() for v in vectors(pairs)]
    want = contrastive_loss(*sides, temperature=0.3, negatives=negatives)
    got = tiled.tiled_loss(*sides, temperature=0.3, negatives=negatives, tile=tile)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(torch.autograd.grad(3 * got, sides), torch.autograd.grad(3 * want, sides), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_tiles_stay_finite_at_extreme_scores(negatives):
    same = torch.ones(9, 8, requires_grad=True)
    loss = tiled.tiled_loss(same, -torch.ones(9, 8), temperature=0.001, negatives=negatives, tile=4)
    loss.backward()
    assert loss.isfinite() and same.grad.isfinite().all()


def test_matryoshka_is_the_weighted_mean_over_prefixes():
    text, code = vectors(5)
    parts = [loop(text[:, :m], code[:, :m], 0.5, "softmax") for m in (2, 4, 8)]
    loss = lambda a, b: contrastive_loss(a, b, temperature=0.5)  # noqa: E731
    got = matryoshka_loss(text, code, loss=loss, dims=(2, 4, 8), weights=(1, 2, 5))
    assert got.item() == pytest.approx((parts[0] + 2 * parts[1] + 5 * parts[2]) / 8)
    assert matryoshka_loss(text, code, loss=loss, dims=()).item() == pytest.approx(parts[2])
    with pytest.raises(ValueError, match="width 8"):
        matryoshka_loss(text, code, loss=loss, dims=(16,))
    for dims, weights in (((4, 2, 8), ()), ((2, 4), ()), ((2, 8), (1,)), ((), (1,)), ((0, 8), ()), ((2, 8), (1, -1))):
        with pytest.raises(CodesageError, match="matryoshka"):
            check_dims(dims, weights, 8)
    check_dims((2, 4, 8), (1, 0, 1), 8)


def tiny(*, dropout=0.1, seed=0):
    torch.manual_seed(seed)
    shape = Config(16, 2, 2, vocab_size=50, max_position_embeddings=32)
    encoder = Encoder(shape if dropout else shape.without_dropout()).double().train()
    with torch.no_grad():  # a fresh encoder's vectors are nearly alike; tell them apart
        encoder.wte.weight.mul_(20)
    return encoder


def documents(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 50, rng.integers(1, 20)).astype(np.uint16) for _ in range(count)]


def gradients(encoder):
    found = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    encoder.zero_grad()
    return found


def test_the_short_way_through_the_embedding_is_the_same_function():
    for batch in (documents(3), documents(400)):  # a compact table of ids, and the whole one
        encoder, found = tiny(dropout=0), []
        ahead = torch.randn(len(batch), 16, dtype=torch.float64)
        for vectors_BD in (encoder.embed([d.tolist() for d in batch], depth=0), embed(encoder, batch, depth=0)):
            (vectors_BD * ahead).sum().backward()
            found.append((vectors_BD.detach(), gradients(encoder)))
        torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-8, atol=1e-10)
    with pytest.raises(ValueError, match="expected 1 to 32"):
        embed(encoder, [np.zeros(33, np.uint16)], depth=0)


@pytest.mark.parametrize("depth", [None, 0])
def test_vectors_come_in_the_order_given(depth):
    encoder, batch = tiny().eval(), documents(9)
    together = embed(encoder, batch, depth=depth)
    alone = torch.cat([embed(encoder, [document], depth=depth) for document in batch])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


def test_micro_batches_fill_a_budget_with_like_lengths():
    lengths = [3, 50, 4, 9, 1, 9, 9]
    assert cached.micro_batches(lengths, tokens=20) == [[1], [3, 5], [6, 2, 0, 4]]
    assert cached.micro_batches(lengths, tokens=0) == [[1, 3, 5, 6, 2, 0, 4]]
    assert cached.micro_batches([], tokens=5) == []


@pytest.mark.parametrize("dims", [(), (4, 8, 16)])
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_cached_gradients_are_the_uncached_ones_with_dropout_on(negatives, dims):
    encoder, batch, found = tiny(), documents(14), []
    rows = cached.micro_batches([len(d) for d in batch], tokens=30)
    assert len(rows) > 3 and len({len(micro) for micro in rows}) > 1
    loss = lambda a, b: tiled.tiled_loss(a, b, negatives=negatives)  # noqa: E731
    for keep in (False, True):
        torch.manual_seed(1)
        value = cached.backward(
            lambda micro: embed(encoder, [batch[row] for row in micro]), rows,
            lambda v_ND: matryoshka_loss(*v_ND.chunk(2), loss=loss, dims=dims), cached=keep,
        )  # fmt: skip
        found.append((value, gradients(encoder), torch.rand(3)))
    torch.manual_seed(1)  # and without this file at all
    parts = torch.cat([embed(encoder, [batch[row] for row in micro]) for micro in rows])
    places = torch.tensor([row for micro in rows for row in micro]).argsort()
    plain = matryoshka_loss(*parts[places].chunk(2), loss=lambda a, b: contrastive_loss(a, b, negatives=negatives), dims=dims)
    plain.backward()
    found.append((plain.detach(), gradients(encoder), torch.rand(3)))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-8, atol=1e-10)
    torch.manual_seed(2)
    different = embed(encoder, batch)
    assert (different - parts[places]).abs().max() > 1e-3  # dropout was on
