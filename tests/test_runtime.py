"""`codesage.load`: agreement of the three runtimes, order, batches, hostile input and broken folders."""

import shutil

import numpy as np
import pytest
import torch

import codesage
from codesage import CodesageError
from codesage.encoder.config import Config
from codesage.encoder.export import export, quantise
from codesage.encoder.model import Encoder
from codesage.encoder.runtime import batches_by_length, device_of, foreign_length, load
from codesage.encoder.weights import save_weights
from codesage.tokenizer import Settings, train

CODE = [
    "def add(a, b):\n    return a + b",
    "",
    "x",
    "class Node:\n    def __init__(self, value, next=None):\n        self.value, self.next = value, next\n" * 20,
    "für straße in größe: 🎉",
    "\x00\x01\x02",
    "<|endoftext|><mask><pad>",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("model")
    tokenizer = train(CODE * 3, root / "tokenizer", settings=Settings(vocab_size=400))
    torch.manual_seed(0)
    config = Config(64, 3, 4, vocab_size=tokenizer.vocab_size, max_position_embeddings=256).without_dropout()
    encoder = Encoder(config).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():  # move away from the initialisation, where vectors hardly differ
            parameter.add_(torch.randn_like(parameter) * 0.05)
    export(encoder, tokenizer, root / "model", settings={}, facts={"max_tokens": 200})
    return root / "model"


@pytest.fixture(scope="module")
def models(folder):
    return {precision: codesage.load(folder, precision=precision) for precision in ("torch", "fp32", "int8")}


def test_runtimes_agree(models):
    vectors = {name: model.encode(CODE) for name, model in models.items()}
    cosine = {name: (vectors["torch"] * v).sum(1).min() for name, v in vectors.items()}
    assert cosine["fp32"] >= 0.9999
    assert cosine["int8"] >= 0.99
    spread = vectors["torch"] @ vectors["torch"].T
    assert spread.min() < 0.98  # the vectors differ, so agreement means something


@pytest.mark.parametrize("precision", ["torch", "fp32", "int8"])
def test_shape_type_order_and_length(models, precision):
    model = models[precision]
    vectors = model.encode(CODE)
    assert vectors.shape == (len(CODE), model.width) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.concatenate([model.encode([text]) for text in CODE])
    np.testing.assert_allclose(vectors, alone, atol=1e-5 if precision != "int8" else 0.05)
    assert model.encode([]).shape == (0, model.width)
    assert model.max_tokens == 200


@pytest.mark.parametrize("precision", ["torch", "fp32", "int8"])
@pytest.mark.parametrize("kind", ["code", "text"])
def test_a_lone_surrogate_is_read_as_a_question_mark(models, precision, kind):
    model = models[precision]
    given, read = ["\ud800 x", "y = 1", "é \udfff"], ["? x", "y = 1", "é ?"]
    np.testing.assert_array_equal(model.encode(given, kind=kind), model.encode(read, kind=kind))
    assert model.token_ids(given, kind=kind) == model.token_ids(read, kind=kind)
    assert model.token_counts(given) == model.token_counts(read)
    with pytest.raises(TypeError):
        model.token_ids(["x", 7])


def test_texts_are_cut_sooner_than_code(models):
    long = "value next " * 200
    model = models["fp32"]
    assert not np.allclose(model.encode([long]), model.encode([long], kind="text"))
    np.testing.assert_allclose(model.encode([long], kind="text"), model.encode([long * 9], kind="text"), atol=1e-6)


def test_fingerprints_differ_by_precision(models):
    assert len({model.fingerprint for model in models.values()}) == 3


def test_a_device_is_chosen_by_what_is_there(folder, tmp_path, monkeypatch):
    """auto: a GPU for weights of torch and in training; else a folder of ONNX files alone stays on the CPU, as in search."""
    exported = tmp_path / "exported"
    exported.mkdir()
    assert [device_of(name, folder) for name in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(CodesageError, match="torch sees no GPU for device cuda"):
        codesage.load(folder, device="cuda")
    with pytest.raises(CodesageError, match="unknown device 'gpu': expected auto, cpu, cuda or cuda:N"):
        codesage.load(folder, device="gpu")
    with pytest.raises(CodesageError, match="int8 runs on the CPU only"):
        codesage.load(folder, precision="int8", device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device_of(name, folder) for name in ("auto", "cpu", "cuda", "cuda:1")] == ["cuda", "cpu", "cuda", "cuda:1"]
    assert device_of("auto", folder, "fp32") == device_of("auto", exported) == "cpu" and device_of("cuda", exported) == "cuda"
    assert device_of("auto", exported, "torch") == "cuda" and device_of("cpu", exported, "torch") == "cpu"
    with pytest.raises(CodesageError, match="torch sees no GPU for device cuda:2"):
        device_of("cuda:2", folder)


def test_batches_keep_every_row_and_the_budget():
    lengths = [5, 900, 3, 3, 100, 7, 2000]
    batches = list(batches_by_length(lengths, budget=1000))
    assert sorted(row for batch in batches for row in batch) == list(range(7))
    assert all(len(b) == 1 or len(b) * max(lengths[r] for r in b) <= 1000 for b in batches)


def test_quantise_is_exact_to_half_a_step():
    weight = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    weight[:, 2] = 0
    values, scale = quantise(weight, axis=0)
    assert scale.shape == (1, 5) and np.abs(values).max() <= 63
    assert (np.abs(values * scale - weight) <= scale / 2 + 1e-7).all()


def test_wrong_arguments(models):
    with pytest.raises(TypeError, match="list of str"):
        models["fp32"].encode("one string")
    with pytest.raises(ValueError, match="'query'"):
        models["fp32"].encode(["x"], kind="query")


def test_published_checkpoint_folder_loads(folder, tmp_path, models):
    from codesage.encoder.weights import load_encoder
    from codesage.tokenizer import load as load_tokenizer

    save_weights(load_encoder(folder), tmp_path)  # no manifest and no ONNX, as in published folders
    load_tokenizer(folder).save(tmp_path)
    np.testing.assert_allclose(codesage.load(tmp_path).encode(CODE[:1]), models["torch"].encode(CODE[:1]), atol=1e-6)


@pytest.mark.parametrize("file", ["model.int8.onnx", "model.onnx", "tokenizer.json", "config.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["truncated", "missing", "flipped"])
def test_a_damaged_folder_is_refused(folder, tmp_path, file, harm):
    copy = tmp_path / "model"
    copy.mkdir()
    for source in folder.iterdir():
        data = bytearray(source.read_bytes())
        if source.name == file:
            if harm == "missing":
                continue
            data = data[: len(data) // 2] if harm == "truncated" else data
            if harm == "flipped":
                data[len(data) // 2] ^= 0xFF
        (copy / source.name).write_bytes(data)
    if (file, harm) == ("manifest.json", "missing"):  # then it is a plain folder, like published ones
        assert codesage.load(copy).width == 64
        return
    with pytest.raises(CodesageError) as error:
        codesage.load(copy)
    assert "\n" not in str(error.value)


def test_the_length_and_pooling_of_a_foreign_folder(tmp_path):
    assert foreign_length(tmp_path) == 1024
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 256}')
    assert foreign_length(tmp_path) == 256
    (tmp_path / "1_Pooling").mkdir()
    for damaged in ("{", "[1]", "\xff"):
        (tmp_path / "1_Pooling" / "config.json").write_bytes(damaged.encode("latin-1"))
        with pytest.raises(CodesageError, match="1_Pooling/config.json is not readable"):
            foreign_length(tmp_path)


@pytest.mark.parametrize("precision", ["torch", "fp32", "int8"])
def test_a_model_read_in_the_background_gives_the_same_vectors(folder, models, precision):
    model = load(folder, precision=precision, wait=False)
    assert (model.fingerprint, model.width) == (models[precision].fingerprint, models[precision].width)
    np.testing.assert_allclose(model.encode(CODE), models[precision].encode(CODE), atol=1e-6)


@pytest.mark.parametrize("file", ["model.int8.onnx", "tokenizer.json"])
def test_what_goes_wrong_in_the_background_is_raised_at_every_use(folder, tmp_path, file):
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "manifest.json").unlink()  # otherwise the checksums tell
    (tmp_path / "model" / file).write_bytes(b"{")
    model = load(tmp_path / "model", wait=False)
    for _ in range(2):
        with pytest.raises(CodesageError, match=file.replace(".", r"\.")):
            model.encode(CODE)


def test_a_missing_or_foreign_folder_is_refused(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(CodesageError):
            codesage.load(path)
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')
    with pytest.raises(CodesageError, match="lacks"):
        codesage.load(tmp_path)
