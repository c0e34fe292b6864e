"""Remove comments as the published evaluation of Code2Code does (paper section 4.1), so that figures can be compared.

In: code and its language. Out: the code without comments. White space is not kept: the caller joins it. Ruby stays as it is,
as published. Python loses its comments and every string that begins a line or a statement; a file that Python cannot split
into tokens stays as it is. All other languages lose /* */ and // outside of strings.
"""

import io
import re
import tokenize

_LITERAL = re.compile(r"""//[^\n]*|/\*.*?\*/|'(?:\\.|[^\\'])*'|"(?:\\.|[^\\"])*\"""", re.DOTALL)


def without_comments(code: str, language: str) -> str:
    """`code` without comments; see above."""
    if language == "ruby":
        return code
    if language == "python":
        return _python(code)
    return _LITERAL.sub(lambda match: " " if match[0].startswith("/") else match[0], code)


def _python(code: str) -> str:
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, SyntaxError):
        return code
    kept, before, line, column = [], tokenize.INDENT, -1, 0
    for token in tokens:
        if token.start[1] > (0 if token.start[0] > line else column):
            kept.append(" ")
        documentation = token.type == tokenize.STRING and (before in (tokenize.INDENT, tokenize.NEWLINE) or token.start[1] == 0)
        if token.type != tokenize.COMMENT and not documentation:
            kept.append(token.string)
        before, (line, column) = token.type, token.end
    return "".join(kept)
