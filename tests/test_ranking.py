"""Each rule of the ranking decides between two files: with the rule the right one is first, without it the other."""

from dataclasses import replace

import numpy as np
import pytest

from codesage.search import floor, ranking
from codesage.search.query import _defining, search
from codesage.search.ranking import Rules
from test_search import ENCODER, opened

PLAIN = "def total_price(basket):\n    return sum(basket)\n"
BETTER = "def total_price_of_basket(basket):\n    # the total price of all in a basket\n    return sum(basket)\n"


@pytest.fixture
def first_of(tmp_path):
    """A function that gives the path of the first answer to a query, in a repository of these files."""

    def first(files, query, rules=None):
        root = tmp_path / "project"
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        index = opened(root, tmp_path)
        index.update(ENCODER)
        return search(index, ENCODER, query, rules=rules)[0].chunk.path

    return first


@pytest.mark.parametrize(
    ("kind", "path", "text"),
    [
        ("test", "tests/price.py", BETTER),
        ("example", "examples/price.py", BETTER),
        ("generated", "lib/price_pb2.py", BETTER),
        ("vendored", "vendor/price.py", BETTER),
        ("legacy", "compat/price.py", BETTER),
        ("docs", "docs/price.md", BETTER),
        ("data", "price.json", '{"total": "price of basket, total price, basket"}\n'),
        ("declarations", "lib/price.pyi", BETTER),
        ("types", "types/price.ts", BETTER.replace("def", "function").replace(":\n", " {\n").replace("# ", "// ") + "}\n"),
    ],
)
def test_each_kind_of_file_ranks_below_code_that_is_worse(first_of, kind, path, text):
    files = {"sums.py": PLAIN, "price.py": "basket = 1\n", "createPrice.ts": "basket = 1\n", path: text}
    query = "total price of basket"
    assert first_of(files, query) != path
    assert first_of(files, query, Rules(kinds=Rules().kinds | {kind: 1.0})) == path


def test_a_kind_that_is_asked_for_ranks_above_code_that_is_better(first_of, monkeypatch):
    files = {
        "http.py": "def parse_http_header(line):\n    # parse http header\n    return line\n",
        "tests/test_http.py": "def check(line):\n    # test http header\n    return line\n",
    }
    assert first_of(files, "test of http header") == "tests/test_http.py"
    monkeypatch.setattr(ranking, "REQUESTED_SHARE", 1.0)
    assert first_of(files, "test of http header") == "http.py"


def test_an_older_version_ranks_lower_unless_it_is_named(first_of):
    text = "def convert(x):\n    # convert a price\n    return x"
    files = {"v3/types.py": text, "v4/types.py": f"{text} + 1"}
    assert first_of(files, "convert price") == "v4/types.py"
    assert first_of(files, "convert price v3") == "v3/types.py"


@pytest.mark.parametrize(
    ("query", "shares", "first"),
    [
        ("addItem", [0.5, 1.0, 1.0], [False, True, False]),  # the first is a test, the last only has the name in its own
        ("addItem", [0.5, 0.5, 1.0], [True, True, False]),
        ("Price", [0.5, 1.0, 1.0], [False, False, False]),
    ],
)
def test_definitions_of_a_name_come_first_and_those_in_tests_if_there_are_no_others(query, shares, first):
    assert _defining(query, np.array([1.0, ranking.EXACT, ranking.IN_PART]), np.array(shares)).tolist() == first


def test_the_file_of_a_name_counts_for_the_whole_name_only(first_of, tmp_path):
    first_of({"price.py": "def compute_price(x):\n    return x\n\n\nclass Price:\n    pass\n"}, "price")
    hits = search(opened(tmp_path / "project", tmp_path), ENCODER, "price")
    assert {hit.chunk.name: hit.parts.get("file of that name", 0.0) for hit in hits} == {"Price": 0.7, "compute_price": 0.0}


TAX = {
    "a.py": "def one(x):\n    # tax of a basket and tax\n    return x\n",
    "lib/tax_of_baskets.py": "def two(x):\n    # tax of basket\n    return x + 1\n",
}
ROUNDING = {
    "a.py": "def one(x):\n    # convert a currency or a currency\n    return x\n",
    "b.py": "def two(x):\n    # convert a currency of a price and so on\n    return x + 1\n\n\n"
    "def three(y):\n    # rounding rounding rounding of prices\n    return y\n",
}


@pytest.mark.parametrize(
    ("rule", "files", "query", "wanted"),
    [
        ("path", TAX, "tax basket", "lib/tax_of_baskets.py"),
        ("whole", ROUNDING, "convert currency rounding", "b.py"),
    ],
)
def test_a_rule_decides(first_of, rule, files, query, wanted):
    assert first_of(files, query) == wanted
    assert first_of(files, query, replace(Rules(), **{rule: 0.0})) != wanted


def test_five_chunks_speak_for_a_file():
    scores_C = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 3.0, 1.0])
    shares_F = ranking.by_file(scores_C, np.array([0, 0, 0, 0, 0, 0, 1, 1]), np.array([6, 2]))
    assert shares_F.tolist() == [4.0, 2.0]  # the mean of the five best of six, and of both


def test_words_and_parts_of_names_meet_from_three_and_four_letters_on():
    assert ranking.words_in_name(["conn"], "connection") == 1.0 and ranking.words_in_name(["con"], "connection") == 0.0
    assert ranking.words_in_name(["authentication"], "aut") == 1.0 and ranking.words_in_name(["authentication"], "au") == 0.0
    assert ranking.words_in_path(["price"], "lib/price.py") == 1.0
    assert ranking.words_in_path(["price"], "price/sums.py") == 0.25  # half a word, and none of the file's name


def test_what_defines_a_name_may_be_far_before_it():
    assert ranking.defines("class a.very.long.name.of.a.package::Price", "Price")
    assert ranking.shows("x = 1\ndef parse(line):", "parse") == 2
    assert ranking.shows("x = parse(line)", "parse") == 1 and ranking.shows("parse = 1", "parse") == 0


def test_a_name_in_another_counts_from_four_letters_on():
    assert ranking.named("form", "reformat", "function") == ranking.IN_PART
    assert ranking.named("for", "reformat", "function") == 0.0


class Held:
    """An index as the floor sees it; its nearest chunk to the probes has these similarities."""

    def __init__(self, *, coverage=0.0, nearest=0.0, encoded=1.0, names="", chunks=50):
        self.floors, self.chunks, self.encoded = {}, chunks, encoded
        self._coverage, self._nearest, self._names = coverage, nearest, names

    def coverage(self, words):
        return self._coverage

    def is_in_a_name(self, part):
        return part in self._names

    def highest(self, vectors_QD):
        probes = [0.5, 0.4, 0.3] + [0.1] * (len(vectors_QD) - 3)
        return np.array([self._nearest] if len(vectors_QD) == 1 else probes)


@pytest.mark.parametrize(
    ("query", "held", "passes"),
    [
        ("walk the dog", Held(), False),
        ("walk the dog", Held(coverage=0.5), True),
        ("walk the dog", Held(coverage=0.49), False),
        ("walk the dog", Held(nearest=0.381), True),  # the third highest of the probes, and 0.08
        ("walk the dog", Held(nearest=0.379), False),
        ("walk the dog", Held(nearest=0.301, coverage=0.4), True),  # and less 0.2 times what one chunk covers
        ("walk the dog", Held(nearest=0.299, coverage=0.4), False),
        ("walk the dog", Held(chunks=49), True),
        ("walk the dog", Held(encoded=0.49), True),
        ("dog", Held(names="watchdog"), True),
        ("og", Held(names="watchdog"), False),
    ],
)
def test_a_query_passes_the_floor_by_its_words_its_vector_or_a_name(query, held, passes):
    assert floor.passes(held, ENCODER, query, np.ones(64, np.float32)) == passes
