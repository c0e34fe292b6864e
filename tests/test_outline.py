"""Languages that search alone knows: their definitions, chunks and index, with and without their grammars."""

import pytest

from codesage import languages
from codesage.languages import LANGUAGES, SEARCHED, searched_language
from codesage.records import Document
from codesage.search import files
from codesage.search.chunks import chunks
from codesage.search.index import Index
from codesage.syntax import outline as outlines
from codesage.syntax.outline import outline
from test_search import ENCODER
from timing import takes_less

SAMPLES = {  # text, and (kind, name, first line with what stands above, first line, last line) of each definition
    "cpp": (
        """\
// A pair.
template <class T>
class Pair : Base {
public:
  Pair(T a) : a_(a) {}
  ~Pair() {}
  T *first() const { return a_; }
};

/* Adds. */
int math::Sum<int>::add(int a) {
  for (;;) { struct Local { int x; }; }
}
std::ostream &operator<<(std::ostream &out, const S &s) { return out; }
static char **names(void) { return 0; }
enum class Color { red };
struct Forward;
int declared(int x);
""",
        """class Pair 1 2 8
function Pair.Pair 5 5 5
function Pair.~Pair 6 6 6
function Pair.first 7 7 7
function math.Sum.add 10 11 13
class Local 12 12 12
function operator<< 14 14 14
function names 15 15 15
class Color 16 16 16""",
    ),
    "elixir": (
        """\
defmodule Shop.Cart do
  @moduledoc "A cart."

  @doc "Adds."
  @spec add(t, t) :: t
  def add(cart, item) do
    [item | cart]
  end

  defp total(cart) when cart != [], do: 1
end
""",
        """class Shop.Cart 1 1 11
function Shop.Cart.add 4 6 8
function Shop.Cart.total 10 10 10""",
    ),
    "julia": (
        """\
\"Adds.\"
function add(a::Int, b)::Int where T
    a + b
end

double(x) = 2x
x = double(2)

struct Point{T} <: Shape
    x::T
end
macro say(text)
end
function Base.show(io, p)
end
""",
        """function add 1 2 4
function double 6 6 6
class Point 9 9 11
function say 12 12 13
function Base.show 14 14 15""",
    ),
    "kotlin": (
        """\
/** Adds. */
@Test
fun add(a: Int): Int = a

class Stack<T>(val size: Int) {
    // Puts an item on top.
    fun push(item: T) {
    }

    companion object {
        fun of() {}
    }
}

interface Shape {
    fun area(): Int
}

object Registry {
    fun find() {}
}
fun String.shout() = uppercase()
""",
        """function add 1 2 3
class Stack 5 5 13
function Stack.push 6 7 8
function Stack.of 11 11 11
class Shape 15 15 17
function Shape.area 16 16 16
class Registry 19 19 21
function Registry.find 20 20 20
function shout 22 22 22""",
    ),
    "lua": (
        """\
-- Adds.
-- Slowly.
local function add(a) return a end
local x = 1 -- not above
function Stack.push(item) end
function Stack:pop() end
Stack.peek = function() end
local keep = function() end
""",
        """function add 1 3 3
function Stack.push 5 5 5
function Stack.pop 6 6 6
function Stack.peek 7 7 7
function keep 8 8 8""",
    ),
    "objc": (
        """\
// A cart.
@interface Cart : NSObject
- (void)clear;
@end

@implementation Cart
// Adds.
- (void)add:(int)item with:(int)count { }
+ (id)empty { return nil; }
@end
int helper(void) { return 1; }
""",
        """class Cart 1 2 4
class Cart 6 6 10
function Cart.add 7 8 8
function Cart.empty 9 9 9
function helper 11 11 11""",
    ),
    "rust": (
        """\
/// Adds.
#[inline]
pub fn add(a: i32) -> i32 { a }

pub struct Stack<T> { items: Vec<T> }
enum Kind { A }
trait Shape {
    fn area(&self) -> f64;
    fn name(&self) -> String { String::new() }
}
impl<T> Stack<T> {
    /// Puts an item on top.
    pub fn push(&mut self, item: T) {
        fn inner() {}
    }
}
impl<T> Display for Stack<T> { fn fmt(&self) {} }
mod m { fn hidden() {} }
macro_rules! square { () => {} }
""",
        """function add 1 3 3
class Stack 5 5 5
class Kind 6 6 6
class Shape 7 7 10
function Shape.name 9 9 9
class Stack 11 11 16
function Stack.push 12 13 15
function Stack.inner 14 14 14
class Stack 17 17 17
function Stack.fmt 17 17 17
function hidden 18 18 18
function square 19 19 19""",
    ),
    "scala": (
        """\
/** Adds. */
def add(a: Int): Int = a
case class Point(x: Int) {
  def norm: Int = {
    1
  }
}
object Main { def main(args: Array[String]): Unit = () }
trait Shape { def area: Int }
""",
        """function add 1 2 2
class Point 3 3 7
function Point.norm 4 4 6
class Main 8 8 8
function Main.main 8 8 8
class Shape 9 9 9""",
    ),
    "shell": (
        """\
# Adds.
add() {
  echo 1
}
function stop { exit 1; }
""",
        """function add 1 2 4
function stop 5 5 5""",
    ),
    "swift": (
        """\
/// Adds.
func add(a: Int) -> Int { return a }
class Stack<T>: Base {
  init(size: Int) {}
  // Puts an item on top.
  func push(_ item: T) {}
}
struct Point { func norm() -> Int { 1 } }
protocol Shape { func area() }
extension Stack { func pop() {} }
enum Kind { case a }
""",
        """function add 1 2 2
class Stack 3 3 7
function Stack.init 4 4 4
function Stack.push 5 6 6
class Point 8 8 8
function Point.norm 8 8 8
class Shape 9 9 9
class Stack 10 10 10
function Stack.pop 10 10 10
class Kind 11 11 11""",
    ),
    "zig": (
        """\
/// Adds.
pub fn add(a: i32) i32 { return a; }
const Point = struct {
    x: i32,
    /// The norm.
    fn norm() void {}
};
test "adds" {}
""",
        """function add 1 2 2
class Point 3 3 7
function Point.norm 5 6 6
function adds 8 8 8""",
    ),
}


def test_every_language_has_a_sample_and_a_grammar_that_fits():
    assert set(SAMPLES) == set(SEARCHED) == set(outlines._QUERIES)
    assert all(outlines._loaded(language) is not None for language in SEARCHED)
    assert not set(SEARCHED) & set(LANGUAGES)


@pytest.mark.parametrize("language", SAMPLES)
def test_definitions_of_a_language(language):
    text, expected = SAMPLES[language]
    assert [" ".join(map(str, one)) for one in outline(text, language)] == expected.splitlines()


def test_the_language_of_a_file_follows_its_ending():
    names = ("a.rs", "b.CC", "c.h", "c.C", "d.sh", "e.kt", "rs", ".rs", "f.py", "g.txt")
    assert [searched_language(name) for name in names] == ["rust", "cpp", "cpp", "cpp", "shell", "kotlin", "", "", "", ""]


def document(text, path="a.rs", language="rust"):
    return Document(path, language, text, "", "p")


def test_a_file_is_cut_at_its_definitions():
    text, _ = SAMPLES["rust"]
    cut = chunks(document(text))
    named = {(chunk.kind, chunk.name, chunk.start_line, chunk.end_line) for chunk in cut}
    assert ("function", "add", 1, 3) in named and ("function", "Stack.push", 12, 15) in named
    assert ("function", "Stack.inner", 14, 14) not in named  # it belongs to the function around it
    covered = {line for chunk in cut for line in range(chunk.start_line, chunk.end_line + 1)}
    assert all(number in covered or not line.strip(" }") for number, line in enumerate(text.splitlines(), 1))


@pytest.mark.parametrize("text", ["(" * 2_000, "fn f() {" * 500, "x" * 200_000, "fn", "\0\n\udcff fn f() {}", ""])
def test_hostile_files_are_cut_into_windows_or_definitions(text):
    for language in SEARCHED:
        for chunk in chunks(document(text, language=language)):
            assert chunk.text


def test_many_definitions_take_linear_time():
    texts = {
        "rust": "/// One.\nfn one() {}\n" * 20_000,
        "cpp": "template <class T>\nclass A { int f() { return 1; } };\n" * 10_000,
    }
    counts: list[int] = []
    for language, text in texts.items():
        assert takes_less(4, lambda language=language, text=text: counts.append(len(outline(text, language))))
    assert set(counts) == {20_000}


def test_a_loop_among_errors_is_no_function():
    text = "class A {\n  MACRO(x\n  while (a) { b(); }\n  if (c) { d(); }\n};\n"
    assert not {"while", "if"} & {one.name.rpartition(".")[2] for one in outline(text, "cpp")}


def test_without_a_grammar_that_fits_a_file_is_cut_into_windows(monkeypatch):
    text, _ = SAMPLES["rust"]
    monkeypatch.setitem(outlines._QUERIES, "rust", "(no_such_node) @function")
    outlines._loaded.cache_clear()
    try:
        assert outline(text, "rust") == []
        assert {chunk.kind for chunk in chunks(document(text))} == {"window"}
    finally:
        outlines._loaded.cache_clear()


def test_an_index_cuts_files_anew_once_their_grammar_is_installed(tmp_path, monkeypatch):
    (tmp_path / "a.rs").write_text(SAMPLES["rust"][0])
    (tmp_path / "b.py").write_text("def f():\n    return 1\n")

    def kinds() -> set[str]:
        opened = Index.open(tmp_path, folder=tmp_path.parent / "index", encoder=ENCODER)
        read.append(opened.update(ENCODER)["read"])
        rows = opened.connection.execute("SELECT kind, language FROM chunks WHERE path = 'a.rs'").fetchall()
        opened.connection.close()
        return set(rows)

    read: list[int] = []
    with monkeypatch.context() as without:
        without.setattr(files, "searched_language", lambda name: "")
        assert kinds() == {("window", "")}
    assert kinds() == {("function", "rust"), ("class", "rust")}
    assert kinds() and read == [2, 1, 0]


def test_a_grammar_that_is_not_installed_is_not_found(monkeypatch):
    monkeypatch.setattr(languages, "is_installed", lambda language: False)
    assert searched_language("a.rs") == ""
