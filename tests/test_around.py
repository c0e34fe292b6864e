"""Chunks that only stand around code: which they are, and that code of their file is shown in their place."""

import re
import time

import pytest

from codesage.search.around import asks_for_such, stands_around
from codesage.search.query import search
from codesage.search.ranking import Rules
from test_search import ENCODER, opened

LICENCE = "/*\n * Copyright the authors\n * Licensed under the Apache License\n */\n"


@pytest.mark.parametrize(
    ("text", "around"),
    [
        ("#ifdef CURLVERBOSE", True),
        ("#endif /* IPV6 */\n\n#endif", True),
        ("#if defined(A) || \\\n  defined(B)\n#include <a.h>", True),
        ("#ifdef A\n#define B 1\n#endif", False),
        ("# frozen_string_literal: true\n\nrequire 'logger'\nrequire_relative 'utils'", True),
        ("#!/usr/bin/env python\nimport os", True),
        ("<?php\n\nnamespace A\\B;\n\nuse C\\D;\nuse C\\{E, F};", True),
        ("using System;\nusing Json = Newtonsoft.Json;\n\nnamespace Dapper\n{", True),
        ("import type { A } from './a'\nimport {\n  B,\n  C\n} from './b';", True),
        ("import os, sys\nfrom typing import (\n    Any,\n    Final,\n)", True),
        ('package main\n\nimport (\n\t"fmt"\n\t"os"\n)', True),
        (f"{LICENCE}package org.apache;\n\nimport java.util.List;", True),
        ("// Copyright the authors\n// All rights reserved\n\npackage main", True),
        ("# How prices are rounded\nimport os", False),
        ('"""Prices and how they are rounded."""\n\nimport os', False),
        ("/** Parses the options. */", False),
        ("import os\nLIMIT = 3", False),
        ('import("./a").then(run)', False),
        ("export * from './a'", False),
        ("using (var file = Open(path)) {", False),
        ("important = 1", False),
        ("import os\n" * 1_000, False),  # too long to look at
    ],
)
def test_what_stands_around_code(text, around):
    assert stands_around(text) is around


@pytest.mark.parametrize(
    "text", ["/* " * 1_300, "import (" * 490, "// a\n" * 790 + "x", "import a " * 440 + "=", "#if \\\n" * 660 + "="]
)
def test_no_text_takes_long(text):
    start = time.process_time()
    stands_around(text)
    assert time.process_time() - start < 0.2


FILES = {
    "lib/rounding.py": "import decimal\nfrom prices import rounding, cents, baskets\n\n\n"
    "def nearest(x):\n    # to the nearest of two\n    return x\n\n\n"
    "def cut(x):\n    # cents\n    return int(x)\n",
    "lib/other.py": "import cents\n",
}


@pytest.fixture
def shown(tmp_path):
    """A function that gives (path, first line) of the answers to a query."""
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    index = opened(root, tmp_path)
    index.update(ENCODER)
    return lambda query, **rules: [
        (hit.chunk.path, hit.chunk.start_line, hit.score) for hit in search(index, ENCODER, query, rules=Rules(**rules))
    ]


def test_code_of_the_same_file_takes_the_place_of_what_stands_around_it(shown):
    query = "rounding of cents in baskets"
    before, after = shown(query, around=False), shown(query)
    assert [path for path, *_ in before] == [path for path, *_ in after]
    assert [score for *_, score in before] == [score for *_, score in after]
    assert before[0][:2] == ("lib/rounding.py", 1) and after[0][:2] == ("lib/rounding.py", 10)
    assert ("lib/other.py", 1) in [one[:2] for one in after]  # this file holds nothing else


@pytest.mark.parametrize("query", ["imports of rounding and cents and baskets", '"from prices import rounding"'])
def test_what_is_asked_for_keeps_its_place(shown, query):
    assert shown(query) == shown(query, around=False)
    assert shown(query)[0][:2] == ("lib/rounding.py", 1)


def test_words_that_ask_for_such_lines():
    assert asks_for_such(re.findall(r"\w+", "which license is it")) and not asks_for_such(["rounding", "of", "cents"])
