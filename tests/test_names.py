"""Names for identifiers: the search, what may be renamed, the written file, and a model that has learned one file by heart."""

import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from codesage import CodesageError, syntax
from codesage.names import beam, rename, run, words
from codesage.names.commands import names as names_command
from codesage.names.evaluated import in_strings, named_by_strings
from codesage.names.propose import Names, Proposal, Proposer, Settings
from codesage.names.units import Unit, is_placeholder, units
from codesage.names.windows import Text
from codesage.syntax.tree import MAX_LINE

# What the table of a language's builtins guards against, code with every kind of name, and how minifiers leave it.
PYTHON = '''def total_price(items, tax_rate):
    """Sum of all prices."""
    subtotal = sum(item.price for item in items)
    return print(subtotal * tax_rate)
'''
HIDDEN = PYTHON.replace("subtotal", "v1")
SAMPLES = {
    "python": PYTHON,
    "javascript": "function f(e,t){var n=[];for(const r of e){n.push(t(r))}return n}\n"
    "class Q{a(e){this.i=e.i}b(e){return e.url}}\n",
    "typescript": "interface A{b:string}\nfunction f(e:A,t=1):A{const n=(x:A)=>x.b+t;return n(e)}\n",
    "java": "class A { int a; A(int a) { this.a = a; } int b(int c) { int d = c + a; return d * c; }\n"
    "int e(int c) { return c; } }\n",
    "csharp": "class A { int a; int B(int c) { var d = c + a; foreach (var e in f) { d += e; } return d; } }\n",
    "c": "struct s { int a; };\nstatic int f(struct s *p, int b) { int c = b; return p->a + c; }\n",
    "ruby": "class A\n  def b(c)\n    @d = c\n    c.each { |e| puts e }\n  end\nend\n",
    "go": "package p\n\nfunc f(a int, b []int) int {\n\tc := a\n\tfor _, d := range b {\n\t\tc += d\n\t}\n\treturn c\n}\n",
    "php": "<?php\nclass A { private $a; function b($c) { $d = $this->a; return $d + $c; } }\n",
}


def tree_of(text, language):
    return syntax.parse(text, language)


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_is_the_same_as_trying_all_names(seed, power):
    rng = np.random.default_rng(seed)
    vocabulary, longest = 5, 3
    tables = {}

    def next_of(begun):
        for one in begun:  # any function of the beginning and the length
            logits = 2 * rng.normal(size=vocabulary)
            tables.setdefault((one.length, one.ids), logits - np.log(np.exp(logits).sum()))
        return [tables[one.length, one.ids] for one in begun]

    first, later = np.array([True, True, False, True, True]), np.array([True, True, True, True, False])
    settings = beam.Settings(longest, beam=vocabulary**longest, keep=6, power=power)
    names = beam.search(next_of, settings, first=first, later=later)
    every = []
    for length in range(1, longest + 1):
        for ids in itertools.product(range(vocabulary), repeat=length):
            if first[ids[0]] and all(later[token] for token in ids[1:]):
                total = 0.0
                for at, token in enumerate(ids):
                    total += next_of([beam.Prefix(length, ids[:at])])[0][token]
                every.append((total / length**power, ids))
    best = sorted(every, key=lambda one: (-one[0], one[1]))[:6]
    assert [one.ids for one in names] == [ids for _, ids in best]
    assert [one.score for one in names] == pytest.approx([score for score, _ in best])


def test_a_narrow_beam_finds_what_greedy_search_misses():
    scores = {(): [0.5, 0.4, 0.1], (0,): [0.4, 0.3, 0.3], (1,): [0.0, 0.0, 1.0]}
    with np.errstate(divide="ignore"):
        find = lambda width: beam.search(  # noqa: E731
            lambda begun: [np.log(np.array(scores[one.ids] if one.length == 2 else [0.0, 0.0, 0.0])) for one in begun],
            beam.Settings(2, beam=width, keep=1),
            first=np.ones(3, bool),
            later=np.ones(3, bool),
        )
        assert find(1)[0].ids == (0, 0) and find(2)[0].ids == (1, 2)


@pytest.mark.parametrize("language", SAMPLES)
def test_a_renamed_file_is_equal_but_for_names(language):
    tree = tree_of(SAMPLES[language], language)
    file_units = units(tree)
    names = {unit: f"{'F' if unit.name.isupper() else 'f'}resh{number}" for number, unit in enumerate(file_units.units)}
    text = rename.renamed(tree, file_units, names)
    again = units(tree_of(text, language))
    assert [unit.name for unit in again.units] == list(names.values()) and not tree_of(text, language).has_errors
    assert [unit.kind for unit in again.units] == [unit.kind for unit in file_units.units]
    olds = {unit: old.name for unit, old in zip(again.units, file_units.units, strict=True)}
    assert rename.renamed(tree_of(text, language), again, olds) == SAMPLES[language]
    outside = [re.sub(r"\w+", "", one) for one in (SAMPLES[language], text)]
    assert outside[0] == outside[1] and text != SAMPLES[language]


def test_functions_have_names_of_their_own_and_members_of_others_stay():
    tree = tree_of(SAMPLES["javascript"], "javascript")
    file_units = units(tree)
    named = [(unit.name, unit.kind, len(unit.spans)) for unit in file_units.units]
    assert named.count(("e", "parameter", 2)) == 3 and ("i", "member", 2) in named
    assert not any(unit.name == "url" for unit in file_units.units)
    tree = tree_of("function f(x){return event.x + x}\nfunction g(y){return {y}}\nfunction h(z){z = 1}\n", "javascript")
    file_units = units(tree)
    spans = {unit.name: len(unit.spans) for unit in file_units.units}
    assert spans["x"] == 2 and file_units.fixed == ("y",) and "y" not in spans
    text = rename.renamed(tree, file_units, {unit: "width" for unit in file_units.units if unit.name == "x"})
    assert "function f(width){return event.x + width}" in text
    file_units = units(tree_of("def f(size, other):\n    return g(size=size) + other\n", "python"))
    assert file_units.fixed == ("size",)
    file_units = units(tree_of("var e = 1; function f() { return e } function g(e) { return e }", "javascript"))
    assert [len(unit.spans) for unit in file_units.units if unit.name == "e"] == [2, 2]


PYTHON_CLASS = """
class A:
    a1: int = 1
    b1, (c1, *d1) = 2, (3, 4)
    if b1:
        e1 = 5
    for f1 in [6]:
        pass
    (g1 := 7)
    h1 = [local for local in [8]]

    def total(self, local=9):
        return self.a1 + A.b1 + self.c1 + self.d1[0] + self.e1 + A.f1 + self.g1 + self.h1[0] + local
"""
MEMBERS = {  # code, and how often each name occurs, whoever it belongs to
    "python": (PYTHON_CLASS, dict(a1=2, b1=3, c1=2, d1=2, e1=2, f1=2, g1=2, h1=2)),
    "php": (
        "<?php class A { public $a1; static $b1 = 1; function __construct(private int $c1) { $this->a1 = $c1 + self::$b1; }\n"
        "function f(A $o) { return $o->a1 + $o?->c1 + A::$b1; } }\n",
        dict(a1=3, b1=3, c1=3),
    ),
    "typescript": (
        "class A { constructor(private a1: number, readonly b1 = 1, public c1?: string) { this.a1 = a1 + b1 }\n"
        "f() { return this.a1 + this.b1 + this.c1 }\ng(a1) { return a1 + this.c1 } }\n",
        dict(a1=4, b1=3, c1=3),
    ),
    "csharp": (
        "record R(int A1) { int B1() => this.A1 + A1; } record struct S(int C1);\nclass T { event X D1 { add {} remove {} }\n"
        "void F(R r, S s) { D1 += r.A1 + s.C1; this.D1 += 1; var q = new { E1 = 1 }; use(q.E1); (int G1, int H1) t = (1, 2);\n"
        "use(t.G1); } }\n",
        dict(A1=4, C1=2, D1=3, E1=2, G1=2),
    ),
    "java": (
        "record R(int a1, int... b1) { R(int a1, int... b1) { this.a1 = a1; this.b1 = b1; }\n"
        "int f() { return this.a1 + a1() + b1[0]; }\nint g(int a1) { return a1; } }\n"
        "class T { int h(R r) { return r.a1() + r.b1()[0]; } }\n",
        dict(a1=7, b1=6),
    ),
}


@pytest.mark.parametrize("language", MEMBERS)
def test_what_a_class_declares_is_renamed_behind_every_receiver(language):
    code, times = MEMBERS[language]
    tree = tree_of(code, language)
    file_units = units(tree)
    members = {unit.name: len(unit.spans) for unit in file_units.units if unit.kind == "member"}
    assert {name: members[name] for name in times} == times and file_units.fixed == ()
    names = {unit: f"{unit.name}_{number}" for number, unit in enumerate(file_units.units)}
    text = rename.renamed(tree, file_units, names)
    for name in times:
        assert not re.search(rf"[.>:]\$?{name}\b", text)
    if language == "python":
        space: dict = {}
        exec(text, space)
        made = next(one for one in space.values() if isinstance(one, type))
        total = next(value for name, value in vars(made).items() if name.startswith("total"))
        assert total(made()) == sum(range(1, 10))


def test_a_parameter_property_in_a_function_keeps_its_name_apart_from_that_of_the_function():
    code = "function f(p) { class B { constructor(private p) { use(p) } g() { return this.p } } return p }\n"
    named = [(unit.kind, len(unit.spans)) for unit in units(tree_of(code, "typescript")).units if unit.name == "p"]
    assert named == [("parameter", 2), ("member", 3)]


@pytest.mark.parametrize(
    ("language", "code", "fixed"),
    [
        ("python", "class A(B):\n    def f(self, a1, b1):\n        return self.a1 + b1\n", ("a1",)),
        ("python", "class A(B):\n    pass\na1 = A.a1 = other.b1\nb1 = 1\n", ("a1",)),
        ("php", "<?php function f($a1, $b1) { return $this->a1 + other()->b1 + $b1; }", ("a1",)),
        ("ruby", "def f\n  a1 = b1 = 1\n  self.a1 + other.b1\nend\n", ("a1",)),
        ("typescript", "namespace N { export const a1 = 1; const b1 = 2 }\nuse(N.a1, other.b1)\n", ("a1",)),
        ("javascript", "var a1 = 1; class A extends B { f(b1) { return this.a1 + this.b1 + b1 } }\n", ("a1",)),
        ("csharp", "class A { int F() { int A1 = 1; var q = new { A1 }; return q.A1; } }", ("A1",)),
    ],
)
def test_a_name_stays_where_a_member_of_the_file_may_hang_on_it(language, code, fixed):
    assert units(tree_of(code, language)).fixed == fixed


def test_a_change_that_is_more_than_names_is_refused():
    tree = tree_of("function f(a, b) { return a - b }", "javascript")
    file_units = units(tree)
    a, b = (next(unit for unit in file_units.units if unit.name == name) for name in "ab")
    with pytest.raises(CodesageError, match="more than names"):
        rename.renamed(tree, file_units, {a: "b"})
    with pytest.raises(CodesageError, match="more than names"):
        rename.renamed(tree, file_units, {a: "same", b: "same"})
    with pytest.raises(CodesageError, match="does not parse|more than names"):
        rename.renamed(tree, file_units, {a: "if"})


def test_names_that_are_taken_are_not_given():
    text = "function f(e) { const used = e; return go(used) }\nfunction g(e, t) { return e + t }\n"
    tree = tree_of(text, "javascript")
    file_units = units(tree)
    names = Names(tree, file_units.units)
    number = {(unit.name, unit.scope[0]): place for place, unit in enumerate(file_units.units)}
    first, second, third = number["e", 0], number["e", text.index("function g")], number["t", text.index("function g")]
    assert not names.free(first, "used") and names.free(second, "used")  # a word of f alone
    assert not any(names.free(second, word) for word in ("if", "let", "Array", "console", "t", "a1"))
    names.take(first, "value")
    assert names.free(second, "value") and not names.free(number["f", 0], "value")  # apart, and around
    names.take(second, "value")
    assert not names.free(third, "value") and names.free(second, "value")
    tree = tree_of(SAMPLES["go"], "go")
    assert not Names(tree, units(tree).units).free(0, "Run") and Names(tree, units(tree).units).free(0, "run")
    assert {"class", "print", "None"} <= words.taken("python") and all(words.taken(language) for language in SAMPLES)


def test_which_names_say_nothing():
    nothing = ["t", "e", "a2", "var3", "_0x1f3a", "func_1234_a", "field_100_b", "p_5_", "iVar1", "FUN_00401000", "arg0", "tmp"]
    assert [name for name in nothing if not is_placeholder(name)] == []
    telling = ["i", "x", "id", "size", "ab_test", "utf8", "sha256", "base64", "index"]
    assert [name for name in telling if is_placeholder(name)] == []


class _Bytes:
    """A tokenizer with a token for each character."""

    mask_id, end_id, pad_id, vocab_size = 126, 125, 124, 127

    def encode_pieces(self, pieces):
        return [[ord(letter) for letter in piece] for piece in pieces]

    def decode(self, ids):
        return "".join(map(chr, ids))


def test_windows_hold_all_holes_and_stay_within_their_limit():
    source = ("alpha = beta + 1\n" * 30 + "beta = alpha\n").encode()
    file_units = units(tree_of(source.decode(), "python"))
    text = Text(source, file_units.units, file_units.names, _Bytes())
    alpha = next(place for place, unit in enumerate(file_units.units) if unit.name == "alpha")
    whole = text.around(alpha, limit=10_000, most_windows=3, reserve=5)
    ids, starts = whole[0].filled(list(map(ord, "alpha")))
    assert len(whole) == 1 and bytes(ids) == source and len(starts) == 31
    windows = text.around(alpha, limit=50, most_windows=4, reserve=6)
    assert len(windows) == 4
    for window in windows:
        ids, starts = window.filled([_Bytes.mask_id] * 6)
        assert len(ids) <= 50 and len(ids) > 40 and len(starts) >= 2
        filled, starts = window.filled(list(map(ord, "alpha")))
        assert bytes(filled) in source and all(bytes(filled[start : start + 5]) == b"alpha" for start in starts)
    beta = next(place for place, unit in enumerate(file_units.units) if unit.name == "beta")
    text.show(beta, None)
    ids, _ = text.around(alpha, limit=30, most_windows=1, reserve=6)[0].filled(list(map(ord, "alpha")))
    assert _Bytes.mask_id in ids and b"beta" not in bytes(ids)
    assert text.around(alpha, limit=3, most_windows=1, reserve=6)[0].filled([1, 2]) == ([1, 2], [0])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model that knows one file by heart."""
    torch = pytest.importorskip("torch")
    from codesage import recipes
    from codesage.corpus.tokens import tokenised
    from codesage.encoder.config import Config
    from codesage.pretrain import stage
    from codesage.records import Document
    from codesage.tokenizer import Settings as TokenizerSettings
    from codesage.tokenizer import train
    from codesage.training import loop

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("names")
    tokenizer = train([PYTHON] * 5, folder / "tokenizer", settings=TokenizerSettings(vocab_size=300))
    tokenised.write(
        [Document(f"{number}.py", "python", PYTHON, "") for number in range(4)],
        [],
        tokenizer,
        folder / "tokens",
        settings=tokenised.Settings(workers=1),
    )
    recipe = recipes.naming("toy")
    settings = replace(
        recipe,
        encoder=Config(32, 2, 4, max_position_embeddings=512).without_dropout(),
        micro_tokens=4_096,
        initial="normal",
        examples=replace(recipe.examples, batch_tokens=256),
        loop=loop.Settings(70, 5, 1e-2, evaluations=0),
    )
    stage.run(settings, tokenised.open_tokens(folder / "tokens"), tokenizer, folder / "model")
    torch.set_num_threads(threads)
    return folder / "model"


def test_a_model_that_knows_a_file_recovers_its_names(model, tmp_path):
    file = tmp_path / "price.py"
    file.write_text(HIDDEN)
    done = run.propose_file(file, run.Options(model=model))
    assert {one.unit.name: one.name for one in done.proposals} == {"v1": "subtotal"}
    assert done.renamed() == PYTHON and all(one.probability > 0.5 for one in done.proposals)
    rows = {row["name"]: row for row in done.rows()}
    assert (rows["v1"]["line"], rows["v1"]["kind"], rows["v1"]["occurrences"]) == (3, "variable", 2)
    assert not run.propose_file(file, run.Options(model=model, least=1.0)).accepted()


def test_the_exported_model_gives_the_names_of_its_weights(model, tmp_path):
    from codesage.encoder.export import export_folder
    from codesage.names import filler

    export_folder(model, tmp_path / "exported", names=True)
    assert not (tmp_path / "exported/model.safetensors").exists()
    assert json.loads((tmp_path / "exported/config.json").read_text())["max_position_embeddings"] == 256
    one, other = filler.load(model), filler.load(tmp_path / "exported")
    ids = one.tokenizer.encode([PYTHON], max_tokens=80)[0]
    asked = ([ids, ids[:20]], [[3, 9], [0, 5, 19]])
    for ours, exported in zip(one.log_probabilities(*asked), other.log_probabilities(*asked), strict=True):
        assert np.exp(ours).sum(1) == pytest.approx(1) and np.abs(np.exp(ours) - np.exp(exported)).max() < 0.1
    alone = one.log_probabilities([ids[:20]], [[0, 5, 19]])[0]
    np.testing.assert_allclose(one.log_probabilities(*asked)[1], alone, atol=1e-4)  # whatever stands beside it
    proposer = Proposer(other, Settings())
    file_units = units(tree_of(PYTHON, "python"))
    text = Text(PYTHON.encode(), file_units.units, file_units.names, other.tokenizer)
    for number, unit in enumerate(file_units.units):
        assert proposer.candidates(text, number)[0][0] == unit.name


def command(*arguments):
    app = typer.Typer()
    app.command()(names_command)
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_command_prints_writes_and_compares(model, tmp_path):
    file = tmp_path / "price.py"
    file.write_bytes(HIDDEN.replace("\n", "\r\n").encode())
    table = command(file, "--model", model).output.splitlines()
    assert table[0].split() == ["line", "kind", "name", "proposed", "probability", "uses", "alternatives"] and len(table) == 2
    rows = [json.loads(line) for line in command(file, "--model", model, "--json").output.splitlines()]
    assert [row["proposed"] for row in rows] == ["subtotal"]
    diff = command(file, "--model", model, "--diff").stdout_bytes
    assert b"-    return print(v1 * tax_rate)\r\n" in diff and diff.endswith(b"+    return print(subtotal * tax_rate)\r\n")
    assert command(file, "--model", model, "--out", "-").stdout_bytes == PYTHON.replace("\n", "\r\n").encode()
    command(file, "--model", model, "--out", tmp_path / "new.py")
    assert (tmp_path / "new.py").read_bytes() == PYTHON.replace("\n", "\r\n").encode()
    command(file, "--model", model, "--write")
    assert file.read_bytes() == (tmp_path / "new.py").read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["new.py", "price.py"]


def test_what_cannot_be_written_or_asked_for_is_refused_before_the_work(tmp_path, monkeypatch):
    file = tmp_path / "a.py"
    file.write_text("t = 1\n")
    monkeypatch.setattr(run, "propose_file", pytest.fail)
    for words_given, message in (
        (("--out", tmp_path), "cannot be written (it is a folder): give --out a file"),
        (("--out", file / "b.py"), f"cannot be written ({file} is no folder): choose another --out"),
        (("--out", tmp_path / "none" / "b.py"), f"cannot be written ({tmp_path}/none is no folder): choose another --out"),
    ):
        done = command(file, *words_given)
        assert isinstance(done.exception, CodesageError) and message in str(done.exception), done.exception


def refusal(file, content, **options):
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CodesageError) as error:
        run.propose_file(file, run.Options(**options))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_named_is_one_line(tmp_path, model):
    assert "cannot be read (empty)" in refusal(tmp_path / "a.py", "")
    assert "cannot be read (binary)" in refusal(tmp_path / "a.py", b"a\0b")
    assert "none of python" in refusal(tmp_path / "a.txt", "x = 1")
    assert "language 'cobol'" in refusal(tmp_path / "a.py", "x = 1", language="cobol")
    assert "defines no names" in refusal(tmp_path / "a.py", "print(1)\n")
    assert "is a placeholder" in refusal(tmp_path / "a.py", "value = 1\n")
    assert refusal(tmp_path / "a.py", "value = 1\n", only=("",)) == "--only is empty: give it a name that the file defines"
    assert "defines no other" in refusal(tmp_path / "a.py", "value = 1\n", only=("other",))
    stays = "def f(b2):\n    return g(b2=b2)\n"
    for options in ({"only": ("b2",)}, {"every": True}):
        told = refusal(tmp_path / "a.py", stays.replace("def f(b2):", "for b2 in h:"), **options)
        assert "no name can be changed (b2: also keys, keyword arguments or members" in told and "give" not in told
    assert "placeholder such as t, a2 or var3 that can be changed (b2: also" in refusal(
        tmp_path / "a.py", stays.replace("f(", "find(")
    )
    assert "(huge): expected at most 2 MB: split the file" in refusal(tmp_path / "a.py", "x = 1\n" * 400_000)
    assert "a.js: text is nested more than 1,000 levels deep" in refusal(tmp_path / "a.js", "[" * 1_001 + "]" * 1_001)
    assert "unknown device 'gpu'" in refusal(tmp_path / "a.py", "t = 1\n", model=model, device="gpu")
    assert "no such folder" in refusal(tmp_path / "a.py", "t = 1\n", model=tmp_path / "none")
    broken = tmp_path / "broken.py"
    broken.write_text(HIDDEN + "def (:\n")
    notes = []
    done = run.propose_file(broken, run.Options(model=model), notice=notes.append)
    assert "syntax error in line 5" in notes[0] and done.proposals
    with pytest.raises(CodesageError, match="syntax error in line 5"):
        done.renamed()


@pytest.mark.parametrize(
    ("language", "code", "free"),
    [
        ("python", 'def f1(a1, b1):\n    return eval("x1+y1")\ndef g1(c1):\n    """The c1."""\n    return c1\n', "f1 g1 c1"),
        ("python", 'x1 = 2\ndef f1(a1):\n    b1 = "x1"\n    exec(b1)\ndef g1(x2):\n    return x2\n', "f1 g1 x2"),
        ("python", "a1 = 1\nexec(open(p))\ndef f1(b1):\n    return b1\n", "b1"),
        ("python", "class C1:\n    def eval(self, m1):\n        m1.eval()\n        return m1\n", "C1 eval m1"),
        ("javascript", 'function f1(a1){return eval("a1")}\nfunction g1(b1){return b1}\n', "f1 g1 b1"),
        ("javascript", "function f1(a1){return a1.eval()}\n", "f1 a1"),
        ("typescript", "function f1(a1: string){return new Function(a1)}\nfunction g1(b1: string){return b1}\n", "f1 g1 b1"),
        ("php", "<?php\nfunction f1($a1){return compact('a1');}\nfunction g1($b1){return $b1;}\n", "f1 g1 b1"),
        ("php", "<?php\nfunction f1($a1){return $$a1;}\nfunction g1($b1){return $b1;}\n", "f1 g1 b1"),
        ("ruby", "def f1(a1)\n  binding\nend\ndef g1(b1)\n  b1.eval(1)\nend\n", "f1 g1 b1"),
        ("ruby", 'def f1(a1)\n  eval "a1"\nend\ndef g1(b1)\n  b1\nend\n', "f1 g1 b1"),
    ],
)
def test_names_that_code_in_strings_may_use_stay(language, code, free):
    tree = tree_of(code, language)
    held = units(tree)
    assert {unit.name for unit in set(held.units) - in_strings(tree, held)} == set(free.split())


@pytest.mark.parametrize(
    ("language", "code", "staying"),
    [
        (
            "python",
            "class C1:\n    def m1(self): self.a1 = 1\ndef f1(o1): getattr(o1, 'm1')(); setattr(o1, \"a1\", 2)\n",
            "a1 m1",
        ),
        ("python", "class C1:\n    __slots__ = ('a1', 'b1')\n    def f1(self): self.a1 = self.c1 = 1\n", "a1"),
        ("python", "__all__ = ['v1',\n           'f1']\nv1 = w1 = 1\ndef f1(v2: 'C1'): pass\nclass C1: pass\n", "C1 f1 v1"),
        ("python", "def f1(a1): return a1['a1'], b1\nb1 = 'b1 c1'\nclass c1: pass\n", ""),
        ("python", "class C1:\n    def m1(self): pass\npatch('some.module.C1.m1')\n", "C1 m1"),
        ("javascript", "class C1{m1(){return this.a1+this.b1}set(){this.a1=this.b1=1}}new C1()[`m1`]();k=q['a1']", "a1 m1"),
        ("typescript", "class C1{a1=1;b1=2}type T1=C1['a1']", "a1"),
        ("java", 'class C1{int a1;int b1;void f1(){C1.class.getField("a1");Class.forName("x.C1");}}', "C1 a1"),
        ("php", "<?php\nclass C1{public $a1;function m1(){}}\ncall_user_func([$o1,'m1']);$o1->{'a1'}=1;\n", "a1 m1"),
        ("ruby", "class C1\n  def m1; end\n  def n1; end\nend\nC1.new.send('m1')\n", "m1"),
        ("go", 'package p\ntype T1 struct { A1 int; B1 int }\nfunc f1(v1 T1) { g(v1).FieldByName("A1") }\n', "A1"),
        ("csharp", 'class C1{int a1;int b1;void F1(){typeof(C1).GetField("a1");}}', "a1"),
    ],
)
def test_what_a_string_names_stays(language, code, staying):
    tree = syntax.parse(code, language)
    held = units(tree)
    assert {unit.name.lstrip("$@") for unit in named_by_strings(tree, held)} == set(staying.split())


def test_a_class_of_java_keeps_the_name_of_its_file(tmp_path):
    file, notes = tmp_path / "C1.java", []
    file.write_text("public class C1 { int a1; static class D1 { C1 b1; } }\n")
    done = run.propose_file(file, run.Options(), notice=notes.append)
    assert {one.unit.name for one in done.proposals} == {"a1", "D1", "b1"}
    assert notes == ["1 names stay, C1: the file has its name"]
    asked = run.propose_file(file, run.Options(only=("C1",)))  # with --out of another name
    assert {one.unit.name for one in asked.proposals} == {"C1"}


def test_a_renamed_file_does_the_same_where_it_uses_names_in_strings(tmp_path):
    file = tmp_path / "one.py"
    file.write_text(
        "class c1:\n    __slots__ = ('a1', 'd1')\n\n    def __init__(self, b1):\n        self.a1 = b1\n        self.d1 = b1\n\n"
        "    def m1(self):\n        return getattr(self, 'a1') + self.d1\n\n\nprint(getattr(c1(3), 'm1')())\n"
    )
    renamed = run.propose_file(file, run.Options(every=True)).renamed()
    assert "b1" not in renamed
    (tmp_path / "two.py").write_text(renamed)
    told = [subprocess.run([sys.executable, tmp_path / name], capture_output=True, text=True) for name in ("one.py", "two.py")]
    assert [one.stdout for one in told] == ["6\n", "6\n"], told[1].stderr


def test_names_that_stay_for_a_string_are_told(model, tmp_path):
    file, notes = tmp_path / "a.py", []
    file.write_text('def evaluate(a1, b1):\n    return eval("a1+b1")\n\n\ndef total(c1):\n    return c1\n')
    done = run.propose_file(file, run.Options(model=model), notice=notes.append)
    assert [one.unit.name for one in done.proposals] == ["c1"]
    assert notes == ["2 names stay, a1, b1: code in strings may use them (eval and the like)"]
    with pytest.raises(CodesageError, match="no name can be changed .a1: code in strings may use them"):
        run.propose_file(file, run.Options(only=("a1",), model=model))


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "a.py").write_text("t = 1\n")
    (tmp_path / "link.py").symlink_to("a.py")
    os.mkfifo(tmp_path / "pipe.py")
    for name, message in (
        ("none.py", "none.py: no such file: give a file that exists"),
        ("a.py/b.py", "b.py: no such file"),
        (".", " is a folder: give a file"),
        ("link.py", "link.py is a link: give the file that it leads to"),
        ("pipe.py", r"pipe.py cannot be read \(special\)"),
    ):
        with pytest.raises(CodesageError, match=message):
            run.parsed(tmp_path / name)


def test_a_model_after_stage_two_is_refused(model, tmp_path):
    import shutil

    from codesage.names import filler

    copy = shutil.copytree(model, tmp_path / "tuned")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["facts"]["stages"].append("contrast")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CodesageError, match="last stage is 'codesage pretrain'"):
        filler.load(copy)


def test_identifiers_beyond_the_most_are_counted(tmp_path, monkeypatch, model):
    file = tmp_path / "many.py"
    file.write_text("".join(f"v{number} = 1\n" for number in range(5_000)))
    monkeypatch.setattr(run, "propose", lambda proposer, tree, file_units, chosen, progress: [])
    notes = []
    done = run.propose_file(file, run.Options(model=model), notice=notes.append)
    assert notes == ["4,800 of 5,000 identifiers keep their names: raise --most to name more"] and done.proposals == ()


def test_code_in_one_long_line_is_named(tmp_path, monkeypatch, model):
    file, code = tmp_path / "many.js", "var " + ",".join(f"a{number}={number}" for number in range(12_000)) + ";\n"
    assert len(code) > MAX_LINE
    file.write_text(code)
    monkeypatch.setattr(
        run,
        "propose",
        lambda proposer, tree, file_units, chosen, progress: [
            Proposal(file_units.units[one], f"x{one}", 1.0) for one in chosen
        ],
    )
    done = run.propose_file(file, run.Options(model=model, most=20_000))
    assert done.renamed() == code.replace("a", "x").replace("vxr", "var")


def test_more_names_than_asked_for_are_left(tmp_path, model):
    file = tmp_path / "many.py"
    file.write_text("".join(f"v{number} = {number} + v0\n" for number in range(6)))
    notes = []
    done = run.propose_file(file, run.Options(model=model, most=3), notice=notes.append)
    assert len(done.proposals) == 3 and done.proposals[0].unit.name == "v0" and notes[0].startswith("3 of 6")
    given = [one.name for one in done.proposals if one.name]
    assert len(set(given)) == len(given)
    assert isinstance(done.proposals[0].unit, Unit)
