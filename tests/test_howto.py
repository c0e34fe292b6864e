"""Titles and tags with the code that does what they name, and code that does the same thing in several languages."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from codesage.corpus.build.keys import write_keys
from codesage.corpus.distinct.verdicts import ALONE, EXCESS, OneMachine, drop_alone, drop_excess
from codesage.corpus.pairs.declarations import only_declares
from codesage.corpus.pairs.howto import Sample, articles_of, is_sample, tagged_of, title_of, without_names, without_preamble
from codesage.corpus.pairs.parallel import File, aligned_key, groups_of, numbered_solutions, pairs_of_group, readme_title
from codesage.corpus.read import read_pairs
from codesage.corpus.sources.recipe import read_recipe
from codesage.corpus.sources.trees import GitRepository
from codesage.corpus.stage import Settings, build
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES, language_of
from codesage.records import PAIR_KINDS, Document
from codesage.syntax import functions, parse
from timing import takes_less


def _document(path: str, text: str) -> Document:
    return Document(path, language_of(path), text, "", "samples")


UPLOAD = '''# Copyright
from google.cloud import storage

# [START storage_upload_file]
from google.cloud import storage


def upload_blob(bucket_name, source):
    """Uploads a file."""
    # [START storage_client]
    client = storage.Client()
    bucket = client.bucket(bucket_name)
    # [END storage_client]
    bucket.blob(source).upload_from_filename(source)
# [END storage_upload_file]
'''


def test_a_tag_names_the_code_between_its_marks() -> None:
    inner, outer = tagged_of(_document("upload.py", UPLOAD))
    assert (outer.text, outer.group, outer.kind, outer.language) == (
        "storage upload file",
        "tag:storage upload file",
        "howto",
        "python",
    )
    assert outer.code.startswith("def upload_blob(bucket_name, source):") and "[START" not in outer.code
    assert outer.bare_body.startswith("def f1(bucket_name, source):")
    assert (inner.text, inner.group) == ("storage client", "")  # two words may name different tasks
    assert inner.code == "client = storage.Client()\nbucket = client.bucket(bucket_name)"
    assert (outer.start_line, inner.start_line) == (5, 11)


@pytest.mark.parametrize(
    ("path", "opening", "closing"),
    [
        ("a.go", "// [START spanner_create_table]", "// [END spanner_create_table]"),
        ("a.rb", "# snippet-start:[spanner.ruby.create_table.main]", "# snippet-end:[spanner.ruby.create_table.main]"),
        ("a.java", "// tag::spanner-create-table[]", "// end::spanner-create-table[]"),
        ("a.cs", "// <snippet_spanner_create_table>", "// </snippet_spanner_create_table>"),
        ("a.php", "/* [START spanner_create_table_php] */", "/* [END spanner_create_table_php] */"),
    ],
)
def test_every_form_of_tag_gives_the_same_group(path: str, opening: str, closing: str) -> None:
    (pair,) = tagged_of(_document(path, f"x();\n{opening}\na = call(1);\nb = call(a);\n{closing}\ny();\n"))
    assert (pair.text, pair.group, pair.code) == (
        "spanner create table",
        "tag:spanner create table",
        "a = call(1);\nb = call(a);",
    )


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("lambda.JavaScript.make_function", "lambda make function"),
        ("python.example_code.lambda.create_function", "lambda create function"),
        ("s3.java2.list_objects.main", "s3 list objects"),
    ],
)
def test_a_tag_keeps_the_words_of_its_task(tag: str, text: str) -> None:
    marks = f"// snippet-start:[{tag}]\na = call(1);\nb = call(a);\n// snippet-end:[{tag}]\n"
    (pair,) = tagged_of(_document("a.js", marks))
    assert pair.text == text


def test_tags_that_never_end_and_thousands_of_tags_are_harmless() -> None:
    assert not list(tagged_of(_document("a.py", "# [START never_ends_here]\nx = f(1)\ny = f(2)\n")))
    assert not list(tagged_of(_document("a.py", "# [END never_began_here]\nx = f(1)\n")))
    many = "".join(f"# [START tag_number_{n}]\n" for n in range(10_000)) + "x = f(1)\ny = f(2)\n"
    many += "".join(f"# [END tag_number_{n}]\n" for n in range(10_000))
    assert len(list(tagged_of(_document("a.py", many)))) <= 50
    row = "# [START one_task_{0}]\nx = f({0})\ny = g(x)\n# [END one_task_{0}]\n"
    assert len(list(tagged_of(_document("a.py", "".join(row.format(n) for n in range(10_000)))))) == 10_000


def test_tags_that_never_end_do_not_hide_those_that_do() -> None:
    text = "".join(f"# [START never_ends_{n}]\n" for n in range(10_000))
    text += "# [START list_all_buckets]\nx = f(1)\ny = g(x)\n# [END list_all_buckets]\n"
    drops = Counter()
    assert [pair.text for pair in tagged_of(_document("a.py", text), drops)] == ["list all buckets"]
    assert drops == {"tag without its other end": 10_000}


def test_each_tag_without_a_pair_is_counted() -> None:
    text = "# [START never_ends_here]\n# [END never_began_here]\n"
    text += "# [START main]\nx = f(1)\ny = g(x)\n# [END main]\n"
    text += "# [START list_all_buckets]\nx = 1\n# [END list_all_buckets]\n"
    text += "# [START delete_all_buckets]\n" + "x = f(1)\n" * 2_000 + "# [END delete_all_buckets]\n"
    text += "# [START twice_begun_here]\n# [START twice_begun_here]\nx = f(1)\ny = g(x)\n# [END twice_begun_here]\n"
    drops = Counter()
    assert [pair.text for pair in tagged_of(_document("a.py", text), drops)] == ["twice begun here"]
    assert drops == {"tag without its other end": 3, "tag that says nothing": 1, "tag around no sample": 2}


def test_each_block_without_a_pair_is_counted() -> None:
    good = "```python\nrows = read(path)\nprint(rows)\n```\n"
    text = f"# Sort a table\n\n{good}\n{good}\n```kotlin\nval x = f(1)\nprint(x)\n```\n\n```output\nx = (1)\n```\n"
    text += (
        "\n```\nsort(table)\n  pick a pivot\n```\n\n```go\nprocedure sort(a)\n  pick a pivot; if a is sorted then stop\n```\n"
    )
    text += "\n```java\nint x = 1;\n```\n"
    drops = Counter()
    assert [pair.language for pair in articles_of(_document("docs/table.md", text), drops)] == ["python"]
    assert drops == {
        "second block in its language": 1,
        "block in another language": 2,
        "block that names no language": 1,
        "block that is not in its language": 1,
        "block that is no sample": 1,
    }
    drops = Counter()
    assert not list(articles_of(_document("README.md", f"# Usage\n\n{good}"), drops))
    assert drops == {"block without a title": 1}


@pytest.mark.parametrize("rule", ["-----", "---", "* * *", "____"])
def test_a_rule_between_parts_of_a_page_is_no_fence(rule: str) -> None:
    code = "```python\nrows = read(path)\nprint(rows)\n```\n"
    text = f"# Work with tables\n\n{rule}\n\nReads rows:\n\n{code}\n{rule}\n\n## Delete all rows of it now\n\n{code}"
    read, deleted = articles_of(_document("docs/table.md", text))
    assert (read.text, deleted.text) == ("table: Work with tables", "Delete all rows of it now")
    (block,) = articles_of(
        _document("docs/table.adoc", "== Delete all rows of it\n\n[source,python]\n----\nx = f(1)\ny = g(x)\n----\n")
    )
    assert block.code == "x = f(1)\ny = g(x)"


ARTICLE = """---
title: "Two integer sum"
---

## Prerequisites

Know hash maps.

## 2. Hash map in one pass

### Intuition

Store each value with its index and look up the complement.

<br>

::tabs-start

```python
class Solution:
    def two_sum(self, nums, target):
        return find(nums, target)
```

```cpp
int main() { return 0; }
```

```java
public class Solution {
    int[] twoSum(int[] nums, int target) { return find(nums, target); }
}
```

::tabs-end

## Run it

```bash
$ python two_sum.py
```

Then it prints the pair:

```
(0, 1)
```
"""


def test_tabs_of_an_article_share_a_group_and_both_texts() -> None:
    python, java = articles_of(_document("articles/two-sum.md", ARTICLE))
    assert python.text == "Two integer sum: Hash map in one pass"
    assert java.text == "Store each value with its index and look up the complement"
    assert python.group == java.group != "" and (python.language, java.language) == ("python", "java")
    assert python.bare_body.startswith("class f1:\n    def f2(self, nums, target):")
    assert python.code.startswith("class Solution:") and python.kind == "howto"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.md", "# Sort a dict by value\n\n```py\nitems = sorted(d.items(), key=second)\nreturn dict(items)\n```\n"),
        (
            "a.rst",
            "Sort a dict by value\n====================\n\n.. code-block:: python\n\n"
            "    items = sorted(d.items(), key=second)\n"
            "    return dict(items)\n",
        ),
        (
            "a.adoc",
            "= Sort a dict by value\n\n[source,python]\n----\nitems = sorted(d.items(), key=second)\n"
            "return dict(items)\n----\n",
        ),
        (
            "a.mdx",
            "---\ntitle: Sort a dict by value\n---\nimport X from 'y'\n\n<Tabs>\n\n```python title=x\n"
            "items = sorted(d.items(), key=second)\nreturn dict(items)\n```\n\n</Tabs>\n",
        ),
        (
            "a.md",
            "# Sort a dict by value\n\n## Example\n\n```python\n>>> items = sorted(d.items(), key=second)\n"
            ">>> return dict(items)\n"
            "{1: 2}\n```\n",
        ),
    ],
)
def test_a_heading_names_the_code_below_it(path: str, text: str) -> None:
    (pair,) = articles_of(_document(path, text))
    assert (pair.text, pair.language, pair.group) == ("Sort a dict by value", "python", "")
    assert pair.code == "items = sorted(d.items(), key=second)\nreturn dict(items)"


@pytest.mark.parametrize(
    "text",
    [
        "# Sort a dict\n\n```\n+----+----+\n| a  | b  |\n```\n",  # output without a language
        "# Sort a dict\n\n```rust\nfn main() { sort(); }\nfn x() {}\n```\n",  # not one of the nine languages
        "# Sort a dict\n\n```python\nx = 1\n```\n",  # one line
        "# Usage\n\n## Example\n\n```python\nx = f(1)\ny = f(2)\n```\n",  # no heading says anything
        "# Sort a dict\n\n```python\n$ pip install x\nx = (1)\n```\n",  # a shell session
        "# Sort a dict\n\nfor each item\n    do it\n",  # pseudo-code without a fence
    ],
)
def test_unsuitable_code_gives_no_pair(text: str) -> None:
    assert not list(articles_of(_document("usage.md", text)))


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ("1. Two Sum", "Two Sum"),
        ("136\\. Single Number", "Single Number"),
        ("Step 3: Create a table", "Create a table"),
        ("toSnakeCase", "to snake case"),
        ("method: Page.click on a link", "Page.click on a link"),
        ("Create the client {#client}", "Create the client"),
        ("Example", ""),
        ("Bug fixes", ""),
        ("Breaking changes", ""),
        ("Fixed bug in the parser", "Fixed bug in the parser"),
        ("Python Java Node.js", ""),
        ("3-way merge sort", "3-way merge sort"),
        ("3 - Merge sort", "Merge sort"),
        ("2-two-sum of numbers", "two-sum of numbers"),
        ("Überblick über alles", ""),
        ("42", ""),
        ("Sort", ""),
    ],
)
def test_titles(stated: str, text: str) -> None:
    assert title_of(stated) == text


@pytest.mark.parametrize(
    ("code", "bare"),
    [
        ("# (c) x\nimport os\nfrom a import (\n    b,\n    c,\n)\n\nx = 1\n", "x = 1"),
        ("/* (c) */\npackage a;\nimport b.C;\n\nclass D {}\n", "class D {}"),
        ("<?php\nrequire 'x.php';\nuse A\\B;\n\nf();\n", "f();"),
        ('package main\n\nimport (\n    "fmt"\n)\n\nfunc main() {}\n', "func main() {}"),
        ("'use strict';\nconst {a} = require('b');\nconst c = require('d');\nimport {\n  e,\n} from 'f';\n\ng();\n", "g();"),
        ("#include <stdio.h>\n\nint main() {}\n", "int main() {}"),
        ("    x = 1\n    y = 2\n", "x = 1\ny = 2"),
    ],
)
def test_imports_and_headers_are_cut_off(code: str, bare: str) -> None:
    assert without_preamble(code) == bare


def test_names_that_code_defines_are_hidden_everywhere() -> None:
    code = "def fib(n):\n    return fib(n - 1) + fibonacci(n)\n\nclass Fib:\n    def __init__(self): self.fib = fib\n"
    assert without_names(code, "python") == (
        "def f1(n):\n    return f1(n - 1) + fibonacci(n)\n\nclass f2:\n    def __init__(self): self.f1 = f1\n"
    )
    assert without_names("x = 1", "python") == "x = 1"
    assert "f1" in without_names("function add($a) { return add($a); }", "php")
    assert not any(is_sample(Sample("python", code, 1)) for code in ("x = 1", "a = (1)\n" * 200))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("python/0001-two-sum.py", "csharp/0001-two-sum.cs"),
        ("sort/Heap Sort/java/HeapSort.java", "sort/heap_sort/c/heap_sort.c"),
        ("sms/send-sms/send-sms.9.x.py", "sms/send-sms/send-sms.10.x.java"),
        ("clients/python/src/user_api.py", "clients/go/pkg/user_api.go"),
        ("aws-py-routes/handler.py", "aws-go-routes/handler.go"),
    ],
)
def test_paths_that_differ_only_in_their_language_are_aligned(one: str, other: str) -> None:
    assert aligned_key(one) == aligned_key(other) != ""


def test_groups_have_two_languages_and_one_file_of_each() -> None:
    def groups(*paths: str) -> list[list[str]]:
        files = [File(path, language_of(path), 0, row) for row, path in enumerate(paths)]
        return [[file.path for file in members] for members in groups_of(files).values()]

    assert groups("python/two-sum.py", "go/two-sum.go", "rust/two-sum.rs") == [["python/two-sum.py", "go/two-sum.go"]]
    assert (
        groups("python/two-sum.py") == groups("a/two-sum.ts", "a/two-sum.js") == groups("python/index.py", "go/index.go") == []
    )
    assert groups("x/send-sms.9.x.py", "x/send-sms.10.x.py", "x/send-sms.6.x.rb") == [
        ["x/send-sms.10.x.py", "x/send-sms.6.x.rb"]
    ]
    assert groups("tests/python/two_sum.py", "tests/go/two_sum.go") == []
    assert groups("euclid/code/java/Gcd.java", "euclid/code/c/euclidean.c") == [
        ["euclid/code/java/Gcd.java", "euclid/code/c/euclidean.c"]
    ]


PYTHON = "def {0}(items):\n    low, high = 0, len(items)\n    return search(items, low, high)\n"
GO = "func {0}(items []int) int {{\n\tlow, high := 0, len(items)\n\treturn search(items, low, high)\n}}\n"


def test_long_files_are_aligned_by_the_names_of_their_functions() -> None:
    filler = "".join(f"def only_python_{n}(a):\n    b = a + {n}\n    c = b * 2\n    return c\n" for n in range(300))
    python = _document(
        "clients/python/user.py",
        PYTHON.format("find_first_user").replace("\n    return", "\n    low += 0\n    return") + filler,
    )
    go = _document("clients/go/user.go", "package user\n\n" + GO.format("FindFirstUser"))
    pairs = list(pairs_of_group("clients/user", [python, go], ""))
    assert [(pair.language, pair.text, pair.kind) for pair in pairs] == [
        ("python", "find first user", "howto"),
        ("go", "find first user", "howto"),
    ]
    assert len({pair.group for pair in pairs}) == 1


def test_other_solutions_in_one_file_form_a_group() -> None:
    text = "".join(
        f"class Solution{n}(object):\n    def run(self, a):\n        b = a + {n or 0}\n        return b * {n or 1}\n"
        for n in ("", 2, 3)
    )
    document = _document("Python/add-two-numbers.py", text)
    pairs = list(numbered_solutions(document, functions(parse(text, "python"))))
    assert [pair.text for pair in pairs] == ["add two numbers"] * 3 and len({pair.group for pair in pairs}) == 1
    one = _document("a.py", "class Solution:\n    def run(self):\n        a = f()\n        return a\n")
    assert not list(numbered_solutions(one, functions(parse(one.text, "python"))))


def test_the_title_of_a_readme() -> None:
    assert readme_title("## Detect a Linux distribution  \nOriginally published: 2009\n") == "Detect a Linux distribution"
    assert readme_title("") == readme_title("# Usage\n") == ""


def _repository(tmp_path, files: dict[str, str]) -> GitRepository:
    root = tmp_path / "samples"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git = ["git", "-C", str(root), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    return GitRepository(str(root), commit, licence="MIT")


def test_a_corpus_finds_parallel_code_and_keeps_to_the_licences_of_folders(tmp_path) -> None:
    body = "\n    for item in items:\n        if item > 3:\n            print(item)\n"
    source = _repository(
        tmp_path,
        {
            "python/binary-search.py": PYTHON.format("binary_search"),
            "go/binary-search.go": "package x\n" + GO.format("BinarySearch"),
            "recipes/one/README.md": "# Print the large items\n",
            "recipes/one/recipe.py": f"def large(items):{body}",
            "recipes/two/README.md": "# Print items of another kind\n",
            "recipes/two/recipe.py": f"def other(items):{body}    return 9\n",
            "recipes/two/LICENSE": "GNU GENERAL PUBLIC LICENSE\nVersion 3\n",
            "ruby/lonely-thing.rb": "# [START never_ends]\ndef lonely(a)\n  b = a + 1\n  puts(b)\nend\n",
            "docs/sort.md": "# Sort all rows\n\n```output\n1\n2\n```\n",
        },
    )
    built = build(Settings(workers=1), [source], tmp_path / "corpus", cache=tmp_path / "cache")
    pairs = [pair for pair in read_pairs(built.path) if pair.kind in ("howto", "parallel")]
    assert {(pair.language, pair.text) for pair in pairs} == {
        ("python", "binary search"),
        ("go", "binary search"),
        ("python", "Print the large items"),
    }
    assert len({pair.group for pair in pairs if pair.text == "binary search"}) == 1
    assert {pair.licence for pair in pairs} == {"MIT"}
    assert built.facts["skipped"]["licence"] == 2  # the README and the code in the folder under the GPL
    dropped = built.facts["dropped"]
    assert (dropped["tag without its other end"], dropped["block in another language"]) == (1, 1)


def _keys(kinds: list[str], groups: list[int], bodies: list[int], languages: list[int]) -> dict[str, np.ndarray]:
    count = len(kinds)
    chance = np.random.default_rng(0)
    wide = lambda values: np.repeat(np.array(values, np.uint64)[:, None], 2, 1)  # noqa: E731
    return {
        "body": wide(bodies),
        "text": wide(range(100, 100 + count)),
        "group": np.array(groups, np.uint64),
        "held": np.zeros(count, bool),
        "signature": chance.integers(0, 2**32, (count, 64), dtype=np.uint32),
        "kind": np.array([list(PAIR_KINDS).index(k) for k in kinds], np.uint8),
        "side": np.array(languages, np.uint8),
    }


def _judged(keys: dict[str, np.ndarray], folder: Path) -> list[np.ndarray]:
    write_keys(folder, keys)
    return OneMachine().pairs([folder], [keys])


def test_groups_of_one_and_groups_of_copies_are_dropped(tmp_path) -> None:
    keys = _keys(["parallel"] * 5 + ["howto"], [1, 1, 2, 3, 3, 4], [1, 2, 3, 4, 4, 6], [0, 1, 0, 2, 2, 0])
    (verdict,) = drop_alone([keys], _judged(keys, tmp_path))
    assert verdict.tolist() == [0, 0, ALONE, ALONE, 1, 0]  # the second copy repeats the first, which is then alone


def test_equal_code_in_two_languages_is_kept(tmp_path) -> None:
    keys = _keys(["parallel"] * 2, [1, 1], [7, 7], [0, 1])
    (verdict,) = drop_alone([keys], _judged(keys, tmp_path))
    assert verdict.tolist() == [0, 0]


def test_a_source_gives_no_more_pairs_of_a_kind_than_its_limit() -> None:
    keys = _keys(["parallel"] * 6 + ["howto"] * 4, [5, 5, 9, 9, 9, 2, 0, 0, 0, 0], range(10), [0] * 10)
    other = _keys(["parallel"] * 3, [7, 7, 5], range(3), [0] * 3)
    before = [np.zeros(10, np.uint8), np.zeros(3, np.uint8)]
    limits = [{"parallel": 4, "howto": 1}, {}]
    first, second = drop_excess([keys, other], before, [0, 1], limits)
    assert first.tolist() == [0, 0, EXCESS, EXCESS, EXCESS, 0, *first[6:]]  # whole groups: of 1, 2 and 3 pairs
    assert sorted(first[6:].tolist()) == [0, EXCESS, EXCESS, EXCESS]  # a pair without a group counts alone
    assert second.tolist() == [0, 0, 0]  # another source has no limit
    assert not before[0].any()
    joined = drop_excess([keys, other], before, [0, 0], limits)  # two units of one source share the limit
    assert [verdict.tolist().count(0) for verdict in joined] == [4, 1]
    keys["held"][:] = True
    assert not drop_excess([keys, other], before, [0, 1], limits)[0].any()  # evaluation keeps all


def test_a_limited_build_keeps_no_piece_alone_in_its_group(tmp_path) -> None:
    codes = {"py": "def f(a):\n    b = a + {0}\n    return b * {0}\n", "rb": "b = a + {0}\nputs(b * {0})\n"}
    for number in range(8):
        for suffix, code in codes.items():
            file = tmp_path / "many" / f"task-{number}x{'abcdefgh'[number] * 4}" / f"solve-it.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code.format(number * 7919))
    git = ["git", "-C", str(tmp_path / "many"), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    kinds = {}
    for limit in ("", "most = { howto = 5 }\n"):
        (tmp_path / "r.toml").write_text(f'[[repository]]\nurl = "many"\ncommit = "{commit}"\n{limit}')
        sources = read_recipe(tmp_path / "r.toml").sources()
        built = build(Settings(workers=1), sources, tmp_path / f"out{len(limit)}", cache=tmp_path / "cache")
        kinds[limit] = built.facts["pairs_by_kind"], built.facts["dropped"].get("more than its source may give", 0)
    (whole, none), (limited, dropped) = kinds.values()
    assert none == 0 and sum(sum(count.values()) for count in whole.values()) > 5
    assert dropped and {language: count["howto"] for language, count in limited.items()} == {"python": 2, "ruby": 2}


@pytest.mark.parametrize(
    ("most", "message"),
    [
        ("{ parallels = 3 }", "most has 'parallels': expected some of"),
        ("{ howto = -1 }", "most has howto = -1: expected a number of pairs"),
        ("{ howto = true }", "most has howto = True: expected a number of pairs"),
        ("3", "most is 3: expected a table"),
    ],
)
def test_wrong_limits_of_a_source_are_refused(tmp_path, most: str, message: str) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[repository]]\nurl = "https://example.org/x"\ncommit = "' + "a" * 40 + f'"\nmost = {most}\n')
    with pytest.raises(CodesageError, match=re.escape(message)):
        read_recipe(recipe)


def test_a_recipe_names_the_licence_of_a_repository(tmp_path) -> None:
    recipe = tmp_path / "r.toml"
    stated = '[[repository]]\nurl = "https://example.org/x"\ncommit = "' + "a" * 40 + '"\n'
    recipe.write_text(stated + 'licence = "Apache-2.0"\ninclude = ["docs/"]\n')
    (source,) = read_recipe(recipe).sources()
    assert (source.licence, source.include) == ("Apache-2.0", ("docs/",))
    recipe.write_text(stated + 'licence = "CC-BY-SA-4.0"\n')
    with pytest.raises(CodesageError, match="is not permissive"):
        read_recipe(recipe)


@pytest.mark.parametrize(
    "name", ["CHANGELOG.md", "docs/Change-Log.rst", "HISTORY.adoc", "release_notes.md", "UPGRADE-5.0.md", "upgrading.rst"]
)
def test_change_logs_are_not_articles(name: str) -> None:
    text = "# Read the rows\n\n```python\nrows = read(path)\nprint(rows)\n```\n"
    assert all(
        list(articles_of(_document(other, text)))
        for other in ("docs/rows.md", "docs/history-api.md", "docs/upgrade_cluster.md")
    )
    assert not list(articles_of(_document(name, text)))


DECLARED = {
    "c": (
        "int open_it(const char *path, int flags);\nvoid close_it(int fd);",
        "#include <x.h>\nchar *name_of(int id); // its name\nunsigned int size(\n  void *p);",
        "const bson_t *\nreply_of (\n   const cursor_t *cursor)\n   BSON_GNUC_WARN_UNUSED_RESULT;",
        "void\nappend (md5_t *pms,\n        uint32_t nbytes) BSON_GNUC_DEPRECATED;",
        "struct _N {\n  int length;\n  double *data;\n};",
        "typedef struct {\n  int (*read)(void *, int);\n} reader_t;\n\ntypedef int (*callback)(int);",
    ),
    "python": ("def f(a, b=None):\n    ...\n\ndef g(x: int) -> str: ...", "async def f(\n    a,\n    b=g(),\n)"),
    "ruby": ("def foo(a, b)\nend\n\ndef bar; end",),
    "go": ("func F(a int) error\nfunc (c *Client) Get(ctx Context, f func(int) error) (int, error)",),
    "java": ("public List<String> names(int most) throws IOException;\nvoid close();",),
    "csharp": ("public static Task<int> ReadAsync(byte[] b, int n);\nint Foo(int a);",),
    "typescript": ("export declare function foo(a: string, b?: number): Promise<void>;\nfunction bar<T>(x: T): T;",),
    "javascript": ("function foo(a, b)", '{\n  "a": 1,\n  "b": [1]\n}'),
    "php": ("function foo($a, array $b = []): int;\npublic function bar();",),
}
DOING = {
    "c": (
        "open_it(path, 0);\nclose_it(fd);",
        "int fd = open_it(path, 0);\nreturn close_it(fd);",
        "struct a x = {1, 2};\nrun(&x);",
        "struct A { int b; };\nint main(void) { return f(); }",
        "struct point origin;\nmove(&origin, 1);",
    ),
    "python": ("def f(a):\n    return a\n", "f(a)\ng(b)", "def f(a): return a + 1\nprint(f(2))"),
    "ruby": ("def foo(a)\n  a + 1\nend\nfoo 1", "foo(1)\nbar(2)"),
    "go": ("func F(a int) error {\n\treturn nil\n}", "go f(x)\ndefer g(x)"),
    "java": ("foo(a);\nbar(b);", "List<String> x = names(3);\nSystem.out.println(x);", "return foo(a);\n"),
    "csharp": ("await foo(a);\nConsole.WriteLine(b);", "var x = Foo(1);\nBar(x);"),
    "typescript": ("const a = foo(b);\nconsole.log(a);", "function f(a: string) {\n  return a;\n}"),
    "javascript": ("await foo(a);\nbar(b);", "foo({\n  a: 1\n});"),
    "php": ("echo foo($a);\nprint bar($b);", "function f($a) {\n  return $a;\n}"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_code_that_only_declares_is_no_sample(language: str) -> None:
    assert [code for code in DECLARED[language] if not only_declares(code, language)] == []
    assert [code for code in DOING[language] if only_declares(code, language)] == []
    assert not any(is_sample(Sample(language, code, 1)) for code in DECLARED[language])


@pytest.mark.parametrize(
    "code", ["a " * 2600, "int f(a);\n" * 600 + "x", "(" * 8000, "struct {" * 800, "a<" * 4000, "int f((a)" * 800]
)
def test_hostile_declarations_take_linear_time(code: str) -> None:
    assert takes_less(0.5, lambda: [only_declares(code, language) for language in LANGUAGES])


def test_a_block_of_rest_ends_where_its_indentation_ends() -> None:
    text = (
        "Reading rows\n============\n\n.. c:function:: int read(void)\n\n   Reads the rows of a file.\n\n"
        "   .. code-block:: c\n\n"
        "      int rows = read ();\n      print (rows);\n\n   **Notes:** ``rows`` may be 0.\n"
    )
    (pair,) = articles_of(_document("docs/rows.rst", text))
    assert pair.code == "int rows = read ();\nprint (rows);"


def test_a_title_does_not_repeat_the_name_of_the_page() -> None:
    text = "# bson_array_as_json()\n\n```c\nx = bson_array_as_json (b, &n);\nputs (x);\n```\n"
    assert [pair.text for pair in articles_of(_document("docs/bson_array_as_json.md", text))] in ([], ["bson array as json"])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("rest/activities/list/get/example-1/example-1.9.x.{}", "activities list get"),
        ("rest/activities/instance-delete/example-1.9.x.{}", "activities instance delete"),
        ("sort/heap-sort.{}", "heap sort"),
        ("rest/events/instance-get-example-phone-number.9.x.{}", "events instance get example phone number"),
        ("rest/events/list-objects.{}", "list objects"),
        ("convolutions/1d/1DConvolution.{}", "1d convolution"),
    ],
)
def test_a_path_that_ends_in_an_action_also_names_its_object(path: str, text: str) -> None:
    code = "rows = client.fetch(1)\nprint(rows)\n"
    members = [_document(path.format(suffix), code) for suffix in ("py", "rb")]
    assert {pair.text for pair in pairs_of_group("k", members, "")} == {text}


def test_code_in_another_language_than_its_fence_names_is_no_sample() -> None:
    page = "# Read rows of a table\n\n```{}\n{}\n```\n"
    foreign = {
        "go": '{{ range .Site.Menus.main }}\n  <a href="{{ .URL }}">{{ .Name }}</a>\n{{ end }}',
        "java": '@Component\nclass Rows {\n  private val name = "a"\n  fun read(): List<Row> = db.query { it.all }\n}',
        "c": "y = make (data);\n\nif the array with the values already exists.\nOtherwise, create a vector by a call of it",
        "python": "%%bigquery\nSELECT name, SUM(number) as count\nFROM `names.current`\nGROUP BY name",
    }
    rules = ('cc_library(\n    name = "a",\n    srcs = ["a.cc"],\n)', 'load("//rules:a.bzl", "a")\n\na(name = "b")')
    assert not any(list(articles_of(_document("docs/rows.md", page.format("python", code)))) for code in rules)
    package = 'setup(\n    name = "a",\n    packages = ["a"],\n)'
    assert list(articles_of(_document("docs/rows.md", page.format("python", package))))
    for language, code in foreign.items():
        assert not list(articles_of(_document("docs/rows.md", page.format(language, code)))), language
    incomplete = {
        "python": "rows = table.read(...)\nfor row in rows:\n    ...\n    print(row)",
        "javascript": "const rows: Row[] = await table.read();\nconsole.log(rows as string[]);",
        "typescript": "const list = () => <ul>{rows.map((row) => <li>{row}</li>)}</ul>;\nrender(list());",
        "java": "List<Row> rows = table.read();\n// ...\nrows.forEach(System.out::println);",
        "php": "$rows = $table->read();\necho $rows[0];",
    }
    for language, code in incomplete.items():
        assert list(articles_of(_document("docs/rows.md", page.format(language, code)))), language


def test_index_is_no_title() -> None:
    (pair,) = articles_of(_document("docs/index.md", "# Easy usage of it\n\n```python\nrows = read(path)\nprint(rows)\n```\n"))
    assert pair.text == "Easy usage of it"


@pytest.mark.parametrize(("folder", "aligned"), [("guides", True), ("playground", False)])
def test_files_of_a_playground_are_not_aligned(folder: str, aligned: bool) -> None:
    paths = [f"{folder}/python/app/insights.py", f"{folder}/ruby/insights.rb"]
    assert (aligned_key(paths[0]) == aligned_key(paths[1].replace("ruby/", "ruby/app/")) != "") == aligned


def test_the_first_heading_of_a_readme_names_a_project() -> None:
    code = "```php\n$a = new Reader('x');\necho $a->read();\n```\n"
    text = f"# Rate Limiter Component\n\n{code}\n## Reading rows\n\n{code}"
    assert [pair.text for pair in articles_of(_document("src/README.md", text))] == ["Rate Limiter Component: Reading rows"]
    assert next(articles_of(_document("docs/rate.md", text))).text == "rate: Rate Limiter Component"
    shown = f"# Rate Limiter Component\n\n## Getting started\n\n{code}"  # no heading says anything beside the first
    assert not list(articles_of(_document("README.md", shown)))
    led = f"# Rate Limiter Component\n\nReads all rows of a table.\n\n{code}"
    assert [pair.text for pair in articles_of(_document("README.md", led))] == ["Reads all rows of a table"]


def test_a_readme_beside_several_groups_names_none_of_them(tmp_path) -> None:
    body = "\n    for item in items:\n        if item > 3:\n            print(item)\n"
    go = "package main\n\nfunc {0}(items []int) {{\n\tfor _, item := range items {{\n\t\tprintln(item)\n\t}}\n}}\n"
    files = {"go/README.md": "# Go code for the tutorials\n"}
    for name, call in (("emit_log", "emit"), ("receive_log", "receive")):
        python = f"def {name}(items):{body}".replace("print", call)
        files |= {f"python/{name}.py": python, f"go/{name}.go": go.format(name).replace("println", call)}
    files |= {"alone/go/README.md": "# Watch the weather\n", "alone/go/sun_rain.go": go.format("sun").replace("3", "4")}
    files |= {"alone/python/sun_rain.py": f"def sun(items):{body}".replace("3", "5")}
    built = build(Settings(workers=1), [_repository(tmp_path, files)], tmp_path / "corpus", cache=tmp_path / "cache")
    texts = {pair.text for pair in read_pairs(built.path) if pair.kind == "howto"}
    assert texts == {"emit log", "receive log", "Watch the weather"}


def test_the_first_line_of_a_paragraph_is_no_title() -> None:
    assert readme_title("The resulting file implements the interface, like\nthe others do.\n") == ""
    assert readme_title("Reading the rows of a table\n===========================\n") == "Reading the rows of a table"
    assert readme_title("Reading the rows of a table\n\nMore.\n") == readme_title("Reading the rows of a table") != ""


def test_macros_of_c_are_no_comments() -> None:
    macro = "#define append(b, key) \\\n   append_utf8 (b, key, strlen (key))\n\nbool\nappend_utf8 (bson_t *b, char *key);"
    assert without_preamble("#include <a.h>\n" + macro) == macro
    assert not is_sample(Sample("c", macro, 1))
    assert is_sample(Sample("c", macro + "\n\nappend (b, key);\nprint (b);", 1))


@pytest.mark.parametrize(
    ("language", "code", "declares"),
    [
        ("typescript", "export interface Change {\n  span: Span; // start\n  read(): { a: string };\n}", True),
        ("typescript", "type Capture =\n  | { kind: 'a'; id: string }\n  | { kind: 'b' };\n\nexport enum Kind { A, B }", True),
        ("typescript", "interface A { b: string }\nconst a: A = { b: f() };", False),
        ("typescript", "type A = string;\nrun<A>(x);", False),
        ("go", 'type ReadConfig struct {\n\tSince time.Time\n\tTail  int `json:"tail"`\n}', True),
        ("go", "type Config interface {\n\tName() string\n}\n\ntype Name = string", True),
        ("go", "type T struct{ A int }\n\nfunc main() {\n\tprintln(T{1}.A)\n}", False),
    ],
)
def test_types_alone_are_declarations(language: str, code: str, declares: bool) -> None:
    assert only_declares(code, language) == declares
    assert is_sample(Sample(language, code, 1)) != declares


def test_a_step_of_a_numbered_list_is_no_title() -> None:
    page = ARTICLE.replace("Store each value", "2. Pop the largest value from the heap.\n\nStore each value")
    assert [pair.text for pair in articles_of(_document("articles/two-sum.md", page))][1].startswith("Store each value")
    page = "# Stack with a largest number\n\n1. Push it.\n2. Pop the largest value from the heap and skip the others.\n\n"
    page += "```python\nx = f(1)\ny = g(x)\n```\n\n```java\nint x = f(1);\nint y = g(x);\n```\n"
    pairs = list(articles_of(_document("articles/max-stack.md", page)))
    assert len(pairs) == 2 and not [pair for pair in pairs if "Pop" in pair.text]
