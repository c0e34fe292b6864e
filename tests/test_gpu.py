"""On a GPU, the fast code computes the same as on a CPU. Without a GPU, these tests are skipped."""

import copy
from functools import partial

import numpy as np
import pytest
import torch

from codesage.contrast import cached
from codesage.contrast.loss import NEGATIVES, contrastive_loss
from codesage.contrast.tiled import tiled_loss
from codesage.contrast.vectors import embed, shallow, taken
from codesage.corpus.tokens.ragged import Ragged
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder
from codesage.pretrain import stage
from codesage.pretrain.examples import Batch
from codesage.training import precision

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CONFIG = Config(128, 3, 2, vocab_size=500, max_position_embeddings=256)
BF16 = precision.Autocast(torch.device("cuda"), torch.bfloat16)


def encoders(config=CONFIG):
    torch.manual_seed(0)
    encoder = Encoder(config).train()
    return encoder, copy.deepcopy(encoder).cuda()


def batch(windows=9):
    random = np.random.default_rng(windows)
    lengths = np.sort(random.integers(8, 200, windows))
    ids = random.integers(0, 500, lengths.sum())
    hidden = np.sort(random.choice(len(ids), len(ids) // 6, replace=False))
    return Batch(ids, ids[hidden], hidden, lengths.tolist())


def documents(count=20):
    lengths = np.random.default_rng(1).integers(1, 200, count)
    return Ragged(np.random.default_rng(2).integers(0, 500, lengths.sum()), np.concatenate(([0], lengths.cumsum())))


def gradients(encoder):
    flat = torch.cat([parameter.grad.flatten().cpu() for parameter in encoder.parameters() if parameter.grad is not None])
    encoder.zero_grad(set_to_none=True)
    return flat


def alike(value, expected):
    return (value - expected).norm() / expected.norm()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")  # from torch.compile
@pytest.mark.parametrize("compiled", [False, True])
def test_stage_one_in_bf16_has_the_gradients_of_fp32(compiled):
    host, device = encoders(CONFIG.without_dropout())
    if compiled:
        torch._dynamo.reset()
        precision.compile_blocks(device)
    for windows in (9, 14):
        expected, _ = stage.gradients(host, batch(windows), micro_tokens=10**6)
        with BF16():
            loss, _ = stage.gradients(device, batch(windows), micro_tokens=600)
        assert loss.item() == pytest.approx(expected.item(), rel=2e-3)
        assert alike(gradients(device), gradients(host)) < 0.02


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_the_tiled_loss_equals_the_plain_one(negatives):
    sides = [torch.randn(300, 64, device="cuda", requires_grad=True) for _ in range(2)]
    results = []
    for loss in (contrastive_loss, partial(tiled_loss, tile=128)):
        value = loss(*sides, negatives=negatives)
        results.append([value, *torch.autograd.grad(value, sides)])
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")
@pytest.mark.parametrize("compiled", [False, True])
def test_cached_gradients_replay_the_dropout_of_the_device(compiled):
    _, encoder = encoders()
    if compiled:
        torch._dynamo.reset()
        precision.compile_blocks(encoder)
    rows = cached.micro_batches(documents().lengths.tolist(), tokens=500)
    weights = torch.randn(20, 128, device="cuda")
    results = []
    for keep in (True, False):
        torch.manual_seed(3)
        with BF16():
            loss = cached.backward(
                lambda micro: embed(encoder, taken(documents(), micro)),
                rows,
                lambda vectors: (vectors * weights).sum(),
                cached=keep,
            )
        results.append((loss.item(), gradients(encoder)))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-3)
    assert alike(results[0][1], results[1][1]) < 0.01


def test_the_embedding_alone_is_that_of_the_processor():
    host, device = encoders(CONFIG.without_dropout())
    torch.testing.assert_close(shallow(device, documents()).cpu(), shallow(host, documents()), rtol=1e-4, atol=1e-5)


def test_vectors_of_a_model_are_those_of_the_cpu(tmp_path):
    from codesage.encoder.runtime import load
    from codesage.encoder.weights import save_weights
    from codesage.tokenizer import Settings, train

    tokenizer = train(
        ["def add(a, b): return a + b", "for (int i = 0; i < n; i++) sum += values[i];"] * 3,
        tmp_path / "t",
        settings=Settings(vocab_size=300),
    )
    torch.manual_seed(0)
    save_weights(Encoder(Config(64, 2, 2, vocab_size=tokenizer.vocab_size, max_position_embeddings=64)).eval(), tmp_path)
    tokenizer.save(tmp_path)
    texts = ["def add(a, b): return a + b", "sum += values[i]", "x"]
    here, there = (load(tmp_path, device=device).encode(texts) for device in ("cpu", "auto"))
    assert (here * there).sum(1).min() >= 0.9999
