"""Lines of code, comments with the statements below them, introductions of examples."""

import pytest

from codesage.corpus.pairs.introductions import introduction
from codesage.corpus.pairs.lines import has_lines
from codesage.corpus.pairs.passages import examples_in_prose, passages_of
from codesage.corpus.pairs.verbs import stated_action
from codesage.languages import LANGUAGES
from codesage.records import Document
from codesage.syntax import parse


def comments(source, language):
    pairs = passages_of(parse(source, language), Document("a", language, source, ""))
    return [(pair.text, pair.code) for pair in pairs if pair.kind == "comment"]


ONE_LINE = {  # each has one line of code, whatever is around it
    "python": ["x = 1", "# two\nx = 1\n", "try:\n    x = 1\nfinally:\n    pass", "x = [\n]"],
    "ruby": [
        "x = 1\nend",
        "begin\n  x = 1\nensure\nend",
        "=begin\nsome words\n=end\nx = 1\n",
        "x do\nend",
    ],
    "java": ["{\n  x = 1;\n}", "{\n  // two\n  x = 1;\n} // end of it", "{\n  /* a\n   b */ x = 1;\n}", "foo(\n);"],
    "javascript": ["x(() => {\n});", "{\n  x = 1;\n};", "{\n  /** a\n   * b */\n  x = 1;\n}"],
    "typescript": ["{\n  x = 1;\n},", "{\n  try {\n    x();\n  } finally {\n  }\n}"],
    "csharp": ["{\n  x = 1;\n}", "{\n  do\n  {\n    x();\n  }\n}"],
    "c": ["{\n\tx = 1;\n}", "x = 1;\n#else\n#endif", "{\n/**/ /* a */\n\tx();\n}"],
    "go": ["{\n\tx = 1\n})", "x = 1\n} else {\n}"],
    "php": ["$x = 1;\nendif;", "# two\n$x = 1;\n// three", "foreach ($a as $b):\nendforeach;"],
}
TWO_LINES = {
    "python": "if x:\n    y()\n",
    "ruby": "x = 1\nfoo(x)\nend",
    "java": "if (x)\n  y();",
    "javascript": "a\n  .b()",
    "typescript": "a();\nb();",
    "csharp": "a = 1; // one\nb = 2;",
    "c": "#include <a.h>\nx();",
    "go": "x := 1\ngo y()",
    "php": "#[A]\nf();",
}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_lines_of_code_are_counted_equally_in_all_languages(language):
    for code in ONE_LINE[language]:
        assert has_lines(code, 1, language) and not has_lines(code, 2, language), code
    assert has_lines(TWO_LINES[language], 2, language) and not has_lines(TWO_LINES[language], 3, language)


@pytest.mark.parametrize("code", ["", "\n \n", "}\n});\n]", "end\nend", "# a\n# b", "else\nbegin\nrescue"])
def test_brackets_block_keywords_and_comments_are_not_lines_of_code(code):
    assert not has_lines(code, 1, "ruby")


# In each language: a comment at the start of a block, one in a branch before another branch, and one before another comment.
BLOCKS = {
    "python": (
        "def f(a):\n    if a:\n        # Drop the old rows\n        x = drop(\n            a)\n        y(x)\n"
        "    else:\n        z()\n"
        "    # Count the new rows\n    count(a)\n    for b in a:\n        # why\n        count(b)\n\n    done()\n",
        ["x = drop(\n    a)\ny(x)", "count(a)\nfor b in a:\n    # why\n    count(b)"],
    ),
    "java": (
        "class A { void f() {\n  switch (a) {\n    case 1:\n      // Drop the old rows\n      drop(a,\n"
        "          b);\n      break;\n"
        "    default:\n      z();\n  }\n  // Count the new rows\n  count(a); // one\n  count(b);\n"
        "  // Say it is done\n  done();\n} }",
        ["drop(a,\n    b);\nbreak;", "count(a); // one\ncount(b);"],
    ),
    "javascript": (
        "function f() {\n  run({ a: 1 }, () => {\n    // Drop the old rows\n    drop({\n      b: 2,\n    });\n    y();\n  });\n"
        "  // Count the new rows\n  count(a)\n  if (b) {\n    count(b)\n\n    c()\n  }\n}",
        ["drop({\n  b: 2,\n});\ny();", "count(a)\nif (b) {\n  count(b)\n\n  c()\n}"],
    ),
    "typescript": (
        "function f(a: A) {\n  try {\n    // Drop the old rows\n    const x: X = drop(\n      a,\n    );\n"
        "    y(x);\n  } catch {\n    z();\n  }\n"
        "  // Count the new rows\n  count(a);\n  count<B>(b);\n}",
        ["const x: X = drop(\n  a,\n);\ny(x);", "count(a);\ncount<B>(b);"],
    ),
    "csharp": (
        "class A { void F() {\n  switch (a) {\n    case 1:\n      // Drop the old rows\n      Drop(a,\n"
        "        b);\n      break;\n"
        "    default: Z(); break;\n  }\n  // Count the new rows\n  using (a)\n  {\n    Count(a);\n  }\n  Count(b);\n} }",
        ["Drop(a,\n  b);\nbreak;", "using (a)\n{\n  Count(a);\n}\nCount(b);"],
    ),
    "c": (
        "void f(void)\n{\n#ifdef A\n\t/* Drop the old rows */\n\tdrop(a,\n\t\tb);\n\ty();\n#else\n\tz();\n#endif\n"
        "\t// Count the new rows\n\tdo {\n\t\tcount(a);\n\t} while (a);\n\tcount(b);\n}",
        ["drop(a,\n    b);\ny();", "do {\n    count(a);\n} while (a);\ncount(b);"],
    ),
    "ruby": (
        "def f(a)\n  a.each do |b|\n    # Drop the old rows\n    drop(b,\n         c)\n    y\n  end\n"
        "  # Count the new rows\n  count a\n  log <<~TEXT\n    a: b\n  TEXT\nrescue A\n  z\nend\n",
        ["drop(b,\n     c)\ny", "count a\nlog <<~TEXT\n  a: b\nTEXT"],
    ),
    "go": (
        "package p\nfunc f() {\n\tswitch a {\n\tcase 1:\n\t\t// Drop the old rows\n\t\tdrop(a,\n\t\t\tb)\n"
        "\t\ty()\n\tdefault:\n\t\tz()\n\t}\n"
        "\t// Count the new rows\n\tgo func() {\n\t\tcount(a)\n\t}()\n\tcount(b)\n}",
        ["drop(a,\n    b)\ny()", "go func() {\n    count(a)\n}()\ncount(b)"],
    ),
    "php": (
        "<?php function f() {\n  if ($a):\n    // Drop the old rows\n    drop($a,\n      $b);\n    y();\n"
        "  else:\n    z();\n  endif;\n"
        "  # Count the new rows\n  foreach ($a as $b) {\n    count($b);\n  }\n  count($a);\n}",
        ["drop($a,\n  $b);\ny();", "foreach ($a as $b) {\n  count($b);\n}\ncount($a);"],
    ),
}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_the_code_below_a_comment_is_whole_statements(language):
    source, codes = BLOCKS[language]
    pairs = comments(source, language)
    assert pairs == [("Drop the old rows", codes[0]), ("Count the new rows", codes[1])]
    for _, code in pairs:
        assert all(code.count(opening) == code.count(closing) for opening, closing in ("()", "{}", "[]"))


def test_a_label_and_its_statements_are_one_piece_of_code():
    source = (
        "int f() {\n  switch (a) {\n  // Skip the blank lines\n  case 1:\n    skip();\n    break;\n  case 2:\n    z();\n  }\n}"
    )
    assert comments(source, "c") == [("Skip the blank lines", "case 1:\n  skip();\n  break;")]


DEFINITIONS = {
    "python": [
        "def g():\n        x()\n        y()",
        "class G:\n        x = 1\n        y = 2",
        "@d\n    def g():\n        x()\n        y()",
        "g = lambda: (\n        x)",
    ],
    "javascript": [
        "const g = () => {\n    x();\n  };",
        "this.g = function () {\n    x();\n  };",
        "return function () {\n    x();\n  };",
        "function g() {\n    x();\n  }",
        "class G {\n    x() {}\n  }",
        "it('works', () => {\n    x();\n  });",
        "exports.g = class {\n    x() {}\n  };",
        "describe.only('g', function () {\n    x();\n  });",
    ],
    "typescript": ["interface G {\n    x: number;\n  }", "type G = {\n    x: number;\n  };", "enum G {\n    A,\n    B,\n  }"],
    "java": ["class G {\n    int x;\n  }", "Runnable g = () -> {\n    x();\n  };"],
    "csharp": ["void G() {\n    X();\n  }", "Action g = () => {\n    X();\n  };", "var g = delegate () {\n    X();\n  };"],
    "go": ["g := func() {\n    x()\n  }", "type g struct {\n    x int\n  }", "const (\n    a = 1\n    b = 2\n  )"],
    "php": ["$g = function () {\n    x();\n  };", "function g() {\n    x();\n  }"],
    "ruby": ["def g\n    x\n    y\n  end", "class << self\n    x\n    y\n  end"],
    "c": ["struct g {\n    int x;\n    int y;\n  };", "#define G(x) \\\n    y(x); \\\n    z(x)\n"],
}
AROUND = {
    "python": "def f():\n    %s\n    %s\n",
    "ruby": "def f\n  %s\n  %s\nend\n",
    "go": "package p\nfunc f() {\n  %s\n  %s\n}\n",
    "php": "<?php function f() {\n  %s\n  %s\n}\n",
    "java": "class A { void f() {\n  %s\n  %s\n} }",
    "c": "void f() {\n  %s\n  %s\n}\n",
    "csharp": "class A { void F() {\n  %s\n  %s\n} }",
}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_comments_that_document_definitions_give_no_pairs(language):
    mark = "#" if language in ("python", "ruby") else "//"
    for definition in DEFINITIONS[language]:
        around = AROUND.get(language, "function f() {\n  %s\n  %s\n}\n")
        assert comments(around % (f"{mark} Drop all of the rows", definition), language) == [], definition


def test_comments_on_members_arguments_and_elements_give_no_pairs():
    for inner in (
        "run({\n    // Drop all of the rows\n    a: 1,\n    b: 2,\n  });",
        "run({\n    // Drop all of the rows\n    a() {\n      x();\n    },\n  });",
        "run([\n    // Drop all of the rows\n    a,\n    b,\n  ]);",
        "run(\n    // Drop all of the rows\n    a,\n    b,\n  );",
        "if (a) {\n    x();\n  // Drop all of the rows\n  } else {\n    y();\n  }",
    ):
        assert comments(f"function f() {{\n  {inner}\n}}\n", "javascript") == []
    enum = "class A { void f() {}\n enum E {\n  // Drop all of the rows\n  A,\n  B\n } }"
    assert comments(enum, "java") == []


ACTIONS = {
    "Drop the rows that have no name": "Drop the rows that have no name",
    "Drops the rows. They may be many.": "Drops the rows.",
    "Dropping the old rows": "Dropping the old rows",
    "Copies every row": "Copies every row",
    "Now drop the rows": "drop the rows",
    "Step 2: read the header": "read the header",
    "1. Read the header": "Read the header",
    "We need to check the size first": "check the size first",
    "First, we sort the rows by name": "sort the rows by name",
    "Check that no row is left": "Check that no row is left",
    "Return the rows that are new, otherwise all of them": "Return the rows that are new, otherwise all of them",
    "Recursively walk the tree": "Recursively walk the tree",
    "If the list is empty, return nothing": "If the list is empty, return nothing",
    "Cache the result of the query": "Cache the result of the query",
    "Set foo.bar to its default": "Set foo.bar to its default",
}
NO_ACTIONS = (
    "Cache size of the table",  # a noun
    "Set of all nodes",
    "The caller may not know the name",  # a reason
    "This should never happen here",
    "It is too late to stop",
    "We are behind the first bucket",
    "Do not use the name here",
    "Find out why this fails?",
    "Use the old name, see above",
    "Work around a bug in the parser",
    "Add this for now as a hack",
    "Drop it, see issue #123",
    "Sort them when the list is ready ----------",
    "helpers",
    "03-Feb-2017, tatu: Copy the rows",
    "If the name is missing",  # no action follows
    "Cache the rows for later",  # about other code
    "Sort the rows because the caller reads them",
    "Keep the rows since they may be needed",
    "Skip the rows, as they were read",
    "Read the rows so we know their names",
    "Rows should be sorted by name",
    "Update has failed on a row",  # a sentence whose first word is a noun
    "Rounding errors can cause gaps",
    "Find your name in the list of rows",  # addresses the reader
    "Remove this from the list of rows",  # the object is named elsewhere
    "Skip it and read the next row",
    "Do the same for the rest of the rows",
    "Read the rows again",
    "Move the children of the row under",
    "Process the result",  # fits any code
    "Get the current value",
    "Group the rows by name That way readers find them",  # two sentences
    "Set the size - the header has it",
)


@pytest.mark.parametrize(
    ("comment", "text"),
    [
        ("Read all rows of the file\nRename the first one", "Read all rows of the file"),
        ("Read all rows of the file\nDo not sort them", "Read all rows of the file"),
        ("Read all rows of the\nGerman file", "Read all rows of the German file"),
        ("Read all rows of the file that was\nopened by the caller", "Read all rows of the file that was opened by the caller"),
        ("Read all rows of the file\neslint-disable-next-line no-fallthrough", "Read all rows of the file"),
        ("Apply the rules to all rows", "Apply the rules to all rows"),
        ("Gets or sets the rows of the file", None),
    ],
)
def test_a_line_break_in_a_comment_may_end_its_sentence(comment, text):
    lines = "".join(f"  // {line}\n" for line in comment.splitlines())
    source = f"function f(file) {{\n  start();\n\n{lines}  const rows = file.read(rules);\n  rows.apply(rules);\n}}\n"
    tree = parse(source, "javascript")
    texts = [pair.text for pair in passages_of(tree, Document("a.js", "javascript", source, "")) if pair.kind == "comment"]
    assert texts == ([text] if text else [])


def test_comments_say_what_the_code_does():
    assert {text: stated_action(text) for text in ACTIONS} == ACTIONS
    assert [text for text in NO_ACTIONS if stated_action(text)] == []


@pytest.mark.parametrize(
    ("paragraph", "text"),
    [
        ("Read the file in one go. For example:", "Read the file in one go"),
        ("Example: reading a file in one go", "reading a file in one go"),
        ("Add up the numbers, e.g.", "Add up the numbers"),
        ("To read the file, write it like this:", "To read the file"),
        ("To read the file, call `read_all`:", "To read the file, call read_all"),
        ("The following example shows how to read a file in one go:", "Read a file in one go"),
        ("This example demonstrates the use of a reader of rows.", "A reader of rows"),
        ("Example demonstrates the use of the trace package to trace a run.", "Use the trace package to trace a run"),
        ("The following code shows usage of a reader to read all rows.", "Use a reader to read all rows"),
        ("You can then read the rows by name:", "Read the rows by name"),
        ("Files are large. Finally, let's read the file in one go:", "Read the file in one go"),
        ("A reader that returns the rows by name", "A reader that returns the rows by name"),
        ("Given a file, returns its rows by name", "Given a file, returns its rows by name"),
        ("As we saw above, rows are read by name", None),
        ("Note that rows are read by name", None),
        ("Rows must be sorted by name before the call", None),
        ("Numbers are added up, e.g.", None),
        ("This is equivalent to the reader of rows", None),
        ("or, for the special case of a sorted file", None),
        ("In this context, the reader returns sorted rows", None),
        ("The reader preserves the order of the rows", None),
        ("Here's the Java implementation of rows", None),
        ("Let's look at the reader of rows", None),
        ("Reading the file will look something like", None),
        ("[!IMPORTANT] Read the file in one go", None),
        ("tabs-start", None),
        ("snip:# (rows-2)", None),
        ("e.g.", ""),
        ("You can use it like so:", ""),
        ("Here is another simple example of the code below:", ""),
        ("The output is:", None),
        ("The function has the following prototype", None),
        ("Reads a file. This is the wrong way:", None),
        ("AllowComments: false", None),
    ],
)
def test_paragraphs_introduce_examples(paragraph, text):
    assert introduction(paragraph, "python") == text


def test_lists_of_changes_imports_and_declarations_give_no_examples():
    read = "Open the file and read it:\n\n```%s\n%s\n```\n"
    code = read % ("python", "f = open('x')\nf.read()")
    assert len(list(examples_in_prose(code, "doc/guide.md"))) == 1
    for path in ("CHANGELOG.md", "doc/Upgrading.md", "NEWS.rst", "migration-guide.md", "docs/release-notes.md"):
        assert list(examples_in_prose(code, path)) == []
    assert list(examples_in_prose(read % ("python", "import os\nfrom a import (b)"), "guide.md")) == []
    assert list(examples_in_prose(read % ("c", "int open_it(char *name,\n            int mode);"), "guide.md")) == []
    assert len(list(examples_in_prose(read % ("c", "FILE *f;\nf = open_it(name, 1);"), "guide.md"))) == 1


CHECKS = {  # code that checks or iterates, and code that only prepares for it
    "python": (
        "if not rows:\n        raise E(rows)\n    for row in rows:\n        row.x()",
        "path = join(rows, a)\n    name = open(path)",
    ),
    "ruby": (
        "raise E if rows.empty?\n    rows.each do |row|\n      row.x\n    end",
        "path = join(rows, a)\n    name = open(path)",
    ),
    "go": (
        "if len(rows) == 0 {\n    panic(rows)\n  }\n  for _, row := range rows {\n    x(row)\n  }",
        "path := join(rows, a)\n  name := open(path)",
    ),
    "php": (
        "if (!$rows) {\n    throw $e;\n  }\n  foreach ($rows as $row) {\n    x($row);\n  }",
        "$path = join($rows, $a);\n  $name = open($path);",
    ),
    "java": (
        "if (rows == null) {\n    throw e;\n  }\n  for (Row row : rows) {\n    x(row);\n  }",
        "String path = join(rows, a);\n  File name = open(path);",
    ),
    "csharp": (
        "if (rows == null) {\n    throw e;\n  }\n  foreach (var row in rows) {\n    X(row);\n  }",
        "var path = Join(rows, a);\n  var name = Open(path);",
    ),
    "c": (
        "if (!rows) {\n    fail(rows);\n  }\n  for (i = 0; i < n; i++) {\n    x(rows[i]);\n  }",
        "path = join(rows, a);\n  name = open(path);",
    ),
    "javascript": (
        "if (!rows) {\n    throw e;\n  }\n  for (const row of rows) {\n    x(row);\n  }",
        "const path = join(rows, a);\n  const name = open(path);",
    ),
    "typescript": (
        "if (!rows) {\n    throw e;\n  }\n  for (const row of rows) {\n    x(row);\n  }",
        "const path: P = join(rows, a);\n  const name = open(path);",
    ),
}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize(
    "text", ["Check the rows", "Make sure the rows are sorted", "If the rows are empty, drop the header", "Go through the rows"]
)
def test_the_code_below_a_comment_has_a_sign_of_what_the_comment_says(language, text):
    mark = "#" if language in ("python", "ruby") else "//"
    around = AROUND.get(language, "function f() {\n  %s\n  %s\n}\n")
    does, prepares = CHECKS[language]
    assert [comment for comment, _ in comments(around % (f"{mark} {text}", does), language)] == [text]
    assert comments(around % (f"{mark} {text}", prepares), language) == []


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Count the rows", "x = 1;\n  y = 2;"),  # only sets values
        ("Release the sockets", "x = first(a, b);\n  y = second(x);"),  # the code has none of its words
        ("Delete the rows", "rows = first(a);\n  name = second(rows);"),
        ("Print the rows", "rows = first(a);\n  name = second(rows);"),
        ("Send the rows", "rows = first(a);\n  name = second(rows);"),
        ("Sort the rows", "\n  ".join(f"rows.x{number}();" for number in range(9))),  # the code does much more
    ],
)
def test_code_that_only_prepares_or_does_more_gives_no_pair(language, text, code):
    mark = "#" if language in ("python", "ruby") else "//"
    if language in ("python", "ruby"):
        code = code.replace(";", "").replace("\n  ", "\n    " if language == "python" else "\n  ")
    if language == "php":
        code = code.replace("rows.", "$rows->")
    around = AROUND.get(language, "function f() {\n  %s\n  %s\n}\n")
    assert comments(around % (f"{mark} {text}", code), language) == []


def test_partial_wrong_and_declaring_examples_give_no_pairs():
    read = "Open the file and read its rows:\n\n```%s\n%s\n```\n"
    for fence, code in (
        ("python", "f = open('x')\n...\nf.read()"),
        ("ruby", "# bad\nf = open('x')\n\n# good\nf.read(x)"),
        ("js", "// good\nconst f = open('x');\nf.read();"),
        ("python", "{\n    'rows': 1,\n    'name': 2,\n}"),
        ("ts", "interface Rows {\n  read(name: string): void;\n  close(): void;\n}"),
        ("go", "type Rows interface {\n  Read(name string)\n  Close()\n}"),
        ("c", "service Rows {\n  rpc Read (Request) returns (Reply) {}\n  rpc Close (A) returns (B) {}\n}"),
        ("php", "$config = [\n  'rows' => 1,\n  'name' => 2,\n];"),
    ):
        assert list(examples_in_prose(read % (fence, code), "guide.md")) == [], code


def test_prompts_and_output_of_a_session_are_not_code():
    text = "Open the file and read its rows:\n\n```python\n>>> f = open('x')\n>>> f.read(\n...     1)\n'a'\n```\n"
    assert [pair.code for pair in examples_in_prose(text, "guide.md")] == ["f = open('x')\nf.read(\n    1)"]


def test_text_above_a_list_introduces_the_code_below_it():
    steps = "Read the rows of a file by name.\n\n%s\n```python\nf = open('x')\nf.read()\n```\n"
    for items, text in (
        ("- Use `open` for the file.\n- Call `read` on the file.\n", "Read the rows of a file by name"),
        ("1. Call `read` on the open file:\n", "Call read on the open file"),
    ):
        assert [pair.text for pair in examples_in_prose(steps % items, "guide.md")] == [text]


def test_a_comment_about_opening_does_not_describe_later_use():
    uses = "\n".join(f"    client.send{number}(a);" for number in range(6))
    body = "// Initialize the client\n  try (Client client = Client.create()) {\n%s\n  }"
    assert comments("class A { void f() {\n  " + body % uses + "\n} }", "java") == []
    assert len(comments("class A { void f() {\n  " + body % "    client.send(a);" + "\n} }", "java")) == 1
