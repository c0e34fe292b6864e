"""Texts of functions that are true and too vague to find the code by give no pair; short and particular ones do."""

from collections import Counter

import pytest

from codesage.corpus.pairs.rules import DROPS, pairs_of
from codesage.corpus.pairs.vague import is_vague
from codesage.records import Document
from codesage.syntax import functions, parse

STAY = """\
Escape HTML entities
Compute the SHA-256 digest
Compute the median
Parse a URL
Read a CSV file
Delete a hash table
Merge two sorted lists
Invert a binary tree
Send an email
Mute a finding
URL-encode a string
Flush the socket
Restore focus after the blur event
Serve the connection given by DATA
The Hurwitz zeta function
Gauss-Hermite quadrature
Vandermonde matrix of given degree
Convenience wrapper around np.isclose
Key down handler for the menu
Returns symplectic transformation matrix
Returns the values of the keys in the given order
Set all values of this object to the current state of the data"""
GO = """\
Get the agent
Gets the agents
Handle the event
Add two numbers
Create the new exception
Perform Password check
Sets the session context
Update the already existing object
Validate the configuration data
Add data to a document
Returns internal job id
Return true on usable data
The name of this container
Factory method for chainability
Handler for the Namespace attribute
Handler for the blur event
short form print"""
SOURCES = {
    "python": 'def f(x):\n    """{}."""\n    y = x + 1\n    return save(y)\n',
    "java": "class A {{\n/** {}. */\nint f(int x) {{\n  int y = x + 1;\n  return save(y);\n}}\n}}\n",
    "javascript": "/** {}. */\nfunction f(x) {{\n  const y = x + 1;\n  return save(y);\n}}\n",
    "typescript": "/** {}. */\nfunction f(x: number) {{\n  const y = x + 1;\n  return save(y);\n}}\n",
    "csharp": "class A {{\n/// <summary>{}.</summary>\nint F(int x) {{\n  int y = x + 1;\n  return Save(y);\n}}\n}}\n",
    "c": "/* {}. */\nint f(int x)\n{{\n  int y = x + 1;\n  return save(y);\n}}\n",
    "ruby": "# {}.\ndef f(x)\n  y = x + 1\n  save(y)\nend\n",
    "go": "package a\n\n// {}.\nfunc f(x int) int {{\n\ty := x + 1\n\treturn save(y)\n}}\n",
    "php": "<?php\n/** {}. */\nfunction f($x) {{\n  $y = $x + 1;\n  return save($y);\n}}\n",
}


def outcome(source: str, language: str) -> tuple[list[str], Counter]:
    drops: Counter = Counter()
    found = pairs_of(functions(parse(source, language)), Document("a", language, source, ""), drops)
    texts = [pair.text for pair in found]
    drops.pop("no docstring", None)  # the class around a method
    return texts, drops


@pytest.mark.parametrize("text", STAY.splitlines())
def test_a_particular_text_stays_however_short(text):
    assert not is_vague(text)


@pytest.mark.parametrize("text", GO.splitlines())
def test_a_text_of_common_words_goes(text):
    assert is_vague(text)


@pytest.mark.parametrize(
    ("text", "vague"),
    [
        ("Hide the view", True),  # 3 words and 1 that is not common, with a verb: 5 points of 7
        ("Hide the side view", False),  # 4 and 2: 8 points
        ("Reset the first value of state", True),  # 6 and 0: 6 points
        ("Reset the value of this current state", False),  # 7 and 0: 7 points
        ("Listener for the drag event", True),  # 5 and 1 without a verb: 7 points of 8
        ("Listener for the drag and drop event", False),  # 7 and 2
        ("Drags the element", True),
        ("Drags the selected element", False),
    ],
)
def test_words_that_are_not_common_count_three_times(text, vague):
    assert is_vague(text) == vague


@pytest.mark.parametrize("language", sorted(SOURCES))
def test_vague_texts_are_counted_alike_in_every_language(language):
    assert "vague" in DROPS
    assert outcome(SOURCES[language].format("Sets the session context"), language) == ([], Counter({"vague": 1}))
    text = "Computes the SHA-256 digest"
    assert outcome(SOURCES[language].format(text), language) == ([text], Counter())


def test_a_text_that_says_nothing_is_counted_as_such():
    assert outcome(SOURCES["java"].format("Processes the request"), "java") == ([], Counter({"says nothing": 1}))


def test_classes_may_be_named_in_common_words():
    text = "Handles messages on a connection"
    source = f"/** {text}. */\nclass Log {{\n  int size;\n  void add(int x) {{\n    size += x;\n    save(x);\n  }}\n}}\n"
    assert is_vague(text)
    assert outcome(source, "java")[0] == [text]
