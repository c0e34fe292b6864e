"""Split identifiers into words, for full-text search, BM25 and pairs.

`parseHTTPResponse_v2` becomes `parse http response v2`, so a query in plain words matches code in any naming style. Stored
models know the words of split_words, so what it returns must not change.
"""

import re

_TOKEN = re.compile(r"[^\W_]+", re.UNICODE)
_ACRONYM = r"[A-Z]{2,}s(?![A-Za-z])|[A-Z]+[B-HJ-Z]s(?![a-z])|[A-Z]{2,}v[0-9]+(?![a-z])"  # URLs, IPv6; not the "As" of XAsY
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+", re.UNICODE)
_PART_OF_NAME = re.compile(f"{_ACRONYM}|{_PART.pattern}", re.UNICODE)


def split_words(text: str) -> list[str]:
    """Lower-case words of `text` in order: split at punctuation, underscores and changes of case."""
    return _split(text, _PART)


def split_names(text: str) -> list[str]:
    """As split_words, but a plural or version of an acronym is one word: `getURLs` gives get and urls, `IPv6` gives ipv6."""
    return _split(text, _PART_OF_NAME)


def _split(text: str, part: re.Pattern) -> list[str]:
    tokens = _TOKEN.findall(text)
    if text.islower() and text.isascii():
        return tokens
    words = []
    for token in tokens:
        if token.islower() or token.isdigit():
            words.append(token)
        else:
            words += map(str.lower, part.findall(token))
    return words
