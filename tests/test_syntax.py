"""Functions and identifiers of all nine languages: golden files, invariants, and hostile texts.

tests/samples/ has one source per language with the expected results, which were checked by eye: `.hidden` is the source with
every hidden name in «», `.functions` has the kind, parent, name, lines, docstring and bare body of every definition.
"""

import ast
import builtins
import re
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from codesage.languages import LANGUAGES, language_of
from codesage.syntax import ParseRefused, functions, identifiers, parse
from timing import takes_less

SAMPLES = sorted(path for path in (Path(__file__).parent / "samples").glob("sample.*") if path.suffix[1:] != "hidden")
SAMPLES = [path for path in SAMPLES if path.suffix != ".functions"]


def marked(tree) -> str:
    pieces, end = [], 0
    for identifier in identifiers(tree):
        pieces += [tree.source[end : identifier.start_byte].decode(), f"«{identifier.name}»"]
        end = identifier.end_byte
    return "".join(pieces) + tree.source[end:].decode()


def listed(tree) -> str:
    blocks = []
    for f in functions(tree):
        head = f"{f.kind} {f.parent + '.' if f.parent else ''}{f.name} {f.start_line}-{f.end_line}"
        blocks.append("\n".join([head, f"  doc: {f.docstring!r}", *(f"  | {line}" for line in f.bare_body.splitlines())]))
    return "\n".join(blocks) + "\n"


def test_every_language_has_a_sample():
    assert {language_of(path.name) for path in SAMPLES} == set(LANGUAGES)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.suffix[1:])
def test_hidden_names_are_golden(sample):
    tree = parse(sample.read_text(), language_of(sample.name))
    assert not tree.has_errors
    assert marked(tree) == sample.with_name(sample.name + ".hidden").read_text()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.suffix[1:])
def test_functions_are_golden(sample):
    tree = parse(sample.read_text(), language_of(sample.name))
    assert listed(tree) == sample.with_name(sample.name + ".functions").read_text()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.suffix[1:])
def test_spans_are_true(sample):
    text = "\ufeff# 🎉 ünï\r\n" if sample.suffix in (".py", ".rb") else "// 🎉 ünï\r\n"
    text = ("<?php " + text if sample.suffix == ".php" else text) + sample.read_text().replace("\n", "\r\n")
    tree = parse(text, language_of(sample.name))
    occurrences, lines = identifiers(tree), tree.source.split(b"\n")
    assert occurrences
    for identifier, after in zip(occurrences, [*occurrences[1:], None], strict=True):
        assert tree.source[identifier.start_byte : identifier.end_byte].decode() == identifier.name
        assert after is None or identifier.end_byte <= after.start_byte
    for f in functions(tree):
        whole = tree.source[f.start_byte : f.end_byte].decode()
        assert whole.startswith(f.signature) and whole.endswith(f.body)
        assert f.doc_start_byte <= f.start_byte
        assert tree.source[: f.start_byte].count(b"\n") + 1 == f.start_line
        assert f.name.encode() in b"\n".join(lines[f.start_line - 1 : f.end_line])


def test_python_definitions_equal_those_of_the_ast_module():
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:40]
    compared = 0
    for file in files:
        tree = parse(file.read_text(encoding="utf-8"), "python")
        want = sorted(
            (node.name, min([node.lineno, *(d.lineno for d in node.decorator_list)]))
            for node in ast.walk(ast.parse(tree.source))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        )
        assert sorted((f.name, f.start_line) for f in functions(tree)) == want
        compared += len(want)
    assert compared > 500


def test_tsx_is_a_dialect():
    text = "const App = (props: Props) => { const title = props.name; return <h1>{title}</h1>; };"
    tree = parse(text, "typescript", tsx=True)
    assert not tree.has_errors and parse(text, "typescript").has_errors
    assert [f.name for f in functions(tree)] == ["App"]
    assert [i.name for i in identifiers(tree)] == ["App", "props", "title", "props", "title"]


@pytest.mark.parametrize(
    ("language", "text", "names"),
    [
        ("python", "import x\nx = 1\nprint(x, z=2)\ndef f(y): return g(y=y)", ["f", "y", "y", "y"]),
        ("python", "def __len__(self): return len(self)\n# f = 1\ns = 's f'", ["s"]),
        ("python", "try:\n    import json\nexcept ImportError as e:\n    json = None", ["e"]),
        ("go", 'package p\nimport "a/b"\nvar b int\nfunc f(x, y int) { b.F(x, y) }', ["f", "x", "y", "x", "y"]),
        ("c", '#define F(a) g(a, "a") /* a */\n', ["F", "a", "a"]),
        ("php", "<?php function f($a) { return $this->a + $a; }", ["f", "a", "a", "a"]),
        ("ruby", "def total = @total\nx = {total: 1}", ["total", "total", "x", "total"]),
    ],
)
def test_names_that_a_file_defines(language, text, names):
    assert [identifier.name for identifier in identifiers(parse(text, language))] == names


@pytest.mark.parametrize(
    ("language", "text"),
    [
        # a name that is only used in an annotation stays
        ("python", "def «f»(«x»: dict[str, int], *«more»: List[Mine]) -> tuple[str, ...]: «y»: "
                   "list[«C»] = int(«x»)\nclass «C»: pass"),
        ("python", "class «C»[«T»: int, *«Ts», **«P»](Base[str]): pass\ndef «f»[«U»](«a»: «U»): pass"),
        ("python", "class «C»[«T» = int]: «x»: int"),
        ("python", "type «Pair»[«A», *«B», **«C»] = dict[«A», int]\ntype «One» = str"),
        ("python", "match p:\n case [«first», *«rest»]: pass\n case {'k': «v», **«others»}: pass"),
        ("python", "match p:\n case («a», «b») as «pair»: pass\n case Point(x=«px»): pass\n "
                   "case re.A: pass\n case «other»: pass"),
        ("python", "for self.«i» in x: pass\nfor self.«j», («k», self.«l») in x: pass\nself.«i» = self.foreign"),
        ("python", "with f() as self.«a», g() as («b», self.«c»): pass\n[self.«d», *self.«e»] = 1"),
        ("python", "from shop.path import sep\n«path» = sep\n«shop» = «path»"),
        ("python", "import os.path\nimport a.b as c\n«path» = os.path.join(os, c)\n«b» = «path».a.«b»"),
        ("python", "from m import old as new\n«old» = new"),
        ("python", "def «f»(self, «base», «arguments», «prototype», «constructor», «initialize», «super»): cls = _ = «base»"),
        ("python", "def «f»(«int»): return «int»(str(1))"),
        ("javascript", "const «o» = {«inc»: () => 1, «dec»: function () {}, «K»: class {}, «n»: 2, "
                       "'s': 3, [c]: {«m»: 4}}; «o».«n»;"),
        ("javascript", "foo({timeout: 1, «done»: () => 2, nested: {«deep»: 3}}); foo.timeout;"),
        ("javascript", "«outer»: for (;;) { break «outer»; }"),
        ("javascript", "import { a as b } from 'x'; let «a» = b; export { c } from 'y';"),
        ("javascript", "function «f»(«self», «base», «cls») { «f».prototype = arguments; module.exports = () => «self»; }"),
        ("typescript", "type «M»<«T»> = {[«P» in keyof «T»]: «T»[«P»]}; type «E»<«T»> = «T» "
                       "extends (infer «U»)[] ? «U» : never;"),
        ("typescript", "namespace «App».«Inner».«Deep» {} module «Mod».«Sub» {} namespace «N» {} «App».«Inner».other();"),
        ("typescript", "type «T» = [«first»: string, «second»?: number, ...«rest»: Foreign[]];"),
        ("typescript", "interface «I» { [«key»: string]: number } let «o» = {«inc»: () => 1};"),
        ("typescript", "import fs = require('fs'); «here»: for (;;) { continue «here»; } let «base» = fs;"),
        ("java", "class «C» { void «f»(Object «o») { if («o» instanceof Point(int «px», var «py»)) «px»++; } }"),
        ("java", "class «C» { int «f»(Object «o») { return switch («o») { case Box(Pair(var «q»)) -> "
                 "«q»; case Integer «n» -> «n»; }; } }"),
        ("java", "@interface «A» { String «value»() default \"\"; } @«A»(«value» = \"x\") class «B» {}"),
        ("java", "class «C» { void «f»() { «outer»: while (true) break «outer»; } }"),
        ("java", "package a.b.c; import d.e.*; import d.g.H; class «C» { int «a», «b», «e», «g»; H "
                 "«h» = d.g.H.of(«b», a.b.«C».x); }"),
        ("java", "class «C» { String «base», «self», «arguments»; int «f»() { return «base».length(); } }"),
        ("csharp", "class «C» { void «f»() { var («p», («q», _)) = t; foreach (var («k», «v») in d) "
                   "«k»(); (int «i», var «j») = t; } }"),
        ("csharp", "class «C» { bool «f»(object «o») => «o» is { X: 1 } «r» && «o» is Point(var «x», _) { Z: "
                   "var «z» } «p» && «o» is [1, 2] «l»; }"),
        ("csharp", "class «C» { object «g»() => from «x» in xs join «d» in ds on «x».i equals «d».j into «g2» select «g2»; }"),
        ("csharp", "class «C» { object «g»() => from «x» in xs join Foo «d» in ds on «x» equals «d» "
                   "group «x» by «d» into «h» select «h»; }"),
        ("csharp", "class «C» { void «f»() { var «a» = new { «Name» = 1, s.Length }; «a».«Name»++; «here»: goto «here»; } }"),
        ("csharp", "class «C» { (int «count», string «label») «f»() { (int «n», int «m») «t» = "
                   "(«n»: 1, «m»: 2); return «t».«n»; } }"),
        ("csharp", "namespace A.B; using X.Json; class «B» { int «Json», «self», «arguments»; void «f»() "
                   "{ X.Json.Of(«Json», A.B.«B».x); } }"),
        ("ruby", "case x\nin {name: String => «nm», «age»:} then «nm»\nin [Integer => «first», *«rest»] then «age»\nend"),
        ("ruby", "case x\nin {k: «v», **«others»} then 1\nin Point(«px», ^old) then 1\nin [*, "
                 "«mid», *] then 1\nin («one») then 1\nend"),
        ("ruby", "x => {«q»:}\ny in [«r»]\nz => «s»\nputs «q», «r», «s»"),
        ("ruby", "(«e», («f», «g»)), «h» = 1\n«A», «B» = 1, 2\n*«i», @«j», @@«k», $«l» = 1"),
        ("ruby", "«S» = Struct.new(:«px», :«py»)\n«D» = Data.define(:«qx»)\nOther.new(:no)"),
        ("ruby", "alias «fresh» old\nalias :«a» :b\nalias_method :«c», :d\ndefine_method(:«e») { «a» }\nsend(:no)"),
        ("ruby", "def initialize(«base», «arguments», «this»); end"),
        ("php", "<?php «here»: goto «here»; function «f»($«self», $«base») { return self::A . $this->a . $_GET['x']; }"),
        ("php", "<?php namespace A\\B; use X\\Y\\Z as Q; use X\\{V, W}; class «B» { const «X» = 1, «Y» = 2; "
                "public $«A»; } function «Z»() { new V; }"),
        ("c", "void «f»(struct list *«self», int «base», char *«this») { «self»->next = «base»; «again»: goto «again»; }"),
        ("go", "package p\nimport \"a/b\"\nfunc «f»(«self» int, «base» a) { «outer»: for { break «outer» }; _ = «self» }"),
    ],
)  # fmt: skip
def test_hidden_names_of_constructs(language, text):
    tree = parse(text.replace("«", "").replace("»", ""), language)
    assert marked(tree) == text


@pytest.mark.parametrize(
    ("language", "text", "settings"),
    [
        (
            "python",
            "class «C»:\n def __init__(«self»): «self».«a» = super().__len__()\n def «of»(«cls»): «cls»()",
            {"hide_self": True},
        ),
        ("python", "class «C»:\n def «__init__»(self): self.«a» = super().«__init__»() or __name__", {"hide_special": True}),
        ("php", "<?php class «C» { function __get($«a») { return $«this»->«a»; } }", {"hide_self": True}),
        ("php", "<?php class «C» { function «__get»($«a») { return $this->«a»; } }", {"hide_special": True}),
        ("ruby", "def «initialize» = 1", {"hide_special": True}),
        ("javascript", "class «C» { «constructor»() {} }", {"hide_special": True}),
    ],
)
def test_receivers_and_special_methods_are_hidden_on_request(language, text, settings):
    tree = parse(text.replace("«", "").replace("»", ""), language)
    pieces = [identifier.name for identifier in identifiers(tree, **settings)]
    assert pieces == re.findall("«(.*?)»", text)
    assert {"self", "cls", "this", "__init__", "__get", "initialize", "constructor"}.isdisjoint(
        identifier.name for identifier in identifiers(tree)
    )


def test_python_builtins_stay_unless_a_file_binds_them():
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    seen = 0
    for file in files[::3]:
        tree = parse(file.read_text(encoding="utf-8"), "python")
        hidden = {identifier.name for identifier in identifiers(tree)} & set(dir(builtins))
        bound = set()
        for node in ast.walk(ast.parse(tree.source)) if hidden else ():
            if isinstance(node, (ast.Name, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
                bound.add(node.id if isinstance(node, ast.Name) else node.attr)
            bound |= {getattr(node, "arg", None), getattr(node, "name", None)}
        assert hidden <= bound, file
        seen += bool(hidden)
    assert seen > 12


@pytest.mark.parametrize(
    ("text", "docstring"),
    [
        ("/** Docs. */\nint f() { return 1; }", "Docs."),
        ("/** Docs. */\n\nint f() { return 1; }", ""),  # detached
        ("int x; // trailing\nint f() { return 1; }", ""),
        ("// one\n// two\nint f() { return 1; }", "one\ntwo"),
        ("/*\n * Star  kept * here\n */\nint f() { return 1; }", "Star  kept * here"),
    ],
)
def test_comments_before_a_definition(text, docstring):
    (function,) = functions(parse(text, "c"))
    assert function.docstring == docstring


def test_nested_returns_are_removed_with_the_outer_ones():
    text = "def f(a):\n    def g(b):\n        return b\n    if a:\n        return g(\n            a)\n    return 1\n"
    outer, inner = functions(parse(text, "python"))
    assert outer.bare_body == "def g(b):\nif a:"
    assert inner.bare_body == ""


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("text", ["", "\n\n", "}{)(", "\x00\x01", "\ud800", "é" * 50, "// only\n# comments\n"])
def test_odd_texts_do_no_harm(language, text):
    tree = parse(text, language)
    assert functions(tree) == [] and isinstance(identifiers(tree), list)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(" * 200_000, "line"),
        ("(\n" * 200_000, "nesting"),
        ("{\n" * 10_000 + "}\n" * 10_000, "nesting"),
        ("x();\n/* y\n" * 200_000, "nesting"),
        ("x\n=begin\n" * 100_000, "nesting"),
        ("x" * 10_000_000, "size"),
        ("x" * 1_000_000, "line"),
    ],
)
def test_hostile_texts_are_refused_at_once(language, text, reason):
    started = time.perf_counter()
    with pytest.raises(ParseRefused) as error:
        parse(text, language)
    assert error.value.reason == reason and time.perf_counter() - started < 1


_IN_LITTLE_MEMORY = """
import resource, sys, time
from codesage.syntax import ParseRefused, functions, parse
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
language, text = sys.argv[1], eval(sys.argv[2])
for timed in (True, False)[: int(sys.argv[3])]:
    started = time.thread_time()
    try:
        parse(text, language, timed=timed)
    except ParseRefused as error:
        print(error.reason, error)
    assert time.thread_time() - started < 3, time.thread_time() - started
print(*(function.name for function in functions(parse("def f(a):\\n  return a\\n", "python", timed=True))))
"""


@pytest.mark.parametrize(
    ("language", "text", "ways"),  # 1: only with a limit of time for every text
    [
        ("python", r"'/*\n' * 4_000", 2),
        ("python", r"'*\n|\n' * 1_500", 2),
        ("python", r"'*\n|\n' * 100_000", 2),
        ("python", r"'/* x ' * 1_500", 2),
        ("python", r"'/* x ' * 2_000 + '\n'", 2),
        ("python", r"'/*\n' * 4_000 + ' \n' * 1_000", 2),
        ("python", r"'def f(a):\n    return a\n\n\n' * 2_000 + '*\n|\n' * 2_000", 2),
        ("ruby", r"'x\n=\n' * 1_500", 2),
        ("ruby", r"'x\n=\n' * 100_000", 2),
        ("ruby", r"'hello_world\n=\n' * 1_500", 1),
        ("go", r"'*\n|\n' * 50_000", 2),
    ],
)
def test_errors_that_take_quadratic_time_are_refused(language, text, ways):
    child = subprocess.run([sys.executable, "-c", _IN_LITTLE_MEMORY, language, text, str(ways)], capture_output=True, text=True)
    *refused, names = child.stdout.splitlines() or [""]
    assert len(refused) == ways and all(line.startswith("time text takes over ") for line in refused), child
    assert names == "f"  # the next file is parsed afresh


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_large_code_and_prose_are_parsed_in_time(language):
    sample = next(path for path in SAMPLES if language_of(path.name) == language).read_text()
    text = sample * (500_000 // len(sample))
    assert parse(text, language, timed=True).tree.root_node.end_byte == len(text.encode())
    prose = "The quick brown fox (it is brown) jumps over the lazy dog, and then it sleeps.\n" * 500
    assert parse(prose, language, timed=True).has_errors or language == "php"


@pytest.mark.parametrize("language", sorted(LANGUAGES.keys() - {"python", "ruby"}))  # in those a slash is no comment
@pytest.mark.parametrize("text", ["/* y */\n" * 200_000, "x('src/*')\n" * 2_000, "/*\n" * 100_000 + "*/\n", "/* x\n" * 1_500])
def test_comments_that_end_are_parsed(language, text):
    assert takes_less(5, lambda: parse(text, language))


def test_staircase_of_indentation_is_refused():
    text = "".join(" " * level + "if x:\n" for level in range(1200)) + " " * 1200 + "pass\n"
    with pytest.raises(ParseRefused, match="nested"):
        parse(text, "python")


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_deep_but_allowed_nesting_is_walked(language):
    tree = parse("f(" * 900 + ")" * 900, language)
    assert functions(tree) == [] and isinstance(identifiers(tree), list)
    chain = "if (a) { b(); } " + "else if (a) { b(); } " * 900
    assert isinstance(functions(parse("<?php " + chain if language == "php" else chain, language)), list)
