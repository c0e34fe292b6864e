"""Lines of code: which lines count when a body is measured.

A blank line, a line of comment, and a line of brackets or block keywords alone (`end`, `}`, `});`, `} else {`, `begin`,
`#endif`) are no lines of code: they say nothing of what a function does. The count is the same in all nine languages.
"""

import re

_HASH = {"python", "ruby"}  # languages whose only line comment is "#"
_BLOCK_KEYWORDS = (
    "begin|catch|default|do|done|else|end|endfor|endforeach|endif|endswitch|endwhile|ensure|esac|except|fi|finally|pass|"
    "rescue|then|try"
)
_PHP = r"(?://|#(?!\[))"  # "#[" begins an attribute
_NO_CODE = {
    mark: re.compile(rf"[\W_]*(?:(?:{_BLOCK_KEYWORDS})\b[\W_]*)*(?:{mark}.*)?$", re.DOTALL) for mark in ("#", "//", _PHP)
}
_RUBY_COMMENT = re.compile(r"^=begin\b.*?(?:^=end\b[^\n]*|\Z)", re.DOTALL | re.MULTILINE)


def has_lines(code: str, least: int, language: str) -> bool:
    """Whether `code` has at least `least` lines of code."""
    if language == "ruby" and "=begin" in code:
        code = _RUBY_COMMENT.sub("", code)
    no_code = _NO_CODE["#" if language in _HASH else _PHP if language == "php" else "//"]
    position, found, commented = 0, 0, False
    while found < least and position < len(code):
        end = code.find("\n", position)
        end = len(code) if end < 0 else end
        line, position = code[position:end].strip(), end + 1
        if language not in _HASH:
            line, commented = _without_block_comment(line, commented)
        found += no_code.match(line) is None
    return found >= least


def _without_block_comment(line: str, commented: bool) -> tuple[str, bool]:
    """(what follows the block comments at the start of a line, whether one of them is still open at its end)."""
    position = 0
    while commented or line.startswith("/*", position):
        close = line.find("*/", position if commented else position + 2)
        if close < 0:
            return "", True
        position, commented = close + 2, False
        while line.startswith(" ", position):
            position += 1
    return line[position:] if position else line, False
