"""What stands around a hidden name, the names that a file suggests for it, and the table that is learned from both."""

import re

import pytest

from codesage import syntax
from codesage.names.derived import plural, singular, suggested, written
from codesage.names.surroundings import Occurrences, features, tokens_of
from codesage.names.units import units

FILES = {
    "python": """
from store import load_user

class UserStore:
    def __init__(self, limit):
        self.limit = limit
        self.users = []

    def find_user(self, key):
        \"\"\"The key of a user.\"\"\"
        for entry in self.users:
            if entry.name == key:
                return entry
        current = load_user(key)
        return current

def run(store, options):
    size = options["size"]
    return store.find_user(size)
""",
    "java": """
class Store {
  private final UserService userService;
  private int limit;
  Store(UserService service, int limit) { this.userService = service; this.limit = limit; }
  User findUser(String key) {
    for (User user : userService.users()) { if (user.is(key)) { return user; } }
    try { return userService.load(key); } catch (IOException e) { return null; }
  }
}
""",
    "javascript": """
const express = require('express');
function makeApp(options) {
  const app = express();
  this.options = options;
  app.get('/', (req, res) => { res.send(options.name) });
  for (const item of options.items) { app.use(item) }
  return app
}
module.exports = { build: makeApp };
""",
    "typescript": "export function load(reader: FileReader, size = 1) { const lines = reader.lines(size); return lines }\n",
    "csharp": "class A { readonly ILogger _logger; public A(ILogger logger) { _logger = logger; var a = logger.B(); } }\n",
    "c": "int count(struct node *node, int size) { int length = node->length; return size + length; }\n",
    "ruby": "class Shop\n  def initialize(items)\n    @items = items\n  end\n"
    "  def each\n    @items.each { |item| yield item }\n  end\nend\n",
    "go": "package p\n\nfunc Load(ctx context.Context, path string) error {\n\tfile, err := os.Open(path)\n"
    "\tif err != nil {\n\t\treturn err\n\t}\n\tfor _, line := range lines(file) {\n\t\tuse(ctx, line)\n\t}\n\treturn nil\n}\n",
    "php": "<?php\nclass A { private $items; function __construct(Repository $repository) {\n"
    "$this->items = $repository->all();\nforeach ($this->items as $item) { run($item); } } }\n",
}


def seen(text, language):
    """What is known of each unit: its name, its features, and the names that are suggested."""
    tree = syntax.parse(text, language)
    found, tokens = units(tree), tokens_of(tree)
    around = [Occurrences(tokens, unit) for unit in found.units]
    return [(one.unit.name, features(one), suggested(one, found.units)) for one in around], found


@pytest.mark.parametrize("language", FILES)
def test_nothing_shows_the_hidden_name(language):
    before, found = seen(FILES[language], language)
    assert len(before) > 3
    for number, unit in enumerate(found.units):
        source = FILES[language].encode()
        fresh = ("Q" if unit.name[0].isupper() else "q") + "zqzq"
        for start, end in reversed(unit.spans):
            source = source[:start] + fresh.encode() + source[end:]
        after, _ = seen(source.decode(), language)
        assert after[number][0] == fresh
        assert after[number][1:] == before[number][1:]


def names_of(language):
    return {name: rules for name, _, rules in seen(FILES[language], language)[0]}


@pytest.mark.parametrize(
    ("language", "name", "rule"),
    [
        ("python", "size", "value item text"),
        ("python", "store", None),
        ("java", "userService", "type"),
        ("java", "service", "type last camel"),
        ("java", "user", "type"),
        ("javascript", "app", "returned by last"),
        ("javascript", "express", "value call text"),
        ("javascript", "item", "loop one"),
        ("javascript", "options", "value name"),
        ("typescript", "reader", "type last"),
        ("typescript", "lines", "value call"),
        ("csharp", "logger", "field name"),
        ("c", "length", "value read"),
        ("ruby", "item", "block one"),
        ("go", "ctx", None),
        ("go", "line", "loop one"),
        ("php", "repository", "type"),
        ("php", "item", "loop one"),
    ],
)
def test_a_file_suggests_names(language, name, rule):
    rules = names_of(language)[name].get(name)
    assert (rules is None) == (rule is None)
    if rule is not None:
        assert any(one.startswith(rule) for one in rules), rules


def test_comments_and_documentation_are_not_read():
    text = "def f(alpha):\n    '''The alpha of it.'''\n    # alpha is a number\n    return alpha + 1\n"
    plain = re.sub(r"'''.*'''|# .*", "", text)
    assert [one[1] for one in seen(text, "python")[0]] == [one[1] for one in seen(plain, "python")[0]]
    marked = "/** @param size its size */\nfunction f(size) { return size /* the size */ }\n"
    bare = "\nfunction f(size) { return size  }\n"
    assert seen(marked, "javascript")[0] == seen(bare, "javascript")[0]


def test_words_are_written_as_a_language_writes_them():
    assert [written(["user", "name"], style) for style in ("camel", "snake", "upper", "field")] == [
        "userName",
        "user_name",
        "UserName",
        "_userName",
    ]
    assert [singular(word) for word in ("entries", "boxes", "users", "class", "status", "this", "gas")] == [
        "entry",
        "box",
        "user",
        "class",
        "status",
        "this",
        "ga",
    ]
    assert [plural(word) for word in ("entry", "box", "user", "key")] == ["entries", "boxes", "users", "keys"]
