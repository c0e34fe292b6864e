"""Split identifiers into words, for full-text search and BM25.

`parseHTTPResponse_v2` becomes `parse http response v2`, so a query in plain words matches code in any naming style.
"""

import re

_TOKEN = re.compile(r"[^\W_]+", re.UNICODE)
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+", re.UNICODE)


def split_words(text: str) -> list[str]:
    """Lower-case words of `text` in order: split at punctuation, underscores and changes of case."""
    words = []
    for token in _TOKEN.findall(text):
        if token.islower() or token.isdigit():
            words.append(token)
        else:
            words += map(str.lower, _PART.findall(token))
    return words
