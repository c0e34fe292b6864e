"""C++ and Objective-C in `.h` and `.C` files: recognised from the text, cut into windows by search, kept out of the corpus."""

import pytest

from codesage.corpus.sources.recognise import reason
from codesage.records import Document
from codesage.search.chunks import chunks
from codesage.syntax import is_cplusplus, is_objective_c, language_in

CPLUSPLUS = {
    "namespace": "#ifndef A\n#define A\nnamespace a {\nint f(int x);\n}\n#endif\n",
    "nested namespace": "namespace a::b {\nint f(int x);\n}\n",
    "class": "class Widget {\n  int x;\n};\n",
    "class with a macro and a base": "class EXPORT Widget : public Base\n{\npublic:\n  Widget();\n};\n",
    "class declared": "class Widget;\nint f(Widget *w);\n",
    "struct with access": "struct Widget {\nprivate:\n  int x;\n};\n",
    "template": "template <typename T>\nT max(T a, T b);\n",
    "using": "using size = unsigned long;\nint f(size n);\n",
    "using namespace": '#include "a.h"\nusing namespace a;\nint f(int x);\n',
    "scope": "int f(std::string name);\n",
    "member of a class": "inline int Widget::size() const { return n; }\n",
    "cast": "static inline int f(void *p) { return *static_cast<int *>(p); }\n",
    "operator": "int operator+(struct a x, struct a y);\n",
    "enum class": "enum class Color {\n  red\n};\n",
    "a structure with a base": "struct Widget : public Base {\n  int x;\n};\n",
    "a structure with a base by default": "struct Widget final: Base, Other<int>\n{\n  int x;\n};\n",
    "references": "int size(const Widget &a, int b);\n",
    "a destructor": "struct Widget {\n  Widget(int x);\n  ~Widget();\n};\n",
    "a deleted member": "struct Widget {\n  Widget(int x) = delete;\n};\n",
    "a member that reads": "struct Widget {\n  int size() const;\n};\n",
    "a member that overrides": "struct Widget {\n  int size() const override { return 1; }\n};\n",
    "no exceptions": "inline int size() noexcept { return 1; }\n",
    "a function of the compiler": "constexpr int size(int x) { return x; }\n",
    "an explicit constructor": "struct Widget { explicit Widget(int x); };\n",
    "a friend": "struct Widget {\n  friend class Window;\n};\n",
    "new and delete": "inline Widget *make() { return new Widget(); }\n",
    "delete": "inline void drop(Widget *a) { delete a; }\n",
    "a loop over a range": "inline void f() { for (auto x : y) g(x); }\n",
    "all of it guarded": "#pragma once\n#ifdef __cplusplus\nnamespace a { int f(); }\n#endif\n",
    "guarded by a version": "#if __cplusplus >= 201103L\ntemplate<typename T> struct a { T x; };\n#endif\n",
    "the other branch": "#ifndef __cplusplus\n#error C++ only\n#else\nclass A { int x; };\n#endif\n",
}
C = {
    "extern C": '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(int x);\n#ifdef __cplusplus\n}\n#endif\n',
    "defined": '#if defined(__cplusplus)\nextern "C" {\n#endif\nint f(int x);\n',
    "a wrapper for C++": "int f(int x);\n#ifdef __cplusplus\nnamespace a { inline int g() { return ::f(1); } }\n#endif\n",
    "the other branch": "#ifdef __cplusplus\nclass A;\n#else\ntypedef struct A A;\n#endif\nint f(A *a);\n",
    "not for C++": "#if !defined(__cplusplus) || X\ntypedef int bool;\n#else\nusing b = bool;\n#endif\nint f(bool a);\n",
    "comments": "/* class A {\n * public:\n * namespace a { std::string s; }\n */\n// template <typename T>\nint f(int x);\n",
    "strings": 'static const char *s = "std::string // class A {";\nint f(char c);\n',
    "macros": "#define NAME(x) \\\n  std::x<int>\n#define TYPE(typename) f(typename)\nint f(int x);\n",
    "identifiers": "int class_of(int x);\nstruct namespace_t { int template_id; int new; int private; };\n"
    "int using_it(int operator);\n",
    "a field called class": "struct a {\n  int class;\n  unsigned private : 1;\n};\n",
    "labels": "static int f(int x) { if (x) goto public_; public_: return x ? x : 1; }\n",
    "names that are words of C++": "struct list *delete(struct list *l); int friend(int override), *new, mutable;\n"
    "static const struct ops o = { .delete = f, .new = g };\nint k(const int a, int b) { return a & b; }\n",
    "bits and fields": "struct a { int x : 3; };\nstatic int f(int a) { return (a & 7) ? ~a : (const int) a & 1; }\n",
    "words in comments": "// delete it; struct a : b { explicit f(x) const Foo &x) = delete;\nint f(void);\n",
    "empty": "",
    "for Objective-C too": "#ifdef __OBJC__\n@class A;\n#else\ntypedef void A;\n#endif\nint f(A *a);\n",
    "tags of Doxygen": "/*\n  @class A is read\n  @interface B */\n// @protocol\nint f(int x);\n",
}
OBJECTIVE_C = {
    "interface": "#import <A/A.h>\n@interface B : NSObject\n- (int)f:(int)x;\n@end\n",
    "protocol": "NS_ASSUME_NONNULL_BEGIN\n  @protocol A <B>\n@optional\n- (void)f;\n@end\n",
    "class declared": "@class A, B;\nextern A *f(B *b);\n",
    "implementation": "@implementation A\n- (void)f { g(); }\n@end\n",
    "not for C": "#ifndef __OBJC__\n#error\n#else\n@class A;\n#endif\n@class B;\nint f(B *b);\n",
}


@pytest.mark.parametrize("text", CPLUSPLUS.values(), ids=CPLUSPLUS)
def test_cplusplus_is_recognised(text):
    assert is_cplusplus("include/a.h", text) and language_in("a.h", text) == ""
    assert is_cplusplus("include/a.h", text.replace("\n", "\r\n"))
    assert reason("include/a.h", text) == "C++"


@pytest.mark.parametrize("text", C.values(), ids=C)
def test_c_stays_c(text):
    assert not is_cplusplus("include/a.h", text) and language_in("a.h", text) == "c"
    assert not is_cplusplus("include/a.h", text.replace("\n", "\r\n"))
    assert reason("include/a.h", text) == ""


@pytest.mark.parametrize("text", OBJECTIVE_C.values(), ids=OBJECTIVE_C)
def test_objective_c_is_recognised(text):
    assert is_objective_c("include/a.h", text) and language_in("a.h", text) == ""
    assert reason("include/a.h", text) == "Objective-C" and not is_cplusplus("include/a.h", text)


@pytest.mark.parametrize("text", [*C.values(), *CPLUSPLUS.values()], ids=[*C, *(f"C++: {name}" for name in CPLUSPLUS)])
def test_other_headers_are_no_objective_c(text):
    assert not is_objective_c("include/a.h", text)


def test_a_capital_suffix_is_that_of_cplusplus():
    texts = (C["extern C"], CPLUSPLUS["scope"])
    assert [is_cplusplus("src/Foo.C", text) for text in texts] == [True, True]
    assert [is_cplusplus("src/FOO.C", text) for text in texts] == [False, True]  # from a system without small letters
    assert [reason("src/Foo.C", text) for text in texts] == ["C++", "C++"] and language_in("Foo.C", texts[0]) == ""


def test_only_headers_are_looked_at():
    text = CPLUSPLUS["namespace"]
    assert [language_in(path, text) for path in ("a.c", "a.cs", "a.hpp", "a.txt")] == ["c", "csharp", "", ""]
    assert reason("src/a.c", text) == "" == reason("src/a.c", OBJECTIVE_C["interface"])


def test_search_cuts_cplusplus_into_windows(tmp_path):
    text = "namespace a {\n" + "int f(int x) { return x; }\n" * 60 + "}\n"
    windows = chunks(Document("a.h", language_in("a.h", text), text, ""))
    assert {chunk.kind for chunk in windows} == {"window"} and {chunk.language for chunk in windows} == {""}
    assert [(chunk.start_line, chunk.end_line) for chunk in windows] == [(1, 31), (32, 62)]


def test_a_large_header_takes_no_time():
    text = "int f(int x); /* class */ // namespace @class\n" * 20_000 + "'" * 1000 + "\n" + "class " * 1000
    assert not is_cplusplus("a.h", text) and not is_objective_c("a.h", text)
