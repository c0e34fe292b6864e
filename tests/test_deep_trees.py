"""What reads a tree takes time linear in it, also where it is as deep as it is long, and where one statement has all names."""

import pytest

from codesage import syntax
from codesage.corpus.pairs import tested
from codesage.corpus.pairs.comments import comments_of
from codesage.names.evaluated import in_strings
from codesage.names.units import units
from codesage.records import Document
from codesage.search.chunks import chunks
from codesage.syntax.ancestry import Ancestry, Nearest
from codesage.syntax.definitions import scan
from codesage.syntax.name_queries import captures_of_names
from codesage.syntax.tree import MAX_BYTES
from timing import growth

LIMIT = 9  # 4 in linear time, 16 in quadratic time, 64 in cubic time


def lines(pattern, count, joint=""):
    return joint.join(pattern.format(i=i) for i in range(count))


SUM = "javascript", lambda n: "function f(a) { return " + "a + " * n + "a; }"
CHAINS = {
    "sum": SUM,
    "sum of strings": ("python", lambda n: "a = 1\nb = (" + 'a + "a" + eval("a") +\n' * n + "a)\n"),
    "assignments": ("python", lambda n: "class A:\n    " + lines("a{i} = \\\n", n) + "1\n"),
    "arrows": ("javascript", lambda n: "f = " + lines("a{i} => ", n) + lines("a{i}", n, " + ") + ";"),
    "one name of many arrows": ("javascript", lambda n: "f = " + "(a => a) + " * n + "1;"),
    "calls": ("javascript", lambda n: "let a = b" + lines(".then(x{i} => x{i})\n", n) + ";"),
    "else if": ("java", lambda n: "class A { int f(int a) { if (a) { }" + lines(" else if (a) {{ int b{i} = 1; }}", n) + "}}"),
    "record": ("java", lambda n: "record A(" + lines("int a{i}", n, ", ") + ") { A(" + lines("int a{i}", n, ", ") + ") { } }"),
    "calls of eval": ("javascript", lambda n: lines("function f{i}(a) {{ eval(a); }}\nlet b{i}, c{i};\n", 2 * n)),
}  # fmt: skip
DEFINITIONS = {
    "calls": ("javascript", lambda n: "let a = b" + lines(".then(x{i} = () => {{ return 1; }})\n", n) + ";"),
    "keywords": ("javascript", lambda n: "let a = b" + ".then({ delete() { return 1; } })\n" * n + ";"),
    "one statement": ("javascript", lambda n: "let " + lines("a{i} = () => {{ g(); }}", n, ",\n") + ";"),
    "one declaration": ("go", lambda n: "package a\nvar (\n" + lines("a{i} = func() {{ g() }}\n", n) + ")\n"),
    "structs": ("c", lambda n: "int f(int a) { if (a) { }" + " else if (a) { struct { int a; } x; }" * n + "}"),
}
QUERIED = {  # chains and lists of which a query could keep a state open for each part; each defines `last`
    "calls": ("ruby", lambda n: "a = b" + lines("\n.c{i}(:d)", n) + "\n.define_method(:last)\n"),
    "blocks": ("ruby", lambda n: "a = b" + lines("\n.c{i}(:d) {{ |e| e }}", n) + "\n.define_method(:last) { 1 }\n"),
    "patterns": ("ruby", lambda n: "case a\nin b" + lines(" => c{i}", n) + " => last\n  1\nend\n"),
    "matches": ("ruby", lambda n: "a" + lines(" => c{i}", n) + " => last\n"),
    "types": ("java", lambda n: "class A { boolean b = c" + lines(" instanceof D d{i}", n) + " instanceof D last; }"),
    "one specification": (
        "go", lambda n: "package a\nvar " + lines("a{i}, ", n) + "last = " + "func() { g() }, " * n + "func() { g() }\n"
    ),
}  # fmt: skip
COMMENTED = " else if (a) {\n // Close the open file now.\n close(a);\n g(a);\n}"
TESTS = '.then(it("adds some numbers {i}", () => {{ add(1); }}))\n'


def parsed(code, language):
    return syntax.parse(code, language, max_line=MAX_BYTES)


@pytest.mark.parametrize("case", CHAINS)
def test_names_take_time_linear_in_a_deep_tree(case):
    language, make = CHAINS[case]

    def run(size):
        tree = parsed(make(size), language)
        return lambda: in_strings(tree, units(tree))

    assert growth(run, 400) < LIMIT


@pytest.mark.parametrize("case", DEFINITIONS)
def test_definitions_take_time_linear_in_a_deep_tree(case):
    language, make = DEFINITIONS[case]

    def run(size):
        tree = parsed(make(size), language)
        return lambda: syntax.functions(tree)

    assert syntax.functions(parsed(make(300), language))
    assert growth(run, 500) < LIMIT


@pytest.mark.parametrize("case", QUERIED)
def test_queries_take_time_linear_in_a_chain(case):
    language, make = QUERIED[case]

    def names(size):
        tree = parsed(make(size), language)
        return lambda: captures_of_names(tree)

    def definitions(size):
        tree = parsed(make(size), language)
        return lambda: scan(tree)

    tree = parsed(make(9), language)
    assert "last" in {tree.text(node).lstrip(":") for node in captures_of_names(tree)["name"]}
    assert growth(names, 1_000) < LIMIT
    assert growth(definitions, 1_000) < LIMIT


def test_comments_and_tests_take_time_linear_in_a_deep_tree():
    def comments(size):
        tree = parsed("int f(int a) { if (a) { }" + COMMENTED * size + "}", "c")
        functions = syntax.functions(tree)
        return lambda: list(comments_of(tree, functions))

    def tests(size):
        tree = parsed("a" + lines(TESTS, size) + ";", "javascript")
        return lambda: list(tested.tested_of(tree, Document("a.test.js", "javascript", "", ""), definitions=[]))

    assert len(comments(20)()) == 20 and len(tests(20)()) == 20
    assert growth(comments, 600) < LIMIT
    assert growth(tests, 600) < LIMIT


def test_chunks_take_time_linear_in_a_deep_tree():
    language, make = DEFINITIONS["one statement"]
    assert growth(lambda size: lambda: chunks(Document("a.js", language, make(size), "")), 500) < LIMIT


@pytest.mark.parametrize(
    ("code", "language"), [("a = b.c(d, e)[f]\nclass A:\n  g = (h, )\n", "python"), ("a = b => c + d;", "javascript")]
)
def test_parents_are_those_of_tree_sitter(code, language):  # fmt: skip
    tree = parsed(code, language)
    ancestry, nodes = Ancestry(tree), list(tree.nodes())
    for order in (nodes, nodes[::-1], sorted(nodes, key=lambda node: hash(str(node)))):
        for node in order:
            assert ancestry.parent(node) == node.parent and tree.parent(node) == node.parent
            assert tree.at(node.start_byte) == tree.tree.root_node.descendant_for_byte_range(
                node.start_byte, node.start_byte + 1
            )
    leaf = max(nodes, key=lambda node: len(list(ancestry.above(node, 99))))
    above = list(ancestry.above(leaf, 99))
    assert above[-1] == tree.tree.root_node and list(ancestry.above(leaf, 2)) == above[:2]
    nearest = Nearest(ancestry, above[2].type.__eq__)
    for node in [leaf, *above, *nodes]:
        assert nearest.around(node) == next((one for one in ancestry.above(node, 99) if one.type == above[2].type), None)
