"""Training can start from an exported folder."""

import numpy as np
import pytest
import torch

import codesage
from codesage.encoder import export
from codesage.encoder.config import Config
from codesage.encoder.folders import BUNDLED, BUNDLED_MODELS, FP32, INT8
from codesage.encoder.model import Encoder
from codesage.encoder.weights import load_encoder
from codesage.errors import CodesageError
from codesage.tokenizer import load as load_tokenizer


@pytest.fixture(scope="module", params=[0, 24], ids=["whole", "projected"])
def encoder(request) -> Encoder:
    torch.manual_seed(0)
    return Encoder(Config(32, 2, 2, vocab_size=16_384, max_position_embeddings=64, projection_dim=request.param)).eval()


@pytest.mark.parametrize(("name", "steps"), [(FP32, 0.0), (INT8, 0.5)])
def test_an_exported_model_gives_its_weights_back(encoder: Encoder, tmp_path, name: str, steps: float) -> None:
    tokenizer = load_tokenizer(BUNDLED)
    export.export(encoder, tokenizer, tmp_path / "m", settings={}, facts={}, torch_weights=False, precisions=(name,))
    loaded = load_encoder(tmp_path / "m").state_dict()
    for key, tensor in encoder.state_dict().items():
        matrix = tensor.reshape(len(tensor), -1)
        step = matrix.abs().max(dim=1, keepdim=True).values / 63  # one scale per row of a table or output of a layer
        bound = (steps * step + 1e-6) if tensor.ndim == 2 else torch.full_like(matrix, 1e-7)
        assert ((loaded[key].reshape(len(tensor), -1) - matrix).abs() <= bound).all(), key


@pytest.mark.parametrize(("name", "most"), [("default", 12e6), ("general", 20e6)])
def test_a_bundled_model_is_small_and_a_start_for_training(name: str, most: float) -> None:
    texts = ["def f(x): return x + 1", "class A: pass"]
    searched = codesage.load(name).encode(texts)
    ids = load_tokenizer(BUNDLED_MODELS[name]).encode(texts, max_tokens=256)
    with torch.inference_mode():
        trained = torch.nn.functional.normalize(load_encoder(name).embed(ids), dim=-1).numpy()
    assert sum(file.stat().st_size for file in BUNDLED_MODELS[name].iterdir()) < most
    np.testing.assert_array_less(0.99, (searched * trained).sum(1))


def test_a_damaged_file_is_one_line(encoder: Encoder, tmp_path) -> None:
    encoder.config.save(tmp_path)
    (tmp_path / INT8).write_bytes(b"\x08\x0a nothing")
    with pytest.raises(CodesageError, match="holds no weights of an exported encoder"):
        load_encoder(tmp_path)
