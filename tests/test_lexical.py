"""Lexical initialisation: word counts equal to a loop, rows of the right shape, and a bag of words from the first step."""

import math

import numpy as np
import pytest
import torch

from codesage import tokenizer as tokenizers
from codesage.contrast.vectors import embed
from codesage.corpus.tokens.ragged import joined
from codesage.encoder import lexical
from codesage.encoder.config import Config
from codesage.errors import CodesageError

SHAPE = Config(64, 2, 2, max_position_embeddings=64).without_dropout()
TEXTS = [
    "parse the header of a request",
    "def parseHeader(self): return header",
    "open a file and read the lines",
    "def read_lines(path): return open(path).readlines()",
    "close the socket",
    "def closeSocket(socket): socket.close()",
] * 2


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lexical") / "tokenizer"
    return tokenizers.train(TEXTS * 10, folder, settings=tokenizers.Settings(vocab_size=420))


def ragged(tokenizer, texts):
    ids = [np.array(row) for row in tokenizer.encode_pieces(texts)]
    lengths = np.array([len(row) for row in ids])
    return joined([(np.concatenate(ids), np.cumsum(lengths) - lengths, lengths)], end_id=tokenizer.end_id)


@pytest.fixture(scope="module")
def encoder(tokenizer):
    rows = (ragged(tokenizer, TEXTS),)
    config = Config(**{**{name: getattr(SHAPE, name) for name in SHAPE.__slots__}, "vocab_size": tokenizer.vocab_size})
    return lexical.fresh(config, tokenizer, rows, initial="lexical").eval()


def test_document_frequencies_are_those_of_a_loop(tokenizer):
    rows = ragged(tokenizer, TEXTS)
    words_V = lexical.words_of(tokenizer)
    names = sorted({word for words in words_V for word in words})
    frequencies = lexical.inverse_document_frequency(words_V, names, (rows, rows))
    for name, rarity in zip(names, frequencies, strict=True):
        holding = 2 * sum(any(name in words_V[token] for token in rows[i]) for i in range(len(rows)))
        total = 2 * len(rows)
        assert rarity == pytest.approx(math.log(1 + (total - holding + 0.5) / (holding + 0.5)) / math.log(1 + total))


def test_special_tokens_and_parts_of_characters_have_no_word(encoder, tokenizer):
    words_V = lexical.words_of(tokenizer)
    parts = [token for token in range(tokenizer.vocab_size) if tokenizer.decode([token]) == "\N{REPLACEMENT CHARACTER}"]
    assert len(parts) == 128  # a separate byte for every half of a character
    for token in (tokenizer.end_id, tokenizer.mask_id, tokenizer.pad_id, *parts):
        assert words_V[token] == [] and encoder.wte.weight[token, :-2].norm() < 0.05
    assert words_V[tokenizer.encode_pieces(["socket"])[0][0]] == ["socket"]


def test_rows_have_unit_length_and_weightless_tokens_point_to_the_sink(encoder, tokenizer):
    rows = encoder.wte.weight.detach()
    assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)), atol=1e-5)
    assert torch.equal(rows[:, -2], -rows[:, -1]) and not encoder.ln_f.weight[-2:].any() and not encoder.wpe.weight.any()
    comma, word = (tokenizer.encode_pieces([text])[0][0] for text in (":", "socket"))
    assert rows[comma, :-2].norm() < 0.05 < 0.2 < rows[word, :-2].norm()


def test_positions_start_as_random_directions_of_the_requested_length(tokenizer):
    rows = (ragged(tokenizer, TEXTS),)
    config = Config(**{**{name: getattr(SHAPE, name) for name in SHAPE.__slots__}, "vocab_size": tokenizer.vocab_size})
    starts = [("lexical", 0.5, 0), ("normal", 0.5, 0), ("lexical", 0.5, 1), ("lexical", 0.0, 0), ("normal", 0.0, 0)]
    first, again, other, plain, bare = (
        lexical.fresh(config, tokenizer, rows, initial=initial, position_scale=scale, seed=seed)
        for initial, scale, seed in starts
    )
    positions = first.wpe.weight.detach()
    assert torch.allclose(positions.norm(dim=1), torch.full((len(positions),), 0.5), atol=1e-5)
    assert torch.allclose(positions.mean(1), torch.zeros(len(positions)), atol=1e-6) and not positions[:, -2:].any()
    cosine = positions @ positions.T / 0.25 - torch.eye(len(positions))
    assert cosine.abs().max() < 0.9 and torch.equal(again.wpe.weight, first.wpe.weight)
    assert not torch.equal(other.wpe.weight, first.wpe.weight) and not plain.wpe.weight.any()
    assert torch.equal(first.wte.weight, plain.wte.weight) and torch.equal(again.wte.weight, bare.wte.weight)
    assert bare.wpe.weight.detach().std() == pytest.approx(config.initializer_range, rel=0.1)


def test_words_with_similar_spelling_start_similar(tokenizer):
    words = [["socket"], ["socket"], ["sockets"], ["header"]]
    rows = lexical.embedding(words, {"socket": 0.5, "sockets": 0.5, "header": 0.5}, width=256)[:, :-2]
    cosine = (rows @ rows.T) / np.outer(*[np.linalg.norm(rows, axis=1)] * 2)
    assert cosine[0, 1] == pytest.approx(1) and 0.3 < cosine[0, 2] < 0.9 and abs(cosine[0, 3]) < 0.25


def test_the_untrained_encoder_is_a_bag_of_words_at_any_depth(encoder, tokenizer):
    queries = ragged(tokenizer, ["parse a header", "read lines", "close a socket"])
    codes = ragged(tokenizer, TEXTS[1:6:2])
    for depth in (0, None):
        with torch.no_grad():
            scores = torch.cosine_similarity(
                embed(encoder, queries, depth=depth)[:, None], embed(encoder, codes, depth=depth)[None], dim=-1
            )
        assert scores.argmax(1).tolist() == [0, 1, 2]


def test_initialisation_depends_on_the_seed_and_is_named_in_errors(tokenizer):
    first, again, other = (lexical.embedding([["a"], ["b"]], {"a": 0.5, "b": 0.5}, width=32, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    with pytest.raises(CodesageError, match="expected one of normal, lexical"):
        lexical.fresh(SHAPE, tokenizer, (), initial="zeros")
