"""Stems of words: texts and names are compared without the endings of their words."""

from functools import lru_cache

from codesage.words import split_names


@lru_cache(maxsize=1 << 15)  # many tests call the same names
def stems(text: str) -> tuple[str, ...]:
    """The stems of the words of a text or name, in order."""
    return tuple([stem(word) for word in split_names(text)])


@lru_cache(maxsize=1 << 15)
def stem(word: str) -> str:
    """The stem of a word, so that "parses" and "parsing" are equal to "parse"."""
    for ending in ("ing", "ies", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
