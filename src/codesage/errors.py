"""The one error a person sees: what was found, what was expected, and the command or step that repairs it."""

import re
import unicodedata

_UNSEEN = re.compile("[^\\x20-\\x7e]")


class CodesageError(Exception):
    """A foreseen failure with a one-line message; the command line prints it without a traceback and exits with 2."""


def printable(text: str) -> str:
    r"""`text` with control characters shown as `\x1b`."""
    if not _UNSEEN.search(text):
        return text
    return "".join(
        letter
        if letter == "\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Zl", "Zp")
        else letter.encode("unicode_escape").decode()
        for letter in text
    )
