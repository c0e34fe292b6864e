"""Tests with the functions that they test: the choice among several, by the class, module or folder of a test."""

from collections import Counter

import pytest

from codesage.corpus.pairs import tested
from codesage.corpus.pairs.matching import AGAIN, DROPS, UNMATCHED, UNTOLD, match_tests
from codesage.corpus.pairs.tested import module_of, plain
from codesage.records import Document
from codesage.syntax import functions, parse

PARSERS = {  # a file with the function, and one with another function of the same name
    "python": "class {0}:\n    def parse_line(self, text):\n        parts = text.split()\n        log(parts)\n"
    "        return parts\n",
    "java": "class {0} {{ List parseLine(String t) {{\n  List p = split(t);\n  log(p);\n  return p;\n}} }}",
    "csharp": "class {0} {{ List ParseLine(string t) {{\n  var p = Split(t);\n  Log(p);\n  return p;\n}} }}",
    "php": "<?php class {0} {{ function parseLine($t) {{\n  $p = split($t);\n  log($p);\n  return $p;\n}} }}",
    "ruby": "class {0}\n  def parse_line(text)\n    parts = text.split\n    log(parts)\n    parts\n  end\nend\n",
    "javascript": "class {0} {{\n  parseLine(t) {{\n    const p = split(t);\n    log(p);\n    return p;\n  }}\n}}",
    "typescript": "class {0} {{\n  parseLine(t: string) {{\n    const p = split(t);\n    log(p);\n    return p;\n  }}\n}}",
    "go": "package p\nfunc (x *{0}) ParseLine(t string) {{\n\tp := split(t)\n\tlog(p)\n}}",
    "c": "int parse_line(const char *t)\n{{\n\tint p = split(t);\n\tlog_it(p);\n\treturn p;\n}}",
}
TESTS = {
    "python": (
        "class TestReader:\n    def test_parse_line_without_words(self):\n        assert Reader().parse_line('') == []\n",
        "tests/test_all.py",
    ),
    "java": (
        "class ReaderTest { @Test void parseLineWithoutWords() {\n  check(new Reader().parseLine(a));\n} }",
        "test/AllTest.java",
    ),
    "csharp": (
        "class ReaderTests { [Fact] public void ParseLine_Without_Words() {\n  Check(r.ParseLine(a));\n} }",
        "test/AllTests.cs",
    ),
    "php": (
        "<?php class ReaderTest { function testParseLineWithoutWords() {\n  check($r->parseLine($a));\n} }",
        "tests/AllTest.php",
    ),
    "ruby": (
        "describe Lib::Reader do\n  it 'can parse a line without words' do\n    r.parse_line(1)\n  end\nend\n",
        "spec/all_spec.rb",
    ),
    "javascript": (
        "describe('Reader', () => {\n  it('parses a line without words', () => {\n    r.parseLine('');\n  });\n});",
        "all.test.js",
    ),
    "typescript": ("it('parses a line without words', () => {\n  const x: X = r.parseLine('');\n});", "src/reader.spec.ts"),
    "go": ("package p\nfunc TestParseLineWithoutWords(t *testing.T) {\n\tcheck(ParseLine(a))\n}", "lib/all_test.go"),
    "c": ("void test_parse_line_without_words(void)\n{\n\tcheck(parse_line(a));\n\tend();\n}", "test/reader_test.c"),
}
SUFFIXES = {"python": "py", "csharp": "cs", "ruby": "rb", "javascript": "js", "typescript": "ts"}


def definitions(*files):
    """The functions in (source, path, language) files, by name."""
    by_name: dict = {}
    for source, path, language in files:
        for function in functions(parse(source, language)):
            if function.kind == "function":
                by_name.setdefault(function.name, []).append((function, path))
    return by_name


def found_in(source, path, language):
    return list(tested.tested_of(parse(source, language), Document(path, language, source, "")))


@pytest.mark.parametrize("language", sorted(TESTS))
def test_class_module_or_folder_decide_which_function_is_tested(language):
    source, path = TESTS[language]
    end = SUFFIXES.get(language, language)
    right, wrong = (PARSERS[language].format(name) for name in ("Reader", "Writer"))
    functions = definitions((wrong, f"other/writer.{end}", language), (right, f"lib/reader.{end}", language))
    drops: Counter = Counter()
    (pair,) = match_tests(found_in(source, path, language), functions, drops)
    assert (pair.path, pair.kind, drops) == (f"lib/reader.{end}", "test", {})
    assert "without words" in pair.text and "log" in pair.code.lower()
    twice = definitions((wrong, f"a/writer.{end}", language), (wrong, f"b/writer.{end}", language))
    assert match_tests(found_in(source, path, language), twice, drops) == [] and drops == {UNMATCHED: 1}


def test_names_of_tests_give_modules_and_classes():
    named = ("test_foo_bar.py", "foo_bar_test.go", "FooBarTest.java", "foo-bar.spec.ts", "TestFooBar.cs", "foo_bar_spec.rb")
    assert {module_of(f"a/{name}") for name in named} == {"foobar"}
    assert module_of("lib/foo/index.ts") == module_of("foo/__init__.py") == "foo"
    assert plain("FooBarTestCase") == plain("UnitFooBarTests") == "foobar"


WRITER = "class Writer:\n    def {0}(self, text):\n        parts = text.split()\n        log(parts)\n        return parts\n"


@pytest.mark.parametrize(
    ("name", "function", "reason"),
    [
        ("parse_line_without_words", "parse_line", ""),
        ("parse_1", "parse", "none"),  # too few words
        ("basic_parse_works", "parse", UNTOLD),
        ("parse_works_correctly", "parse", UNTOLD),
        ("works_for_all_cases", "works_for_all_cases", UNTOLD),
        ("long_text_is_split", "parse", UNMATCHED),
        ("parse_empty_text", "__init__", UNMATCHED),
        ("long_text_is_split", "_", UNMATCHED),  # a name without words, as in gettext
        ("long_text_is_split", "__", UNMATCHED),
    ],
)
def test_a_tests_name_must_say_something_about_the_function(name, function, reason):
    source = f"class TestWriter:\n    def test_{name}(self):\n        Writer().{function}('')\n"
    drops: Counter = Counter()
    functions = definitions((WRITER.format(function), "lib/writer.py", "python"))
    pairs = match_tests(found_in(source, "tests/test_writer.py", "python"), functions, drops)
    assert (len(pairs), drops) == (int(not reason), {reason: 1} if reason in DROPS else {})


def test_a_function_outside_the_tested_module_must_be_named_in_full():
    """A test's name may contain one word, or most words, of a name that the package defines once, by chance."""
    for called, name, pairs in (
        ("path_graph", "path_graph_of_one_node", 1),
        ("path_graph", "centroid_of_path_and_graph", 0),
        ("select", "select_from_the_other_side", 0),
    ):
        source = f"def test_{name}():\n    g = {called}(3)\n    assert g\n"
        code = f"def {called}(n):\n    g = empty(n)\n    g.add(n)\n    return g\n"
        functions = definitions((code, "lib/classic.py", "python"))
        assert len(match_tests(found_in(source, "tests/test_trees.py", "python"), functions, Counter())) == pairs


@pytest.mark.parametrize(
    ("name", "called", "others", "chosen"),
    [
        ("factor_list_of_rows", ("factor_list_include", "factor_list"), "", "factor_list"),  # all words, not more of them
        ("finish_after_connection_lost", ("connection_lost", "finish"), "", "finish"),  # what is tested, not its circumstance
        ("add_rows_while_size_limit_is_set", ("set_size_limit", "add_rows"), "", "add_rows"),
        ("write_after_commit_keeps_order", ("write", "write_after_commit"), "", "write_after_commit"),
        ("pdf_rows_equal_exp_of_logpdf_rows", ("logpdf_rows", "pdf_rows"), "", "pdf_rows"),  # the first of equal names
        ("feature_state_is_updated", ("remove_feature_state", "update_state"), "", "update_state"),
        ("get_context_of_new_host", ("get_host", "get_context"), "", "get_context"),  # words near each other
        ("get_format_of_mime_type", ("get_mime_type", "get_format"), "", "get_format"),  # words together and in order
        ("border_color_of_one_cell", ("set_border_color", "get_border_color"), "", None),  # which one, is not said
        ("predict_proba_of_one_class", ("predict",), "predict_proba", None),  # the longer name is not of this package
        ("add_lines_predict_proba", ("add_lines",), "predict_proba", "add_lines"),
        ("writer_truncate_keeps_rows", ("writer", "truncate"), "", "truncate"),  # the class stands before the name
    ],
)
def test_the_function_that_the_test_names_best_is_chosen(name, called, others, chosen):
    calls = "".join(f"        Writer().{call}('')\n" for call in (*called, *others.split()))
    source = f"class TestWriter:\n    def test_{name}(self):\n{calls}"
    method = WRITER.partition("\n")[2]
    code = "class Writer:\n" + "".join(method.format(call) for call in called)
    functions = definitions((code, "lib/writer.py", "python"))
    pairs = match_tests(found_in(source, "tests/test_writer.py", "python"), functions, Counter())
    assert [pair.name for pair in pairs] == ([f"Writer.{chosen}"] if chosen else [])


@pytest.mark.parametrize("group", ["Style.loadJson", "#loadJson", "loadJson"])
@pytest.mark.parametrize(
    ("title", "chosen"),
    [
        ("sets the global state of all layers", "loadJson"),
        ("setGlobalState changes all layers", "setGlobalState"),
        ("opens nothing at all", None),  # the title has to name something of the package
    ],
)
def test_a_group_named_after_a_function_says_what_is_tested(group, title, chosen):
    source = (
        f"describe('{group}', () => {{\n  it('{title}', () => {{\n    s.setGlobalState(1);\n    s.loadJson(2);\n  }});\n}});"
    )
    method = "  {0}(t) {{\n    const p = split(t);\n    log(p);\n    return p;\n  }}\n"
    code = f"class Style {{\n{method.format('setGlobalState')}{method.format('loadJson')}}}"
    functions = definitions((code, "lib/style.js", "javascript"))
    pairs = match_tests(found_in(source, "style.test.js", "javascript"), functions, Counter())
    assert [pair.name for pair in pairs] == ([f"Style.{chosen}"] if chosen else [])


def test_plurals_and_versions_of_acronyms_are_words():
    source = "package p\nfunc TestValidateURLsOfIPv6Hosts(t *testing.T) {\n\tcheck(ValidateURLs(a))\n}\n"
    code = "package p\nfunc ValidateURLs(a string) *R {\n\tr := open(a)\n\tlog(r)\n\treturn r\n}\n"
    functions = definitions((code, "p/hosts.go", "go"))
    (pair,) = match_tests(found_in(source, "p/hosts_test.go", "go"), functions, Counter())
    assert (pair.text, pair.name) == ("validate urls of ipv6 hosts", "ValidateURLs")


def test_the_most_informative_of_several_tests_is_kept():
    source = "class TestWriter:\n" + "".join(
        f"    def test_{name}(self):\n        Writer().parse_line('')\n"
        for name in ("parse_line_fails", "parse_line_keeps_words_in_order", "parse_line_without_words")
    )
    drops: Counter = Counter()
    functions = definitions((WRITER.format("parse_line"), "lib/writer.py", "python"))
    (pair,) = match_tests(found_in(source, "tests/test_writer.py", "python"), functions, drops)
    assert pair.text == "parse line keeps words in order" and drops == {AGAIN: 1, UNTOLD: 1}


def test_tests_and_constructors_are_never_the_tested_function():
    source = "class WriterTest { [Test] public void LoadRowsInOrder() {\n  new Writer().LoadRows(a);\n} }"
    code = "class {0} {{ void {1}() {{\n  var p = Split(t);\n  Log(p);\n}} }}"
    for parent, name, pairs in (("Writer", "LoadRows", 1), ("WriterTest", "LoadRows", 0), ("LoadRows", "LoadRows", 0)):
        functions = definitions((code.format(parent, name), "lib/Writer.cs", "csharp"))
        assert len(match_tests(found_in(source, "test/WriterTest.cs", "csharp"), functions, Counter())) == pairs


@pytest.mark.parametrize("language", ["javascript", "typescript", "ruby"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_an_escaped_quote_does_not_end_the_name_of_a_test(language, quote):
    call = "it({0}doesn\\{0}t keep empty lines{0}, () => {{\n  parseLine(a);\n}});\n"
    if language == "ruby":
        call = "it {0}doesn\\{0}t keep empty lines{0} do\n  parse_line(a)\nend\n"
    (test,) = found_in(call.format(quote), "test/reader.x", language)
    assert test.text == f"doesn{quote}t keep empty lines"


@pytest.mark.parametrize(("name", "tested"), [("FileReaderSkipsBlankLines", 0), ("NewFileReaderSkipsBlankLines", 1)])
def test_a_go_constructor_is_tested_only_if_the_name_says_new(name, tested):
    source = f"package p\nfunc Test{name}(t *testing.T) {{\n\tr := NewFileReader(a)\n\tcheck(r)\n}}\n"
    code = "package p\nfunc NewFileReader(a string) *R {\n\tr := open(a)\n\tlog(r)\n\treturn r\n}\n"
    functions = definitions((code, "p/reader.go", "go"))
    assert len(match_tests(found_in(source, "p/reader_test.go", "go"), functions, Counter())) == tested
