"""Tells whether a piece of code only declares: signatures without bodies, data structures, or data in JSON.

is_signature() tells whether a text of documentation is a signature.

Reference pages show such code under their titles. It does nothing, so no title describes what it does. The code of a page is
often incomplete, so these are patterns and no syntax trees. Every pattern takes time linear in the code.
"""

import re

from codesage.languages import LANGUAGES

_ARGUMENTS = r"\((?>[^()]*)(?:\((?>[^()]*)\)(?>[^()]*))*+\)"
_MODIFIER = (
    r"(?:export|default|declare|public|private|protected|internal|static|final|abstract|virtual|override|async|sealed|extern|"
    r"inline|synchronized|native|partial|unsafe|readonly)"
)
_MODIFIERS = rf"(?:{_MODIFIER}\s++)*+"
_NO_TYPE = r"(?!(?:return|goto|else|case|new|throw|await|delete|using|yield|package|import|typedef)\b)"
_GENERIC = r"(?:<[^<>;(){}]{0,200}(?:<[^<>;(){}]{0,200}>[^<>;(){}]{0,100})?>)?"
_TYPED = (  # `const char *name_of (int id) MACRO`, `public List<String> names(int most) throws IOException`
    rf"{_MODIFIERS}(?:<[\w<>?, .]{{1,100}}>\s)?{_NO_TYPE}(?:[\w.]++{_GENERIC}\??(?:\[\])*[\s*&]++(?=\w))++\w++\s*+{_ARGUMENTS}"
    r"(?:\s*+(?:throws\s+[\w., \t]{1,200}|const\b|[A-Z][A-Z0-9_]+\b(?:\s*\([^()]{0,100}\))?))*+"
)
_FUNCTION_START = rf"{_MODIFIERS}function\s*\*?\s*&?\w++(?:<[^<>;]{{0,200}}>)?\s*{_ARGUMENTS}"
_FUNCTION = rf"{_FUNCTION_START}(?:\s*:\s*[^;{{}}=()\n]{{1,200}})?"
_PYTHON = (
    rf"(?:@[^\n]*+\n\s*+)*+(?:async\s+)?def\s+\w++\s*{_ARGUMENTS}(?:\s*->[^:\n]{{1,200}})?:?(?:\s*(?:\.\.\.|pass)(?=\s|$))?"
)
_RUBY = rf"def\s+(?:self\.)?\w++[?!=]?(?:\s*{_ARGUMENTS}|[ \t]+[\w, :*&=]{{1,200}})?(?:\s*;?\s*end\b)?"
_RESULTS = r"[ \t]*(?:\([^()]{0,300}\)|[\w.*\[\]{}]{1,100})?"
_GO = rf"func\s+(?:\([^()]{{0,200}}\)\s*)?\w++(?:\[[^\[\]]{{0,200}}\])?{_ARGUMENTS}{_RESULTS}"
_ECMA = dict.fromkeys(("javascript", "typescript", "php"), _FUNCTION)
_DECLARATION = {
    language: re.compile(rf"(?:{pattern})\s*(?:;\s*|(?=\n|$)\s*)")
    for language, pattern in (dict.fromkeys(LANGUAGES, _TYPED) | _ECMA | {"python": _PYTHON, "ruby": _RUBY, "go": _GO}).items()
}
_HASH = re.compile(r"#[^\n]*")
_SLASHES = re.compile(
    r"/\*.*?\*/|//[^\n]*|^[ \t]*#(?:[^\n\\]|\\.)*+", re.DOTALL | re.MULTILINE
)  # a macro may go on in the next line
_STRUCTURE = re.compile(r"(?:typedef\s+)?(?:struct|union|enum)\b[^{}();=]{0,200}\{[^{}]{0,4000}\}[^;{}()=]{0,100};?")
_TYPEDEF = re.compile(r"typedef\s+[^;{}]{1,300};")
_BRACES = re.compile(r"\{[^{}]*+\}")
_MOST_NESTED = 4  # braces in the structure of a type
_SHAPE = {  # types without the text in their braces
    "go": re.compile(r"^[ \t]*type\s+\w++(?:\[[^\[\]\n]*\])?\s+[\w.*=\[\] \t]++$", re.MULTILINE),
    "typescript": re.compile(
        r"^[ \t]*(?:(?:export|default|declare|const)\s++)*+(?:(?:interface|enum)\s+[^\n;(){}=]++;?|"
        r"type\s+[\w<>, \t]++=[^\n]*+(?:\n[ \t]*+[|&][^\n]*+|\n[ \t]++[^\n]*+)*+)$",
        re.MULTILINE,
    ),
}
_TYPE_WORDS = (
    r"(?:void|u?int(?:\d+)?|u?long|u?short|s?byte|char|bool|boolean|unsigned|signed|float|double|const|struct|enum|union|extern|\w+_t|"
    r"string|String|Object|object|List|Map|Task|IEnumerable)"
)
_BEGINS_SIGNATURE = re.compile(
    rf"(?:func|function|{_MODIFIER}|{_TYPE_WORDS})(?:[\s?\[]|$)|[\w.]+(?:<[\w<>?, .]{{1,100}}>|\s?\*)"
)
_RESULT_TYPE = r"(?:\s*:\s*\??[\w.\\]++(?:<[^<>]{0,100}>)?(?:\[\])*(?:\s?[|&]\s?[\w.\\]++(?:\[\])*)*)?"
_SIGNATURE = re.compile(
    rf"(?:{_GO}|{_TYPED}|(?:{_FUNCTION_START}|(?:{_MODIFIER}\s++)++\w++{_ARGUMENTS}){_RESULT_TYPE})\s*[;{{]?\s*"
)
_PROSE_WORDS = re.compile(
    r"\b(?:the|an?|of|or|and|if|is|are|see|for|with|by|to|be|as|in|on|not|when|that|which|it|e\.g\.|i\.e\.) \w"
)
_PARAMETERS = re.compile(
    rf"\(\s*\)|[(,]\s*(?:{_TYPE_WORDS}\b|\.\.\.|[$&])|\*|[\w\])]\s?[:=]|\w_\w|\[\]|\((?:\w+ \w+,\s?)++\w+ \w+\)"
)
_PLURAL = re.compile(r"\w\(e?s\)")
_CALL = re.compile(r"[\w)>\]!?]\s?\(")


def only_declares(code: str, language: str) -> bool:
    """Whether code is only signatures, structures of C, types of Go and TypeScript, or data in JSON. Comments do not count."""
    code = (_HASH if language in ("python", "ruby") else _SLASHES).sub("", code).strip()
    if code[:1] in ("{", "[") and code[-1:] in ("}", "]") and '"' in code and not _CALL.search(code):
        return language != "ruby" or ":" in code
    if language == "c":
        code = _TYPEDEF.sub("", _STRUCTURE.sub("", code)).strip()
    if language in _SHAPE and _only_shapes(code, _SHAPE[language]):
        return True
    position = 0
    while position < len(code):
        declaration = _DECLARATION[language].match(code, position)
        if declaration is None:
            return False
        position = declaration.end()
    return True


def _only_shapes(code: str, shape: re.Pattern) -> bool:
    for _ in range(_MOST_NESTED):
        code = _BRACES.sub("", code)
    return not shape.sub("", code).strip(" \t\n;")


def may_begin_signature(text: str) -> bool:
    """Whether a text begins like the signature of a function. This is quick."""
    return _BEGINS_SIGNATURE.match(text) is not None


def is_signature(text: str) -> bool:
    """Whether a text is the signature of a function: "static void f(struct foo *p)", "func (s *S) f(a int) error".

    A name before brackets may also be prose ("public key (RSA)"). If a blank is before the brackets, they must hold what only
    parameters have.
    """
    opened = text.find("(")
    if opened < 1 or not _BEGINS_SIGNATURE.match(text) or not _SIGNATURE.fullmatch(text):
        return False
    if text.startswith("func "):
        return True
    if _PROSE_WORDS.search(text) or _PLURAL.search(text):
        return False
    listed = text.startswith("function ") and "," in text
    return listed or text[opened - 1] != " " or _PARAMETERS.search(text, opened) is not None
