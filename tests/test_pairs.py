"""Docstrings of every convention as plain text, the pair rules, and pairs of examples, comments and tests."""

from collections import Counter

import pytest

from codesage.corpus.pairs import tested
from codesage.corpus.pairs.docblocks import blocks_of, may_hold_code
from codesage.corpus.pairs.english import is_code, is_english
from codesage.corpus.pairs.markup import clean, repair_unicode
from codesage.corpus.pairs.matching import UNMATCHED, match_tests
from codesage.corpus.pairs.passages import examples_in_prose, passages_of
from codesage.corpus.pairs.prose import description, summary
from codesage.corpus.pairs.rules import DROPS, pairs_of, refusal
from codesage.corpus.pairs.sentences import first_sentence
from codesage.corpus.pairs.templates import says_nothing
from codesage.languages import LANGUAGES
from codesage.records import Document
from codesage.syntax import functions, parse
from timing import takes_less

CONVENTIONS = {
    "javadoc": (
        "java",
        """Returns the {@link Node#next() next node} of a {@code List<String>}, if any.
<p>Walks the list <b>once</b>; see <a href="http://x.y/z">the notes</a>.
<ul>
<li>First item
</ul>
<pre>{@code
  Node n = list.next();
  n.visit();
}</pre>

@param key the key to look
    for in the map
@param value the value
@return the previous value,
  or {@code null}
@throws java.io.IOException if the disk fails
@since 1.2
@see Foo
""",
        "Returns the next node of a List<String>, if any",
        "Walks the list once; see the notes. First item. key: the key to look for in the map. "
        "Returns the previous value, or null. Raises IOException if the disk fails.",
    ),
    "jsdoc": (
        "javascript",
        """Maps values over [the list](http://x.y).

@example <caption>Doubling numbers of a list</caption>
const x = map(a);
use(x);
@param {Object.<string, {a: number}>} [options=null] - Options of the run.
@param callback Called for each item.
@returns {Promise<void>} A promise.
@private""",
        "Maps values over the list",
        "options: Options of the run. callback: Called for each item. Returns a promise.",
    ),
    "tsdoc": (
        "typescript",
        "Joins two paths.\n\n@remarks\nSlow for long arrays.\n\n@typeParam T - The kind of path.\n@returns The joined path.",
        "Joins two paths",
        "Slow for long arrays. T: The kind of path. Returns the joined path.",
    ),
    "xml doc": (
        "csharp",
        """<summary>
Parses the <paramref name="text"/> into a <see cref="T:Foo.Bar`1"/>,
never <see langword="null"/>.
</summary>
<remarks><para>Slow.  </para><para>Uses a List&lt;int&gt; inside.</para></remarks>
<param name="text">The text to be read.</param>
<returns>A parsed <c>Bar</c>.</returns>
<exception cref="T:System.ArgumentNullException">text is null</exception>
<example>How to parse: <code>
var x = Parse("a");
Use(x);
</code></example>""",
        "Parses the text into a Bar, never null",
        "Uses a List<int> inside. text: The text to be read. Returns a parsed Bar. Raises ArgumentNullException: text is null.",
    ),
    "kernel-doc": (
        "c",
        """kmalloc_array - allocate memory for an array.
@n: number of elements
@flags: the type of memory to allocate
        (see kmalloc).

The memory is not cleared, so %NULL of &struct foo stays.

Return: pointer to the memory or %NULL
Context: may sleep""",
        "allocate memory for an array",
        "n: number of elements. flags: the type of memory to allocate (see kmalloc). "
        "The memory is not cleared, so NULL of foo stays. Returns pointer to the memory or NULL.",
    ),
    "gtk-doc": (
        "c",
        "g_list_append:\n@list: a pointer to a #GList\n\nAdds a new element to the end of the list.\n\n"
        "Returns: the new start of the #GList",
        "Adds a new element to the end of the list",
        "list: a pointer to a GList. Returns the new start of the GList.",
    ),
    "doxygen": (
        "c",
        "\\brief Opens a \\c FILE for reading.\n\n\\param[in] path The path of the file\n\\return 0 on success\n\n"
        "The file stays open.\n\\code\nopen_file(p);\nclose_file(p);\n\\endcode",
        "Opens a FILE for reading",
        "path: The path of the file. Returns 0 on success. The file stays open.",
    ),
    "PostgreSQL": (
        "c",
        "ExecInitNode\n\n\tRecursively initializes all the nodes\n\tin the plan tree.",
        "Recursively initializes all the nodes in the plan tree",
        "",
    ),
    "godoc": (
        "go",
        "ParseInt interprets a string s in the given base. It uses [strconv.Atoi].\n\nFor example:\n\n"
        '\tx, err := ParseInt("a", 10)\n\tfmt.Println(x)\n\n# Errors\n\nErrors are of type NumError.',
        "ParseInt interprets a string s in the given base",
        "It uses strconv.Atoi. Errors are of type NumError.",
    ),
    "YARD": (
        "ruby",
        "Returns the +name+ of the {Foo::Bar user}. Uses <tt>foo</tt> twice.\n\n  user.name\n  # => 'x'\n\n"
        "@param [String, nil] key the key to fetch\n@param opts [Hash] the options given\n@option opts [String] :a The thing\n"
        "@example Fetching a name\n  u = User.new\n  u.fetch('x')\n@return [Array<String>] the names\n"
        "@raise [KeyError] if the key is gone",
        "Returns the name of the user",
        "Uses foo twice. key: the key to fetch. opts: the options given. a: The thing. Returns the names. "
        "Raises KeyError if the key is gone.",
    ),
    "RDoc": (
        "ruby",
        ":call-seq:\n  foo -> bar\n\nConverts _this_ to a +Bar+ value.\n\n= Heading\n\n"
        "Second paragraph here.\n\n  foo.to_bar\n  x = 1",
        "Converts this to a Bar value",
        "Second paragraph here.",
    ),
    "TomDoc": (
        "ruby",
        "Public: Duplicate some text a number of times.\n\nExamples\n\n  multiplex('Tom', 4)\n\nReturns the duplicated String.",
        "Duplicate some text a number of times",
        "Returns the duplicated String.",
    ),
    "PHPDoc": (
        "php",
        "Get the evaluated view for the given name.\n\n@param  string|null  $view  the name of the view\n@param array $data\n"
        "@return \\App\\View the view made\n@throws \\Foo\\BarException When it fails.",
        "Get the evaluated view for the given name",
        "view: the name of the view. Returns the view made. Raises BarException When it fails.",
    ),
    "reST": (
        "python",
        """Compute the sum of ``a`` and :func:`~foo.b`.

See `the manual <http://a.b>`_ for more.

:param int a: the first number
:param b: the second
    number of all
:type b: int
:returns: the sum
:raises ValueError: if a is bad

.. versionadded:: 1.2
   stuff

Use it like this::

    y = 1
    z = y
""",
        "Compute the sum of a and b",
        "See the manual for more. a: the first number. b: the second number of all. Returns the sum. "
        "Raises ValueError if a is bad.",
    ),
    "Google": (
        "python",
        """Fetches rows from a table.

Args:
    handle: An open table.
    keys (list of str): The key
        of each row.

Returns:
    A dict of rows. Each row is a tuple.

Raises:
    IOError: An error occurred.

Example:
    >>> x = fetch(1)
    >>> print(x)
    1
""",
        "Fetches rows from a table",
        "handle: An open table. keys: The key of each row. Returns a dict of rows. Each row is a tuple. "
        "Raises IOError: An error occurred.",
    ),
    "NumPy": (
        "python",
        """Return evenly spaced numbers.

Parameters
----------
start : array_like
    The starting value.
num : int, optional
    Number of samples. Must be
    non-negative.

Returns
-------
samples : ndarray
    There are num samples.

See Also
--------
arange : Similar.

Notes
-----
Some note here.

Examples
--------
>>> x = linspace(1, 2)
>>> x.sum()
3
""",
        "Return evenly spaced numbers",
        "start: The starting value. num: Number of samples. Must be non-negative. There are num samples. Some note here.",
    ),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_conventions_are_read(convention):
    language, docstring, first, rest = CONVENTIONS[convention]
    assert summary(docstring, language) == first
    assert description(docstring, language).casefold() == rest.casefold()


@pytest.mark.parametrize(
    ("convention", "code"),
    [
        ("javadoc", "Node n = list.next();\nn.visit();"),
        ("jsdoc", "const x = map(a);\nuse(x);"),
        ("xml doc", 'var x = Parse("a");\nUse(x);'),
        ("doxygen", "open_file(p);\nclose_file(p);"),
        ("godoc", 'x, err := ParseInt("a", 10)\nfmt.Println(x)'),
        ("YARD", "u = User.new\nu.fetch('x')"),
        ("RDoc", "foo.to_bar\nx = 1"),
        ("reST", "y = 1\nz = y"),
        ("NumPy", "x = linspace(1, 2)\nx.sum()"),
    ],
)
def test_examples_in_docstrings_are_found(convention, code):
    language, docstring, *_ = CONVENTIONS[convention]
    assert [block.text for block in blocks_of(docstring, language) if block.kind == "code"][-1] == code
    assert may_hold_code(docstring, language)


@pytest.mark.parametrize(
    ("docstring", "language", "may"),
    [
        ("Adds.\n@EXAMPLE\nadd(1);", "java", True),
        ("Adds.\n\\code\nadd(1);\n\\endcode", "c", True),
        ("Adds.\n|[\nadd(1);\n]|", "c", True),
        ("Adds. <PRE>\nadd(1);\n</PRE>", "java", True),
        ("Adds.<p> add(1)", "go", True),  # indented below the paragraph
        ("Adds {@code x} to <em>y</em>.<p>\n@param x a\\b\n@return c", "java", False),
        ("Adds two numbers (a + b).", "python", False),
    ],
)
def test_marks_of_code_are_told_from_other_tags(docstring, language, may):
    assert may_hold_code(docstring, language) == may
    assert may >= any(block.kind == "code" for block in blocks_of(docstring, language))


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        ("Return the sum. More text.", "Return the sum"),
        ("Parse e.g. a header, i.e. one line. Then stop.", "Parse e.g. a header, i.e. one line"),
        ("Uses Python 3.11 or os.path.\n\nMore.", "Uses Python 3.11 or os.path"),
        ("@param x nothing\n", ""),
        ("Opens it.\n:param x: y", "Opens it"),
        ("svd(a, b=True)\n\nSingular value decomposition.", "Singular value decomposition"),
        ('<summary>\nScales <see cref="T:Circle"/> up.\n</summary>\n<param name="x">y</param>', "Scales Circle up"),
        ("See {@link Foo} at https://a.b/c now.", "See Foo at now"),
        ("Use :class:`~a.Foo` and ``bar``.", "Use Foo and bar"),
        ("Donâ€™t stop the <b>job</b>.", "Don’t stop the job"),
        ("Map a List<String> to an &lt;a&gt; tag", "Map a List<String> to an <a> tag"),
        ("Load **all** *rows* of {@link https://x.y a page}.", "Load all rows of a page"),
    ],
)
def test_first_sentence_is_cleaned(docstring, text):
    assert summary(docstring, "python") == text


def test_sentences_and_cleaning_alone():
    assert first_sentence("One. Two.") == "One."
    assert clean("Reads  `x` from\n<code>y</code>.") == "Reads x from y"


ENGLISH = """Return the sum|Initialize self|Computes SHA-1 digest|Die on error|Parse header|Find the café nearest to the user
Creates a naïve Bayes classifier|Set the locale to de|Convert string to int|Open a door to the garden|Handle on close events
Le Cam distance of two distributions|Flush|Returns true if the die is rolled|Gets or sets the name of the person
The en dash is replaced by a hyphen|Do a la carte validation|Escape HTML entities in string|Decode JSON payload
Per connection statistics|Run Dijkstra from source node|Compute eigenvalues|Serialise to XML|Plot bars|Remove and return item
Encrypts data with the DES algorithm|Compute the Schrödinger operator|Define new command|Do not call this directly
Levenshtein distance|Is the par score|Removes des encryption keys|Add node|Fill buffer"""
FOREIGN = """Gibt die Summe der Werte zurück|Liefert den Namen|Setzt den Wert|Prüft, ob die Datei existiert
Erstellt eine neue Instanz|Konstruktor mit Parametern für die Datei|Retourne la valeur|Renvoie le nom de l'utilisateur
Calcule la somme des éléments|Permet de récupérer un fichier|Vérifie si la chaîne est vide|Devuelve el valor
Obtiene los datos del usuario|Crea una nueva lista|Calcula la suma de los elementos|Comprueba si el archivo existe
Retorna o valor do campo|Verifica se o arquivo existe|Obtém os dados do usuário|Cria um novo objeto|Função que calcula a soma
Restituisce il valore del campo|Ritorna la lista degli elementi|Crea una nuova istanza|Verifica se la stringa è vuota
Geeft de waarde terug van het veld|Maakt een nieuwe lijst|Controleert of het bestand bestaat|返回总和|获取用户 name
Возвращает сумму|Получает значение поля|値を返す|합계를 반환합니다
Zwraca sumę elementów|Toplamı döndürür|Returnerar värdet av fältet"""


def test_english_is_distinguished_from_eleven_other_languages():
    english = ENGLISH.replace("\n", "|").split("|")
    foreign = FOREIGN.replace("\n", "|").split("|")
    assert [text for text in english if not is_english(text)] == []
    assert [text for text in foreign if is_english(text)] == []


def test_languages_and_unicode():
    assert not is_english("") and not is_english("123 + 4")
    assert repair_unicode("cafÃ©\x07") == "café"
    assert repair_unicode("a\x00b\u202ec\ufffd") == "abc"


def test_code_is_distinguished_from_prose():
    code = (
        "x = foo(bar);",
        "if (a == b) {",
        "return value;",
        "$this->foo = 1;",
        "print(x, y)",
        "for (int i = 0; i < n; i++)",
        "self.assertEqual(a, b)",
        "foo.bar(1, 2)",
        "var x = 1",
        "a = b + c",
        "public void foo() {",
        "}",
    )
    prose = (
        "Return the value if it is set.",
        "if the user is logged in, show the page",
        "Convert (a, b) to a tuple",
        "print the result to stdout",
        "Use x = 1 when the input is small",
        "Find the max(a, b) value",
        "Return (self <= other) element-wise",
        "Tests WriteRaw32() and WriteRaw64()",
        "new nodes are added at the end",
        "do nothing",
    )
    assert [text for text in code if not is_code(text)] == []
    assert [text for text in prose if is_code(text)] == []


def test_summaries_that_say_nothing():
    nothing = (
        "{@inheritDoc}",
        "Constructor",
        "Default constructor",
        "TODO: write this",
        "@return",
        "Auto-generated method stub",
        "See Foo",
        "See also Foo.bar",
        "Deprecated",
        "Initializes a new instance of the Foo class",
        "Class Foo",
        "Getter for x",
        "(non-Javadoc)",
        "Copyright (c) 2020 Some Firm",
        "Implements Foo.bar",
        "Missing documentation",
        "main method",
        "This file is generated by protoc",
        "Internal use only",
        "Alias for foo",
    )
    something = (
        "See if the file exists",
        "Create a new user",
        "Implements binary search on lists",
        "Add comment to the post",
        "Returns the id generated by the database",
        "Get the value of a cell",
        "Test whether a number is prime",
        "Internal function that opens a file",
        "Class that reads and writes tables",
        "Compare two values",
    )
    assert [text for text in nothing if not says_nothing(text)] == []
    assert [text for text in something if says_nothing(text)] == []


def pairs(source, language="python"):
    drops: Counter = Counter()
    document = Document("a", language, source, "", "pack", "1", "MIT")
    return list(pairs_of(functions(parse(source, language)), document, drops)), drops


def test_pair_rules_count_what_they_drop():
    source = (
        'def good(a):\n    """Add a carry to it."""\n    b = a + 1\n    return b\n'
        'def bare(a):\n    return 1\ndef line(a):\n    """Add a carry to it."""\n    return a\n'
        'def short(a):\n    """Add."""\n    b = a\n    return b\n'
        'def gone(a):\n    """Add a carry to it."""\n    return (a\n            + 1)\n'
        'def tagged(a):\n    """:param a: A number."""\n    b = a\n    return b\n'
        'def empty(a):\n    """TODO: write this down."""\n    b = a\n    return b\n'
        'def vague(a):\n    """Get the agent."""\n    b = a\n    return b\n'
        'def code(a):\n    """foo = bar(a, b);"""\n    b = a\n    return b\n'
        'def german(a):\n    """Gibt die Summe der Werte."""\n    b = a\n    return b\n'
        f'def long(a):\n    """Add {"one and " * 130}it."""\n    b = a\n    return b\n'
        'def stub(a):\n    """Add a carry to it."""\n    raise NotImplementedError(\n        "add")\n'
    )
    (pair,), drops = pairs(source)
    assert (pair.text, pair.bare_body, pair.start_line) == ("Add a carry to it", "b = a + 1", 1)
    assert (pair.package, pair.version, pair.licence, pair.description) == ("pack", "1", "MIT", "")
    assert drops == dict.fromkeys([reason for reason in DROPS if reason != "note in a plain comment"], 1)  # not in Python


def test_classes_are_pairs_of_their_own_kind():
    source = (
        "/**\n * A stack of whole numbers.\n *\n * Grows as needed.\n */\npublic class Stack {\n  private int size;\n\n"
        "  /** {@inheritDoc} */\n  public void push(int n) {\n    size += n;\n    grow();\n  }\n}\n"
    )
    (pair,), drops = pairs(source, "java")
    assert (pair.kind, pair.text, pair.description) == ("class", "A stack of whole numbers", "Grows as needed.")
    assert pair.code.startswith("public class Stack {") and pair.bare_body.startswith("private int size;")
    assert drops == {"says nothing": 1}


COMMENTED = {
    "python": "def f(a):\n    x = 1\n\n    # Drop the rows\n    # without a name\n    for row in a:\n"
    "        row.drop()\n\n    return x\n",
    "java": "class A { void f() {\n    int x = 1;\n\n"
    "    // Drop the rows\n    // without a name\n    for (Row r : a)\n        r.drop();\n}}",
    "javascript": "function f(a) {\n  /* Drop the rows\n   * without a name */\n  for (const row of a)\n"
    "    row.drop();\n\n  return 1;\n}",
    "typescript": "function f(a: A) {\n  // Drop the rows without a name.\n  for (const row of a)\n    row.drop();\n}",
    "csharp": "class A { void F() {\n  // Drop the rows without a name\n  foreach (var r in a)\n    r.Drop();\n}}",
    "c": "int f(void)\n{\n\t/*\n\t * Drop the rows without a name.\n\t */\n\twhile (next())\n\t\tdrop();\n\treturn 1;\n}",
    "ruby": "def f(a)\n  # Drop the rows without a name\n  a.each do |row|\n    row.drop\n  end\nend\n",
    "go": "package p\nfunc f(a A) {\n\t// Drop the rows without a name\n\tfor _, row := range a {\n\t\trow.Drop()\n\t}\n}",
    "php": "<?php function f($a) {\n  # Drop the rows without a name\n  foreach ($a as $row)\n    $row->drop();\n}",
}


def passages(source, language, kind, path="a"):
    return [pair for pair in passages_of(parse(source, language), Document(path, language, source, "")) if pair.kind == kind]


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_comments_above_blocks(language):
    (pair,) = passages(COMMENTED[language], language, "comment")
    assert pair.text == "Drop the rows without a name" and pair.name.split(".")[-1].lower() == "f"
    assert len(pair.code.splitlines()) >= 2 and "drop" in pair.code.lower() and "int x" not in pair.code
    assert COMMENTED[language].splitlines()[pair.start_line - 1].strip(" \t/*#").startswith(("Drop the rows", ""))


@pytest.mark.parametrize(
    "comment",
    [
        "# Too short",
        "# TODO: drop the rows without a name",
        "# x = foo(bar, baz)\n    # y = x.bar()",
        "# noqa: E501 for this one line",
        "# ----------------------",
        "# Copyright of this is held by someone",
        "# Gibt die Summe der Werte zurück",
    ],
)
def test_comments_that_are_not_prose(comment):
    assert passages(f"def f(a):\n    {comment}\n    a.drop()\n    a.move()\n    return a\n", "python", "comment") == []


def test_comments_need_statements_and_must_be_comments():
    assert passages("def f(a):\n    # Drop the rows now\n    a.drop()\n\n    return a\n", "python", "comment") == []
    assert passages("# Drop the rows now\na.drop()\nb.drop()\n", "python", "comment") == []
    inside = 'def f(a):\n    x = """\n    # Drop the rows now\n    a.drop()\n    b.drop()\n    """\n    return x\n'
    assert passages(inside, "python", "comment") == []


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (
            "javascript",
            "function f(a) {{\n  {0}\n  const drop = memoize((rows) => {{\n    rows.drop();\n    rows.end();\n  }});\n}}",
        ),
        ("typescript", "function f(a) {{\n  {0}\n  const drop = (() => {{\n    rows.drop();\n  }}).bind(a);\n}}"),
        ("ruby", "def f(a)\n  {0}\n  private def drop(rows)\n    rows.drop\n    rows.end\n  end\nend"),
        ("ruby", "def f(a)\n  {0}\n  define_method(:drop) do |rows|\n    rows.drop\n    rows.end\n  end\nend"),
        ("c", "int f(void)\n{{\n  {0}\n  struct rows {{\n    int drop;\n    int end;\n  }} x;\n  return drop(x);\n}}"),
        ("csharp", "class A {{ void F() {{\n  {0}\n  [X] int Drop(int r) {{\n    rows.Drop(r);\n    return 1;\n  }}\n}} }}"),
    ],
)
def test_a_comment_on_a_definition_in_a_function_is_no_comment_pair(language, source):
    mark = "#" if language == "ruby" else "//"
    source = source.format(f"{mark} Drop the rows without a name")
    assert passages(source, language, "comment") == []
    assert "Drop the rows without a name" in [function.docstring for function in functions(parse(source, language))]


@pytest.mark.parametrize(
    ("language", "source", "code"),
    [
        (
            "c",
            "int f(void)\n{{\n{0}if (rows)\n  drop(rows);\nend();\nout:\nfree(a);\nreturn 1;\n}}",
            "if (rows)\n  drop(rows);\nend();",
        ),
        ("php", "<?php function f() {{\n{0}if ($rows) {{\ndrop($rows);\n}}\nout:\nend();\n}}", "if ($rows) {\ndrop($rows);\n}"),
        ("go", "package p\nfunc f() {{\n{0}if rows {{\ndrop(rows)\n}}\nout:\nend()\n}}", "if rows {\ndrop(rows)\n}"),
        (
            "go",
            "package p\nfunc f() {{\n{0}rows := a.rows()\nouter:\nfor _, row := range rows {{\ndrop(row)\nbreak outer\n}}\n}}",
            "rows := a.rows()\nouter:\nfor _, row := range rows {\ndrop(row)\nbreak outer\n}",
        ),
        (
            "java",
            "class A {{ void f() {{\n{0}Rows rows = a.rows();\nouter: for (Row r : rows) {{\nr.drop();\n}}\n}} }}",
            "Rows rows = a.rows();\nouter: for (Row r : rows) {\nr.drop();\n}",
        ),
    ],
)
def test_the_target_of_a_goto_ends_the_code_below_a_comment(language, source, code):
    (pair,) = passages(source.format("// Drop the rows without a name\n"), language, "comment")
    assert pair.code == code


@pytest.mark.parametrize(
    ("language", "comment"),
    [
        ("python", "# Drop the rows without a name  # noqa: E501"),
        ("python", "# Drop the rows  # type: ignore\n# without a name # pylint: disable=invalid-name"),
        ("ruby", "# Drop the rows without a name # rubocop:disable Style/Foo"),
        ("javascript", "// Drop the rows without a name // eslint-disable-line no-x"),
        ("javascript", "/**\n * Drop the rows\n * without a name\n * @param {Row} a the row\n * @returns none\n */"),
        ("typescript", "/** Drop the rows without a name\n *\n * @see Row\n */"),
        ("java", "/* Drop the rows without a name\n   @param a the row */"),
        ("c", "/*\n * Drop the rows without a name\n * \\param a the row\n */"),
    ],
)
def test_directives_and_tags_are_no_part_of_the_text(language, comment):
    header, end = {
        "python": ("def f(a):", ""),
        "ruby": ("def f(a)", "end"),
        "java": ("class A { void f() {", "}}"),
        "c": ("void f(void) {", "}"),
    }.get(language, ("function f() {", "}"))
    source = f"{header}\n{comment}\na.drop()\na.rows()".replace("\n", "\n    ") + f"\n{end}"
    source = source if language in ("python", "ruby") else source.replace(")\n", ");\n")
    assert [pair.text for pair in passages(source, language, "comment")] == ["Drop the rows without a name"]


def test_marks_of_sphinx_are_no_text():
    source = "def f(a):\n    #: Drop the rows\n    #: without a name\n    a.drop()\n    a.rows()\n"
    assert [pair.text for pair in passages(source, "python", "comment")] == ["Drop the rows without a name"]


@pytest.mark.parametrize(
    "block",
    [
        "#region Rows\n{rows}#endregion\nStop();\n",
        "{rows}#endregion\nStop();\n",
        "{rows}  # region Rest of it\nStop();\n#endregion\n",
    ],
)
def test_regions_of_csharp_bound_the_code_below_a_comment(block):
    rows = "rows = Sort(rows);\nrows = Unique(rows);\nWrite(rows);\n"
    source = f"class A {{\nvoid F(Rows rows) {{\nOpen();\n// Sort the rows of the table\n{block.format(rows=rows)}}}\n}}\n"
    (pair,) = [p for p in passages_of(parse(source, "csharp"), Document("a.cs", "csharp", source, "")) if p.kind == "comment"]
    assert (pair.text, pair.code) == ("Sort the rows of the table", rows.rstrip())


def test_regions_inside_a_statement_of_csharp_are_no_code():
    source = (
        "class A {\nvoid F(Rows rows) {\nOpen();\n// Sort the rows of the table\nif (rows.Any()) {\n#region Sort\n"
        "Sort(rows);\nSort(rows.First());\n#endregion\n}\n}\n}\n"
    )
    (pair,) = [p for p in passages_of(parse(source, "csharp"), Document("a.cs", "csharp", source, "")) if p.kind == "comment"]
    assert pair.code == "if (rows.Any()) {\nSort(rows);\nSort(rows.First());\n}"


def test_examples_of_docstrings_are_pairs():
    docstring = "Sum things.\n\n    Adding up a whole list of numbers::\n\n        x = f([1])\n        print(x)\n    "
    (pair,) = passages(f'def f(a):\n    """{docstring}"""\n    return a\n', "python", "example")
    assert (pair.text, pair.code, pair.name) == ("Adding up a whole list of numbers", "x = f([1])\nprint(x)", "f")
    source = (
        "package p\n\n// Sorting people by their age.\nfunc ExampleSort() {\n\tp := people()\n\tSort(p)\n\t// Output: x\n}\n"
    )
    (pair,) = passages(source, "go", "example", path="sort_test.go")
    assert pair.text == "Sorting people by their age" and pair.code.startswith("p := people()")
    assert passages("// Prints this tree of nodes:\n//\n//\t a   b (\n//\t ----- )\nfunc f() {\n}\n", "go", "example") == []


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_line_feeds_break_lines(character):
    code = f"a.drop('x{character}y')\nb = '{character}z'"
    source = "def f(a):\n    # Drop the rows without a name\n    " + code.replace("\n", "\n    ") + "\n"
    assert [pair.code for pair in passages(source, "python", "comment")] == [code]
    text = f"{character}\nDrop the rows without a name:\n\n```python\n{code}\n```\n"
    assert [(pair.code, pair.start_line) for pair in examples_in_prose(text, "a.md")] == [(code, 1)]


def test_examples_of_markdown_and_rest():
    text = (
        "# Title\n\nOpen a file and read its lines:\n\n```python\nf = open('x')\nf.read()\n```\n\nInstall the whole thing:\n\n"
        "```sh\npip install x\nrun\n```\n\nRead the file in one go:\n\n```\nlet a = 1\nread(a)\n```\n\n"
        "Example:\n\n```js\na()\nb()\n```\n"
    )
    pairs = list(examples_in_prose(text, "doc/README.md", language="javascript", package="p"))
    assert [(pair.text, pair.language) for pair in pairs] == [
        ("Open a file and read its lines", "python"),
        ("Read the file in one go", "javascript"),
    ]
    assert {pair.kind for pair in pairs} == {"example"} and pairs[0].package == "p"
    text = (
        "Loading the config\n==================\n\nRead the file with a loader::\n\n    $l = new Loader();\n    $l->read();\n\n"
        ".. code-block:: yaml\n\n    a: b\n"
    )
    (pair,) = examples_in_prose(text, "x.rst", language="php")
    assert (pair.text, pair.code) == ("Read the file with a loader", "$l = new Loader();\n$l->read();")
    assert list(examples_in_prose(text, "x.html", language="php")) == []


TESTS = {
    "python": (
        "def test_parse_header_without_colon(self):\n    h = parse_header('a')\n    assert h is None\n",
        "parse header without colon",
    ),
    "java": (
        "class T { @Test public void parseHeaderWithoutColon() {\n  Header h = parse_header(a);\n  check(h);\n} }",
        "parse header without colon",
    ),
    "csharp": (
        "class T { [Fact] public void Parse_Header_Without_Colon() {\n  var h = parse_header(a);\n  Check(h);\n} }",
        "parse header without colon",
    ),
    "go": (
        "package p\nfunc TestParseHeaderWithoutColon(t *testing.T) {\n\th := parse_header(a)\n\tcheck(h)\n}",
        "parse header without colon",
    ),
    "php": (
        "<?php class T { public function testParseHeaderWithoutColon() {\n  $h = parse_header($a);\n  check($h);\n} }",
        "parse header without colon",
    ),
    "c": (
        "static void test_parse_header_without_colon(void)\n{\n\tint h = parse_header(a);\n\tcheck(h);\n}",
        "parse header without colon",
    ),
    "ruby": (
        "describe 'the parser' do\n  it 'parses headers without colon' do\n    h = parse_header('a')\n"
        "    expect(h).to be_nil\n  end\nend\n",
        "the parser parses headers without colon",
    ),
    "javascript": (
        "describe('parser', () => {\n  it('parses headers without colon', async () => {\n    const h = parse_header('a');\n"
        "    expect(h).toBeNull();\n  });\n});\n",
        "parses headers without colon",
    ),
    "typescript": (
        'test("parses headers without colon", function () {\n'
        "  const h: H = parse_header('a');\n  expect(h).toBeNull();\n});\n",
        "parses headers without colon",
    ),
}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_tests_are_matched_with_what_they_test(language):
    source, text = TESTS[language]
    (test,) = tested.tested_of(parse(source, language), Document("t", language, source, ""))
    assert test.text == text and "parse_header" in test.calls
    code = "def parse_header(line):\n    name, colon, value = line.partition(':')\n    print(name)\n"
    code += "    return value if colon else None\n"
    (function,) = functions(parse(code, "python"))
    drops: Counter = Counter()
    (pair,) = match_tests([test], {"parse_header": [(function, "lib")]}, drops)
    assert (pair.kind, pair.text, pair.path, pair.name, pair.code) == ("test", text, "lib", "parse_header", code.rstrip("\n"))
    both = {"parse_header": [(function, "lib"), (function, "other")]}
    assert match_tests([test], both, drops) == [] and drops == {UNMATCHED: 1}  # it is unclear which of the two is called


def test_incidental_calls_are_not_the_tested_function():
    source = "def test_requests_win_over_config(self):\n    c = config()\n    self.run(c)\n"
    (test,) = tested.tested_of(parse(source, "python"), Document("t", "python", source, ""))
    (function,) = functions(parse("def config():\n    a = 1\n    b = 2\n    return a, b\n", "python"))
    assert match_tests([test], {"config": [(function, "lib")]}, Counter()) == []


HOSTILE = [
    "x" * 100_000,
    "word " * 20_000,
    "a." * 50_000,
    "<" * 100_000,
    "<a " * 33_000,
    "<p>" * 33_000,
    "{@link " * 14_000,
    "{" * 100_000,
    "[" * 100_000,
    "[a](" * 25_000,
    "`" * 100_000,
    ":a:`" * 25_000,
    "*a " * 33_000,
    "**a" * 33_000,
    "http://" * 14_000,
    "&lt;" * 25_000,
    "\n" * 100_000,
    " \n" * 50_000,
    "@param " * 14_000,
    "@param x y\n" * 9_000,
    ":param x: y\n" * 8_000,
    "- item\n" * 14_000,
    ">>> x\n" * 16_000,
    "```\n" * 25_000,
    ".. a::\n" * 14_000,
    "Args:\n" * 16_000,
    "a\n---\n" * 16_000,
    "a::\n\n  b\n\n" * 9_000,
    "<summary>" * 11_000,
    '<param name="' * 8_000,
    "<code>" * 16_000,
    "<pre>\n" * 16_000,
    "( " * 50_000,
    "f(" * 50_000,
    "x = " * 25_000,
    "e.g. " * 20_000,
    "\\c " * 33_000,
    "see the " * 12_000,
    "usage " * 16_000,
    "\ud800" * 1_000,
    "é" * 100_000,
    "Ã" * 50_000,
    "a\tb\r\n" * 20_000,
    "@example\n" * 11_000,
    "@" * 100_000,
    "_" * 100_000,
    "a-" * 50_000,
    "a - " * 25_000,
    "name : " * 14_000,
    "{" * 300 + "@code x" + "}" * 300,
    "<!--" * 25_000,
    "://" * 33_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_docstrings_take_linear_time(text):
    def read() -> None:
        for language in ("java", "csharp", "c", "ruby", "python", "go"):
            sentence = summary(text, language)
            refusal(sentence)
            description(text, language)
        is_english(text), is_code(text), says_nothing(text), clean(text), first_sentence(text)
        list(examples_in_prose(text, "a.md", language="python"))
        list(examples_in_prose(text, "a.rst", language="python"))

    assert takes_less(2, read)


@pytest.mark.parametrize(
    ("language", "inner"),
    [
        ("java", "// a b c\n" * 8_000),
        ("java", "/* a b c\n" * 800),
        ("java", "/* a b c */\n" * 8_000),
        ("c", "/*/\n" * 8_000),
        ("javascript", "it('\n" * 900),
        ("javascript", "it('a b c', () => {});\n" * 8_000),
        ("python", "# drop the rows\nx()\ny()\n" * 5_000),
        ("ruby", "it 'a b c' do\n" * 200),
        ("ruby", "=begin\n" * 300),
        ("go", "// indeed we do\n\n" * 8_000),
        ("php", "#[A]\n" * 8_000),
    ],
    ids=range(11),
)
def test_hostile_bodies_take_linear_time(language, inner):
    source = {
        "java": "class A { void f() {\n%s } }",
        "c": "int f() {\n%s }",
        "javascript": "function f() {\n%s }",
        "go": "func f() {\n%s }",
        "python": "def f():\n%s",
        "ruby": "def f\n%s\nend",
        "php": "<?php function f() {\n%s }",
    }[language] % inner
    if language == "python":
        source = source.replace("\n", "\n    ")
    tree = parse(source, language)
    document = Document("a", language, source, "")

    def read() -> None:
        definitions = functions(tree)
        list(passages_of(tree, document, definitions=definitions))
        match_tests(tested.tested_of(tree, document, definitions=definitions), {}, Counter())

    assert takes_less(3, read)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("USB Hub Descriptor", False),
        ("Table 170 - TPMS_SIGNATURE Structure", False),
        ("Hub", False),
        ("A hub of the USB", True),
        ("State of one hub", True),
    ],
)
def test_a_struct_in_c_is_more_than_the_title_of_its_table(text, kept):
    source = f"/* {text} */\nstruct hub {{\n    int ports;\n    int power;\n}};\n"
    document = Document("hub.h", "c", source, "")
    pairs = list(pairs_of(functions(parse(source, "c")), document, Counter()))
    assert bool(pairs) == kept


def test_an_example_of_go_keeps_the_returns_of_its_closures() -> None:
    source = (
        "package sort_test\n\n// Search a list that is sorted in order.\nfunc ExampleSearch() {\n\ta := []int{1, 3, 6}\n"
        "\ti := sort.Search(len(a), func(i int) bool {\n\t\treturn a[i] >= 3\n\t})\n\tfmt.Println(i)\n}\n"
    )
    document = Document("example_test.go", "go", source, "")
    (pair,) = [pair for pair in passages_of(parse(source, "go"), document) if pair.kind == "example"]
    assert pair.code.startswith("a := []int{1, 3, 6}\ni := sort") and "\n    return a[i] >= 3\n})" in pair.code


def test_a_tag_with_a_dot_ends_an_example_of_ruby() -> None:
    docstring = (
        "Produces a rank.\n\n@return [String]\n\n@example\n  rank = Military.rank(1)\n  puts rank.upcase\n\n@faker.version next"
    )
    assert [block.text for block in blocks_of(docstring, "ruby") if block.kind == "code"] == [
        "rank = Military.rank(1)\nputs rank.upcase"
    ]
