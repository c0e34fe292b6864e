"""Export to and import from transformers and sentence-transformers, and models for MTEB, with the real libraries."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from itertools import chain, product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import bert_folder
import codesage
from codesage import CodesageError
from codesage.artifacts import MANIFEST
from codesage.encoder.bert import from_bert
from codesage.encoder.config import Config
from codesage.encoder.export import export, export_folder
from codesage.encoder.folders import NAMES
from codesage.encoder.hub import export_hub
from codesage.encoder.model import Encoder, Layout
from codesage.encoder.queries import PROMPT
from codesage.encoder.weights import load_encoder
from codesage.evaluate import stage
from codesage.evaluate.tasks import RetrievalTask
from codesage.tokenizer import load as load_tokenizer
from other_device import cpu_alone, other_device

TYPED = ["how to reverse a list in python?", "how to how to sort a list", "python", "port python to go", "Reverse a list"]
TEXTS = ["def f(x): return x  # <mask> <|endoftext|> é🎉\n\tif a:\n  b=1234", "", "word " * 100, "a <pad> b", "same", "same"]


@pytest.fixture(scope="module", params=[0, 24], ids=["whole", "projected"])
def source(tmp_path_factory, request):
    """The folder of a model, once with vectors as wide as its layers, once with a projection to width 24."""
    folder, tokenizer = tmp_path_factory.mktemp("models") / "tiny", load_tokenizer(NAMES)
    torch.manual_seed(0)
    shape = Config(32, 2, 4, vocab_size=tokenizer.vocab_size, max_position_embeddings=64, projection_dim=request.param)
    encoder = Encoder(shape).eval()
    card = "---\nlicense: mit\ntags: [x]\n---\n# Old title\n\nTrained on nothing.\n"
    export(
        encoder,
        tokenizer,
        folder,
        settings={},
        facts={"stages": ["pretrain"], "max_tokens": 40},
        precisions=(),
        files={"README.md": card},
    )
    return folder


@pytest.fixture(scope="module")
def hub(source):
    export_hub(source, source.parent / "hub", name="my-model")
    with warnings.catch_warnings():  # deprecation warnings of other libraries on import
        warnings.simplefilter("ignore")
        import sentence_transformers  # noqa: F401

    return source.parent / "hub"


def test_tokenizers_agree_on_ids_truncation_and_special_text(source, hub):
    from transformers import AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(hub), load_tokenizer(source)
    assert theirs(TEXTS, truncation=True)["input_ids"] == ours.encode(TEXTS, max_tokens=40)
    assert (theirs.mask_token_id, theirs.pad_token_id, theirs.eos_token_id) == (ours.mask_id, ours.pad_id, ours.end_id)
    assert load_tokenizer(hub).encode(TEXTS, max_tokens=40) == ours.encode(TEXTS, max_tokens=40)


def test_the_tokenizer_stays_the_same_one_through_an_export(source, hub, tmp_path):
    own = load_tokenizer(source)
    assert load_tokenizer(hub).fingerprint == own.fingerprint == load_tokenizer(NAMES).fingerprint
    assert (hub / "tokenizer.json").read_bytes() != (source / "tokenizer.json").read_bytes()
    own.save(tmp_path)
    assert load_tokenizer(tmp_path).fingerprint == own.fingerprint
    state = json.loads(own.state())
    first, second, *others = state["model"]["merges"]
    state["model"]["merges"] = [second, first, *others]
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    assert load_tokenizer(tmp_path).fingerprint != own.fingerprint


def test_bundled_models_are_exported_by_name(tmp_path):
    from sentence_transformers import SentenceTransformer

    export_hub("default", tmp_path / "hub")
    code = ["def add(a, b):\n    return a + b"]
    model = SentenceTransformer(str(tmp_path / "hub"), device="cpu")
    (ours,), (theirs,) = codesage.load().encode(code), model.encode(code)
    assert ours @ theirs > 0.99 and np.linalg.norm(theirs) == pytest.approx(1, abs=1e-5)
    export_folder("default", tmp_path / "model", int8_only=True)
    exported = codesage.load(tmp_path / "model")
    assert ours @ exported.encode(code)[0] > 0.9999
    assert exported.token_ids(TYPED, kind="text") == codesage.load().token_ids(TYPED, kind="text")
    long = ["how to find " + "the next word " * 100]  # queries are cut at 128 tokens
    queries = codesage.load(tmp_path / "hub").encode([*TYPED, *long], kind="text")
    np.testing.assert_allclose(model.encode_query([*TYPED, *long]), queries, atol=1e-5)


# Queries


def typed_queries():
    """Every opening beside every language and mark, with texts that hold edges of the rule."""
    openings = (
        "",
        "how to ",
        "How do I ",
        "please, how can we ",
        "what is the best way to ",
        "\u00bfhow to ",
        "\u00fc how to ",
        "  Hello how to\t",
    )
    texts = (
        "reverse a list",
        "sort",
        "port \u00e9\U0001f389",
        "\u8bfb\u53d6 \u6587\u4ef6",
        "\u03bb calculus",
        "<|endoftext|> token",
        "<mask>",
        "c++ java.util",
    )
    names = (
        "",
        " in python",
        " in Java and golang",
        " using the C# language",
        "(node.js)",
        " in python-dateutil",
        " in scripts",
    )
    return [
        f"{opening}{text}{name}{mark}"
        for opening, text, name, mark in product(openings, texts, names, ("", "?", "!?", " ?", "\n", "\u00a0", "..."))
    ]


def test_the_tokenizer_gives_queries_the_ids_of_our_runtime(source, hub):
    from transformers import AutoTokenizer

    theirs, ours, queries = AutoTokenizer.from_pretrained(hub), codesage.load(source), typed_queries()
    want, marked = ours.token_ids(queries, kind="text"), [PROMPT + query for query in queries]
    assert theirs(marked, truncation=True)["input_ids"] == want
    assert [theirs(one, truncation=True)["input_ids"] for one in marked[:50]] == want[:50]
    assert theirs.encode(PROMPT + "how to sort a list") == theirs.encode("Sort a list")
    assert theirs(queries, truncation=True)["input_ids"] == ours.token_ids(queries)
    inside = [f"x = '{PROMPT}how to sort a list'", "", "how to sort a list in python?"]  # code
    assert theirs(inside, truncation=True)["input_ids"] == ours.token_ids(inside)
    assert theirs(PROMPT)["input_ids"] == theirs("")["input_ids"] == [theirs.eos_token_id]


def test_the_tokenizer_cuts_queries_at_128_tokens_if_it_cuts(hub):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(hub, model_max_length=1_000)
    query, code = PROMPT + "Find " + "a b " * 100, "Find " + "a b " * 100
    longest = len(theirs(code)["input_ids"])
    assert longest > 200

    def lengths(texts, **options):
        return [len(ids) for ids in theirs(texts, **options)["input_ids"]]

    assert lengths([query, query], truncation=True) == lengths([query] * 2, truncation=True, max_length=300) == [128, 128]
    assert lengths([query], truncation=True, max_length=100) == [100]
    assert lengths([code], truncation=True) == [longest] and lengths([query, code], truncation=True)[1] == longest
    assert lengths([query]) == [longest - 1]  # a query loses the space at its end
    assert lengths([query], truncation=True, padding="max_length", max_length=300) == [300]


def test_texts_in_other_forms_are_tokenised_as_by_the_library(hub):
    from transformers import AutoTokenizer

    theirs, pair = AutoTokenizer.from_pretrained(hub), ("how to sort", "x")
    assert theirs([pair])["input_ids"] == [theirs(*pair)["input_ids"]] == [theirs("how to sort", "x")["input_ids"]]
    assert theirs([PROMPT + "how to sort a list"], ["x"])["input_ids"] == theirs(["Sort a list"], ["x"])["input_ids"]
    assert theirs([["how", " to"]], is_split_into_words=True)["input_ids"] == theirs(["how to"])["input_ids"]


def test_encode_query_gives_the_vectors_of_our_runtime(source, hub, tmp_path):
    from sentence_transformers import SentenceTransformer

    model, ours = SentenceTransformer(str(hub), device="cpu"), codesage.load(hub)
    want = ours.encode(TYPED, kind="text")
    np.testing.assert_allclose(want, codesage.load(source).encode(TYPED, kind="text"), atol=1e-6)
    plain = ours.encode(TYPED)
    assert not np.allclose(want, plain, atol=1e-3)
    assert (model.prompts, model.default_prompt_name) == ({"query": PROMPT, "document": ""}, None)
    np.testing.assert_allclose(model.encode_query(TYPED), want, atol=1e-5)
    np.testing.assert_allclose(model.encode_query(TYPED[0]), want[0], atol=1e-5)
    np.testing.assert_allclose(model.encode(TYPED, prompt_name="query"), want, atol=1e-5)
    for documents in (model.encode_document(TYPED), model.encode(TYPED)):
        np.testing.assert_allclose(documents, plain, atol=1e-5)
    model[1].include_prompt = False  # the mean leaves out the tokens of the prompt, which has none
    np.testing.assert_allclose(model.encode_query(TYPED), want, atol=1e-5)
    model.save_pretrained(str(tmp_path))
    np.testing.assert_allclose(SentenceTransformer(str(tmp_path), device="cpu").encode_query(TYPED), want, atol=1e-5)
    np.testing.assert_allclose(codesage.load(tmp_path).encode(TYPED, kind="text"), want, atol=1e-5)


def test_an_export_without_the_prompt_still_loads(hub, tmp_path):
    from sentence_transformers import SentenceTransformer

    shutil.copytree(hub, tmp_path, dirs_exist_ok=True)
    for name, old in (
        ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ("config_sentence_transformers.json", {"prompts": {}}),
    ):
        (tmp_path / name).write_text(json.dumps(json.loads((tmp_path / name).read_text()) | old))
    queries = SentenceTransformer(str(tmp_path), device="cpu").encode_query(TYPED)
    np.testing.assert_allclose(queries, codesage.load(hub).encode(TYPED), atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_auto_model_gives_our_hidden_states(hub, side):
    from transformers import AutoModel, AutoTokenizer

    encoder, model = load_encoder(hub), AutoModel.from_pretrained(hub)
    batch = AutoTokenizer.from_pretrained(hub)(TEXTS, truncation=True, padding=True, padding_side=side, return_tensors="pt")
    states_BLD = model(**batch).last_hidden_state
    assert (states_BLD[batch["attention_mask"] == 0] == 0).all()
    for ids_L, mask_L, states_LD in zip(batch["input_ids"], batch["attention_mask"].bool(), states_BLD, strict=True):
        want = encoder(ids_L[mask_L], Layout.of([int(mask_L.sum())]))
        torch.testing.assert_close(states_LD[mask_L], want, rtol=1e-5, atol=1e-5)
    assert model(batch["input_ids"][:, :3], return_dict=False)[0].shape == (len(TEXTS), 3, 32)


def test_the_models_of_transformers_compute_and_train_on_the_device_they_are_on(hub):
    from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

    for kind, labels in (
        (AutoModelForMaskedLM, [[7, -100, -100], [-100, 8, -100]]),
        (AutoModelForSequenceClassification, [0, 1]),
    ):
        model, told = kind.from_pretrained(hub).eval(), []
        for place in (cpu_alone(), other_device()):
            with place as checks:
                device = "cuda" if checks else "cpu"
                ids, mask = (torch.tensor(rows, device=device) for rows in ([[5, 6, 7], [8, 9, 0]], [[1, 1, 1], [1, 1, 0]]))
                output = model.to(device)(ids, attention_mask=mask, labels=torch.tensor(labels, device=device))
                output.loss.backward()
                told.append(torch.cat([output.logits.flatten().cpu(), output.loss.cpu()[None]]).tolist())
        assert told[0] == told[1] and model.transformer.wte.weight.grad.isfinite().all()


def test_masked_lm_gives_our_logits_and_loss_and_trains(hub, tmp_path):
    from transformers import AutoModelForMaskedLM

    encoder, model = load_encoder(hub), AutoModelForMaskedLM.from_pretrained(hub)
    ids_L = torch.arange(5, 25)
    want = F.linear(encoder(ids_L, Layout.of([20])), encoder.wte.weight)
    labels = torch.where(ids_L % 3 == 0, ids_L, -100)
    output = model(ids_L[None], labels=labels[None])
    torch.testing.assert_close(output.logits[0], want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.loss, torch.nn.functional.cross_entropy(want, labels))
    model.train()(ids_L[None], labels=labels[None]).loss.backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without <= {"transformer.projection.weight"}  # only vectors need it
    model.eval().save_pretrained(tmp_path)  # names with the prefix "transformer."
    torch.testing.assert_close(load_encoder(tmp_path).wte.weight, encoder.wte.weight, rtol=0, atol=0)
    assert load_encoder(tmp_path).config == encoder.config


def numpy_states(state, ids_L, heads):
    """Last hidden states (L, D) of one document, in plain numpy, from tensors in the published layout."""
    state = {name: value.double().numpy() for name, value in state.items()}

    def norm(x_LD, name):
        centred_LD = x_LD - x_LD.mean(1, keepdims=True)
        scaled_LD = centred_LD / np.sqrt((centred_LD**2).mean(1, keepdims=True) + 1e-5)
        return scaled_LD * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(x_LD, name):
        return x_LD @ state[f"{name}.weight"] + state[f"{name}.bias"]

    x_LD = state["wte.weight"][ids_L] + state["wpe.weight"][: len(ids_L)]
    for layer in range(sum(name.endswith("c_attn.bias") for name in state)):
        own = f"h.{layer}"
        q, k, v = (
            part.reshape(len(ids_L), heads, -1)
            for part in np.split(linear(norm(x_LD, f"{own}.ln_1"), f"{own}.attn.c_attn"), 3, 1)
        )
        shares_HQK = np.exp(np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[2]))
        shares_HQK /= shares_HQK.sum(2, keepdims=True)
        x_LD = x_LD + linear(np.einsum("hqk,khd->qhd", shares_HQK, v).reshape(len(ids_L), -1), f"{own}.attn.c_proj")
        inner = linear(norm(x_LD, f"{own}.ln_2"), f"{own}.mlp.c_fc")
        inner = inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3))) / 2
        x_LD = x_LD + linear(inner, f"{own}.mlp.c_proj")
    return norm(x_LD, "ln_f")


@pytest.mark.parametrize("side", ["left", "right"])
def test_pooler_and_classification_are_those_of_a_numpy_forward(hub, tmp_path, side):
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    base = AutoModel.from_pretrained(hub)
    model = AutoModelForSequenceClassification.from_pretrained(hub, num_labels=3)
    assert type(
        model
    ).__name__ == "CodesageForSequenceClassification" and model.classifier.weight.detach().std() == pytest.approx(0.02, 0.3)
    batch = AutoTokenizer.from_pretrained(hub)(TEXTS, truncation=True, padding=True, padding_side=side, return_tensors="pt")
    real = batch["attention_mask"].bool()
    documents = [ids_L[mask_L].tolist() for ids_L, mask_L in zip(batch["input_ids"], real, strict=True)]
    pooled_BD = np.stack([numpy_states(base.state_dict(), ids, heads=4).mean(0) for ids in documents])
    if base.projection is not None:
        pooled_BD = pooled_BD @ base.projection.weight.detach().double().numpy().T
    np.testing.assert_allclose(base(**batch).pooler_output.detach(), pooled_BD, atol=1e-5)
    np.testing.assert_allclose(base(**batch, return_dict=False)[1].detach(), pooled_BD, atol=1e-5)
    logits_BC = pooled_BD @ model.classifier.weight.detach().numpy().T + model.classifier.bias.detach().numpy()
    labels = torch.arange(len(TEXTS)) % 3
    output = model(**batch, labels=labels)
    np.testing.assert_allclose(output.logits.detach(), logits_BC, atol=1e-5)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, labels))
    assert [one.shape for one in model(**batch, return_dict=False)] == [(len(TEXTS), 3)]
    model.train()(**batch, labels=labels).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval().save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    np.testing.assert_allclose(again(**batch).logits.detach(), logits_BC, atol=1e-5)
    torch.testing.assert_close(load_encoder(tmp_path).wte.weight, load_encoder(hub).wte.weight, rtol=0, atol=0)


def test_a_document_of_padding_alone_has_a_pooled_vector_of_zeros(hub):
    from transformers import AutoModel

    output = AutoModel.from_pretrained(hub)(torch.tensor([[5, 6], [7, 8]]), torch.tensor([[1, 1], [0, 0]]))
    assert output.pooler_output[0].any() and not output.pooler_output[1].any()


def test_the_dropout_of_a_classifier_is_its_own_or_that_of_the_residual_stream(hub):
    from transformers import AutoModelForSequenceClassification

    own = AutoModelForSequenceClassification.from_pretrained(hub, classifier_dropout=0.0)
    default = AutoModelForSequenceClassification.from_pretrained(hub, residual_dropout_prob=0.3)
    assert (own.dropout.p, default.dropout.p) == (0.0, 0.3)


def test_sentence_transformers_there_and_back(source, hub, tmp_path):
    from sentence_transformers import SentenceTransformer

    want = codesage.load(source).encode(TEXTS)
    model = SentenceTransformer(str(hub), device="cpu")
    assert model.max_seq_length == 40 and model.get_embedding_dimension() == want.shape[1]
    np.testing.assert_allclose(model.encode(TEXTS), want, atol=1e-5)
    np.testing.assert_allclose(codesage.load(hub).encode(TEXTS), want, atol=1e-6)
    model.save_pretrained(str(tmp_path / "back"))
    back = codesage.load(tmp_path / "back")
    assert back.max_tokens == 40
    np.testing.assert_allclose(back.encode(TEXTS), want, atol=1e-5)
    again = SentenceTransformer(str(tmp_path / "back"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), want, atol=1e-5)
    if want.shape[1] < 32:  # the library trains its own copy of the projection
        with torch.no_grad():
            model[2].linear.weight.copy_(model[2].linear.weight.flip(0))
        model.save_pretrained(str(tmp_path / "back"))
        np.testing.assert_allclose(codesage.load(tmp_path / "back").encode(TEXTS), want[:, ::-1], atol=1e-5)
    pooling = tmp_path / "back" / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"embedding_dimension": 32, "pooling_mode": "cls"}))
    with pytest.raises(CodesageError, match="cls pooling, expected mean"):
        codesage.load(tmp_path / "back")


def test_a_published_folder_without_model_type_takes_the_classes(source, tmp_path):
    from codesage.encoder.interchange.configuration import CodesageConfig
    from codesage.encoder.interchange.modeling import CodesageModel

    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    raw = json.loads((tmp_path / "config.json").read_text())
    del raw["model_type"]
    (tmp_path / "config.json").write_text(json.dumps(raw))
    model = CodesageModel.from_pretrained(tmp_path, config=CodesageConfig(**raw))
    torch.testing.assert_close(model.wte.weight, load_encoder(source).wte.weight, rtol=0, atol=0)
    fresh = CodesageModel(CodesageConfig(**raw))
    assert 0.01 < fresh.h[0].attn.c_attn.weight.std() < 0.03 and fresh.h[0].ln_1.weight.eq(1).all()
    assert sum(p.numel() for p in fresh.parameters()) == Config(**{k: v for k, v in raw.items()}).parameters()


def test_the_card_has_front_matter_and_the_folder_a_manifest(hub):
    text = (hub / "README.md").read_text()
    assert text.startswith("---\nlicense: mit\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\n")
    assert "# my-model" in text and "Old title" not in text and "Trained on nothing." in text
    assert (hub / MANIFEST).is_file() and json.loads((hub / "config.json").read_text())["model_type"] == "codesage"


def test_the_example_of_the_card_runs_and_gives_what_codesage_gives(source, hub):
    example = (hub / "README.md").read_text().split("```python\n")[1].split("```")[0].replace('"my-model"', f'"{hub}"')
    namespace: dict = {}
    exec(example, namespace)
    ours = codesage.load(source)
    np.testing.assert_allclose(namespace["query"], ours.encode(["how to add two numbers in python"], kind="text"), atol=1e-5)
    np.testing.assert_allclose(namespace["code"], ours.encode(["def add(a, b): return a + b"]), atol=1e-5)


def test_vectors_can_be_cut(source):
    model = codesage.load(source)
    whole, cut = model.encode(TEXTS), model.encode(TEXTS, dims=8)
    want = whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, want, atol=1e-6)
    assert cut.shape == (len(TEXTS), 8) and cut.dtype == np.float32 and model.encode([], dims=8).shape == (0, 8)
    np.testing.assert_allclose(model.encode(TEXTS, dims=model.width), whole, atol=1e-6)
    for dims in (0, model.width + 1, -1):
        with pytest.raises(ValueError, match=f"expected 1 to {whole.shape[1]}"):
            model.encode(TEXTS, dims=dims)


def test_bad_sources_are_one_line(source, tmp_path):
    with pytest.raises(CodesageError, match="no such folder"):
        export_hub(tmp_path / "gone", tmp_path / "out")
    raw = json.loads((source / "config.json").read_text())
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / MANIFEST).unlink()
    (tmp_path / "config.json").write_text(json.dumps(raw | {"hidden_size": 64}))
    with pytest.raises(CodesageError, match="shape"):
        export_hub(tmp_path, tmp_path / "out")


AUTOS = ("AutoTokenizer", "AutoConfig", "AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification")
AUTOMATIC = [
    "CodesageTokenizer",
    "CodesageConfig",
    "CodesageModel",
    "CodesageForMaskedLM",
    "CodesageForSequenceClassification",
]


def test_the_auto_classes_only_need_codesage_to_be_imported(hub):
    """Before transformers, as in this process, or after it, in one in which nothing is registered yet."""
    import transformers

    assert [type(getattr(transformers, auto).from_pretrained(hub)).__name__ for auto in AUTOS] == AUTOMATIC
    code = (
        "import sys, transformers.models.auto.modeling_auto, transformers.models.auto.tokenization_auto, codesage\n"
        "import transformers\n"
        f"for auto in {AUTOS}: print(type(getattr(transformers, auto).from_pretrained(sys.argv[1])).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(hub)], check=False, capture_output=True, text=True)
    assert done.stdout.split() == AUTOMATIC, done.stderr


def test_a_transformers_without_our_names_is_warned_of_and_still_imported(tmp_path):
    package = tmp_path / "transformers" / "models" / "auto"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    (package / "modeling_auto.py").write_text("loaded = True")
    code = "import codesage; from transformers.models.auto import modeling_auto; print(modeling_auto.loaded)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout == "True\n" and "pip install --upgrade 'codesage[hub]'" in done.stderr


CODE = {
    "read a text file": "def read_text(path):\n    with open(path) as file:\n        return file.read()\n",
    "sort numbers from high to low": "def descending(numbers):\n    return sorted(numbers, reverse=True)\n",
    "send an HTTP request": "def fetch(url):\n    return urllib.request.urlopen(url).read()\n",
    "mean of a list": "def average(values):\n    return sum(values) / len(values)\n",
    "parse JSON": "def parse(text):\n    return json.loads(text)\n",
}


@pytest.fixture(scope="module")
def encoder():
    return codesage.load()


@pytest.fixture(scope="module")
def adapters():
    """Import MTEB late: it imports sentence-transformers, which this file needs anyway."""
    from codesage.evaluate import mteb

    return mteb


@pytest.fixture(scope="module")
def task():
    return RetrievalTask("local code", list(CODE), list(CODE.values()), list(range(len(CODE))))


def test_mteb_gives_the_encoder_the_scores_of_our_own_evaluation(adapters, encoder, task):
    scores = adapters.scores(adapters.MtebEncoder(encoder), adapters.task_of(task))
    ranks = stage.ranked({"own": encoder}, task)["own"]
    assert scores["mrr_at_10"] == pytest.approx(float(np.mean(1 / ranks)), abs=1e-3)
    assert scores["ndcg_at_10"] == pytest.approx(float(np.mean(1 / np.log2(1 + ranks))), abs=1e-3)


def test_mteb_searches_with_the_engine(adapters, encoder, task):
    engine = adapters.MtebSearch(encoder)
    scores = adapters.scores(engine, adapters.task_of(task))
    engine.close()
    assert scores["recall_at_5"] == 1.0 and scores["mrr_at_10"] > 0.7


def test_mteb_ranks_all_candidates_of_a_query_and_no_others(adapters, encoder):
    documents = [
        {"id": f"d{row}", "title": "", "text": f"def read_text_{row}(path):\n    return open(path)\n"} for row in range(40)
    ]
    documents += [{"id": f"far{row}", "title": "", "text": f"def zip_{row}(items):\n    return items\n"} for row in range(3)]
    engine, query = adapters.MtebSearch(encoder), [{"id": "q", "text": "read text of a path"}]
    given = {"task_metadata": None, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    engine.index(documents, **given)
    wanted = ["far0", "far1", "far2", "d7"]
    ranked = engine.search(query, top_k=4, top_ranked={"q": wanted}, **given)["q"]
    assert next(iter(ranked)) == "d7" and set(ranked) == set(wanted)
    assert len(engine.search(query, top_k=2, top_ranked={"q": wanted}, **given)["q"]) == 2
    assert engine.search(query, top_k=4, top_ranked={"q": []}, **given)["q"] == {}
    assert not set(engine.search(query, top_k=4, **given)["q"]) & {"far0", "far1", "far2"}
    engine.close()


def test_mteb_with_an_unknown_language_is_one_line(adapters, encoder):
    with pytest.raises(CodesageError, match="unknown language 'cobol'"):
        adapters.MtebSearch(encoder, language="cobol")


def test_a_converted_bert_gives_the_states_of_transformers(tmp_path):
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, BertModel

    texts = ["parseJson(getUrls)", "HTMLParser <mask>", "the  value", "x", ""]
    model = BertModel.from_pretrained(bert_folder.write(tmp_path), add_pooling_layer=False).eval()
    encoder, tokenizer = from_bert(tmp_path)
    documents = tokenizer.encode(texts, max_tokens=30)
    rows = torch.tensor([0, 3, 4])
    flat, layout = torch.tensor(list(chain.from_iterable(documents))), Layout.of(list(map(len, documents)))
    with torch.no_grad():
        states, some, parts = encoder(flat, layout), encoder(flat, layout, rows_M=rows), []
        for ids in documents:
            given = {"inputs_embeds": encoder.wte.weight[ids][None], "position_ids": torch.arange(1, len(ids) + 1)[None]}
            parts.append(model(**given).last_hidden_state[0])
    assert torch.allclose(states, torch.cat(parts), atol=1e-5)
    assert torch.allclose(some, states[rows], atol=1e-6)

    export(encoder, tokenizer, tmp_path / "model", settings={}, facts={"stages": [], "max_tokens": 30}, precisions=())
    export_hub(tmp_path / "model", tmp_path / "hub")
    with torch.no_grad():
        theirs = AutoModel.from_pretrained(tmp_path / "hub")(torch.tensor(documents[:1])).last_hidden_state[0]
    assert torch.allclose(theirs, parts[0], atol=1e-5)
    ours = codesage.load(tmp_path / "model", precision="torch").encode(texts)
    assert np.allclose(SentenceTransformer(str(tmp_path / "hub"), device="cpu").encode(texts), ours, atol=1e-5)
