"""Tokenised corpora: contents of the files, equal files with any number of workers, and messages about damage."""

import json
import multiprocessing
import pickle
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from codesage import CodesageError
from codesage.contrast import batches as contrast
from codesage.corpus.tokens import tokenised as station
from codesage.corpus.tokens.files import KINDS
from codesage.corpus.tokens.pretokens import Pretokens
from codesage.corpus.tokens.tokenise import Naming
from codesage.corpus.tokens.tokenised import Settings, open_tokens, sample, write
from codesage.encoder.folders import folder_of
from codesage.records import Chunk, Document, Pair, header_of
from codesage.search.pieces import pieces
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import load, train
from codesage.training import order

SOURCE = '''def total_price(items, tax_rate):
    """Sum of items — “naïve” 价格 🎉."""
    subtotal = sum(item.price for item in items)
    return print(subtotal * tax_rate)
'''
DOCUMENTS = [
    Document("shop.py", "python", SOURCE, ""),
    Document("notes.md", "", "# Notes\nno grammar <mask> here\n", ""),
    Document("deep.py", "python", "(\n" * 3_000, ""),
    Document("shop.go", "go", "package shop\n\nfunc Total(items []int) int {\n\treturn len(items)\n}\n", ""),
    Document("lone.py", "python", "name = '\ud800'\n", ""),
] + [Document(f"f{i}.py", "python", SOURCE.replace("total", f"total_{i}"), "") for i in range(20)]


def pair(number, *, text="", body="", kind="function", language="python", description=""):
    return Pair(
        text or f"Do thing number {number}",
        f"def f{number}(x):\n    y = x + {number}\n    return y",
        body or f"y = x + {number}",
        description,
        language,
        f"f{number}",
        kind,
        "a.py",
        1,
    )


PAIRS = [
    pair(i, kind=("function", "class", "test")[i % 3], language=("python", "go")[i % 2], description="More." * (i % 2))
    for i in range(40)
]


def flat(rows):
    return list(chain.from_iterable(rows))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    texts = [d.text.encode("utf-8", "replace").decode() for d in DOCUMENTS] + [p.code + p.text for p in PAIRS]
    return train(texts, tmp_path_factory.mktemp("tokenizer") / "t", settings=TokenizerSettings(vocab_size=400))


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    out = tmp_path_factory.mktemp("tokens") / "tokens"
    write(DOCUMENTS, PAIRS, tokenizer, out, held_out=PAIRS[:3], settings=Settings(workers=1))
    return out


@pytest.fixture
def tokens(folder, tokenizer):
    return open_tokens(folder, tokenizer=tokenizer)


def test_both_streams_are_the_text(tokens, tokenizer):
    assert len(tokens.plain) == len(tokens.named) == len(DOCUMENTS)
    for row, document in enumerate(DOCUMENTS):
        text = document.text.encode("utf-8", "replace").decode()
        assert tokens.plain[row].tolist() == tokenizer.encode([text], max_tokens=10**6)[0]
        text += "<|endoftext|>"
        assert tokenizer.decode(tokens.plain[row]) == text
        if document.path in ("notes.md", "deep.py"):  # no grammar or no parse, so nothing to hide
            assert len(tokens.named[row]) == 0
        else:
            assert tokenizer.decode(tokens.named[row]) == text
        assert (tokens.languages[tokens.language[row]]) == document.language
    assert tokens.plain.ids.dtype == np.uint16 and not tokens.plain.ids.flags.writeable
    assert tokens.mask_id not in tokens.plain.ids  # "<mask>" in a file is ordinary text


def test_names_mark_whole_identifiers(tokens, tokenizer):
    span = slice(*tokens.named.borders[:2])
    ids, names = tokens.named.ids[span], tokens.names[span]
    runs = np.flatnonzero(np.diff(names, prepend=0))
    words = {}
    for start, end in zip(runs, [*runs[1:], len(ids)], strict=True):
        if names[start]:
            words.setdefault(int(names[start]), set()).add(tokenizer.decode(ids[start:end]))
    assert sorted(words.items()) == [(1, {"total_price"}), (2, {"items"}), (3, {"tax_rate"}), (4, {"subtotal"}), (5, {"item"})]
    for row in (0, 5):
        assert ids[names == 1].tolist() == tokenizer.encode_pieces(["total_price"])[0]  # by itself, without context
        assert tokens.names[tokens.named.borders[row + 1] - 1] == 0  # the end token is not part of a name


@pytest.mark.parametrize(
    ("naming", "names"),
    [
        (Naming(), ["C", "f", "a", "a", "b", "a"]),
        (Naming(hide_self=True), ["C", "f", "self", "a", "self", "a", "b", "a"]),
        (Naming(hide_special=True), ["C", "f", "a", "__init__", "a", "b", "a"]),
        (Naming(with_space=True), [" C", " f", " a", "a", " b", " a"]),
    ],
)
def test_kinds_of_identifiers_can_be_set(tokenizer, tmp_path, naming, names):
    text = "class C:\n  def f(self, a):\n    def __init__(): self.a\n    b  = a\n"
    settings = Settings(workers=2 if naming.with_space else 1, naming=naming)
    write([Document("c.py", "python", text, "")], [], tokenizer, tmp_path / "t", settings=settings)
    tokens = open_tokens(tmp_path / "t")
    ids, borders = tokens.named.ids, np.flatnonzero(np.diff(tokens.names, prepend=0))
    parts = [
        (int(tokens.names[start]), tokenizer.decode(ids[start:end]))
        for start, end in zip(borders, [*borders[1:], len(ids)], strict=True)
        if tokens.names[start]
    ]
    assert [part for _, part in parts] == names and tokenizer.decode(ids) == text + "<|endoftext|>"
    assert len({number for number, part in parts if part.strip() == "a"}) == 1  # one name, with or without a space


def test_pairs_are_cut_without_end_and_keyed(tokenizer, tmp_path):
    pairs = [pair(0, text="Do  THIS\nthing"), pair(1, text="do this thing"), pair(2, body="y = x " * 500)]
    pairs.append(pair(3, text="é" * 999))
    write([], pairs, tokenizer, tmp_path / "t", settings=Settings(workers=1, text_tokens=8, code_tokens=32))
    sides = open_tokens(tmp_path / "t").pairs
    assert sides.text_key[0] == sides.text_key[1] != sides.text_key[2] and len(set(sides.body_key.tolist())) == 4
    assert len(sides.body[2]) == 31 and len(sides.text[3]) == 7 and tokenizer.end_id not in sides.body.ids
    assert sides.code[0].tolist() == tokenizer.encode([pairs[0].code], max_tokens=32)[0][:-1]
    assert sides.body[2].tolist() == tokenizer.encode([pairs[2].bare_body], max_tokens=32)[0][:-1]


def test_workers_and_units_do_not_change_the_result(tokenizer, folder, tmp_path, monkeypatch):
    one = open_tokens(folder).fingerprint
    monkeypatch.setattr(station, "_UNIT", 1)
    calls = []
    write(
        DOCUMENTS,
        PAIRS,
        tokenizer,
        tmp_path / "a",
        held_out=PAIRS[:3],
        settings=Settings(workers=2),
        progress=lambda what, done: calls.append((what, done)),
    )
    assert open_tokens(tmp_path / "a").fingerprint == one
    assert calls[len(DOCUMENTS) - 1] == ("documents", len(DOCUMENTS)) and calls[-1] == ("held_out", 3)


def test_large_vocabularies_and_empty_corpora(tokenizer, tmp_path):
    assert station.id_type(65_536).itemsize == 2 and station.id_type(65_537).itemsize == 4
    write([], [], tokenizer, tmp_path / "none", settings=Settings(workers=1))
    assert len(open_tokens(tmp_path / "none").plain) == len(open_tokens(tmp_path / "none").pairs) == 0


def test_a_sample_is_spread_over_languages(tokenizer, tmp_path):
    languages = ["python"] * 90 + ["go"] * 8 + ["c"] * 2
    kept = sample(languages, 30, seed=0)
    counts = {name: sum(k for k, of in zip(kept, languages, strict=True) if of == name) for name in ("python", "go", "c")}
    assert counts == {"python": 20, "go": 8, "c": 2} and (kept == sample(languages, 30, seed=0)).all()
    assert (kept != sample(languages, 30, seed=1)).any() and sample(languages, 999, seed=0).all()
    write(DOCUMENTS, PAIRS, tokenizer, tmp_path / "t", settings=Settings(workers=1, max_documents=3, pair_kinds=("class",)))
    tokens = open_tokens(tmp_path / "t")
    assert sorted(tokens.languages[i] for i in tokens.language) == ["", "go", "python"]
    assert {tokens.kinds[i] for i in tokens.pairs.kind} == {"class"}


def test_a_sample_of_pairs_is_of_each_kind_and_keeps_groups_whole(tokenizer, tmp_path):
    grouped = [replace(pair(100 + i, kind="parallel"), group=f"g{i % 2}") for i in range(6)]
    settings = Settings(workers=1, max_pairs=4, pair_kinds=("function", "class", "parallel"))
    write([], PAIRS + grouped, tokenizer, tmp_path / "t", settings=settings)
    pairs = open_tokens(tmp_path / "t").pairs
    kinds = [KINDS[number] for number in pairs.kind]
    assert Counter(kinds) == {"function": 4, "class": 4, "parallel": 6}
    assert set(Counter(zip(kinds[:8], pairs.language[:8].tolist(), strict=True)).values()) == {2}
    write([], PAIRS, tokenizer, tmp_path / "all", settings=Settings(workers=1, max_pairs=999))
    assert len(open_tokens(tmp_path / "all").pairs) == len(PAIRS)


@pytest.mark.parametrize("cut", ["documents.plain.ids", "documents.named.names", "pairs.text.borders", "held_out.kind"])
def test_a_shard_cut_short_is_one_line(tokenizer, tmp_path, cut):
    write(DOCUMENTS[:3], PAIRS, tokenizer, tmp_path / "t", held_out=PAIRS, settings=Settings(workers=1))
    file, manifest = tmp_path / "t" / cut, tmp_path / "t" / "manifest.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:-2] if len(whole) > 80 else whole[:-1])
    with pytest.raises(CodesageError, match=f"{cut} has .* again"):
        open_tokens(tmp_path / "t")
    stated = json.loads(manifest.read_text())
    stated["files"][cut]["bytes"] -= len(whole) - file.stat().st_size
    manifest.write_text(json.dumps(stated))
    with pytest.raises(CodesageError, match=f"{cut} has .*'codesage tokens"):  # the manifest matches, the facts do not
        open_tokens(tmp_path / "t", verify=False)


def test_damage_is_found(tokenizer, tmp_path):
    write(DOCUMENTS[:3], PAIRS, tokenizer, tmp_path / "t", settings=Settings(workers=1))
    generator = random.Random(0)
    names = sorted(file.name for file in (tmp_path / "t").iterdir() if file.stat().st_size and file.name != "manifest.json")
    for _ in range(60):
        file = tmp_path / "t" / generator.choice(names)
        whole = file.read_bytes()
        at = generator.randrange(len(whole))
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << generator.randrange(8)]) + whole[at + 1 :])
        with pytest.raises(CodesageError, match="SHA-256"):
            open_tokens(tmp_path / "t")
        file.write_bytes(whole)
    borders = tmp_path / "t" / "documents.plain.borders"
    whole = borders.read_bytes()
    borders.write_bytes(np.array([0, 90, 20, np.frombuffer(whole, "<i8")[-1]], "<i8").tobytes())
    with pytest.raises(CodesageError, match="ascend"):
        open_tokens(tmp_path / "t", verify=False)


def test_another_tokenizer_and_unknown_kinds_are_one_line(folder, tmp_path):
    other = train(["something else"] * 3, tmp_path / "t", settings=TokenizerSettings(vocab_size=300))
    with pytest.raises(CodesageError, match="another tokenizer.*give the tokenizer or model of the tokens, or run"):
        open_tokens(folder, tokenizer=other)
    with pytest.raises(CodesageError, match="kind of pairs 'poem'"):
        write([], [], other, tmp_path / "x", settings=Settings(pair_kinds=("poem",)))
    with pytest.raises(CodesageError, match="expected at least 1"):
        write([], [], other, tmp_path / "x", settings=Settings(text_tokens=0))
    with pytest.raises(CodesageError, match="no such folder"):
        open_tokens(tmp_path / "gone")


@pytest.mark.parametrize("bundled", ["", "general"])
def test_words_give_the_ids_of_the_library(tokenizer, bundled):
    tokenizer = load(folder_of(bundled)) if bundled else tokenizer
    generator, words = random.Random(0), Pretokens(tokenizer, dtype=np.dtype("<u2"))
    assert len(words._words("a\nb")) > 1
    alphabet = " \n\t\r\x0b\x1c\x00ab'stredvml019_(.)ABZ<|é日²Ⅷ\u0301’ \xa0🎉ǅ١\u2028\u200b\ufeff\x85\x7f\u2014"
    texts = ["".join(generator.choices(alphabet[: 33 if i % 2 else None], k=i % 14)) for i in range(4_000)]
    texts += ["<|endoftext|><mask>", "x" * 5_000, "".join(chr(i) for i in range(0x3000) if chr(i) != "\x85")]
    ids, lengths = words.encode(texts)
    want = tokenizer.encode_pieces(texts)
    assert lengths.tolist() == list(map(len, want)) and ids.tolist() == [token for one in want for token in one]
    assert words.encode([])[0].tolist() == []


def test_tokenizers_that_split_differently_use_the_library(tokenizer):
    from tokenizers import Tokenizer as Bpe
    from tokenizers import pre_tokenizers

    from codesage.tokenizer import Tokenizer

    bpe = Bpe.from_str(tokenizer.state())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    other = Tokenizer(bpe, "x")
    ids, _ = Pretokens(other, dtype=np.dtype("<u2")).encode(["a b2", "c"])
    assert ids.tolist() == flat(other.encode_pieces(["a b2", "c"])) != flat(tokenizer.encode_pieces(["a b2", "c"]))


@pytest.mark.parametrize("bundled", ["", "default", "general"])
def test_words_encoded_together_have_the_ids_of_each_alone(tokenizer, bundled):
    tokenizer, generator = load(folder_of(bundled)) if bundled else tokenizer, random.Random(0)
    words = ["".join(generator.choices("abcdeimnorstu019", k=1 + i % 12)) for i in range(2_000)]
    words += ["größe", "价格", "HTTPServer", "x" * 300, "a b", "", words[0]]
    assert tokenizer.encode_words(words) == tokenizer.encode_pieces([f" {word}" for word in words])
    assert tokenizer.encode_words([]) == []


@pytest.mark.parametrize("joins", [True, False])
def test_words_are_encoded_a_hundred_at_a_time_if_spaces_part_them(tokenizer, joins):
    from tokenizers import Tokenizer as Bpe
    from tokenizers import pre_tokenizers

    from codesage.tokenizer import Tokenizer

    bpe = Bpe.from_str(tokenizer.state())
    if not joins:  # a space is a token of its own, which ends the word before it
        bpe.pre_tokenizer = pre_tokenizers.Split("e ", "isolated")
    other, given = Tokenizer(bpe, "x"), []

    class Counting(Tokenizer):
        def encode_pieces(self, pieces):
            given.append(len(pieces))
            return super().encode_pieces(pieces)

    words = [f"total{number}e" for number in range(250)]
    other.__class__ = Counting
    ids = other.encode_words(words)
    assert given == ([0, 3] if joins else [0, 3, 100, 100, 50])
    assert ids == other.encode_pieces([f" {word}" for word in words])


def test_a_tokenizer_travels_to_another_process(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode_pieces(["<mask> x"]) == tokenizer.encode_pieces(["<mask> x"])
    assert again.fingerprint == tokenizer.fingerprint


def test_draws_are_splitmix_and_orders_permute():
    assert order.draws(1234567, np.arange(3)).tolist() == [  # the published outputs of the generator for this seed
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]
    first = order.permutation(1000, seed=3, epoch=0)
    assert sorted(first.tolist()) == list(range(1000)) and (first == order.permutation(1000, seed=3, epoch=0)).all()
    for other in (order.permutation(1000, seed=3, epoch=1), order.permutation(1000, seed=4, epoch=0)):
        assert (first != other).mean() > 0.9
    assert order.key(1, 2) != order.key(2, 1) and order.key(-1) != order.key(1)
    shares = [order.share(np.arange(10), rank, 3).tolist() for rank in range(3)]
    assert sorted(flat(shares)) == list(range(10))
    with pytest.raises(ValueError, match="rank 3"):
        order.share([1], 3, 3)
    numbers = order.uniform(order.key(0), np.arange(100_000))
    assert abs(numbers.mean() - 0.5) < 0.005 and abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.02


# Batches of pairs


def shown(tokenizer, batch):
    assert all(row[-1] == tokenizer.end_id for side in (batch.texts, batch.codes) for row in side)
    return [(tokenizer.decode(t[:-1]), tokenizer.decode(c[:-1])) for t, c in zip(batch.texts, batch.codes, strict=True)]


def test_pair_batches_are_pure_and_an_epoch_has_each_pair_once(tokens, folder):
    settings = contrast.Settings(batch_pairs=8)
    made = contrast.Batches(tokens, settings)
    epoch = [made.at(step).pair_P.tolist() for step in range(5)]
    assert sorted(flat(epoch)) == list(range(40))
    assert sorted(flat(made.at(step).pair_P.tolist() for step in range(5, 10))) == list(range(40))
    assert made.at(5).pair_P.tolist() != epoch[0]
    again = contrast.Batches(open_tokens(folder), settings)
    assert again.at(12).codes.ids.tolist() == made.at(12).codes.ids.tolist()  # at any step first
    assert again.at(0).pair_P.tolist() == epoch[0]
    shares = [made.at(3, rank=rank, world=3) for rank in range(3)]
    assert sorted(flat(share.pair_P.tolist() for share in shares)) == sorted(epoch[3])
    code = (
        f"from codesage.corpus.tokens.tokenised import open_tokens; from codesage.contrast.batches import *; "
        f"print(Batches(open_tokens({str(folder)!r}), Settings(batch_pairs=8)).at(12).codes.ids.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == made.at(12).codes.ids.tolist()


def test_views(tokens, tokenizer):
    for settings, code_of in (
        (contrast.Settings(batch_pairs=40), lambda p: p.bare_body),
        (contrast.Settings(batch_pairs=40, hard_positives=0), lambda p: p.code),
        (
            contrast.Settings(batch_pairs=40, hard_positives=0, documented=1),
            lambda p: p.description + "\n" * bool(p.description) + p.code,
        ),
        (contrast.Settings(batch_pairs=40, hard_positives=0, header=1), lambda p: header_of(p.path, p.name) + p.code),
        (
            contrast.Settings(batch_pairs=40, hard_positives=0, documented=1, header=1),
            lambda p: header_of(p.path, p.name) + p.description + "\n" * bool(p.description) + p.code,
        ),
        (contrast.Settings(batch_pairs=40, header=1), lambda p: p.bare_body),
    ):
        batch = contrast.Batches(tokens, settings).at(0)
        assert shown(tokenizer, batch) == [(PAIRS[i].text, code_of(PAIRS[i])) for i in batch.pair_P]
    mixed = contrast.Batches(tokens, contrast.Settings(batch_pairs=40, hard_positives=0.5, documented=0.25))
    views = [
        (PAIRS[i], code)
        for step in range(25)
        for i, (_, code) in zip(mixed.at(step).pair_P, shown(tokenizer, mixed.at(step)), strict=True)
    ]
    assert np.mean([code == p.bare_body for p, code in views]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([code.startswith("More.") for p, code in views if p.description]) == pytest.approx(0.25, abs=0.06)
    assert len({code for p, code in views if p is PAIRS[1]}) == 3  # chosen anew in every epoch
    partly = contrast.Batches(tokens, contrast.Settings(batch_pairs=40, hard_positives=0, header=0.25))
    codes = [
        (PAIRS[i], code)
        for step in range(25)
        for i, (_, code) in zip(partly.at(step).pair_P, shown(tokenizer, partly.at(step)), strict=True)
    ]
    assert np.mean([code != p.code for p, code in codes]) == pytest.approx(0.25, abs=0.05)


def test_code_with_a_header_is_what_search_encodes(tokens, tokenizer):
    batch = contrast.Batches(tokens, contrast.Settings(batch_pairs=40, hard_positives=0, header=1)).at(0)
    for (_, code), i in zip(shown(tokenizer, batch), batch.pair_P, strict=True):
        p = PAIRS[i]
        chunk = Chunk(p.path, p.language, "function", p.name, p.start_line, p.start_line, p.code)
        assert pieces([chunk], object()) == [[code]]


def test_samples_have_no_path_since_it_may_be_their_title(tokenizer, tmp_path):
    kinds = ("howto", "comment", "example")
    write([], [pair(i, kind=kinds[i % 3]) for i in range(6)], tokenizer, tmp_path / "t", settings=Settings(workers=1))
    assert len(open_tokens(tmp_path / "t").pairs.header.ids) == 0


def test_a_path_of_over_a_quarter_is_left_out_as_in_search(tokenizer, tmp_path):
    far = [replace(pair(i), path="some/" + "very" * 40 + f"/long{i}.py", code="word " * 90) for i in range(2)]
    write([], far, tokenizer, tmp_path / "t", settings=Settings(workers=1))
    batch = contrast.Batches(open_tokens(tmp_path / "t"), contrast.Settings(code_tokens=41, hard_positives=0, header=1)).at(0)
    for row in batch.codes:
        assert len(row) == 41 and tokenizer.decode(row).startswith("word word")


def test_sides_are_cut_and_the_description_leaves_room(tokens, tokenizer, tmp_path):
    batch = contrast.Batches(tokens, contrast.Settings(batch_pairs=40, text_tokens=3, code_tokens=9, hard_positives=0)).at(0)
    assert max(batch.texts.lengths) == 3 and max(batch.codes.lengths) == 9
    for row, i in enumerate(batch.pair_P):
        assert batch.codes[row].tolist() == tokenizer.encode([PAIRS[i].code], max_tokens=9)[0]
        assert batch.texts[row].tolist() == tokenizer.encode([PAIRS[i].text], max_tokens=3)[0]
    long = [pair(i, description="word " * 400) for i in range(2)]
    write([], long, tokenizer, tmp_path / "t", settings=Settings(workers=1))
    settings = contrast.Settings(code_tokens=30, hard_positives=0, documented=1)
    documented = contrast.Batches(open_tokens(tmp_path / "t"), settings)
    for row in documented.at(0).codes:
        assert len(row) == 30 and "def f" in tokenizer.decode(row)


def test_no_batch_has_a_pair_and_its_duplicate(tokenizer, tmp_path):
    doubles = [pair(i, text=f"Same text {i % 10}", body=f"same = body_{i % 7}") for i in range(60)]
    doubles += [pair(i) for i in range(60, 100)]
    write([], doubles, tokenizer, tmp_path / "t", settings=Settings(workers=1))
    made = contrast.Batches(open_tokens(tmp_path / "t"), contrast.Settings(batch_pairs=10))
    seen = []
    for step in range(100):
        rows = made.at(step).pair_P.tolist()
        assert len({doubles[i].text for i in rows}) == len({doubles[i].bare_body for i in rows}) == len(rows) == 10
        seen += rows
    assert set(seen) == set(range(100))
    same = [pair(i, text="All the same") for i in range(9)]
    write([], same, tokenizer, tmp_path / "s", settings=Settings(workers=1))
    with pytest.raises(CodesageError, match="differ in text"):
        contrast.Batches(open_tokens(tmp_path / "s"), contrast.Settings())


def test_kinds_languages_and_consistency_choose(tokens):
    def batches_of(settings, steps, **options):
        made = contrast.Batches(tokens, settings, **options)
        return [made.at(step).pair_P.tolist() for step in range(steps)]

    weighted = contrast.Settings(batch_pairs=4, kinds={"class": 2, "test": 0.5})
    kinds = [PAIRS[i].kind for i in flat(batches_of(weighted, 300))]
    assert set(kinds) == {"class", "test"} and kinds.count("class") / kinds.count("test") == pytest.approx(4, rel=0.1)
    rows = batches_of(contrast.Settings(batch_pairs=5, one_language=True), 16)
    languages = [{PAIRS[i].language for i in row} for row in rows]
    assert all(len(one) == 1 for one in languages) and languages.count({"go"}) == 8
    keep = np.arange(40) % 4 == 0
    assert set(flat(batches_of(contrast.Settings(batch_pairs=5), 2, consistent=keep))) == set(np.flatnonzero(keep).tolist())
    assert len(batches_of(contrast.Settings(batch_pairs=99), 1)[0]) == 40  # fewer pairs than a batch: all of them
    for settings, options, message in (
        (contrast.Settings(kinds={"poem": 1}), {}, "'poem'"),
        (contrast.Settings(kinds={"comment": 1}), {}, "0 of 40 pairs"),
        (contrast.Settings(), {"consistent": keep[:9]}, "9 pairs"),
        (contrast.Settings(code_tokens=2048), {}, "cut at 1024"),
    ):
        with pytest.raises(CodesageError, match=message):
            contrast.Batches(tokens, settings, **options)


@pytest.mark.parametrize(
    "changes", [{"batch_pairs": 1}, {"text_tokens": 1}, {"hard_positives": 0.8, "documented": 0.3}, {"kinds": {"class": -1}}]
)
def test_contradictory_settings_of_pairs_are_refused(changes):
    with pytest.raises(CodesageError, match="expected|needs"):
        contrast.Settings(**changes)


def test_dropout_of_tokens_is_pure_keeps_the_end_and_the_share(tokens):
    base = {"batch_pairs": 4, "text_tokens": 64, "code_tokens": 256, "hard_positives": 0.0, "seed": 3}
    whole, thin = (contrast.Batches(tokens, contrast.Settings(**base, token_dropout=share)) for share in (0.0, 0.5))
    kept, total = 0, 0
    for step in range(6):
        for side in ("texts", "codes"):
            full, part = getattr(whole.at(step), side), getattr(thin.at(step), side)
            again = getattr(contrast.Batches(tokens, contrast.Settings(**base, token_dropout=0.5)).at(step), side)
            assert np.array_equal(part.ids, again.ids) and len(part) == len(full)
            for row in range(len(full)):
                assert part[row][-1] == tokens.end_id
                left = iter(full[row].tolist())
                assert all(token in left for token in part[row].tolist())  # a subsequence
            kept, total = kept + len(part.ids) - len(part), total + len(full.ids) - len(full)
    assert 0.4 < kept / total < 0.6
    with pytest.raises(CodesageError, match="token_dropout is 1"):
        contrast.Settings(token_dropout=1.0)


# From a corpus, through worker processes and the command


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    from codesage.corpus.sources.trees import Folder
    from codesage.corpus.stage import Settings as CorpusSettings
    from codesage.corpus.stage import build

    root = tmp_path_factory.mktemp("corpus")
    (root / "code").mkdir()
    for name in ("alpha", "beta"):
        (root / "code" / f"{name}.py").write_text(
            "".join(
                f'def {name}_{i}(value):\n    """Compute the {name} number {i} of the value.\n\n    Takes a while on large '
                f'values.\n    """\n    result = value + {i} * len("{name}")\n    other = result * {i}\n    return other\n\n\n'
                for i in range(12)
            )
        )
    build(CorpusSettings(workers=1), [Folder(root / "code")], root / "corpus", cache=root / "cache")
    return root / "corpus"


def test_a_corpus_becomes_tokens_by_the_command(corpus, tokenizer, tmp_path):
    import typer
    from typer.testing import CliRunner

    from codesage.corpus.read import read_documents, read_pairs
    from codesage.corpus.tokens.commands import tokens_command

    app = typer.Typer()
    app.command()(tokens_command)
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    out = tmp_path / "tokens"
    given = [corpus, "--tokenizer", tmp_path / "tokenizer", "--out", out, "--workers", 1]
    done = CliRunner().invoke(app, list(map(str, given)))
    assert done.exit_code == 0 and f"pairs: {len(list(read_pairs(corpus)))}," in done.output
    tokens = open_tokens(out)
    assert [tokenizer.decode(row[:-1]) for row in tokens.plain] == [document.text for document in read_documents(corpus)]
    assert [tokenizer.decode(row) for row in tokens.pairs.body] == [pair.bare_body for pair in read_pairs(corpus)]
    assert len(tokens.pairs.description[0]) > 0 and tokens.facts["corpus"]


def test_a_script_without_a_main_guard_gets_a_clear_error(tokenizer, tmp_path):
    """Workers import the script, which runs it again, and fail. The first process must not wait for them."""
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from codesage.corpus.tokens.tokenised import Settings, write; from codesage.records import Document\n"
        "from codesage.tokenizer import load\ndocument = Document('a.py', 'python', 'x = 1\\n' * 9, '0' * 64)\n"
        "write([document], [], load(sys.argv[1]), sys.argv[2], settings=Settings(workers=2))"
    )
    command = [sys.executable, script, tmp_path / "tokenizer", tmp_path / "out"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("call it under if __name__ == '__main__'\n") and not (tmp_path / "out").exists()


def test_a_killed_worker_is_one_line(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(station, "_UNIT", 1)

    def kill(what, done):
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(CodesageError, match="worker process died.*--workers 1"):
        write(DOCUMENTS * 5, PAIRS, tokenizer, tmp_path / "t", settings=Settings(workers=2), progress=kill)
    assert not list(tmp_path.iterdir())
