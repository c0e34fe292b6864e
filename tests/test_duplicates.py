"""Near duplicates, masking of secrets, and benchmark items: compared with plain loops, on planted and hostile input."""

import ast
import json
import os
import random
import re
import subprocess
import sys
import sysconfig
import time
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from codesage.corpus.distinct.benchmarks import USUAL, Benchmarks, read_benchmarks
from codesage.corpus.distinct.duplicates import digest, near_duplicates, signatures
from codesage.corpus.documents.redact import redact, redact_all
from codesage.errors import CodesageError
from timing import takes_less

STDLIB = Path(sysconfig.get_path("stdlib"))
GOLDEN = [129397442, 176841843, 242526994]
HOSTILE = (
    "",
    " \n",
    "\0" * 5,
    "a" * 1_000_000,
    "((" * 500_000,
    "\ud800 lone",
    "İ@" * 200_000,
    "a.b@" * 250_000,
    "token=" * 160_000,
    "://" * 300_000,
    "-----BEGIN " * 90_000,
    "-----BEGIN PRIVATE KEY-----" * 40_000,
    "eyJ" * 300_000,
    "eyJabcdefghijk." * 60_000,
    "sk_live_" * 100_000,
    "@" + "a." * 500_000,
    "x" * 500_000 + "@" + "y" * 500_000,
    "password = '" * 80_000,
)


def _sources(count: int) -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sorted(STDLIB.glob("*.py"))[:count]]


@cache
def _grams(text: str) -> frozenset[tuple[str, ...]]:
    tokens = ["<", *re.findall(r"\w+|[^\w\s]", text), *">>>>"]
    return frozenset(tuple(tokens[at : at + 5]) for at in range(len(tokens) - 4))


def _jaccard(left: str, right: str) -> float:
    one, two = _grams(left), _grams(right)
    return len(one & two) / len(one | two)


def _edited(text: str, edits: int, chance: random.Random) -> str:
    tokens = re.findall(r"\w+|[^\w\s]", text)
    for _ in range(edits):
        tokens[chance.randrange(len(tokens))] = f"edit{chance.randrange(9)}"
    return "\n".join(tokens)


def test_signatures_estimate_the_jaccard_of_token_shingles() -> None:
    chance, errors = random.Random(1), []
    for text in _sources(40):
        text = text[:4_000]
        other = _edited(text, chance.randint(0, 60), chance)
        one, two = signatures([text, other])
        errors.append(float((one == two).mean()) - _jaccard(text, other))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.05  # sqrt(0.25 / 128) = 0.044 at worst


@pytest.mark.parametrize("tokens", [4, 12, 30, 60, 120, 400])
def test_estimates_err_no_more_than_minhash_whatever_the_size(tokens: int) -> None:
    """The error of MinHash is sqrt(J (1 - J) / 128). Texts of different lengths are estimated as well as equal ones."""
    chance, errors, expected = random.Random(tokens), [], []
    texts = [[f"w{chance.randrange(5_000)}" for _ in range(tokens)] for _ in range(300)]
    shorter = [" ".join(text[: len(text) - index % 3]) for index, text in enumerate(texts)]
    others = [_edited(text, max(1, tokens // 30), chance) for text in shorter]
    texts = [" ".join(text) for text in texts]
    agreement = (signatures(texts) == signatures(others)).mean(axis=1)
    for text, other, share in zip(texts, others, agreement, strict=True):
        true = _jaccard(text, other)
        errors.append(float(share) - true)
        expected.append(true * (1 - true) / 128)
    assert np.mean(np.square(errors)) < 1.15 * np.mean(expected)
    assert abs(np.mean(errors)) < 4 * np.sqrt(np.mean(expected) / len(errors))


def test_a_signature_does_not_depend_on_the_batch_or_on_white_space() -> None:
    texts = [*_sources(12), "", "x", "f(x)", "ünï = 1", "a" * 70 + "b" + "c" * 30]
    whole = signatures(texts)
    assert whole.shape == (len(texts), 128) and whole.dtype == np.uint32
    for number, text in enumerate(texts):
        assert (signatures(["before", text, "behind"])[1] == whole[number]).all()
    assert (signatures(["f(x):\n\treturn x"]) == signatures(["f ( x ) : return  x"])).all()
    assert digest("a  b\n") == digest("a b") != digest("ab")


def test_short_texts_are_compared_exactly() -> None:
    long = [letter * size + end for letter, size in (("a", 40), ("b", 200)) for end in "12"]
    texts = ["return x", "return y", "return x", "", " ", "x", "xx", *long]
    assert near_duplicates(signatures(texts)).tolist() == [True, True, False, True, False, True, True, True, True, True, True]


def test_only_rows_near_an_earlier_row_are_dropped() -> None:
    """Compared with all pairs in plain loops: clear duplicates go, clearly different rows stay, and so do first copies."""
    chance = random.Random(2)
    bases = [text[:3_000] for text in _sources(40) if len(text) > 3_000]
    near = [_edited(text, 2, chance) for text in bases]
    far = [_edited(text, 150, chance) for text in bases]
    texts = bases + near + far
    keep = near_duplicates(signatures(texts), threshold=0.85)
    for number in range(len(texts)):
        best = max((_jaccard(texts[number], texts[other]) for other in range(number)), default=0.0)
        assert keep[number] or best > 0.75
        assert not keep[number] or best < 0.93
    assert keep[: len(bases)].all() and not keep[len(bases) : 2 * len(bases)].any() and keep[2 * len(bases) :].all()


def test_many_different_rows_in_one_bucket_take_no_quadratic_time() -> None:
    rows = np.random.default_rng(0).integers(0, 1 << 32, (30_000, 128), dtype=np.uint32)
    rows[:, :7] = 1  # all share the first band
    rows[20_000:] = rows[10_000:20_000]
    started = time.process_time()
    keep = near_duplicates(rows)
    assert time.process_time() - started < 10
    assert keep[:20_000].all() and not keep[20_000:].any()
    assert near_duplicates(rows[:0]).shape == (0,)
    with pytest.raises(ValueError, match="threshold is 0"):
        near_duplicates(rows, threshold=0)


def test_results_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "items.jsonl").write_text(json.dumps({"code": _sources(3)[2][:900]}), encoding="utf-8")
    program = (
        "import sys, hashlib, pathlib, pickle; from codesage.corpus.distinct.duplicates import *\n"
        "from codesage.corpus.documents.redact import *; from codesage.corpus.distinct.benchmarks import *\n"
        f"texts = [p.read_text(encoding='utf-8') for p in sorted(pathlib.Path({str(STDLIB)!r}).glob('*.py'))[:8]]\n"
        "s = signatures(texts); b = read_benchmarks(sys.argv[1])\n"
        "print(hashlib.sha256(s.tobytes()).hexdigest(), near_duplicates(s).sum(), b._runs[:3], [b.match(t) for t in texts],\n"
        "      [redact(t + ' me@a.org')[1] for t in texts])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(outputs) == 1
    assert signatures(["def f(x): return x"])[0, :3].tolist() == GOLDEN  # the same on every machine


def test_hostile_texts_cost_no_more_than_their_length() -> None:
    benchmarks = Benchmarks({"s": ["def f(x):\n    return x + 1 # and so on", "a " * 300, "token = " * 60, "(( " * 200]})

    def read(text: str) -> None:
        redact(text)
        benchmarks.match(text)
        digest(text)
        near_duplicates(signatures([text, text]))

    for text in HOSTILE:
        assert takes_less(3, partial(read, text)), text[:20]


# ---- benchmark items ----

ITEM = '''def wholly_unlike_any_other(values, limit=17):
    """Sum what is above the limit, and count the rest."""
    total, rest = 0, 0
    for value in values:
        if value > limit:
            total += value * 3 - limit
        else:
            rest += 1
    return total, rest
'''


def _indented(text: str) -> str:
    return "\n\n".join("\t\t" + line.strip().replace(" = ", "=").replace(", ", " ,") for line in text.split("\n"))


def test_planted_items_are_found_anywhere() -> None:
    host = _sources(6)[5]
    short = "function swap(a, b) { return [b, a]; } // it"
    benchmarks = Benchmarks({"code": [ITEM, short], "queries": ["how to read a file"]})
    for at in range(0, len(host), len(host) // 50):
        assert benchmarks.match(host[:at] + _indented(ITEM) + host[at:]) == "code"
        assert benchmarks.match(host[:at] + _indented(short) + host[at:]) == "code"
    assert benchmarks.match("How to  read a file?") == "queries"
    assert not benchmarks.match(host) and not benchmarks.match("how to read a file in python")
    assert not benchmarks.match("") and not Benchmarks({}).match(host) and not Benchmarks({"s": ["name"]}).match("name")


def test_long_enough_common_text_is_always_found_and_shorter_never() -> None:
    chance = random.Random(3)
    item = "".join(chance.choices("abcdefghijklmnop(){}=+-*/.,:;", k=700))
    benchmarks = Benchmarks({"s": ["x = 1 " + item]})
    for _ in range(300):
        at, before = chance.randrange(len(item) - USUAL.certain), "Z" * chance.randrange(40)
        assert benchmarks.match(before + item[at : at + USUAL.certain] + "ZZZ")
        assert not benchmarks.match(before + item[at : at + 95] + "ZZZ")


def test_the_frame_of_a_set_and_rulers_are_not_items() -> None:
    head = "using System;\nusing System.Collections.Generic;\nusing System.Linq;\nusing System.Text.RegularExpressions;\n" * 2
    frame = "public class Program { public static void Main(string[] args) { var reader = new Reader(In); reader.Skip(); "
    items = [f"{head}{frame * 2} int answer = {number} * compute(); }} }}" for number in range(20)]
    benchmarks = Benchmarks({"s": [*items, "a = 1 " + "#" * 300 + " b = 2"]})
    assert not benchmarks.match(head + "class Other { }")
    assert not benchmarks.match(frame * 2 + " other(); ")
    assert not benchmarks.match("#" * 500)


def test_unrelated_code_is_kept() -> None:
    benchmarks = Benchmarks({"s": [ITEM, *(text[2_000:4_000] for text in _sources(20))]})
    others = [file.read_text(encoding="utf-8") for file in sorted((STDLIB / "json").glob("*.py"))]
    assert not any(map(benchmarks.match, others))


def test_read_benchmarks_names_sets_and_refuses_invalid_json(tmp_path: Path) -> None:
    (tmp_path / "cosqa").mkdir()
    rows = [{"code": ITEM, "id": 3, "url": "x" * 200}, {"parts": [{"query": "how to read a file"}]}]
    (tmp_path / "cosqa" / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    (tmp_path / "loose.jsonl").write_text(json.dumps("a whole sentence of its own"), encoding="utf-8")
    benchmarks = read_benchmarks(tmp_path)
    assert benchmarks.sets == ["cosqa", "loose"]
    assert benchmarks.match(_indented(ITEM)) == benchmarks.match("how to read a file") == "cosqa"
    assert benchmarks.match("A whole sentence of its own.") == "loose"
    assert not benchmarks.match("x" * 200)
    for bad in (b"{", b"\xff\xfe", b"[" * 200_000):
        (tmp_path / "bad.jsonl").write_bytes(b"{}\n" + bad)
        with pytest.raises(CodesageError, match=r"bad\.jsonl:2 is not JSON"):
            read_benchmarks(tmp_path)
    (tmp_path / "bad.jsonl").unlink()
    with pytest.raises(CodesageError, match="nothing to exclude"):
        read_benchmarks(tmp_path / "nowhere")


# ---- secrets ----

_R = "q7Zx2Lw9Tb4Kp8Vn3Rd6Hs1Jf5Gm0Yc7Ub2Xe9Qa4Wi8To3"
SECRETS = {
    "aws key": ["AKIA" + "Q3EXAMPLE7KEYABC"[:16].replace("8", "2").replace("9", "2").replace("1", "2").replace("0", "2")],
    "google key": ["AIza" + _R[:35]],
    "github token": ["ghp_" + _R[:36], "github_pat_" + _R + _R[:10]],
    "slack token": ["xoxb-123456789012-" + _R[:24], "https://hooks.slack.com/services/T12345678/B12345678/" + _R[:24]],
    "npm token": ["npm_" + _R[:36]],
    "pypi token": ["pypi-AgEIcHlwaS5vcmc" + _R],
    "stripe key": ["sk_live_" + _R[:24], "rk_live_" + _R[:24]],
    "json web token": [f"eyJ{_R}.eyJ{_R}.{_R}"],
    "private key": ["-----BEGIN RSA PRIVATE KEY-----\\n" + _R * 8 + "\\n-----END RSA PRIVATE KEY-----"],
    "address password": ["postgresql://scott:tiger7@db.internal:5432/base"],
    "e-mail address": ["jane.doe+list@mail.company.co.uk"],
}


@pytest.mark.parametrize(("kind", "secret"), [(kind, secret) for kind, secrets in SECRETS.items() for secret in secrets])
def test_secrets_are_masked_and_code_still_parses(kind: str, secret: str) -> None:
    source = f"import x\nvalue = call('{secret}', 1)\nother = 2\n"
    masked, finds = redact(source)
    assert finds == {kind: 1}
    assert ast.dump(ast.parse(masked)) != ast.dump(ast.parse(source))
    assert masked.startswith("import x\nvalue = call('") and masked.endswith("', 1)\nother = 2\n")
    hidden = re.search(r"[A-Za-z0-9]{12,}|tiger7|jane", secret.removeprefix("-----BEGIN RSA PRIVATE KEY-----"))
    assert hidden and hidden[0] not in masked.replace("REDACTED", "")
    assert redact(masked) == (masked, {})


@pytest.mark.parametrize(
    "line",
    [
        f'password = "{_R[:20]}"',
        f"'api_key': '{_R[:24]}',",
        f'const authToken: string = "{_R[:32]}";',
        f"secret => '{_R[:20]}'",
        f'config["DB_PASSWORD"] = "{_R[:16]}"',
        f"İ; client_secret := `{_R[:28]}`",
    ],
)
def test_random_values_with_secret_names_are_masked(line: str) -> None:
    masked, finds = redact(line)
    assert finds == {"assigned secret": 1} and "REDACTED_ASSIGNED_SECRET" in masked and _R[:12] not in masked


@pytest.mark.parametrize(
    "line",
    [
        "@pytest.mark.parametrize",
        "git@github.com:owner/name.git",
        "x = a @ b.c",
        "w@x.transpose(1)",
        "icon@2x.png",
        "user@example.com",
        "10.0.0.1",
        "https://host:8080/path@2",
        "[@ref](mailto:)",
        "key = 'abc'",
        "ghp_" + "a" * 10,
        'password = "correct horse battery"',
        'token = "NAME_OF_A_TOKEN_TYPE"',
        "secret = os.environ['SECRET_NAME_2024']",
        "sk-learn-contrib-and-more-words-and-more",
        "hf_hub_download_of_a_file",
        "npm_config_x",
        "password = getpass('Password for user1: ')",
        'token_url = "https://host.org/oauth2/token"',
    ],
)
def test_what_only_looks_like_a_secret_stays(line: str) -> None:
    assert redact(line) == (line, {})


def test_texts_are_checked_together_as_one_by_one() -> None:
    secrets = [f"x = '{secret}'\n" for samples in SECRETS.values() for secret in samples]
    assigned = [
        f'{name} {equals}{blank}"{_R[:24]}"'
        for name in ("PASSWORD", "self.api_key", "to\u212aen", "x-Secret-Id")
        for equals in ("=", ":=", "=>", ": str =", ":")
        for blank in ("", " ", "\xa0", "\n", "\u2028")
    ]
    texts = ["", "plain", *secrets, *assigned, "a task-list, eyJ, me@a.org", f"é{secrets[0]}", "\udc80 " + secrets[0]]
    assert redact_all(texts) == list(map(redact, texts))
    assert redact_all(texts[:-1]) == list(map(redact, texts[:-1]))


def test_the_standard_library_has_addresses_but_no_secrets_and_still_parses() -> None:
    for file in sorted(STDLIB.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        masked, finds = redact(text)
        assert set(finds) <= {"e-mail address"}, file
        if finds:
            ast.parse(masked)
            assert len(masked.split("\n")) == len(text.split("\n"))


def test_texts_that_many_definitions_share_are_dropped_everywhere():
    from codesage.corpus.distinct.verdicts import SHARED, drop_shared

    units = [
        {"summary": np.array([1, 1, 2, 0, 0, 0], np.uint64), "held": np.zeros(6, bool)},
        {"summary": np.array([1, 2, 1, 3, 1], np.uint64), "held": np.array([0, 0, 0, 0, 1], bool)},
    ]
    before = [np.array([0, 0, 0, 0, 0, 0], np.uint8), np.array([0, 0, 2, 0, 0], np.uint8)]
    verdicts = [verdict.tolist() for verdict in drop_shared(units, before, most=2)]
    # three of text 1 are kept and for training; the fourth is dropped, the fifth held out
    assert verdicts == [[SHARED, SHARED, 0, 0, 0, 0], [SHARED, 0, 2, 0, 0]]
    assert [verdict.tolist() for verdict in drop_shared(units, before, most=3)] == [verdict.tolist() for verdict in before]
    assert [verdict.tolist() for verdict in drop_shared(units, before, most=0)] == [verdict.tolist() for verdict in before]
