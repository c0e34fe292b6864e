"""Stage II on a mixture: groups of equivalent code, entries and their weights, and changes of the texts."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import typer
from typer.testing import CliRunner

from codesage import CodesageError
from codesage.artifacts import open_artifact
from codesage.contrast import augment, embedder, entries, filtering, mining, neighbours, stage, teacher
from codesage.contrast import commands as contrast_commands
from codesage.contrast.batches import Batches, Settings
from codesage.corpus.build.tables import Writer, read_records, schema_of, table_of
from codesage.corpus.tokens import tokenised as token_files
from codesage.encoder.config import Config
from codesage.encoder.export import export
from codesage.encoder.model import Encoder
from codesage.encoder.weights import load_encoder
from codesage.records import Pair
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import train as train_tokenizer
from codesage.training import loop

LANGUAGES = ("python", "java", "go", "ruby")
TEXT_TOKENS, CODE_TOKENS = 32, 48


def documented(number, *, kind="function", language="python", package="pack"):
    return Pair(
        f"Compute the value of number {number}.",
        f"def f{number}(x):\n    y = x + {number}\n    return y",
        f"y = x + {number}",
        "",
        language,
        f"f{number}",
        kind,
        "a.py",
        1,
        package,
    )


def member(group, language, solution=0, *, package="puzzles"):
    code = f"{language} solve_{group}():\n    {language}_{solution} = {group} * {solution + 7}\n    print({group})"
    return Pair("", code, "", "", language, f"solve_{group}", "parallel", "p", 1, package, group=f"group {group}")


def mixed_pairs():
    """60 functions in two languages, 20 questions from two sources, 30 groups in three or four languages, 12 with clones."""
    pairs = [documented(i, language=LANGUAGES[i % 2]) for i in range(60)]
    pairs += [documented(100 + i, kind="howto", language="go", package=("cook/book", "recipes")[i % 2]) for i in range(20)]
    for group in range(30):
        pairs += [member(group, language) for language in LANGUAGES[: 3 + group % 2]]
        pairs += [member(group, "python", solution) for solution in (1, 2)] if group < 12 else []
    return pairs


PAIRS = mixed_pairs()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    texts = [side for pair in PAIRS for side in (pair.text, pair.code)]
    texts += ["how to do this in python", "How can I do it with c# or java?"]
    return train_tokenizer(texts, tmp_path_factory.mktemp("tokenizer") / "t", settings=TokenizerSettings(vocab_size=400))


@pytest.fixture(scope="module")
def tokens(tokenizer, tmp_path_factory):
    return tokenised(PAIRS, tokenizer, tmp_path_factory.mktemp("tokens") / "t")


def tokenised(pairs, tokenizer, out, *, held_out=()):
    settings = token_files.Settings(text_tokens=TEXT_TOKENS, code_tokens=CODE_TOKENS, workers=1)
    token_files.write([], pairs, tokenizer, out, held_out=held_out, settings=settings)
    return token_files.open_tokens(out)


# Pairs and tokens


def test_groups_survive_parquet_and_older_pairs_have_none(tmp_path):
    schema, pairs = schema_of(Pair), [documented(1), member(2, "go")]
    assert schema.names[-1] == "group"
    with Writer(tmp_path / "new.parquet", schema) as writer:
        writer.add(table_of(schema, pairs))
    assert list(read_records([tmp_path / "new.parquet"], Pair)) == pairs
    older = pq.read_table(tmp_path / "new.parquet").drop_columns(["group"])
    pq.write_table(older, tmp_path / "old.parquet")
    assert list(read_records([tmp_path / "old.parquet"], Pair)) == [replace(pair, group="") for pair in pairs]
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "no.parquet")
    with pytest.raises(CodesageError, match="no column 'code'.*build the corpus again"):
        list(read_records([tmp_path / "no.parquet"], Pair))


def test_tokens_carry_kind_source_language_and_group(tokens, tokenizer, tmp_path):
    held = tokens.pairs
    assert [tokens.kinds[i] for i in held.kind] == [pair.kind for pair in PAIRS]
    assert [tokens.sources[i] for i in held.source] == [pair.package for pair in PAIRS]
    assert [tokens.languages[i] for i in held.language] == [pair.language for pair in PAIRS]
    numbers = {}
    for key, pair in zip(held.group_key.tolist(), PAIRS, strict=True):
        assert (key == 0) == (pair.group == "") and numbers.setdefault(pair.group, key) == key
    assert len(set(numbers.values())) == 31
    assert tokenizer.decode(held.code[len(PAIRS) - 1]) == PAIRS[-1].code and len(held.text[len(PAIRS) - 1]) == 0
    # Names of groups must be equal; a pair without a body is identified by its code.
    alike = [member(1, "go"), replace(member(1, "java"), group="GROUP  1"), replace(documented(1), bare_body="")]
    other = tokenised(alike, tokenizer, tmp_path / "t").pairs
    assert len(set(other.group_key.tolist())) == 3 == len(set(other.body_key.tolist()))


@pytest.mark.parametrize("workers", [1, 2])
def test_sources_are_counted_alike_by_any_number_of_workers(tokens, tokenizer, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(token_files, "_UNIT", 400)
    settings = token_files.Settings(text_tokens=TEXT_TOKENS, code_tokens=CODE_TOKENS, workers=workers)
    token_files.write([], PAIRS, tokenizer, tmp_path / "t", settings=settings)
    assert token_files.open_tokens(tmp_path / "t").fingerprint == tokens.fingerprint


def test_tokens_of_an_older_version_are_one_line(tokenizer, tmp_path):
    tokenised(PAIRS[:3], tokenizer, tmp_path / "t")
    manifest = json.loads((tmp_path / "t" / "manifest.json").read_text())
    for name in ("sources.json", "pairs.source", "pairs.group.key"):
        del manifest["files"][name]
        (tmp_path / "t" / name).unlink()
    (tmp_path / "t" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CodesageError, match="sources.json.*codesage tokens"):
        token_files.open_tokens(tmp_path / "t")


def test_questions_and_groups_are_kinds_that_can_be_kept(tokenizer, tmp_path):
    settings = token_files.Settings(pair_kinds=("howto", "parallel"), workers=1)
    token_files.write([], PAIRS, tokenizer, tmp_path / "t", settings=settings)
    kept = token_files.open_tokens(tmp_path / "t")
    assert {kept.kinds[i] for i in np.unique(kept.pairs.kind)} == {"howto", "parallel"}


# Entries and their weights


MIX = {"function": 40.0, "howto": 20.0, "parallel/across": 25.0, "parallel/within": 15.0}


def settings(mix=None, *, size=8, **options):
    lengths = {"text_tokens": TEXT_TOKENS, "code_tokens": CODE_TOKENS}
    return Settings(size, **lengths, mix=MIX if mix is None else mix, **options)


def batches_of(tokens, steps, mix=None, **options):
    made = Batches(tokens, settings(mix, **options))
    return [made.at(step) for step in range(steps)]


def test_a_table_is_read_from_a_line():
    table = entries.parsed("function=40, howto:a/b=2.5,parallel/across=1e1,")
    assert table == {"function": 40, "howto:a/b": 2.5, "parallel/across": 10}
    assert entries.parsed("howto:x==2") == {"howto:x=": 2}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("function", "'function' in the mixture: expected ENTRY=WEIGHT"),
        ("function=many", "'function=many' in the mixture"),
        ("=4", "'=4' in the mixture"),
        ("function=nan", "'function=nan' in the mixture"),
        (" , ", "the mixture is empty"),
        ("howto=1,howto=2", "'howto' occurs twice"),
    ],
)
def test_an_invalid_table_line_is_refused(line, message):
    with pytest.raises(CodesageError, match=message):
        entries.parsed(line)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"poem": 1}, "unknown kind 'poem'.*expected function, class"),
        ({"function+poem": 1}, "unknown kind 'poem'"),
        ({"function/rust": 1}, "unknown language 'rust'.*expected python"),
        ({"comment": 1}, "no pairs for 'comment'.*it has pairs of function, howto, parallel"),
        ({"howto:cook": 1}, "no pairs for 'howto:cook'.*are in go, from cook/book, recipes"),
        ({"howto/python": 1}, "no pairs for 'howto/python'.*are in go"),
        ({"function+parallel": 1}, "joins 'parallel' with other kinds"),
        ({"function/across": 1}, "only 'parallel' can be 'across'"),
        ({"function": 0}, "weight 0.*leave it out"),
        ({"function": -1}, "weight -1"),
        ({"function": float("inf")}, "weight inf"),
        ({"howto:recipes": 1}, "'howto:recipes' of the mixture cannot fill a batch: it has 10 pairs, a batch needs 16"),
        ({"parallel/within": 1}, "'parallel/within'.* 12 groups with two members.*lower --batch-pairs"),
        ({"parallel:puzzles/ruby": 1}, "'parallel:puzzles/ruby'.* 0 groups"),
    ],
)
def test_impossible_entries_are_one_line(tokens, mix, message):
    with pytest.raises(CodesageError, match=message) as error:
        Batches(tokens, settings(mix, size=16))
    assert "\n" not in str(error.value)


def test_a_mixture_and_weights_of_kinds_are_not_both_given(tokens):
    with pytest.raises(CodesageError, match="both kinds and mix"):
        settings(kinds={"function": 1.0})
    with pytest.raises(CodesageError, match="'parallel' a weight"):
        Batches(tokens, Settings(text_tokens=TEXT_TOKENS, code_tokens=CODE_TOKENS, kinds={"parallel": 1.0}))
    with pytest.raises(CodesageError, match="give the tokenizer"):
        Batches(tokens, settings(augment=augment.Settings(share=0.5)))


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("function", lambda p: p.kind == "function"),
        ("function/java", lambda p: p.kind == "function" and p.language == "java"),
        ("howto:cook/book", lambda p: p.package == "cook/book"),
        ("howto:cook/*", lambda p: p.package == "cook/book"),
        ("howto:cook/book/go", lambda p: p.package == "cook/book"),
        ("function+howto", lambda p: p.kind in ("function", "howto")),
        ("parallel:puz*/across", lambda p: p.kind == "parallel"),
    ],
)
def test_an_entry_names_its_pairs(tokens, name, chosen):
    (entry,) = entries.entries_of({name: 2}, tokens)
    assert entries.rows_of(entry, tokens).tolist() == [i for i, pair in enumerate(PAIRS) if chosen(pair)]


def test_a_package_named_like_a_language_is_a_package(tokenizer, tmp_path):
    pairs = [documented(i, package=("tracks/python", "tracks")[i % 2]) for i in range(8)]
    held = tokenised(pairs, tokenizer, tmp_path / "t")
    (entry,) = entries.entries_of({"function:tracks/python": 1}, held)
    assert entries.rows_of(entry, held).tolist() == [0, 2, 4, 6]


def test_weights_are_honoured_at_every_step(tokens):
    made = Batches(tokens, settings())
    names = [part.entry.name for part in made.parts]
    entry_S = made.schedule.entries(1000)
    for steps in (10, 100, 1000):
        counts = np.bincount(entry_S[:steps], minlength=4)
        np.testing.assert_allclose(counts, [steps * MIX[name] / 100 for name in names], atol=3)
    kinds = [{PAIRS[row].kind for row in made.at(step).pair_P} for step in range(60)]
    assert kinds == [{names[entry].split("/")[0]} for entry in entry_S[:60]]
    assert (made.schedule.entries(200) == entry_S[:200]).all()
    assert (Batches(tokens, settings(seed=1)).schedule.entries(200) != entry_S[:200]).any()
    other = Batches(tokens, settings(dict(reversed(MIX.items()))))  # neither the order nor the scale of the table matters
    assert (other.schedule.entries(200) == entry_S[:200]).all() and (other.at(7).pair_P == made.at(7).pair_P).all()


def test_weights_are_honoured_whatever_they_are():
    rng = np.random.default_rng(0)
    for seed in range(20):
        weights = rng.dirichlet(np.ones(12))
        counts = np.bincount(entries.Schedule(weights, seed=seed).entries(1000), minlength=12)
        assert np.abs(counts - 1000 * weights).max() < 4
    schedule = entries.Schedule(weights, seed=3)
    for step in (0, 5, 4095, 4096, 9000):
        before = schedule.entries(step + 1)
        assert schedule.at(step) == (before[-1], (before[:-1] == before[-1]).sum())


def test_batches_are_a_function_of_seed_and_step(tokens, tokenizer):
    options = {"augment": augment.Settings(share=0.7), "token_dropout": 0.1, "hard_positives": 0.5}
    made = Batches(tokens, settings(**options), tokenizer=tokenizer)
    for step in (0, 3, 37):
        again = Batches(tokens, settings(**options), tokenizer=tokenizer).at(step)  # at any step first
        batch = made.at(step)
        shares = [made.at(step, rank=rank, world=3) for rank in range(3)]
        for name in ("texts", "codes"):
            rows, other = getattr(batch, name), getattr(again, name)
            assert rows.ids.tolist() == other.ids.tolist() and rows.borders.tolist() == other.borders.tolist()
            for row in range(len(rows)):
                assert getattr(shares[row % 3], name)[row // 3].tolist() == rows[row].tolist()
        assert sum(len(share.pair_P) for share in shares) == 8
    # fixed values: a seed must always give the same batches
    assert [made.schedule.entries(8).tolist(), made.at(0).pair_P.tolist(), made.at(1).partner_P.tolist()] == GOLDEN


GOLDEN = [[0, 2, 0, 0, 2, 0, 3, 1], [22, 54, 48, 20, 26, 56, 50, 0], [119, 141, 196, 86, 150, 147, 161, 171]]


# Code against code


def test_the_sides_of_a_batch_are_of_one_language_each_and_share_a_group_row_by_row(tokens):
    seen = set()
    for batch in batches_of(tokens, 200, {"parallel/across": 1}):
        anchors, partners = ([PAIRS[row] for row in rows] for rows in (batch.pair_P, batch.partner_P))
        ((one,), (other,)) = ({pair.language for pair in side} for side in (anchors, partners))
        assert one != other and [pair.group for pair in anchors] == [pair.group for pair in partners]
        assert len({pair.group for pair in anchors}) == len(anchors) == 8
        seen.add((one, other))
    assert len(seen) == 12  # each pair of four languages, in both orders


def test_both_sides_are_code(tokens, tokenizer):
    batch = batches_of(tokens, 1, {"parallel": 1})[0]
    for rows, numbers in ((batch.texts, batch.pair_P), (batch.codes, batch.partner_P)):
        for row, number in enumerate(numbers):
            assert rows[row].tolist() == tokenizer.encode([PAIRS[number].code], max_tokens=CODE_TOKENS)[0]


def test_solutions_in_one_language_are_two_different_ones(tokens):
    seen = set()
    for batch in batches_of(tokens, 60, {"parallel/within": 1}):
        for one, other in zip(batch.pair_P, batch.partner_P, strict=True):
            assert one != other and PAIRS[one].code != PAIRS[other].code
            assert PAIRS[one].group == PAIRS[other].group and PAIRS[one].language == PAIRS[other].language == "python"
            seen.add((one, other))
    assert len(seen) == 12 * 6  # every two of three, in both orders: chosen anew in each epoch


def test_pairs_of_languages_are_as_frequent_as_the_groups_that_have_both(tokens):
    counts = {}
    for batch in batches_of(tokens, 1000, {"parallel": 1}, size=4):
        key = tuple(sorted({PAIRS[row].language for row in (*batch.pair_P, *batch.partner_P)}))
        counts[key] = counts.get(key, 0) + 1
    held = {}
    for group in {pair.group for pair in PAIRS if pair.group}:
        languages = sorted({pair.language for pair in PAIRS if pair.group == group})
        for i, one in enumerate(languages):
            for other in languages[i + 1 :]:
                held[one, other] = held.get((one, other), 0) + 1
    held["python",] = 12
    assert counts.keys() == held.keys()
    for key, groups in held.items():
        assert counts[key] / 1000 == pytest.approx(groups / sum(held.values()), rel=0.12), key


def test_groups_with_equal_code_never_meet(tokenizer, tmp_path):
    pairs = [member(group, language) for group in range(12) for language in ("go", "java")]
    pairs = [
        replace(pair, code=pairs[0].code) if pair.group in ("group 3", "group 5") and pair.language == "go" else pair
        for pair in pairs
    ]
    held = tokenised(pairs, tokenizer, tmp_path / "t")
    for batch in batches_of(held, 40, {"parallel": 1}, size=4):
        both = [pairs[row].code for row in (*batch.pair_P, *batch.partner_P)]
        assert len(set(both)) == 8


def test_equal_solutions_in_one_language_are_one(tokenizer, tmp_path):
    pairs = [member(group, "go", 0) for group in range(8) for _ in range(2)]
    held = tokenised(pairs, tokenizer, tmp_path / "t")
    with pytest.raises(CodesageError, match="0 groups with two members"):
        Batches(held, settings({"parallel": 1}, size=2))


def test_pairs_of_languages_with_too_few_groups_are_joined_and_counted(tokens):
    def mixed(**options):
        made = Batches(tokens, settings(**options))
        assert made.parts[0].facts["rows"] == 30
        planned = [made.at(step) for step in range(made.parts[0].facts["batches"])]
        assert all(len({PAIRS[row].group for row in batch.pair_P}) == options["size"] for batch in planned)
        count = sum(len({PAIRS[row].language for row in (*batch.pair_P, *batch.partner_P)}) > 2 for batch in planned)
        assert made.parts[0].facts["mixed_batches"] == count
        return count, made.lines()[0]

    # 15 groups have ruby, so three pairs of languages have 15 groups. These do not fill a batch of 20, but they fill one of
    # 16 together with the 12 groups that have two solutions in python.
    count, line = mixed(mix={"parallel/across": 1}, size=20)
    assert count == 0 and line == "parallel/across: 100.0% of the batches, 30 groups, 5 batches an epoch"
    assert mixed(mix={"parallel": 1}, size=16)[0] > 0 and "in several languages" in mixed(mix={"parallel": 1}, size=16)[1]


# Texts and codes


def test_batches_of_texts_are_of_one_language_and_what_is_left_is_joined(tokens):
    def languages(steps, **options):
        made = batches_of(tokens, steps, {"function": 1}, **options)
        return [len({PAIRS[row].language for row in batch.pair_P}) for batch in made]

    # 30 pairs of each: three full batches, and one mixed batch of the 6 left of each
    assert sum(count == 2 for count in languages(70)) == 10
    assert sum(count == 2 for count in languages(70, one_language=False)) > 60
    made = Batches(tokens, settings({"function": 1}))
    assert made.parts[0].facts == {"entry": "function", "share": 1, "rows": 60, "batches": 7, "mixed_batches": 1}
    assert sorted(row for step in range(7) for row in made.at(step).pair_P) == sorted(
        {row for step in range(7) for row in made.at(step).pair_P}
    )


def test_without_a_mixture_documented_pairs_are_learned_and_the_others_named(tokens):
    made = Batches(tokens, Settings(8, TEXT_TOKENS, CODE_TOKENS))
    assert {PAIRS[row].kind for step in range(9) for row in made.at(step).pair_P} == {"function"}
    assert made.lines()[1:] == [
        "howto: 20 pairs are not used: name them in the mixture to learn from them",
        "parallel: 129 pairs are not used: name them in the mixture to learn from them",
    ]


def test_a_filter_reaches_every_entry(tokens):
    keep = np.arange(len(PAIRS)) % 3 > 0
    made = Batches(tokens, settings(size=4), consistent=keep)
    assert all(keep[made.at(step).pair_P].all() and keep[made.at(step).partner_P].all() for step in range(40))


# Texts as people type them


EVERYTHING = augment.Settings(1, 1, 1, 1, 1, 1)
NOTHING = augment.Settings(1, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "language", "change", "opening", "form", "want"),
    [
        ("Return the sum of a list.", "python", {"stop": 1}, 0, 0, "Return the sum of a list"),
        ("Wait for it...", "python", {"stop": 1}, 0, 0, "Wait for it..."),
        ("The sum of a list, an item and theory.", "go", {"articles": 1}, 0, 0, "sum of list, item and theory."),
        ("Vitamin A and B", "go", {"articles": 1}, 0, 0, "Vitamin A and B"),
        ("Return a list", "go", {"question": 1}, 0, 0, "how to return a list"),
        ("Returns a list", "go", {"question": 1}, 0.3, 0, "how do i return a list"),
        ("Matches strings", "go", {"question": 1}, 0.6, 0, "how can i match strings"),
        ("Copies a file", "go", {"question": 1}, 0.99, 0, "how do you copy a file"),
        ("Process a file", "go", {"question": 1}, 0, 0, "how to process a file"),
        ("HTTP client", "go", {"question": 1}, 0, 0, "how to HTTP client"),
        ("How do I sort a list?", "go", {"question": 1}, 0, 0, "sort a list"),
        ("how to sort a list", "go", {"question": 1}, 0, 0, "sort a list"),
        ("What is a monad", "go", {"question": 1}, 0, 0, "What is a monad"),
        ("Sort a list", "python", {"language": 1}, 0, 0, "Sort a list in python"),
        ("Sort a list", "python", {"language": 1}, 0, 0.5, "python Sort a list"),
        ("Sort a list", "csharp", {"language": 1}, 0, 0.99, "Sort a list c#"),
        ("Sort a list", "javascript", {"language": 1}, 0, 0.2, "Sort a list in js"),
        ("Sort a Python list", "python", {"language": 1}, 0, 0, "Sort a Python list"),
        ("Sort a list", "", {"language": 1}, 0, 0, "Sort a list"),
        ("Sort a List of Étés", "go", {"lower": 1}, 0, 0, "sort a list of étés"),
        (".", "go", {"stop": 1}, 0, 0, "."),
        ("", "go", {"stop": 1, "question": 1, "language": 0}, 0, 0, ""),
    ],
)
def test_each_change_by_value(text, language, change, opening, form, want):
    chances = [0.0] * (augment.DRAWS - 2) + [opening, form]
    assert augment.augmented(text, language, chances, replace(NOTHING, **change)) == want


def test_changes_go_together_and_a_share_of_zero_changes_nothing():
    chances = [0.5] * augment.DRAWS
    text = "Returns the path of the file."
    assert augment.augmented(text, "java", chances, EVERYTHING) == "java how can i return path of file"
    assert augment.augmented(text, "java", chances, replace(EVERYTHING, share=0.5)) == text
    assert augment.augmented(text, "java", chances, NOTHING) == text
    with pytest.raises(CodesageError, match="augment.lower is 1.5"):
        augment.Settings(lower=1.5)


def test_augmented_batches_show_what_the_rule_says(tokens, tokenizer):
    share = augment.Settings(share=0.5)
    mix = {"function": 1.0}
    made, plain = Batches(tokens, settings(mix, augment=share), tokenizer=tokenizer), Batches(tokens, settings(mix))
    changed, variants = 0, {}
    for step in range(120):
        batch = made.at(step)
        assert batch.codes.ids.tolist() == plain.at(step).codes.ids.tolist()  # nothing else changes
        for row, number in enumerate(batch.pair_P):
            text = tokenizer.decode(batch.texts[row][:-1])
            assert batch.texts[row][-1] == tokenizer.end_id and len(batch.texts[row]) <= TEXT_TOKENS
            changed += text != PAIRS[number].text
            variants.setdefault(number, set()).add(text)
    assert 0.4 < changed / 960 < 0.52  # not every text that may change does
    assert np.mean([len(texts) for texts in variants.values()]) > 4  # chosen anew in every epoch
    assert any(text.startswith("how to compute") for texts in variants.values() for text in texts)
    long = Batches(tokens, replace(settings(mix, augment=EVERYTHING), text_tokens=6), tokenizer=tokenizer).at(0)
    assert set(long.texts.lengths.tolist()) == {6}


# Runs


def encoder_of(tokenizer):
    torch.manual_seed(0)
    config = Config(32, 2, 4, vocab_size=tokenizer.vocab_size, max_position_embeddings=48)
    return Encoder(config)  # with dropout, so random state matters


def phase(steps, batches, **options):
    steps = loop.Settings(steps, 2, 5e-3, checkpoint_steps=5, evaluations=2)
    return stage.Settings(steps, batches, negatives="uniform", **options)


class Killed(Exception):
    pass


def test_a_mixture_resumes_to_the_last_bit(tokens, tokenizer, tmp_path, monkeypatch):
    run = phase(16, settings(augment=augment.Settings(share=0.5), token_dropout=0.1), micro_tokens=200)
    whole = encoder_of(tokenizer)
    artifact = stage.run(run, tokens, whole, tokenizer=tokenizer, out=tmp_path / "whole")
    assert [part["entry"] for part in artifact.facts["mixture"]] == sorted(MIX)
    gradients, calls = stage.gradients, iter(range(1000))

    def killed(*arguments, **options):
        if next(calls) == 12:
            raise Killed
        return gradients(*arguments, **options)

    monkeypatch.setattr(stage, "gradients", killed)
    given = {"tokenizer": tokenizer, "checkpoints": tmp_path / "kept"}
    with pytest.raises(Killed):
        stage.run(run, tokens, encoder_of(tokenizer), out=tmp_path / "model", **given)
    again = encoder_of(tokenizer)
    stage.run(run, tokens, again, out=tmp_path / "model", **given)
    assert next(calls) == 12 + 7  # from step 10 on
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "model")
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 16
    for change, message in (({"mix": {"function": 1.0}}, "mix"), ({"augment": augment.Settings()}, "augment.share 0.5, now 0")):
        other = replace(run, batches=replace(run.batches, **change))
        with pytest.raises(CodesageError, match=f"belongs to another run.*{message}"):
            stage.run(other, tokens, encoder_of(tokenizer), out=tmp_path / "model", **given)


def test_one_batch_of_code_against_code_is_learned(tokens, tokenizer, tmp_path):
    batches = settings({"parallel:puzzles/within": 1}, size=12)  # an epoch is one batch with newly chosen members
    batch = Batches(tokens, batches).at(0)
    encoder, run = encoder_of(tokenizer), phase(30, batches)

    def loss():
        encoder.eval()
        value, _ = stage.gradients(encoder, run, batch)
        encoder.zero_grad()
        return value.item()

    before = loss()
    facts = stage.run(run, tokens, encoder, tokenizer=tokenizer, out=tmp_path / "m").facts["contrast"]
    assert loss() < 0.3 < 1 < before and facts["pairs_seen"] == 30 * 12


def test_one_batch_an_epoch_is_told_as_one(tokens):
    told = [Batches(tokens, settings(mix={"function": 1}, size=size)).lines()[0] for size in (50, 30)]
    assert " 60 pairs, 1 batch an epoch" in told[0] and " 60 pairs, 2 batches an epoch" in told[1]


def test_the_command_takes_a_mixture(tokens, tokenizer, tmp_path):
    app = typer.Typer()
    app.command()(contrast_commands.contrast)
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(tmp_path / "tokenizer")

    def run(out, *words):
        given = [tokens.path, "--out", tmp_path / out, "--size", "toy", "--steps", 2, "--text-tokens", 16, "--code-tokens", 32]
        return CliRunner().invoke(app, list(map(str, [*given, *words])))

    scratch = ("--tokenizer", tmp_path / "tokenizer", "--batch-pairs", 8)
    done = run("a", *scratch, "--one-phase", "--mix", "function=60,parallel=40", "--augment", 0.5, "--temperature", 0.07,
               "--learning-rate", 3e-4, "--warm-up", 0.5, "--hard-positives", 0.2, "--documented", 0, "--mixed-languages",
               "--negatives", "mean_one")  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = done.stderr.splitlines()
    assert lines[0] == "codesage: contrast: function: 60.0% of the batches, 60 pairs, 7 batches an epoch"
    model = open_artifact(tmp_path / "a", "model")
    settings = model.settings["contrast"]
    batches = settings["batches"]
    assert settings["first"] is None and settings["temperature"] == 0.07 and settings["negatives"] == "mean_one"
    assert settings["loop"]["warmup_steps"] == 1 and settings["loop"]["learning_rate"] == 3e-4
    assert batches["mix"] == {"function": 60, "parallel": 40} and batches["kinds"] == {} and not batches["one_language"]
    assert (batches["augment"]["share"], batches["hard_positives"], batches["documented"]) == (0.5, 0.2, 0)
    assert (batches["batch_pairs"], batches["text_tokens"], batches["code_tokens"]) == (8, 16, 32)
    # a model with Stage II is trained further in one phase
    again = run("b", "--model", tmp_path / "a", "--batch-pairs", 8)
    assert again.exit_code == 0 and "shallow" not in again.stderr
    facts = open_artifact(tmp_path / "b", "model").facts
    assert facts["contrast-before"] == model.facts["contrast"] != facts["contrast"]
    # so is a sentence encoder that 'codesage convert' wrote: a first phase without its blocks would lose what it knows
    files = {"facts": {"stages": [], "start": "all-MiniLM-L6-v2", "max_tokens": 32}, "precisions": ()}
    export(load_encoder(tmp_path / "a"), tokenizer, tmp_path / "converted", settings={}, **files)
    done = run("c", "--model", tmp_path / "converted", "--batch-pairs", 8)
    assert done.exit_code == 0 and "shallow" not in done.stderr
    assert open_artifact(tmp_path / "c", "model").settings["contrast"]["loop"]["learning_rate"] == 3e-4
    plain = open_artifact(tmp_path / "b", "model").settings["contrast"]
    assert plain["first"] is None and plain["residual_scale"] == 1 and plain["batches"]["kinds"]["test"] == 0.3
    for words, names in (
        (scratch, ["shallow:", "contrast:"]),
        ((*scratch, "--all-phases"), ["shallow:", "contrast:"]),
        ((*scratch, "--one-phase"), ["contrast:"]),
        (("--model", tmp_path / "a"), ["contrast:"]),
        (("--model", tmp_path / "a", "--all-phases"), ["shallow:", "contrast:"]),
        (("--model", tmp_path / "a", "--one-phase"), ["contrast:"]),
        (("--model", tmp_path / "converted", "--batch-pairs", 8), ["contrast:"]),
        (("--model", tmp_path / "converted", "--all-phases"), ["shallow:", "contrast:"]),
    ):
        phases = run("c", *words, "--dry-run").output
        assert re.findall(r"^\w+:$", phases, re.MULTILINE) == names and phases.count(" in 2 steps") == len(names), words
    assert " in 50 steps" in run("c", *scratch, "--steps", 1_000, "--dry-run").output  # the size has fewer
    alone = run("c", *scratch, "--teacher-weight", 0.5, "--dry-run")
    assert str(alone.exception).startswith("--teacher-weight is 0.5, but --teacher is missing")
    alone = run("c", *scratch, "--neighbours", 8, "--dry-run")
    assert str(alone.exception).startswith("--neighbours is 8, but --teacher is missing")
    assert run("c", *scratch, "--neighbours", 0, "--teacher-weight", 0, "--dry-run").exit_code == 0  # 0 needs no teacher
    bad = run("d", *scratch, "--mix", "function=60,howto=0")
    assert isinstance(bad.exception, CodesageError) and "weight 0" in str(bad.exception) and not (tmp_path / "d").exists()


# Batches of neighbours


def topics(count, *, seed=0):
    """Vectors of texts in groups of eight that are alike (cosine about 0.6), float16, unit rows, and the group of each."""
    rng = np.random.default_rng(seed)
    of = rng.permutation(np.arange(count) // 8)
    rows = rng.normal(size=(count // 8 + 1, 24))[of] + 0.8 * rng.normal(size=(count, 24))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16), of


def test_runs_join_texts_that_are_alike():
    vectors, of = topics(512)
    line = neighbours.arranged(neighbours.rounded(vectors), size=8, key=3)
    assert sorted(line.tolist()) == list(range(512))
    beside = np.mean(of[line[1:400]] == of[line[:399]])
    assert beside > 0.15 > 5 * np.mean(of[1:] == of[:-1])  # about 0.014 at random, 1 if each run were one group
    again, other = (neighbours.arranged(neighbours.rounded(vectors), size=8, key=key) for key in (3, 4))
    assert (again == line).all() and (other != line).any()


def test_texts_that_say_nearly_the_same_leave_their_run():
    vectors = np.repeat(topics(48)[0][::8], 2, axis=0)  # six texts, each twice
    line = neighbours.arranged(neighbours.rounded(vectors), size=12, key=0)
    assert sorted(line.tolist()) == list(range(12))
    assert sorted(row // 2 for row in line[:6].tolist()) == list(range(6))  # the second of each is behind the run
    zeros = neighbours.arranged(np.zeros((20, 24), np.int8), size=6, key=0)
    assert sorted(zeros.tolist()) == list(range(20))


def test_rounded_vectors_keep_their_directions():
    vectors, _ = topics(64)
    rounded = neighbours.rounded(vectors)
    assert rounded.dtype == np.int8 and (np.abs(rounded).max(1) == 127).all()
    wide, exact = rounded.astype(float), vectors.astype(float)
    cosines = (wide * exact).sum(1) / np.linalg.norm(wide, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosines.min() > 0.9999
    assert not neighbours.rounded(np.zeros((2, 3), np.float16)).any() and neighbours.rounded(np.zeros((0, 3))).shape == (0, 3)


def test_batches_of_neighbours_hold_each_pair_once_and_no_text_twice(tokens):
    rng, texts_PW = np.random.default_rng(0), np.zeros((len(PAIRS), 24), np.float16)
    texts_PW[:80] = topics(80)[0]
    texts_PW[7] = texts_PW[3]
    mix = {"function": 1.0, "parallel": 1.0}
    made, plain = (Batches(tokens, settings(mix, neighbours=count), teacher_PW=texts_PW) for count in (4, 0))
    similar, seen = {made: [], plain: []}, []
    for batches, found in similar.items():
        for step in range(12):
            batch = batches.at(step)
            if PAIRS[batch.pair_P[0]].kind == "function":
                assert len({PAIRS[row].text for row in batch.pair_P}) == 8
                assert batches.at(step).codes.ids.tolist() == batch.codes.ids.tolist()
                own = texts_PW[batch.pair_P].astype(float)
                found.append(((own @ own.T).sum() - 8) / 56)
                seen += batch.pair_P.tolist() if batches is made else []
    assert np.mean(similar[made]) > np.mean(similar[plain]) + 0.05
    assert len(set(seen)) == len(seen) >= 40  # six batches of an epoch of seven
    step = int(rng.integers(12))
    shares = [made.at(step, rank=rank, world=2).pair_P for rank in range(2)]
    assert sorted(np.concatenate(shares).tolist()) == sorted(made.at(step).pair_P.tolist())
    with pytest.raises(CodesageError, match="neighbours are found with a teacher's vectors.*--teacher"):
        Batches(tokens, settings(mix, neighbours=4))
    with pytest.raises(CodesageError, match="neighbours is 1: expected 2 or more, or 0"):
        settings(neighbours=1)


# Negatives mined with a model


class Judge:
    """A model with its vectors in a table: one row for the text and one for the code of each pair."""

    width, max_tokens, fingerprint = 24, 64, "judge"

    def __init__(self, tokens):
        rng = np.random.default_rng(0)
        self._known = {}
        for side in (tokens.pairs.text, tokens.pairs.body, tokens.pairs.code):
            for row in side:
                vector = rng.normal(size=self.width)
                self._known.setdefault(tuple(row.tolist()), vector / np.linalg.norm(vector))

    def encode_ids(self, documents):
        return np.array([self._known[tuple(document[:-1])] for document in documents], np.float32)


@pytest.mark.parametrize("options", [{}, {"pool": 17, "seed": 3}, {"first": 1, "last": 5, "keep": 2}, {"most_similar": 0.5}])
def test_mined_negatives_are_those_of_a_loop(tokens, options):
    judge = Judge(tokens)
    rules = mining.Settings(**{"first": 3, "last": 12, "keep": 4, **options})
    negatives = mining.mined(judge, tokens, rules)
    pairs, counted = tokens.pairs, 0
    rows = [row for row, pair in enumerate(PAIRS) if pair.kind != "parallel"]
    assert (negatives[[row for row in range(len(PAIRS)) if row not in set(rows)]] == -1).all()
    texts, codes = filtering.vectors_of(judge, tokens, np.array(rows), side="body", text_tokens=64, code_tokens=64)
    scores = dict(zip(rows, texts @ codes.T, strict=True))
    place = {row: number for number, row in enumerate(rows)}
    pools = filtering.pools_of(np.array(rows), pairs.language[rows], size=rules.pool, seed=rules.seed)
    for pool in pools:
        assert len({PAIRS[row].language for row in pool}) == 1 and len(pool) <= rules.pool
        for row in pool:
            score = scores[row]
            ranked = sorted(pool.tolist(), key=lambda other: -score[place[other]])[rules.first - 1 : rules.last]
            most = score[place[row]] - (1 - rules.most_similar) * abs(score[place[row]])
            want = {other for other in ranked if score[place[other]] <= most and other != row}
            got = [number for number in negatives[row].tolist() if number >= 0]
            assert len(set(got)) == len(got) == min(len(want), rules.keep) and set(got) <= want
            counted += len(got)
    assert counted > 10 and (mining.mined(judge, tokens, rules) == negatives).all()


def test_codes_that_share_a_text_are_not_negatives(tokenizer, tmp_path):
    pairs = [replace(documented(i), text=f"Text {i // 4}") for i in range(24)]
    held = tokenised(pairs, tokenizer, tmp_path / "t")
    negatives = mining.mined(Judge(held), held, mining.Settings(1, 24, 24))
    for row, others in enumerate(negatives.tolist()):
        assert all(pairs[other].text != pairs[row].text for other in others if other >= 0)


def test_codes_whose_texts_a_teacher_finds_alike_are_not_negatives(tokens):
    texts_PW = np.random.default_rng(1).normal(size=(len(PAIRS), 5)).astype(np.float16)
    texts_PW /= np.linalg.norm(texts_PW.astype(np.float32), axis=1, keepdims=True)
    known = teacher.Teacher("t", "f", texts_PW)
    rules = mining.Settings(1, 40, 40, alike=0.3)
    alone, taught = (mining.mined(Judge(tokens), tokens, rules, teacher=given).tolist() for given in (None, known))
    similar = texts_PW.astype(np.float32) @ texts_PW.astype(np.float32).T
    for row, (all_of_them, others) in enumerate(zip(alone, taught, strict=True)):
        want = {other for other in all_of_them if other >= 0 and similar[row, other] <= 0.3}
        assert {other for other in others if other >= 0} == want
    assert taught != alone
    with pytest.raises(CodesageError, match="alike is 2: expected a cosine"):
        mining.Settings(alike=2)


def test_mined_negatives_join_their_batch_as_pairs(tokens):
    negatives = mining.mined(Judge(tokens), tokens, mining.Settings(2, 20, 6))
    mix = {"function": 1.0, "parallel": 1.0}
    made = Batches(tokens, settings(mix, mined_negatives=2), mined=negatives)
    plain, joined, more = Batches(tokens, settings(mix)), [], set()
    for step in range(60):
        batch, own = made.at(step), plain.at(step).pair_P
        assert batch.pair_P[:8].tolist() == own.tolist()
        rest = batch.pair_P[8:].tolist()
        if PAIRS[own[0]].kind == "parallel":
            assert not rest
            continue
        joined.append(len(rest))
        more.update(rest)
        assert batch.partner_P.tolist() == batch.pair_P.tolist() and len(batch.texts) == len(batch.codes) == 8 + len(rest)
        for side in ("text", "bare_body"):
            assert len({getattr(PAIRS[row], side) for row in batch.pair_P}) == 8 + len(rest)
        assert set(rest) <= set(negatives[own].ravel().tolist()) and all(PAIRS[row].kind == "function" for row in rest)
        shares = [made.at(step, rank=rank, world=2).pair_P for rank in range(2)]
        assert sorted(np.concatenate(shares).tolist()) == sorted(batch.pair_P.tolist())
        assert made.at(step).codes.ids.tolist() == batch.codes.ids.tolist()
    assert 4 < np.mean(joined) <= 16 and len(more) > 30
    with pytest.raises(CodesageError, match="mined_negatives is 7, but 6"):
        Batches(tokens, settings(mined_negatives=7), mined=negatives)
    with pytest.raises(CodesageError, match="mined_negatives is 1, but 0 .*--mined"):
        Batches(tokens, settings(mined_negatives=1))


def test_mined_negatives_are_saved_and_checked(tokens, tokenizer, tmp_path):
    calls = []
    rules = mining.Settings(2, 20, 3)
    artifact = mining.write(Judge(tokens), tokens, tmp_path / "m", rules, progress=lambda *now: calls.append(now))
    negatives = mining.read(tmp_path / "m", tokens)
    assert calls[-1] == (80, (negatives >= 0).sum()) and artifact.facts["negatives"] == calls[-1][1]
    assert negatives.shape == (209, 3)
    other = tokenised(PAIRS[:6], tokenizer, tmp_path / "other")
    with pytest.raises(CodesageError, match="other tokens.*codesage mine"):
        mining.read(tmp_path / "m", other)
    with pytest.raises(CodesageError, match="no pairs of texts and codes"):
        mining.mined(Judge(other), tokenised(PAIRS[90:], tokenizer, tmp_path / "groups"))
    for options in (
        {"first": 0},
        {"first": 9, "last": 3},
        {"keep": 0},
        {"pool": 1},
        {"most_similar": 0},
        {"side": "text"},
        {"code_tokens": 1},
    ):
        with pytest.raises(CodesageError, match="expected"):
            mining.Settings(**options)


def test_a_filter_judges_no_groups(tokens):
    keep = filtering.consistent(Judge(tokens), tokens, filtering.Settings(top=1, pool=100, text_tokens=64, code_tokens=64))
    groups = np.array([pair.kind == "parallel" for pair in PAIRS])
    assert keep[groups].all() and not keep[~groups].all()


def test_mine_then_contrast_from_the_command_line(tokens, tokenizer, tmp_path):
    model, app = tmp_path / "model", typer.Typer()
    app.command("mine")(contrast_commands.mine_negatives)
    app.command("contrast")(contrast_commands.contrast)
    run = phase(2, settings({"function": 1}), depth=0)
    stage.run(run, tokens, Encoder(encoder_of(tokenizer).config.without_dropout()), tokenizer=tokenizer, out=model)
    mine = ["mine", tokens.path, "--model", model, "--out", tmp_path / "mined", "--first", 2, "--last", 20, "--most-similar", 1]
    done = CliRunner().invoke(app, list(map(str, mine)))
    assert done.exit_code == 0 and "80 pairs searched" in done.output and "of 209 pairs" in done.output
    train = ["contrast", tokens.path, "--model", model, "--out", tmp_path / "out", "--mined", tmp_path / "mined"]
    train += ["--mix", "function=1", "--size", "toy", "--steps", 2, "--batch-pairs", 8]
    train += ["--text-tokens", 16, "--code-tokens", 32]
    done = CliRunner().invoke(app, list(map(str, train)))
    assert done.exit_code == 0, done.output
    made = open_artifact(tmp_path / "out", "model")
    assert made.settings["contrast"]["batches"]["mined_negatives"] == 1 and made.facts["contrast"]["pairs_seen"] > 2 * 8


def test_a_model_on_a_device_embeds_as_search_does(tokens, tokenizer):
    encoder = encoder_of(tokenizer).eval()
    documents = [[*row.tolist(), tokenizer.end_id] for row in list(tokens.pairs.code)[:20]]
    judge = embedder.OnDevice(encoder, max_tokens=48, fingerprint="x")
    with torch.no_grad():
        want = torch.nn.functional.normalize(encoder.embed(documents), dim=-1).numpy()
    np.testing.assert_allclose(judge.encode_ids(documents), want, atol=0.02)
    assert judge.width == 32 and judge.encode_ids(documents).dtype == np.float32
