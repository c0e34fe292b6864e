"""Decides whether a file with a suffix of C (`.h`, `.C`) contains C, C++ or Objective-C.

A file `Name.C` is C++, as for compilers. `NAME.C` can be C from a system without small letters, so it is judged like a header.
A header is C++ if it contains syntax that a C compiler rejects, such as `namespace`, `template <`, `public:` or `::`.
Comments, strings, macros and code under `#ifdef __cplusplus` do not count, so the usual `extern "C" {` leaves a header C. A
header that has no code left for C is C++ too. A header is Objective-C if `@interface` or the like is left.
"""

import re

from codesage.languages import language_of

_HEADERS = (".h", ".H")
_CAPITAL = ".C"
_MARKS = [  # (plain text that is part of every match, pattern)
    ("::", re.compile(r"::(?=[A-Za-z_~*])")),
    ("namespace", re.compile(r"^[ \t]*(?:inline[ \t]+|using[ \t]+)?namespace\b[ \t]*\w*", re.MULTILINE)),
    ("template", re.compile(r"^[ \t]*(?:extern[ \t]+)?template[ \t]*[<\w]", re.MULTILINE)),
    ("using", re.compile(r"^[ \t]*using[ \t]+\w+[ \t]*=", re.MULTILINE)),
    ("class", re.compile(r"^[ \t]*(?:enum[ \t]+)?class(?:[ \t]+\w+(?:\([^()\n]*\))?)+\s*[{;:]", re.MULTILINE)),
    ("public", re.compile(r"^[ \t]*public(?:[ \t]+\w+)?[ \t]*:", re.MULTILINE)),
    ("private", re.compile(r"^[ \t]*private(?:[ \t]+\w+)?[ \t]*:(?![ \t]*\d)", re.MULTILINE)),
    ("protected", re.compile(r"^[ \t]*protected(?:[ \t]+\w+)?[ \t]*:(?![ \t]*\d)", re.MULTILINE)),
    ("virtual", re.compile(r"^[ \t]*virtual[ \t]+[\w~]+[^;\n]*\(", re.MULTILINE)),
    ("_cast", re.compile(r"\b(?:static|reinterpret|dynamic|const)_cast[ \t]*<")),
    ("operator", re.compile(r"\boperator[ \t]*(?:[-+*/%^&|~!=<>]{1,3}|\(\)|\[\])[ \t]*\(")),
    ("typename", re.compile(r"[<,][ \t]*typename\b")),
]
# Syntax of headers with structures alone. Its plain text is in many headers of C, so a match is looked for before comments go.
_MORE_MARKS = [
    (" : ", re.compile(r"struct[ \t]+\w+[ \t]*(?:final[ \t]*)?:[ \t]*[A-Za-z_][\w\s,<>]*\{")),
    (" final", re.compile(r"struct[ \t]+\w+[ \t]+final\b")),
    ("&", re.compile(r"const[ \t]+\w+(?:[ \t]+\w+)?[ \t]*&&?[ \t]*\w*[ \t]*[,)]")),
    ("~", re.compile(r"^[ \t]*~\w+[ \t]*\([ \t]*(?:void)?[ \t]*\)[ \t]*[;{]", re.MULTILINE)),
    ("= de", re.compile(r"= de(?:lete|fault)[ \t]*;")),
    (") const", re.compile(r"\) const[ \t]*(?:=[ \t]*0[ \t]*)?[;{]")),
    (" override", re.compile(r"\)(?: const)? override\b")),
    (" noexcept", re.compile(r"\)(?: const)? noexcept\b")),
    ("constexpr", re.compile(r"constexpr[ \t]+[\w \t*&]+\(")),
    ("explicit", re.compile(r"explicit[ \t]+\w+[ \t]*\(")),
    ("friend", re.compile(r"friend[ \t]+(?:class|struct)[ \t]")),
    (" new ", re.compile(r"(?:=|return) new[ \t]+\w+[ \t]*[(\[;]")),
    ("delete ", re.compile(r"delete[ \t]+\w+[ \t]*;")),
    ("decltype", re.compile(r"decltype[ \t]*\(")),
    ("auto", re.compile(r"for[ \t]*\([ \t]*(?:const[ \t]+)?auto\b[^;)\n]*:")),
]
_OBJECTIVE_C = re.compile(r"^[ \t]*@(?:interface|protocol|class|implementation)\b", re.MULTILINE)
_OBJECTIVE_C_HINTS = ("@interface", "@protocol", "@class", "@implementation")
_NO_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|\\\r?\n', re.DOTALL)
_DIRECTIVE = re.compile(r"[ \t]*#[ \t]*(\w*)(.*)")
_ANY_DIRECTIVE = re.compile(r"^[ \t]*#.*", re.MULTILINE)
_OTHER_COMPILER = re.compile(r"__(?:cplusplus|OBJC__)")
_NOT_OTHER = re.compile(r"!\s*(?:defined\s*)?\(?\s*__(?:cplusplus|OBJC__)")


def language_in(path: str, text: str) -> str:
    """Name of the language of a file, by its suffix; "" for one with a suffix of C that contains C++ or Objective-C."""
    return "" if is_cplusplus(path, text) or is_objective_c(path, text) else language_of(path)


def is_cplusplus(path: str, text: str) -> bool:
    """Whether a file is a `.h` or `.C` file that contains C++."""
    if path.endswith(_CAPITAL) and not path.rpartition("/")[2].isupper():
        return True
    if not path.endswith((*_HEADERS, _CAPITAL)):
        return False
    marks = [mark for hint, mark in _MARKS if hint in text]
    marks += [mark for hint, mark in _MORE_MARKS if hint in text and mark.search(text)]
    if not marks:
        return False
    everything = _NO_CODE.sub(_blank, text)
    if not _marked(_ANY_DIRECTIVE.sub("", everything), marks):
        return False
    for_c = _read_by_c(everything)
    return _marked(for_c, marks) or not any([letter in for_c for letter in ";{"])


def is_objective_c(path: str, text: str) -> bool:
    """Whether a file is a `.h` file that contains Objective-C."""
    if not path.endswith(_HEADERS) or not any([hint in text for hint in _OBJECTIVE_C_HINTS]):
        return False
    return _OBJECTIVE_C.search(_read_by_c(_NO_CODE.sub(_blank, text))) is not None


def _marked(code: str, marks: list[re.Pattern]) -> bool:
    return any([mark.search(code) is not None for mark in marks])


def _blank(match: re.Match) -> str:
    """The replacement for a comment, a string or a line continuation; it keeps the text on both sides apart."""
    return '""' if match.group()[0] in "\"'" else " "


def _read_by_c(text: str) -> str:
    """The lines that a C compiler compiles, without directives and without branches for C++ and Objective-C."""
    lines: list[str] = []
    branches: list[tuple[bool, bool]] = []  # per open condition: whether its branch, and its `#else`, is not for C
    for line in text.split("\n"):
        match = _DIRECTIVE.match(line) if "#" in line else None
        word = match.group(1) if match is not None else ""
        if match is None:
            if not any([hidden for hidden, _ in branches]):
                lines.append(line)
        elif word in ("if", "ifdef", "ifndef"):
            branches.append(_readers(word, match.group(2)))
        elif branches and word == "endif":
            branches.pop()
        elif branches and word == "else":
            branches[-1] = branches[-1][1], False
        elif branches and word == "elif":
            branches[-1] = _readers(word, match.group(2))
    return "\n".join(lines)


def _readers(word: str, condition: str) -> tuple[bool, bool]:
    """Returns (whether the branch of a condition is only for other compilers, whether its `#else` is)."""
    if not _OTHER_COMPILER.search(condition):
        return False, False
    if word == "ifndef" or _NOT_OTHER.search(condition):
        return False, "&&" not in condition
    return "||" not in condition, False
