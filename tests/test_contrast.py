"""The contrastive loss against a plain loop over the paper's formula."""

import math

import pytest
import torch

import codesage.contrast
from codesage.contrast.loss import NEGATIVES, contrastive_loss


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
