"""Start from a BERT-type sentence encoder: equal hidden states, the tokenizer, exports, training and bad folders."""

import numpy as np
import pytest
import torch
import typer
from torch.nn import functional as F
from typer.testing import CliRunner

import bert_folder
import codesage
from bert_folder import LETTERS, PARTS, VOCABULARY
from codesage import CodesageError
from codesage.contrast import stage
from codesage.contrast.batches import Settings as BatchSettings
from codesage.corpus.tokens.tokenised import Settings as TokenSettings
from codesage.corpus.tokens.tokenised import open_tokens, write
from codesage.encoder.bert import fewer_pieces, from_bert
from codesage.encoder.commands import convert
from codesage.encoder.dequantise import state_of
from codesage.encoder.export import export
from codesage.encoder.weights import load_encoder
from codesage.records import Pair
from codesage.training import loop

LEAST, MOST = len(LETTERS) + len(PARTS) + 4, len(VOCABULARY) - 2  # entries; [CLS] and [unused0] are left out
TEXTS = ["parseJson(getUrls)", "HTMLParser", "the value", "x"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return bert_folder.write(tmp_path_factory.mktemp("bert"))


def test_rows_of_the_table_follow_their_pieces(source):
    encoder, tokenizer = from_bert(source)
    theirs, ours = bert_folder.state()["embeddings.word_embeddings.weight"], encoder.wte.weight
    for piece, rows in (("parse", ["parse"]), ("urls", ["url", "##s"]), ("xy", ["x", "##y"])):
        ids = tokenizer.encode_pieces([piece])[0]
        assert torch.equal(ours[ids], theirs[list(map(VOCABULARY.index, rows))])
    assert torch.equal(ours[tokenizer.mask_id], theirs[VOCABULARY.index("[MASK]")])
    assert torch.equal(ours[tokenizer.pad_id], theirs[VOCABULARY.index("[PAD]")])
    both = (theirs[VOCABULARY.index("[CLS]")] + theirs[VOCABULARY.index("[SEP]")]) / 2
    assert torch.equal(ours[tokenizer.end_id], both)
    assert encoder.config.vocab_size == tokenizer.vocab_size == MOST


def test_words_are_split_where_their_case_changes(source):
    _, tokenizer = from_bert(source)
    split, plain = tokenizer.encode_pieces(["parseJson HTMLParser getURLs", "parse json html parser get urls"])
    assert split == plain and tokenizer.decode(split).split() == ["parse", "json", "html", "parser", "get", "urls"]
    assert tokenizer.encode_pieces(["<mask>"])[0] != [tokenizer.mask_id]  # a special token in a source file is text


def test_the_most_frequent_pieces_are_kept(source):
    texts = ["json json json value value the"] * 1_001
    least = LEAST
    encoder, tokenizer = from_bert(source, texts=texts, vocab_size=least + 2)
    names = [tokenizer.decode([token]) for token in range(2, tokenizer.vocab_size - 2)]
    assert names[:2] == ["json", "value"] and "the" not in names
    assert torch.equal(
        encoder.wte.weight[2], bert_folder.state()["embeddings.word_embeddings.weight"][VOCABULARY.index("json")]
    )
    assert tokenizer.decode(tokenizer.encode_pieces(["the"])[0]).replace(" ", "") == "the"  # from its letters
    assert 1 not in tokenizer.encode_pieces([LETTERS])[0]  # never unknown


def test_the_rarest_pieces_leave_a_vocabulary(source):
    encoder, tokenizer = from_bert(source, texts=TEXTS, vocab_size=LEAST + 6)
    smaller, fewer = fewer_pieces(encoder, tokenizer, LEAST + 2)
    expected = from_bert(source, texts=TEXTS, vocab_size=LEAST + 2)
    assert fewer.state() == expected[1].state() and fewer.fingerprint == expected[1].fingerprint
    torch.testing.assert_close(smaller.state_dict(), expected[0].state_dict(), rtol=0, atol=0)
    assert fewer_pieces(encoder, tokenizer, LEAST + 6)[1].state() == tokenizer.state()
    for size in (LEAST - 1, LEAST + 7):
        with pytest.raises(CodesageError, match=f"vocab_size is {size}, expected {LEAST:,} to {LEAST + 6:,} for this"):
            fewer_pieces(encoder, tokenizer, size)


def test_white_space_gives_no_tokens(source):
    _, tokenizer = from_bert(source)
    deep = "\n".join(" " * 50 + "get" for _ in range(200))
    assert tokenizer.encode([deep], max_tokens=100) == tokenizer.encode(["get " * 200], max_tokens=100)
    assert len(tokenizer.encode([deep], max_tokens=100)[0]) == 100


@pytest.mark.parametrize("size", [3, LEAST - 1, MOST + 1])
def test_a_vocabulary_out_of_range_is_refused(source, size):
    with pytest.raises(CodesageError, match=f"vocab_size is {size}, expected {LEAST} to {MOST}"):
        from_bert(source, texts=TEXTS, vocab_size=size)


@pytest.mark.parametrize("size", [LEAST, MOST])
def test_a_vocabulary_has_the_size_asked_for(source, size):
    assert from_bert(source, texts=TEXTS, vocab_size=size)[1].vocab_size == size


def test_exports_give_its_vectors(source, tmp_path):
    encoder, tokenizer = from_bert(source)
    export(encoder, tokenizer, tmp_path / "model", settings={}, facts={"max_tokens": 30, "stages": []})
    with torch.no_grad():
        expected = F.normalize(encoder.embed(tokenizer.encode(TEXTS, max_tokens=30)), dim=-1).numpy()
    for precision, closeness in (("fp32", 1 - 1e-6), ("torch", 1 - 1e-6), ("int8", 0.99)):
        vectors = codesage.load(tmp_path / "model", precision=precision).encode(TEXTS)
        assert (np.sum(vectors * expected, axis=1) > closeness).all(), precision
    for name, tensor in state_of(tmp_path / "model/model.onnx").items():
        ours = encoder.state_dict()[name]
        assert torch.equal(tensor, ours if name.startswith("w") else ours.T if ours.ndim == 2 else ours)
    assert load_encoder(tmp_path / "model").config == encoder.config


def test_stage_two_trains_it(source, tmp_path):
    encoder, tokenizer = from_bert(source)
    names = ["parse", "json", "html", "get", "url", "value", "the", "x"]
    pairs = [
        Pair(
            f"the {name}",
            f"def {name}(x): return {name}.value",
            f"{name}.value",
            "a value",
            "python",
            name,
            "function",
            f"{name}.py",
            1,
        )
        for name in names
    ]
    write([], pairs, tokenizer, tmp_path / "tokens", settings=TokenSettings(text_tokens=8, code_tokens=24, workers=1))
    tokens = open_tokens(tmp_path / "tokens", tokenizer=tokenizer)
    batches = BatchSettings(batch_pairs=8, text_tokens=8, code_tokens=24, hard_positives=0.3, documented=0.3)
    settings = stage.Settings(loop.Settings(40, 4, 1e-2), batches)
    out = stage.run(settings, tokens, encoder, tokenizer=tokenizer, out=tmp_path / "trained")
    trained = codesage.load(out.path)
    scores = trained.encode([pair.text for pair in pairs]) @ trained.encode([pair.code for pair in pairs]).T
    assert (scores.argmax(1) == np.arange(8)).all()


def test_the_command_converts_and_needs_a_corpus_to_choose_pieces(source, tmp_path):
    app = typer.Typer()
    app.command()(convert)
    words = [str(source), "--out", str(tmp_path / "out")]
    assert f"{MOST} entries" in CliRunner().invoke(app, words).output
    assert codesage.load(tmp_path / "out").encode(TEXTS).shape == (4, 16)
    for further in (["--vocab-size", "90"], ["--corpus", str(tmp_path)]):
        assert "give --vocab-size and --corpus together" in str(CliRunner().invoke(app, words + further).exception)
    words += ["--vocab-size", "90", "--corpus", str(tmp_path)]
    assert "expected a corpus" in str(CliRunner().invoke(app, words).exception)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config.json": {"model_type": "roberta"}}, "type 'roberta'"),
        ({"config.json": {"position_embedding_type": "relative_key"}}, "relative_key positions"),
        ({"config.json": {"hidden_act": "relu"}}, "activation_function is 'relu'"),
        ({"config.json": {"num_hidden_layers": 4}}, "tensors do not match"),
        ({"config.json": {"intermediate_size": 25}}, "tensors do not match"),
        ({"tokenizer.json": {"model": {"type": "BPE", "vocab": {}, "merges": []}}}, "not a WordPiece tokenizer"),
        ({"1_Pooling/config.json": {"pooling_mode_cls_token": True}}, "cls_token pooling, expected mean"),
    ],
)
def test_another_model_is_one_line(tmp_path, changes, message):
    bert_folder.write(tmp_path, changes)
    with pytest.raises(CodesageError, match=message):
        from_bert(tmp_path)
