"""What stands around a hidden name, the names that a file suggests for it, and the table that is learned from both."""

import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import codesage
from codesage import CodesageError, syntax
from codesage.encoder.folders import BUNDLED_MODELS, NAMES
from codesage.encoder.model import Layout
from codesage.encoder.weights import load_with_tokenizer
from codesage.languages import LANGUAGES
from codesage.names import filler, joint, propose, run, table
from codesage.names.derived import plural, singular, suggested, written
from codesage.names.filler import Filler
from codesage.names.others import Others
from codesage.names.surroundings import HOLE, Occurrences, features, tokens_of, without_comments
from codesage.names.units import KINDS, units
from codesage.pretrain.commands import check_capitals
from codesage.tokenizer import load as load_tokenizer

FILES = {
    "python": """
from store import load_user

class UserStore:
    def __init__(self, limit):
        self.limit = limit
        self.users = []

    def find_user(self, key):
        \"\"\"The key of a user.\"\"\"
        for entry in self.users:
            if entry.name == key:
                return entry
        current = load_user(key)
        return current

def run(store, options):
    size = options["size"]
    return store.find_user(size)
""",
    "java": """
class Store {
  private final UserService userService;
  private int limit;
  Store(UserService service, int limit) { this.userService = service; this.limit = limit; }
  User findUser(String key) {
    for (User user : userService.users()) { if (user.is(key)) { return user; } }
    try { return userService.load(key); } catch (IOException e) { return null; }
  }
}
""",
    "javascript": """
const express = require('express');
function makeApp(options) {
  const app = express();
  this.options = options;
  app.get('/', (req, res) => { res.send(options.name) });
  for (const item of options.items) { app.use(item) }
  return app
}
module.exports = { build: makeApp };
""",
    "typescript": "export function load(reader: FileReader, size = 1) { const lines = reader.lines(size); return lines }\n",
    "csharp": "class A { readonly ILogger _logger; public A(ILogger logger) { _logger = logger; var a = logger.B(); } }\n",
    "c": "int count(struct node *node, int size) { int length = node->length; return size + length; }\n",
    "ruby": "class Shop\n  def initialize(items)\n    @items = items\n  end\n"
    "  def each\n    @items.each { |item| yield item }\n  end\nend\n",
    "go": "package p\n\nfunc Load(ctx context.Context, path string) error {\n\tfile, err := os.Open(path)\n"
    "\tif err != nil {\n\t\treturn err\n\t}\n\tfor _, line := range lines(file) {\n\t\tuse(ctx, line)\n\t}\n\treturn nil\n}\n",
    "php": "<?php\nclass A { private $items; function __construct(Repository $repository) {\n"
    "$this->items = $repository->all();\nforeach ($this->items as $item) { run($item); } } }\n",
}


def seen(text, language):
    """What is known of each unit: its name, its features, and the names that are suggested."""
    tree = syntax.parse(text, language)
    file_units, tokens = units(tree), tokens_of(tree)
    around = [Occurrences(tokens, unit) for unit in file_units.units]
    others = Others(file_units.units)
    return [(one.unit.name, features(one), suggested(one, others)) for one in around], file_units


@pytest.mark.parametrize("language", FILES)
def test_nothing_shows_the_hidden_name(language):
    before, file_units = seen(FILES[language], language)
    assert len(before) > 3
    for number, unit in enumerate(file_units.units):
        source = FILES[language].encode()
        fresh = ("Q" if unit.name[0].isupper() else "q") + "zqzq"
        for start, end in reversed(unit.spans):
            source = source[:start] + fresh.encode() + source[end:]
        after, _ = seen(source.decode(), language)
        assert after[number][0] == fresh
        assert after[number][1:] == before[number][1:]


def names_of(language):
    return {name: rules for name, _, rules in seen(FILES[language], language)[0]}


@pytest.mark.parametrize(
    ("language", "name", "rule"),
    [
        ("python", "size", "value item text"),
        ("python", "store", None),
        ("java", "userService", "type"),
        ("java", "service", "type last camel"),
        ("java", "user", "type"),
        ("javascript", "app", "returned by last"),
        ("javascript", "express", "value call text"),
        ("javascript", "item", "loop one"),
        ("javascript", "options", "value name"),
        ("typescript", "reader", "type last"),
        ("typescript", "lines", "value call"),
        ("csharp", "logger", "field name"),
        ("c", "length", "value read"),
        ("ruby", "item", "block one"),
        ("go", "ctx", None),
        ("go", "line", "loop one"),
        ("php", "repository", "type"),
        ("php", "item", "loop one"),
    ],
)
def test_a_file_suggests_names(language, name, rule):
    rules = names_of(language)[name].get(name)
    assert (rules is None) == (rule is None)
    if rule is not None:
        assert any(one.startswith(rule) for one in rules), rules


def test_comments_and_documentation_are_not_read():
    text = "def f(alpha):\n    '''The alpha of it.'''\n    # alpha is a number\n    return alpha + 1\n"
    plain = re.sub(r"'''.*'''|# .*", "", text)
    assert [one[1] for one in seen(text, "python")[0]] == [one[1] for one in seen(plain, "python")[0]]
    marked = "/** @param size its size */\nfunction f(size) { return size /* the size */ }\n"
    bare = "\nfunction f(size) { return size  }\n"
    assert seen(marked, "javascript")[0] == seen(bare, "javascript")[0]


def test_words_are_written_as_a_language_writes_them():
    assert [written(["user", "name"], style) for style in ("camel", "snake", "upper", "field")] == [
        "userName",
        "user_name",
        "UserName",
        "_userName",
    ]
    assert [singular(word) for word in ("entries", "boxes", "users", "class", "status", "this", "gas")] == [
        "entry",
        "box",
        "user",
        "class",
        "status",
        "this",
        "ga",
    ]
    assert [plural(word) for word in ("entry", "box", "user", "key")] == ["entries", "boxes", "users", "keys"]


def test_a_file_loses_its_comments_and_keeps_its_places():
    text = 'x = \'# no comment\'  # a comment\ndef f():\n    """Documentation\n    of f."""\n    return x\n'
    bare = without_comments(syntax.parse(text, "python")).decode()
    assert len(bare) == len(text) and bare.count("\n") == text.count("\n")
    assert "no comment" in bare and "a comment" not in bare and "Documentation" not in bare and '"""' in bare


def small(**changes):
    """A table of three names that knows one feature: of what is looped over in Python."""
    hashes = {name: hashes for name, hashes, _ in seen(FILES["python"], "python")[0]}["entry"]
    names = ("entry", "result", "value")
    rows = np.zeros((len(hashes), 2), np.float32)
    rows[:, 0] = 1.0
    groups = len(LANGUAGES) * len(KINDS)
    weights = np.zeros(joint.WEIGHTS)
    weights[[0, 2]] = 0.2, 1.0
    made = table.Table(
        np.unique(np.array(hashes, np.uint32)),
        rows,
        names,
        np.array([[3, 0], [-1, 1], [0, -1]], np.float32),
        np.log(np.full((groups, 3), 1 / 3, np.float32)),
        {"value item text as it is": 1.0, "python variable value call as it is": -1.0, " variable loop one snake": 2.0},
        {f"{language}{suffix}": weights.tolist() for language in LANGUAGES for suffix in ("", " alone")},
    )
    return replace(made, **changes)


def test_a_table_is_the_same_after_it_was_written(tmp_path):
    made = small()
    table.save(made, tmp_path / table.FILE)
    read = table.load(tmp_path / table.FILE)
    hashes = made.features_F[::2].tolist()
    for language in LANGUAGES:
        for kind in KINDS:
            one, other = (each.log_probabilities(hashes, language, kind) for each in (made, read))
            assert np.exp(one).sum() == pytest.approx(1, abs=1e-5)
            np.testing.assert_allclose(one, other, atol=0.1)
    assert (read.names, read.rules, read.weights) == (made.names, made.rules, made.weights)
    assert made.log_probabilities([1, 2, 3], "go", "class") == pytest.approx(np.log([1 / 3] * 3))  # nothing is known
    assert made.odds(["loop one snake", "unheard of"], "ruby", "variable") == [2.0, -7.0]


@pytest.mark.parametrize("damage", ["text", "cut", "names", "type", "field", "nan"])
def test_a_damaged_table_is_one_line(tmp_path, damage):
    file = tmp_path / table.FILE
    table.save(small(), file)
    with np.load(file) as stored:
        parts = dict(stored)
    if damage == "text":
        file.write_text("no table")
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    else:
        if damage == "names":
            parts["names"] = parts["names"][:-6]
        elif damage == "type":
            parts["rows"] = parts["rows"].astype(np.float64)
        elif damage == "nan":
            parts["name_scales"][1] = np.nan
        else:
            del parts["priors"]
        np.savez(file, **parts)
    with pytest.raises(CodesageError, match="no readable table") as error:
        table.load(file)
    assert "\n" not in str(error.value)


def test_the_joint_score_is_a_probability_and_follows_table_and_file():
    tree = syntax.parse(FILES["python"], "python")
    file_units, tokens = units(tree), tokens_of(tree)
    number = next(number for number, unit in enumerate(file_units.units) if unit.name == "size")
    around = Occurrences(tokens, file_units.units[number])
    one = joint.candidates(small(), around, Others(file_units.units), ["further", "print", "t"])
    ranked = joint.ranked(small(), one, "python", alone=True)
    assert sum(np.exp(score) for _, score in ranked) == pytest.approx(1)
    assert ranked[0][0] == "size"  # options["size"]: the rule is mostly right
    names = [name for name, _ in ranked]
    assert "further" in names and not {"print", "t"} & set(names)  # a builtin and a placeholder
    known = joint.with_model(one, [[0]] * len(names), {1: np.log(np.full((1, 2), 0.5))})
    assert np.allclose(known.known_CW[:, -3:], [np.log(0.5), np.log(0.5), 1]) and not known.without_model()[:, -3:].any()


def test_names_that_were_given_are_seen_by_the_others():
    tree = syntax.parse("def f(a):\n    b = load(a)\n    for c in b:\n        c.run()\n", "python")
    file_units, tokens = units(tree), tokens_of(tree)
    unit = {one.name: one for one in file_units.units}
    for name in "abc":
        tokens.show(unit[name], HOLE)
    assert "user" not in suggested(Occurrences(tokens, unit["c"]), Others(()))
    tokens.show(unit["b"], "users")
    assert "loop one snake" in suggested(Occurrences(tokens, unit["c"]), Others(()))["user"]


def test_what_ships_names_a_minified_file(tmp_path):
    file = tmp_path / "app.min.js"
    file.write_text(
        "function f(e,t){const n=require('express')();for(const r of e.items){n.use(r)}"
        "try{t()}catch(a){console.error(a)}return n}\n"
    )
    done = run.propose_file(file, run.Options())
    given = {one.unit.name: one.name for one in done.proposals}
    assert given["r"] == "item" and set(given) == {"f", "e", "t", "r", "a"}
    assert all(0 <= one.probability <= 1 for one in done.proposals)
    assert "for(const item of" in done.renamed()
    assert propose.load().table is not None


def test_the_model_that_ships_is_a_start_for_training_and_gives_no_vectors():
    shipped, (encoder, tokenizer) = filler.load(), load_with_tokenizer(NAMES)
    ids = tokenizer.encode(["def total(prices): return sum(prices)"], max_tokens=32)[0]
    with torch.inference_mode():
        scores_MV = encoder(torch.tensor(ids), Layout.of([len(ids)])) @ encoder.wte.weight.T
    (expected,) = shipped.log_probabilities([ids], [[2, 4]])
    assert np.corrcoef(scores_MV[[2, 4]].log_softmax(-1).numpy().ravel(), expected.ravel())[0, 1] > 0.99
    with pytest.raises(CodesageError, match="names is a model that names identifiers and gives no vectors"):
        codesage.load("names")


def test_names_are_not_learned_with_a_tokenizer_that_loses_capitals():
    check_capitals(load_tokenizer(NAMES))
    with pytest.raises(CodesageError, match="loses capitals, so names would too: begin with --model names"):
        check_capitals(load_tokenizer(BUNDLED_MODELS["general"]))


class Letters:
    """A tokenizer with a token for each character."""

    mask_id, end_id, pad_id, vocab_size = 126, 125, 124, 127

    def encode_pieces(self, pieces):
        return [[ord(letter) for letter in piece] for piece in pieces]

    def decode(self, ids):
        return "".join(map(chr, ids))


def blank(value=0.0):
    """A model that finds all letters alike, or whose weights are all `value`."""
    weights = np.full((Letters.vocab_size, 1), value, np.float32)
    return Filler(Letters(), lambda windows, rows_M: np.ones((len(rows_M), 1), np.float32), weights, max_tokens=64)


def test_a_model_whose_weights_are_not_numbers_is_one_line():
    assert np.exp(blank().log_probabilities([[1, 2]], [[0]])[0]).sum() == pytest.approx(1)
    for value in (np.nan, np.inf):
        with pytest.raises(CodesageError, match="^the model gives scores that are not finite: train or export it again$"):
            blank(value).log_probabilities([[1, 2], [1, 2, 3]], [[0], [2]])


@pytest.mark.parametrize("stages", [None, [], ["pretrain", "contrast"]])
def test_a_model_that_does_not_say_that_stage_one_was_its_last_is_refused(tmp_path, stages):
    copy = shutil.copytree(NAMES, tmp_path / "names")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["facts"] |= {"stages": stages}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    if stages is None:
        (copy / "manifest.json").unlink()
    with pytest.raises(CodesageError, match="names has been through|names holds no manifest.json") as error:
        filler.load(copy)
    assert "'codesage pretrain" in str(error.value)


def calls_for(text, language):
    """How many functions are called, those of C included, to name everything in a file."""
    tree, calls = syntax.parse(text, language), 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    file_units, proposer = units(tree), propose.Proposer(blank(), propose.Settings(), small())
    sys.setprofile(count)
    try:
        named = propose.propose(proposer, tree, file_units, range(len(file_units.units)))
    finally:
        sys.setprofile(None)
    assert len(named) == len(file_units.units)
    return calls


MANY = {  # a part that is repeated, with a number in it
    "variables of a file": ("python", "{}", "v{0} = load(v{0}, w)\n"),
    "variables of a function": ("javascript", "function f(p) {{ {} }}", "var v{0} = p.load(v{0});\n"),
    "equal parameters": ("javascript", "{}", "function go{0}(e, t) {{ return e(t) }}\n"),
}


@pytest.mark.parametrize("what", MANY)
def test_the_work_grows_as_the_number_of_names(what):
    language, frame, part = MANY[what]
    one, four = (
        calls_for(frame.format("".join(part.format(number) for number in range(size))), language) for size in (100, 400)
    )
    assert four < 5.5 * one


def test_progress_ends_with_all_names_and_never_falls():
    tree, told = syntax.parse("".join(f"v{number} = 1\n" for number in range(40)), "python"), []
    proposer = propose.Proposer(blank(), propose.Settings(), small())
    propose.propose(proposer, tree, units(tree), range(40), progress=lambda done, total: told.append((done, total)))
    done = [one for one, _ in told]
    assert done == sorted(done) and told[-1] == (40, 40) and {total for _, total in told} == {40} and 10 in done
