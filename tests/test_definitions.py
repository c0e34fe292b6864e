"""The definitions in each language: names, lines, code and documentation.

A case is a source and its definitions, one per line: kind, qualified name, first and last line, docstring.
"""

from types import SimpleNamespace

import pytest

from codesage.records import Function
from codesage.syntax import functions, parse
from codesage.syntax.definitions import QUERIES, may_define
from codesage.syntax.keywords import captures_by_keywords

PYTHON = {
    "joined strings document": (
        'def f():\n    "Adds " "two\\n"\n    return 1\ndef g():\n    ("Adds "\n     r"a\\b")\n    return 1\n'
        "def h(): 'One' \\\n    ' two'\nclass C:\n    (('In brackets'))\n    x = 1\n",
        [
            "function f 1-3 'Adds two'",
            "function g 4-7 'Adds a\\\\b'",
            "function h 8-9 'One two'",
            "class C 10-12 'In brackets'",
        ],
    ),
    "other literals do not": (
        'def f():\n    f"a {x}"\ndef g():\n    "a" f"b"\ndef h():\n    b"a"\ndef i():\n    "a",\ndef j():\n    "a" + b\n'
        'def k():\n    "a".strip()\ndef l():\n    "a" b"b"\n',
        [
            "function f 1-2 ''",
            "function g 3-4 ''",
            "function h 5-6 ''",
            "function i 7-8 ''",
            "function j 9-10 ''",
            "function k 11-12 ''",
            "function l 13-14 ''",
        ],
    ),
    "decorators and branches": (
        '@a\n# why\n@b(1)\nasync def f():\n    """F."""\ntry:\n    class C:\n        def m(self): "M."\n'
        "except E:\n    if x:\n        def g():\n            # first\n            'G.'; return 1\n",
        ["function f 1-5 'F.'", "class C 7-8 ''", "function C.m 8-8 'M.'", "function g 11-13 'G.'"],
    ),
    "one error": (
        "def f():\n    return 1\nx = = 2\ndef g():\n    return 3\n",
        ["function f 1-2 ''", "function g 4-5 ''"],
    ),
}

JAVA = {
    "records, constructors, annotation types": (
        "/** A point. */\nrecord P(int x) {\n  /** Checks. */\n  P { check(); }\n  P(int a, int b) { this(a); }\n}\n"
        "/** Marks. */\n@interface A { int v() default 1; }\n",
        ["class P 2-6 'A point.'", "function P.P 4-4 'Checks.'", "function P.P 5-5 ''", "class A 8-8 'Marks.'"],
    ),
    "documentation in line comments, and on the same line": (
        "class C {\n  @A\n  /// Between,\n  /// on lines.\n  @B\n  void f() { x(); }\n  /** G. */ @A void g() { y(); }\n"
        '  @A("/// no")\n  // A note.\n  void h() { z(); }\n}\n',
        ["class C 1-11 ''", "function C.f 5-6 'Between,\\non lines.'", "function C.g 7-7 'G.'", "function C.h 8-10 ''"],
    ),
    "annotations": (
        "class C {\n  /** Above. */\n  @A\n  // why\n  public void f() { x(); }\n\n  @A\n  /** Between. */\n"
        '  public void g() { y(); }\n\n  @A("/** no */")\n  void h() { z(); }\n}\n',
        ["class C 1-13 ''", "function C.f 3-5 'Above.'", "function C.g 9-9 'Between.'", "function C.h 11-12 ''"],
    ),
    "errors": (
        "class C {\n  void f() { a(); }\n  if (x) { b(); }\n  while (y) { c(); }\n  void g() { d(); }\n}\n",
        ["class C 1-6 ''", "function C.f 2-2 ''", "function C.g 5-5 ''"],
    ),
}

ECMA = {  # JavaScript and TypeScript
    "two names on one line": (
        "/** Goes up. */\nlet up = () => { a(); }, down = async function* () { b(); };\n",
        ["function up 2-2 'Goes up.'", "function down 2-2 ''"],
    ),
    "two names on lines of their own": (
        "// Directions.\nconst\n  // Goes up.\n  up = () => { a(); },\n\n  /** Goes down. */\n  down = class {\n"
        "    m() { b(); }\n  };\n",
        ["function up 4-4 'Goes up.'", "class down 7-9 'Goes down.'", "function down.m 8-8 ''"],
    ),
    "the second on the next line": (
        "// Goes up.\nvar up = function () { a(); },\n    // Goes down.\n    down = function () { b(); },\n    left = 1;\n",
        ["function up 2-2 'Goes up.'", "function down 4-4 'Goes down.'"],
    ),
    "one name": ("/** Goes up. */\nexport const up = () => { a(); };\n", ["function up 2-2 'Goes up.'"]),
    "keys": (
        "class C {\n  static #p() { a(); }\n  'a key'() { a(); }\n  42() { a(); }\n  [Symbol.iterator]() { a(); }\n"
        "  [computed]() { a(); }\n  ['literal']() { a(); }\n  *gen() { a(); }\n  async *both() { a(); }\n  get v() { a(); }\n"
        "  set v(x) { a(); }\n  #q = () => { a(); };\n  K = class { n() { a(); } };\n}\n"
        "const o = { 'a-b': () => { a(); }, [k]: function () { a(); }, c() { a(); }, 7: () => { a(); } };\n",
        ["class C 1-14 ''", "function C.#p 2-2 ''", "function C.a key 3-3 ''", "function C.42 4-4 ''",
         "function C.Symbol.iterator 5-5 ''", "function C.literal 7-7 ''", "function C.gen 8-8 ''", "function C.both 9-9 ''",
         "function C.v 10-10 ''", "function C.v 11-11 ''", "function C.#q 12-12 ''", "class C.K 13-13 ''",
         "function K.n 13-13 ''", "function a-b 15-15 ''", "function c 15-15 ''", "function 7 15-15 ''"],
    ),
    "wrapping calls": (
        "/** Kept. */\nconst f = memoize(function () { a(); });\n/** Shown. */\n"
        "export const G = React.memo(React.forwardRef((p, r) => { b(); }));\n"
        "const h = useCallback(() => { c(); }, [d]);\nconst i = function () { e(); }.bind(this);\n"
        "const j = list.map(function (x) { return x; });\nconst k = run(() => { g(); });\n/** Default. */\n"
        "export default memo(function Shown() { l(); });\n",
        ["function f 2-2 'Kept.'", "function G 4-4 'Shown.'", "function h 5-5 ''", "function i 6-6 ''",
         "function Shown 10-10 'Default.'"],
    ),
    "the word accessor": (
        "class A {\n  /** Z. */\n  accessor z = () => { a(); };\n  static accessor y = () => { b(); };\n"
        "  get = () => { c(); };\n}\nconst o = { accessor() { d(); }, accessors: () => { e(); } };\n",
        ["class A 1-6 ''", "function A.z 3-3 'Z.'", "function A.y 4-4 ''", "function A.get 5-5 ''",
         "function accessor 7-7 ''", "function accessors 7-7 ''"],
    ),
    "default exports": (
        "/** Named. */\nexport default class Foo { }\nexport default function () { a(); }\n/** Function. */\n"
        "export default function bar() { b(); }\n",
        ["class Foo 2-2 'Named.'", "function bar 5-5 'Function.'"],
    ),
    "assignments": (
        "/** Named. */\nmodule.exports = function named() { a(); };\n/** A class. */\nexports.X = class Y { m() { b(); } };\n"
        "/** Both. */\na.b = c.d = function () { e(); };\nFoo['baz'] = () => { f(); };\n"
        "module.exports = function () { g(); };\n",
        ["function named 2-2 'Named.'", "class X 4-4 'A class.'", "function X.m 4-4 ''", "function d 6-6 'Both.'",
         "function baz 7-7 ''", "function exports 8-8 ''"],
    ),
    "classes that a compiler bound to a name of its own": (
        "/** Named. */\nlet _a = class Foo { m() { a(); } };\nlet Bar = (_b = class Bar { m() { b(); } }, _b);\n"
        "let _Own = class { m() { c(); } };\nlet Mine = class Other { m() { d(); } };\nconst _f = function g() { e(); };\n"
        "export { _a as Foo, Bar };\n",
        ["class Foo 2-2 'Named.'", "function Foo.m 2-2 ''", "class Bar 3-3 ''", "function Bar.m 3-3 ''", "class _Own 4-4 ''",
         "function _Own.m 4-4 ''", "class Mine 5-5 ''", "function Mine.m 5-5 ''", "function _f 6-6 ''"],
    ),
    "keywords are names of members": (
        "class P {\n  catch(f) { a(); }\n  delete() { b(); }\n}\nconst o = { try: () => { c(); }, if() { d(); } };\n",
        ["class P 1-4 ''", "function P.catch 2-2 ''", "function P.delete 3-3 ''", "function try 5-5 ''", "function if 5-5 ''"],
    ),
    "errors": (
        "function f() { a(); }\nclass C {\n  m() { b(); }\n  if (x) { c(); }\n  catch (e) { d(); }\n  n() { e( }\n}\n"
        "function g() { h(); }\n",
        ["function f 1-1 ''", "class C 2-7 ''", "function C.m 3-3 ''", "function C.n 6-6 ''", "function g 8-8 ''"],
    ),
    "statements after an unclosed class are not its fields": (
        "class C {\n  m() { if (x) {\n  }\n}\n/** F. */\nconst f = () => { a(); };\nlet g = function () { b(); };\n"
        "export var h = async () => { c(); };\n",
        ["function m 2-4 ''"],
    ),
    "a documentation block on the same line": (
        "/** F. */ function f() { a(); }\n/**\n * G. */ export const g = () => { b(); };\n/* a note */ function h() { c(); }\n"
        "x(); /** Not I. */ function i() { d(); }\nclass C {\n  /** M. */ async m() { e(); }\n}\n"
        "class D { /** N. */ n() { f(); } /** Not O. */ o() { g(); } }\nclass E { /* a note */ p() { h(); } }\n",
        ["function f 1-1 'F.'", "function g 3-3 'G.'", "function h 4-4 ''", "function i 5-5 ''", "class C 6-8 ''",
         "function C.m 7-7 'M.'", "class D 9-9 ''", "function D.n 9-9 'N.'", "function D.o 9-9 ''", "class E 10-10 ''",
         "function E.p 10-10 ''"],
    ),
}  # fmt: skip

TYPESCRIPT = {
    **ECMA,
    "overloads": (
        "/** First. */\nexport function f(a: string): void;\n/** Second. */\nexport function f(a: number): void;\n"
        "export function f(a: any): void { x(); }\nclass A {\n  /** Method. */\n  m(a: string): void;\n  m(a: number): void\n"
        "  @dec() m(a: any) { y(); }\n\n  /** Other. */\n  n(a: string): void;\n  o(a: any) { z(); }\n}\n",
        ["function f 5-5 'First.'", "class A 6-15 ''", "function A.m 10-10 'Method.'", "function A.o 14-14 ''"],
    ),
    "an implementation with a comment of its own": (
        "/** First. */\nfunction f(a: string): void;\n/** Own. */\nfunction f(a: any): void { x(); }\n",
        ["function f 4-4 'Own.'"],
    ),
    "an implementation with a note": (
        "/** F. */\nfunction f(a: string): void;\n// The types are checked above.\nfunction f(a: any): void { x(); }\n"
        "class A {\n  /** M. */\n  m(a: string): void;\n  /* a note */\n  m(a?: any) { y(); }\n}\n// G.\n"
        "function g(a: string): void;\n// Own.\nfunction g(a: any): void { x(); }\n",
        ["function f 4-4 'F.'", "class A 5-10 ''", "function A.m 9-9 'M.'", "function g 14-14 'Own.'"],
    ),
    "casts": (
        "const f = (function () { a(); } as any);\nconst g = (() => { b(); }) as Handler;\nconst h = <T,>(x: T) => { c(); };\n"
        "const n = (a + b) as number;\n",
        ["function f 1-1 ''", "function g 2-2 ''", "function h 3-3 ''"],
    ),
    "casts and brackets in any order": (
        "/** A. */\nexport const a = (async ({ b }) => { x(); }) satisfies C;\n/** B. */\n"
        "const b = ((c) => { x(); }) as unknown as D;\n/** C. */\nconst c = memo((d) => { x(); }) as E;\n/** D. */\n"
        "const d = ((e) => { x(); })!;\n/** E. */\nf.e = <any>function () { x(); };\n"
        "const o = {\n  /** G. */\n  g: ((h) => { x(); }) as unknown as I,\n};\n"
        "const k = (await load(() => { x(); }))!, l = (m as N)!, p = (list.map((q) => { x(); }) as R);\n",
        ["function a 2-2 'A.'", "function b 4-4 'B.'", "function c 6-6 'C.'", "function d 8-8 'D.'", "function e 10-10 'E.'",
         "function g 13-13 'G.'"],
    ),
    "declared types": (
        "/** A. */\ndeclare class A {\n  m(): void;\n}\n/** B. */\nexport declare abstract class B { m(): void; }\n/** C. */\n"
        "export declare interface C { m(): void; }\n/** D. */\nexport declare const enum D { a }\n/** Not E. */\n"
        'declare module "e" {\n  /** F. */\n  export class F { m(): void; }\n}\n/** Not G. */\n'
        "declare global { interface G { m(): void; } }\n",
        ["class A 2-4 'A.'", "class B 6-6 'B.'", "class C 8-8 'C.'", "class D 10-10 'D.'", "class F 14-14 'F.'",
         "class G 17-17 ''"],
    ),
    "the type of a constant repeats its documentation": (
        "/** Adds. */\nexport const add: {\n  /** Adds. */\n  (a: number): number\n} = dual(2, (a, b) => { c(); });\n",
        ["function add 2-5 ''"],
    ),
    "comments among decorators": (
        "class A {\n  /** A. */\n  @Input()\n  // the parent sets it;\n  @HostBinding('a')\n  set a(v) { x(); }\n  /** B. */\n"
        "  @Input()\n  /* a note */\n  b() { x(); }\n  /** C. */\n  @Input() // a note;\n  c() { x(); }\n  /** D. */\n"
        "  @Input()\n  // eslint-disable-next-line\n  d() { x(); }\n  /** E. */\n  @Input() /* a */ /* b */ e() { x(); }\n"
        "  @Input()\n  /** F. */\n  f() { x(); }\n  /** Not G. */\n  @Input() other = 1; // of the parent\n  /* G. */\n"
        "  g() { x(); }\n}\n",
        ["class A 1-27 ''", "function A.a 3-6 'A.'", "function A.b 8-10 'B.'", "function A.c 12-13 'C.'",
         "function A.d 15-17 'D.'", "function A.e 19-19 'E.'", "function A.f 22-22 'F.'", "function A.g 26-26 'G.'"],
    ),
    "syntax that the grammar does not know": (
        "/** A box. */\ninterface Box<in out A> { a: A }\nfunction f(a: number) { b(); }\n",
        ["class Box 2-2 'A box.'", "function f 3-3 ''"],
    ),
}  # fmt: skip

CSHARP = {
    "members": (
        "class A {\n  /// Adds.\n  public static A operator +(A a, A b) { x(); }\n"
        "  public static A operator checked ++(A a) { x(); }\n"
        "  public static implicit operator int(A a) => 1;\n  public static explicit operator List<B>(A a) { x(); }\n"
        "  /// At.\n  public int this[int i] { get { return 1; } set { x = value; } }\n  int this[string s] => 1;\n"
        "  /// P.\n  public int P { get { return p; } set => p = value; }\n  public int Q => 5;\n"
        "  public int Auto { get; set; } = 3;\n  /// E.\n  public event H E { add { x += value; } remove { x -= value; } }\n"
        "  public event H F, G;\n  ~A() { x(); }\n  int I.Bar() { x(); }\n  A() { int inner() => 1; }\n}\n",
        [
            "class A 1-20 ''",
            "function A.operator + 3-3 'Adds.'",
            "function A.operator checked ++ 4-4 ''",
            "function A.operator int 5-5 ''",
            "function A.operator List<B> 6-6 ''",
            "function A.this 8-8 'At.'",
            "function A.this 9-9 ''",
            "function A.P 11-11 'P.'",
            "function A.Q 12-12 ''",
            "function A.E 15-15 'E.'",
            "function A.~A 17-17 ''",
            "function A.Bar 18-18 ''",
            "function A.A 19-19 ''",
            "function A.inner 19-19 ''",
        ],
    ),
    "attributes, records": (
        "/// <summary>R.</summary>\n[A]\nrecord struct R(int X) { void Q() { x(); } }\nrecord S(int X);\nclass T {\n  [A]\n"
        "  /** Between. */\n  void f() { y(); }\n}\n",
        ["class R 2-3 '<summary>R.</summary>'", "function R.Q 3-3 ''", "class T 5-9 ''", "function T.f 8-8 'Between.'"],
    ),
    "documentation below attributes": (
        "[A]\n/// <summary>C.</summary>\nclass C {\n  [A] [B]\n  /// F\n  /// and more.\n  [D]\n  void F() { x(); }\n"
        '  [A("/// no")]\n  // A note.\n  void G() { y(); }\n  [A]\n  //// No.\n  int P { get { return 1; } }\n}\n',
        [
            "class C 3-15 '<summary>C.</summary>'",
            "function C.F 7-8 'F\\nand more.'",
            "function C.G 9-11 ''",
            "function C.P 12-14 ''",
        ],
    ),
    "extension blocks": (
        "static class A {\n  /// No.\n  extension(string s) {\n    /// F.\n    public int F() { return s.Length; }\n  }\n"
        "  /// G.\n  void extension() { x(); }\n}\n",
        ["class A 1-9 ''", "function A.F 5-5 'F.'", "function A.extension 8-8 'G.'"],
    ),
    "errors": (
        "class C {\n  void F() { a(); }\n  foreach (var x in y) { b(); }\n  if (x) { c(); }\n  void G() { d(); }\n}\n",
        ["class C 1-6 ''", "function C.F 2-2 ''", "function C.G 5-5 ''"],
    ),
}

C = {
    "names": (
        "int (foo)(void) { a(); }\nvoid (*signal(int n, void (*f)(int)))(int) { a(); }\nchar *(*fp(void))[3] { a(); }\n"
        "API void (lua_register)(int L) { a(); }\nint *(bar)(void) { a(); }\nMACRO(name) { a(); }\n"
        "int old(a, b) int a; char b; { c(); }\n",
        [
            "function foo 1-1 ''",
            "function signal 2-2 ''",
            "function fp 3-3 ''",
            "function lua_register 4-4 ''",
            "function bar 5-5 ''",
            "function old 7-7 ''",
        ],
    ),
    "names made by macros": (
        "static void FN(store)(int a) { x(); }\nstatic API size_t PRE_(find)(const T* R key) { x(); }\n"
        "int *genX(get)(void)\n{ x(); }\nint JOIN(a, b)(int c) { x(); }\nvoid API(void)(int a) { x(); }\n",
        ["function store 1-1 ''", "function find 2-2 ''", "function get 3-4 ''", "function JOIN 5-5 ''", "function API 6-6 ''"],
    ),
    "calls of macros above": (
        "MAKE(A)\nMAKE_DUP(A)\n\n/* F. */\nint f(T *t)\n{ x(); }\nint g(void) { x(); }\nLIST(a)\n  ITEM(a, b)\n  ITEM(c, d)\n"
        "END_LIST\n/* H. */\nstatic int h(struct a *p) { x(); }\nmake(a)\nmake(b)\nstatic T\ni(T *t) { x(); }\nMAKE(A)\n"
        "MAKE(B)\n#undef MAKE\n// J.\nT *j(int a, int b) { x(); }\n",
        ["function f 5-6 'F.'", "function g 7-7 ''", "function h 13-13 'H.'", "function i 16-17 ''", "function j 22-22 'J.'"],
    ),
    "calls of macros in a header": (
        "void *\nATTR(malloc) SIZE(1)\nf(size_t size) { x(); }\nstatic void\nno_return()\ng(void) { x(); }\n"
        "int h(struct s *a)\n  acquires(lock) { x(); }\nint i(int a) USED(int b) { x(); }\n"
        "int j(int a) /* a note */\n  __must_hold(struct s *b) { x(); }\nMAKE(A)\nMAKE(B)\n\nstruct s { int a; };\n",
        [
            "function f 1-3 ''",
            "function g 4-6 ''",
            "function h 7-8 ''",
            "function i 9-9 ''",
            "function j 10-11 ''",
        ],
    ),
    "declarators": (
        "/* S. */\nstruct s { int a; } x, *y;\n/* T. */\ntypedef struct { int a; } T, *TP;\n/* D. */\n"
        "typedef struct { int a; } *D, E[3];\n"
        "/* U. */\ntypedef union { int a; } *P, U;\n/* Tag. */\ntypedef struct tag { int a; } C;\n"
        "struct { int a; } anonymous;\n",
        ["class s 2-2 'S.'", "class T 4-4 'T.'", "class D 6-6 'D.'", "class U 8-8 'U.'", "class tag 10-10 'Tag.'"],
    ),
    "conditions": (
        "/* One. */\n#ifdef X\nint f(void) { a(); }\n#endif\n/* A section. */\n#if defined(Y) && Z\nint g(void) { a(); }\n"
        "int h(void) { a(); }\n#endif\n/* Both. */\n#ifdef X\nint i(void) { a(); }\n#else\nint i(void) { b(); }\n#endif\n",
        ["function f 3-3 'One.'", "function g 7-7 ''", "function h 8-8 ''", "function i 12-12 'Both.'", "function i 14-14 ''"],
    ),
    "macros": (
        "/* Exported. */\nEXPORT int f(int a) { b(); }\n/* Long. */\nCHECK_RETURN\nstatic int g(void) { b(); }\nTEST_END\n"
        "\n/* Helper. */\n"
        "static int h(int a) { c(); }\n/* Symbol. */\nEXPORT_SYMBOL(i);\nint i(void) { d(); }\n/* Other. */\n"
        "EXPORT_SYMBOL(k);\n"
        "int j(void) { e(); }\nvoid l(int a UNUSED) { m(); }\n",
        [
            "function f 2-2 'Exported.'",
            "function g 4-5 'Long.'",
            "function h 9-9 'Helper.'",
            "function i 12-12 'Symbol.'",
            "function j 15-15 ''",
            "function l 16-16 ''",
        ],
    ),
    "attributes and conditions above": (
        "/* F. */\n#ifdef A\nstatic\n#endif\nvoid f(void) { x(); }\n/* G. */\n#if A && \\\n    B\n/* why */\n"
        "__attribute__((hot))\n#  else\n"
        "API extern\n#endif // A\n  int g(void) { x(); }\n/* H. */\nLIKE_PRINTF(printf, 1, 2)\nstatic inline void\n"
        "h(int a, ...) { x(); }\n"
        '/* I. */\nNONNULL(())\n#ifdef A\nAPI\n#endif\nkind_of("lock")\nint i(int a) { x(); }\n',
        ["function f 5-5 'F.'", "function g 14-14 'G.'", "function h 17-18 'H.'", "function i 25-25 'I.'"],
    ),
    "other lines above": (
        "/* Not F. */\n#ifdef A\n#define B 1\n#endif\nint f(void) { x(); }\n/* Not G. */\n#if A\nint b;\n#endif\n"
        "int g(void) { x(); }\n"
        '/* Not H. */\nGCC_DIAG_OFF("pedantic")\nint h(void) { x(); }\n/* Not I. */\n#endif\nint i(void) { x(); }\n',
        ["function f 5-5 ''", "function g 10-10 ''", "function h 13-13 ''", "function i 16-16 ''"],
    ),
    "below the parameters": (
        "int\nf (\n  int a\n  )\n/*++\n\nRoutine Description:\n\n  F.\n\n--*/\n{\n  x();\n}\n/* Not G. */\n"
        "int g(int a) /*++ G. **/ { x(); }\n"
        "/*++\n  H.\n--*/\nint h(int a /* the a */)\n/*++\n  H, too.\n--*/\n{ x(); }\n/*++\n  I.\n--*/\n"
        "int i(int a) /* a note */\n{ x(); }\n",
        [
            "function f 1-14 'Routine Description:\\n\\n  F.'",
            "function g 16-16 'Not G.'",
            "function h 20-24 'H, too.'",
            "function i 28-29 'I.'",
        ],
    ),
    "macros around the type": (
        "/* A. */\nJNIEXPORT jint JNICALL a(JNIEnv *e) { x(); }\n"
        "/* B. */\nZEND_API zend_result ZEND_FASTCALL\nb(zval *a) { x(); }\n"
        "/* C. */\nBOOL WINAPI DECLSPEC_HOTPATCH c(int a) { x(); }\n/* D. */\nLIB_API struct foo *d(int a) { x(); }\n/* E. */\n"
        "LIB_API\nconst struct foo *e(int a) { x(); }\n/* F. */\nSTATIC\nEFI_STATUS\nEFIAPI\nf (\n  int a\n  )\n{ x(); }\n"
        "/* K. */\nEFI_STATUS\nEFIAPI\nk (\n  IN int *a\n  )\n{ x(); }\n/* L. */\nPUBLIC_API foo_t L32 (int a) { x(); }\n"
        "/* M. */\nBOOL WINAPI m (int a) { x(); }\n"
        '/* G. */\nSEC("g") int g(int a) { x(); }\n/* H. */\n__declspec(dllexport) BOOL WINAPI HOT h(int a) { x(); }\n'
        "/* Not I. */\nBEGIN MACROS\n\nint i(int a) { x(); }\n/* Not J. */\nint count = 1\nint j(int a) { x(); }\n",
        [
            "function a 2-2 'A.'",
            "function b 4-5 'B.'",
            "function c 7-7 'C.'",
            "function d 9-9 'D.'",
            "function e 11-12 'E.'",
            "function f 14-20 'F.'",
            "function k 22-27 'K.'",
            "function L32 29-29 'L.'",
            "function m 31-31 'M.'",
            "function g 33-33 'G.'",
            "function h 35-35 'H.'",
            "function i 39-39 ''",
            "function j 42-42 ''",
        ],
    ),
    "a brace too many": (
        "int e(void) { a(); }\n\nvoid f(int a)\n{\n#ifdef X\n  if (a) {\n#else\n  if (b) {\n#endif\n    c();\n  }\n}\n\n"
        "/* G. */\n"
        "void g(void)\n{\n  d();\n}\n\nstruct s { int a; };\n",
        ["function e 1-1 ''", "function g 15-18 'G.'", "class s 20-20 ''"],
    ),
    "statements at the top": (
        "int f(void) { a(); }\n}\nelse if (x) {\n  b();\n}\nwhile (y) {\n  c();\n}\nint g(void) { d(); }\n",
        ["function f 1-1 ''", "function g 9-9 ''"],
    ),
}

RUBY = {
    "wrapping calls": (
        "class C\n  # X.\n  private def x\n    1\n  end\n  # Y.\n  memoize def y; 1; end\n  # Z.\n"
        "  private_class_method def self.z; 1; end\n  # Q.\n  private memoize(def q; 1; end)\nend\n",
        ["class C 1-12 ''", "function C.x 3-5 'X.'", "function C.y 7-7 'Y.'", "function C.z 9-9 'Z.'",
         "function C.q 11-11 'Q.'"],
    ),
    "blocks": (
        "# Made.\ndefine_method(:made) do |a|\n  b\nend\ndefine_method(\"text\") { |a| b }\ndefine_method(name) { |a| b }\n"
        "define_singleton_method(:own) { c }\ndefine_method(\"a#{b}\") { c }\ntest(:other) { d }\n# A struct.\n"
        "Foo = Struct.new(:a) do\n"
        "  def m; 1; end\nend\nA::Bar = Class.new(Base) do\n  def n; 1; end\nend\nBaz = Module.new { def o; 1; end }\n"
        "Qux = Data.define(:x) do\n  def p; 1; end\nend\nnot_one = Struct.new(:a) do\n  def q; 1; end\nend\n"
        "X = Other.new do\n  1\nend\n",
        ["function made 2-4 'Made.'", "function text 5-5 ''", "function own 7-7 ''", "class Foo 11-13 'A struct.'",
         "function Foo.m 12-12 ''", "class A::Bar 14-16 ''", "function A::Bar.n 15-15 ''", "class Baz 17-17 ''",
         "function Baz.o 17-17 ''", "class Qux 18-20 ''", "function Qux.p 19-19 ''", "function q 22-22 ''"],
    ),
    "operators": (
        "def ==(o) = 1\ndef [](i) = 1\ndef []=(i, v)\n  1\nend\ndef +@ = 1\ndef a=(v)\n  1\nend\ndef b? = 1\ndef class = 1\n",
        ["function == 1-1 ''", "function [] 2-2 ''", "function []= 3-5 ''", "function +@ 6-6 ''", "function a= 7-9 ''",
         "function b? 10-10 ''", "function class 11-11 ''"],
    ),
}  # fmt: skip

GO = {
    "a group of types": (
        "package p\n// All.\ntype (\n\t// A is a.\n\tA struct { x int }\n\tB interface { M() }\n)\n// One.\ntype (\n"
        "\tC struct { y int }\n)\n"
        "// Not.\ntype (\n\t// D is d.\n\tD struct { z int }\n)\n// E is e.\ntype E[T any] struct { t T }\n// F is f.\n"
        "type F = struct { w int }\n",
        [
            "class A 5-5 'A is a.'",
            "class B 6-6 ''",
            "class C 9-10 'One.'",
            "class D 15-15 'D is d.'",
            "class E 18-18 'E is e.'",
            "class F 20-20 'F is f.'",
        ],
    ),
    "function values": (
        "package p\n// All.\nvar (\n\t// G is g.\n\tg = func() { a() }\n\th, i = func() { b() }, func() { c() }\n\tn = 1\n)\n"
        "// F is f.\nvar f = func(x int) int { return x }\nvar j, k = pair(func() { d() })\n"
        "// L and m.\nvar l, m = func() { a() }, func() { b() }\n",
        [
            "function g 5-5 'G is g.'",
            "function h 6-6 ''",
            "function i 6-6 ''",
            "function f 10-10 'F is f.'",
            "function l 13-13 'L and m.'",
            "function m 13-13 ''",
        ],
    ),
    "receivers": (
        "package p\nfunc (q *Queue[T]) Push() { a() }\nfunc (Map[K, V]) Pop() { a() }\nfunc (r *(R)) Par() { a() }\n"
        "func (*S) Get() { a() }\n"
        "func (s S) Do() { type local struct { x int } }\n",
        [
            "function Queue.Push 2-2 ''",
            "function Map.Pop 3-3 ''",
            "function R.Par 4-4 ''",
            "function S.Get 5-5 ''",
            "function S.Do 6-6 ''",
            "class local 6-6 ''",
        ],
    ),
}

PHP = {
    "hooks": (
        "<?php\nclass A {\n  /** Name. */\n"
        "  public string $name { get { return $this->n; } set(string $v) { $this->n = $v; } }\n"
        "  public string $arrow { get => 1; }\n  public $plain = 1, $two = 2;\n}\n",
        ["class A 2-7 ''", "function A.name 4-4 'Name.'", "function A.arrow 5-5 ''"],
    ),
    "attributes": (
        "<?php\nclass A {\n  /** Above. */\n  #[Pure]\n  public function list() { return 1; }\n  #[Pure]\n  /** Between. */\n"
        "  public function &ref() { return 1; }\n}\nif (!function_exists('foo')) {\n  /** Foo. */\n"
        "  function foo() { x(); }\n}\n",
        ["class A 2-9 ''", "function A.list 4-5 'Above.'", "function A.ref 8-8 'Between.'", "function foo 12-12 'Foo.'"],
    ),
}

CASES = {
    "python": PYTHON,
    "java": JAVA,
    "javascript": ECMA,
    "typescript": TYPESCRIPT,
    "csharp": CSHARP,
    "c": C,
    "ruby": RUBY,
    "go": GO,
    "php": PHP,
}


def shown(function: Function) -> str:
    name = f"{function.parent}.{function.name}" if function.parent else function.name
    return f"{function.kind} {name} {function.start_line}-{function.end_line} {function.docstring!r}"


@pytest.mark.parametrize(("language", "case"), [(language, case) for language, cases in CASES.items() for case in cases])
def test_definitions(language, case):
    text, expected = CASES[language][case]
    tree = parse(text, language)
    definitions = functions(tree)
    assert [shown(function) for function in definitions] == expected
    for function in definitions:
        whole = tree.source[function.start_byte : function.end_byte].decode()
        assert whole.startswith(function.signature) and whole.endswith(function.body)
        assert tree.source[: function.start_byte].count(b"\n") + 1 == function.start_line


@pytest.mark.parametrize(
    ("language", "text", "codes"),
    [
        (
            "javascript",
            "// Doc.\nlet a = () => { x(); }, b = () => { y(); };",
            ["let a = () => { x(); }", "b = () => { y(); }"],
        ),
        ("typescript", "export declare class A { m(): void; }", ["export declare class A { m(): void; }"]),
        ("typescript", "export const f = ((a) => { x(); }) satisfies B;", ["export const f = ((a) => { x(); }) satisfies B;"]),
        ("javascript", "const f = memo(() => { x(); }, eq);", ["const f = memo(() => { x(); }, eq);"]),
        ("javascript", "export const f = () => { x(); };", ["export const f = () => { x(); };"]),
        (
            "go",
            "package p\ntype (\n\tA struct { x int }\n\tB struct { y int }\n)",
            ["A struct { x int }", "B struct { y int }"],
        ),
        ("go", "package p\nvar f = func() { x() }", ["var f = func() { x() }"]),
        ("go", "package p\nvar f, g = func() { x() }, func() { y() }", ["var f, g = func() { x() }", "func() { y() }"]),
        ("c", "typedef struct { int a; } T, *P;", ["typedef struct { int a; } T, *P;"]),
        ("c", "TEST_END\n\nstatic int f(int a) { b(); }", ["static int f(int a) { b(); }"]),
        ("c", "API int CALL f(int a) { b(); }", ["API int CALL f(int a) { b(); }"]),
        ("c", "int x;\nstatic API\nint CALL f(int a) { b(); }", ["static API\nint CALL f(int a) { b(); }"]),
        ("c", "int f(int a)\n/*++\n  F.\n--*/\n{ b(); }", ["int f(int a)\n{ b(); }"]),
        ("ruby", "private def x\n  1\nend", ["private def x\n  1\nend"]),
        ("python", 'def f():\n    ("a"\n     "b")\n    return 1', ["def f():\n    return 1"]),
    ],
)
def test_code_of_a_definition(language, text, codes):
    assert [function.signature + function.body for function in functions(parse(text, language))] == codes
    assert may_define(text, language)


@pytest.mark.parametrize(
    ("language", "text", "may"),
    [
        ("python", "NAMES = {'a': 1}\n", False),
        ("c", "#define A 1\nint f(void);\n", False),
        ("go", "package p\nconst a = 1\n", False),
        ("php", "<?php return ['a' => 1];\n", False),
        ("php", "<?php FUNCTION f() { g(); }\n", True),
        ("ruby", "A = 1\n", True),  # not known for this language
    ],
)
def test_data_defines_nothing(language, text, may):
    assert may_define(text, language) == may
    assert may == bool(functions(parse(text, language))) or language == "ruby"


@pytest.mark.parametrize(
    ("language", "text", "bare"),
    [
        ("csharp", "class A { int P { get { return p; } set { p = value; q(); } } }", "get { } set { p = value; q(); }"),
        ("javascript", "const f = memo(() => { x(); return y; });", "x();"),
        ("ruby", "define_method(:a) do |b|\n  c\n  return d\nend", "c"),
        ("go", "package p\nvar f = func() int { x(); return 1 }", "x();"),
        ("php", "<?php class A { public $n { get { x(); return 1; } } }", "get { x(); }"),
    ],
)
def test_bare_bodies(language, text, bare):
    matches = [function for function in functions(parse(text, language)) if function.kind == "function"]
    assert [" ".join(function.bare_body.split()) for function in matches] == [bare]


TRICKY = {  # language: code with keywords that begin nothing, and the capture names with the first lines of what they hold
    "python": (
        'text = "def a(): return"  # class B: return\n@first\n@second(define)\n'
        "async def run(returned):\n    return undefined @ other\n",
        {"function": ["async def run(returned):"], "return": ["return undefined @ other"], "wrapper": ["@first"]},
    ),
    "ruby": (
        'class Foo\n  def self.define(x)\n    return if x.class\n    "class A; def b"\n  end\n  class << self\n  end\nend\n',
        {"class": ["class Foo"], "function": ["def self.define(x)"], "return": ["return if x.class", "return"]},
    ),
    "go": (
        "package a\n\ntype (\n\tA struct{ b interface{} }\n\tC = interface{}\n)\n\nvar f, g = func() int { return 1 }, 2\n",
        {"class": ["A struct{ b interface{} }", "C = interface{}"], "repeated": ["f, g = func() int { return 1 }, 2"],
         "return": ["return 1"]},
    ),
    "c": (
        'struct a *b;\nstruct c { enum { D } e; };\nint f(a) int a; // {\n{\n  if (a) { return "{ return"[0]; }\n'
        "  union g h = {0};\n}\nint k(void);\n",
        {"class": ["struct c { enum { D } e; }", "enum { D }"], "function": ["int f(a) int a; // {"],
         "return": ['return "{ return"[0];']},
    ),
    "java": (
        "@interface A {}\nabstract class B /* { */ { B() throws C { super(); } static { d(); }\n"
        'int[] e() { Runnable f = () -> { return; }; return new int[] { 1 }; }\nString g = "class { return";\n'
        "record H(int i) { H { j(); } } enum K { L { void m() { } } }\n}",
        {"class": ["@interface A {}", "abstract class B /* { */ { B() throws C { super(); } static { d(); }",
                   "record H(int i) { H { j(); } }", "enum K { L { void m() { } } }"],
         "function": ["B() throws C { super(); }", "H { j(); }", "void m() { }",
                      "int[] e() { Runnable f = () -> { return; }; return new int[] { 1 }; }"],
         "return": ["return;", "return new int[] { 1 };"]},
    ),
    "php": (
        "<?php\nuse function a\\b;\nABSTRACT CLASS A { FUNCTION get() { RETURN B::class; } }\nenum E { case interface_; }\n",
        {"class": ["ABSTRACT CLASS A { FUNCTION get() { RETURN B::class; } }", "enum E { case interface_; }"],
         "function": ["FUNCTION get() { RETURN B::class; }"], "return": ["RETURN B::class;"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("language", TRICKY)
def test_keywords_find_what_the_query_finds(language):
    text, expected = TRICKY[language]
    tree = parse(text, language)

    def lines(captures):
        return {
            name: sorted(tree.text(node).split("\n")[0] for node in set(nodes)) for name, nodes in captures.items() if nodes
        }

    assert lines(captures_by_keywords(tree)) == {name: sorted(found) for name, found in expected.items()}
    assert lines(tree.captures(QUERIES[language])) == lines(captures_by_keywords(tree))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("<?php class A { public $b { get => 1; } }", "php"),
        ("<?php class A { public $b = 1 { /* c */ final set(int $v) { $this->b = $v; } } }", "php"),
        ("class A {}", "csharp"),
        ("x = 1\n" * 20_000, "python"),
        ("x = a" + " @ a" * 1_000, "python"),
    ],
)
def test_only_the_query_finds_hooks_and_the_definitions_of_other_languages_and_of_texts_that_take_long(text, language):
    assert captures_by_keywords(parse(text, language)) is None


def test_only_the_query_finds_what_a_keyword_that_the_parser_inserted_begins():
    tree = parse("def a():\n    return 1\n", "python")
    comma, keyword = (SimpleNamespace(is_missing=True, type=kind) for kind in (",", "return"))
    assert captures_by_keywords(tree, [comma]) is not None
    assert captures_by_keywords(tree, [comma, keyword]) is None


@pytest.mark.parametrize("language", TRICKY)
def test_keywords_find_what_the_query_finds_in_broken_code(language, monkeypatch):
    text, _ = TRICKY[language]
    trees = [parse(text[:place] + text[place + 1 :], language) for place in range(len(text))]  # each lacks one character
    broken = [tree for tree in trees if tree.has_errors]
    by_keywords = [functions(tree) for tree in broken]
    monkeypatch.setattr("codesage.syntax.definitions.captures_by_keywords", lambda tree, errors: None)
    assert by_keywords == [functions(tree) for tree in broken]
    assert sum(map(len, by_keywords)) > 10
    for tree in broken:
        errors = [node for nodes in tree.captures("(ERROR) @error (MISSING) @missing").values() for node in nodes]
        assert {node.id for node in tree.errors()} == {node.id for node in errors}
