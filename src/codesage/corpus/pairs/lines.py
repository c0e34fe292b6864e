"""Counts lines of code when the length of a body is measured.

Blank lines, comments, and lines of only brackets or block keywords (`end`, `}`, `});`, `} else {`, `begin`, `#endif`) do not
count: they say nothing about what a function does. The count works the same in all nine languages.
"""

import re
import string

_HASH = {"python", "ruby"}  # languages whose only line comment is "#"
_BLOCK_KEYWORDS = (
    "begin|catch|default|do|done|else|end|endfor|endforeach|endif|endswitch|endwhile|ensure|esac|except|fi|finally|pass|"
    "rescue|then|try"
)
_PHP = r"(?://|#(?!\[))"  # "#[" begins an attribute
_NO_CODE = {
    mark: re.compile(rf"[\W_]*(?:(?:{_BLOCK_KEYWORDS})\b[\W_]*)*(?:{mark}.*)?$", re.DOTALL) for mark in ("#", "//", _PHP)
}
_BEGINS_CODE = frozenset(string.ascii_letters + string.digits) - {word[0] for word in _BLOCK_KEYWORDS.split("|")}
_RUBY_COMMENT = re.compile(r"^=begin\b.*?(?:^=end\b[^\n]*|\Z)", re.DOTALL | re.MULTILINE)


def has_lines(code: str, least: int, language: str) -> bool:
    """Whether `code` has at least `least` lines of code."""
    if language == "ruby" and "=begin" in code:
        code = _RUBY_COMMENT.sub("", code)
    no_code = _NO_CODE["#" if language in _HASH else _PHP if language == "php" else "//"]
    position, count, commented = 0, 0, False
    while count < least and position < len(code):
        end = code.find("\n", position)
        end = len(code) if end < 0 else end
        line, position = code[position:end].strip(), end + 1
        if language not in _HASH:
            line, commented = _without_block_comment(line, commented)
        count += line[:1] in _BEGINS_CODE or no_code.match(line) is None
    return count >= least


def _without_block_comment(line: str, commented: bool) -> tuple[str, bool]:
    """Returns (the line without block comments at its start, whether a comment is still open at its end)."""
    position = 0
    while commented or line.startswith("/*", position):
        close = line.find("*/", position if commented else position + 2)
        if close < 0:
            return "", True
        position, commented = close + 2, False
        while line.startswith(" ", position):
            position += 1
    return line[position:] if position else line, False
