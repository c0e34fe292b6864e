"""Stage II on a mixture: groups of code that does the same, entries and their weights, and what the texts look like."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codesage import CodesageError
from codesage.corpus.build.tables import Writer, read_records, schema_of, table_of
from codesage.corpus.tokens import tokenised as token_files
from codesage.records import Pair
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import train as train_tokenizer

LANGUAGES = ("python", "java", "go", "ruby")
TEXT_TOKENS, CODE_TOKENS = 32, 48


def documented(number, *, kind="function", language="python", package="pack"):
    return Pair(f"Compute the value of number {number}.", f"def f{number}(x):\n    y = x + {number}\n    return y",
                f"y = x + {number}", "", language, f"f{number}", kind, "a.py", 1, package)  # fmt: skip


def member(group, language, solution=0, *, package="puzzles"):
    code = f"{language} solve_{group}():\n    {language}_{solution} = {group} * {solution + 7}\n    print({group})"
    return Pair("", code, "", "", language, f"solve_{group}", "parallel", "p", 1, package, group=f"group {group}")


def mixed_pairs():
    """60 functions in two languages, 20 questions of two sources, 30 groups in three or four languages, 12 with clones."""
    found = [documented(i, language=LANGUAGES[i % 2]) for i in range(60)]
    found += [documented(100 + i, kind="howto", language="go", package=("cook/book", "recipes")[i % 2]) for i in range(20)]
    for group in range(30):
        found += [member(group, language) for language in LANGUAGES[: 3 + group % 2]]
        found += [member(group, "python", solution) for solution in (1, 2)] if group < 12 else []
    return found


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


def test_groups_survive_parquet_and_older_pairs_are_in_none(tmp_path):
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
    # Names of groups are compared exactly; a pair without a body is known by its code.
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
    found = token_files.open_tokens(tmp_path / "t")
    assert {found.kinds[i] for i in np.unique(found.pairs.kind)} == {"howto", "parallel"}
