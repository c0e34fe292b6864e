"""Queries as people type them are brought into the encoder's form, by the same rule in every caller."""

import time

import numpy as np
import pytest

import codesage
from codesage.encoder.queries import query_form, read_query


@pytest.mark.parametrize(
    ("typed", "text", "languages"),
    [
        ("how to reverse a list in python", "Reverse a list", ("python",)),
        ("python reverse a list", "Reverse a list", ("python",)),
        ("Reverse a list?", "Reverse a list", ()),
        ("how do i convert a string to int in C#", "Convert a string to int", ("csharp",)),
        ("how can you sort a map by value in java?", "Sort a map by value", ("java",)),
        ("what is the best way to read a file line by line using golang", "Read a file line by line", ("go",)),
        ("read a file in go", "Read a file", ("go",)),
        ("go to the next line", "Go to the next line", ()),
        ("parse json with node", "Parse json", ("javascript",)),
        ("node of a linked list", "Node of a linked list", ()),
        ("function to check if a number is prime", "Check if a number is prime", ()),
        ("write a function that merges two dicts", "Merges two dicts", ()),
        ("i want to download a file", "Download a file", ()),
        ("how to port python code to golang", "Port python code to golang", ("python", "go")),
        ("parse java.util.Date", "Parse java.util.Date", ()),
        ("compile c++ in c", "Compile c++", ("c",)),
        ("parse files in python scripts", "Parse files", ("python",)),
        ("dead imports in java codebase", "Dead imports codebase", ("java",)),
        ("c# enums versus java enums", "C# enums versus java enums", ("csharp", "java")),
        ("python", "Python", ("python",)),
        ("how to java", "How to java", ("java",)),
        ("", "", ()),
        ("Compute the contrastive loss.", "Compute the contrastive loss", ()),
        ("getUserName", "GetUserName", ()),
    ],
)
def test_a_query_gets_the_form_of_documentation(typed: str, text: str, languages: tuple) -> None:
    assert read_query(typed) == (text, languages)


def test_the_form_of_a_query_full_of_spaces_takes_little_time() -> None:
    started = time.process_time()
    assert read_query("a" + " " * 20_000 + "b in \n  python") == ("A b", ("python",))
    assert time.process_time() - started < 1.0  # when each place in the spaces was tried: 4 s


def test_the_form_is_idempotent() -> None:
    for typed in ("how to reverse a list in python", "python sort dict", "how to how to sort a list", "Read a file"):
        once = query_form(query_form(typed))
        assert query_form(once) == once


def test_encode_brings_texts_to_that_form_and_leaves_code_alone() -> None:
    model = codesage.load()
    typed, plain, shouted = model.encode(["how to reverse a list in python", "Reverse a list", "reverse a list?"], kind="text")
    np.testing.assert_allclose(typed, plain, atol=1e-6)
    np.testing.assert_allclose(shouted, plain, atol=1e-6)
    code = model.encode(["how to reverse a list in python", "Reverse a list"])
    assert not np.allclose(code[0], code[1], atol=1e-3)
