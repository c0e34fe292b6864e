"""Replace secrets and e-mail addresses by placeholders, so that no model memorises them.

In: the text of a file. Out: the text with every secret masked, and the number of secrets by kind. A placeholder is a word
that is valid in the place of the secret (mostly within quotes), so code still parses. IP addresses stay. A plain substring
search (0.6 ns a byte) finds the literal that a kind of secret begins with. Only there a pattern is tried, and its
repetitions are bounded. So the time depends only on the length of the text.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from codesage.corpus.build.tables import compute

_TOKENS = (  # name, literal at the start, pattern for the rest; no letter or digit comes directly before or after
    ("aws key", "AKIA", r"[A-Z2-7]{16}"),
    ("aws key", "ASIA", r"[A-Z2-7]{16}"),
    ("google key", "AIza", r"[A-Za-z0-9_-]{35}"),
    ("google key", "GOCSPX-", r"[A-Za-z0-9_-]{28}"),
    ("google token", "ya29.", r"[A-Za-z0-9_-]{20,400}"),
    *(("github token", f"gh{letter}_", r"[A-Za-z0-9]{36,255}") for letter in "pousr"),
    ("github token", "github_pat_", r"[A-Za-z0-9_]{50,255}"),
    ("gitlab token", "glpat-", r"[A-Za-z0-9_-]{20,64}"),
    ("slack token", "xox", r"[abeoprs]-[A-Za-z0-9-]{10,250}"),
    ("slack token", "xapp-", r"[A-Za-z0-9-]{10,250}"),
    ("npm token", "npm_", r"[A-Za-z0-9]{36}"),
    ("pypi token", "pypi-AgE", r"[A-Za-z0-9_-]{40,400}"),
    *(("stripe key", f"{letter}k_live_", r"[A-Za-z0-9]{16,250}") for letter in "srp"),
    ("stripe key", "sk_test_", r"[A-Za-z0-9]{16,250}"),
    ("stripe key", "whsec_", r"[A-Za-z0-9+/=]{24,64}"),
    ("model token", "hf_", r"[A-Za-z]{34}"),
    ("api key", "sk-", r"[A-Za-z0-9_-]{32,250}"),
    ("api key", "SG.", r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    ("json web token", "eyJ", r"[A-Za-z0-9_-]{10,4000}+\.eyJ[A-Za-z0-9_-]{10,4000}+\.[A-Za-z0-9_-]{10,4000}"),
)
_UNSPECIFIC = ("sk-", "SG.", "sk_live_", "rk_live_", "pk_live_", "sk_test_", "whsec_")  # ordinary words may begin like this
_WITHIN = (  # name, literal at the start, pattern for the rest; group 1 is the secret
    (
        "private key",
        "-----BEGIN ",
        r"(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----((?:[^-]|-(?!----)){0,20000}+)-----END ",
    ),
    ("slack token", "hooks.slack.com/services/", r"(T[A-Za-z0-9_]{8,14}/B[A-Za-z0-9_]{8,14}/[A-Za-z0-9]{20,32})"),
    ("address password", "://", r"[A-Za-z0-9_.%+~-]{0,64}:([^\s:/?#@\"'<>{}$%()\[\]|`*\\]{3,128})@[A-Za-z0-9\[]"),
)
_PATTERNS = (  # name, literal at the start, pattern from there on, whether it is a token
    *((name, start, re.compile(rf"({re.escape(start)}{rest})(?![A-Za-z0-9_-])"), True) for name, start, rest in _TOKENS),
    *((name, start, re.compile(re.escape(start) + rest), False) for name, start, rest in _WITHIN),
)
_ASSIGNED = (
    "passw",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "accesskey",
    "private_key",
    "auth_key",
    "credential",
)
_VALUE = re.compile(
    r"[A-Za-z0-9_-]{1,48}[\"']?\]?[ \t]{0,8}(?::[ \t]{0,4}(?:str|[Ss]tring)[ \t]{0,8}(?==))?"
    r"(?:=>|:=|=|:)\s{0,8}[@bru]?[\"'`]([A-Za-z0-9+/=_.~!@#$%^&*-]{12,256})[\"'`]"
)
# One expression for the starts of all secrets except e-mail addresses. RE2 searches for all of them in one pass, at 2 ns a
# byte; searching for one literal after the other takes 25 ns a byte. It may match too much, but it misses no secret.
_BLANK = r"[\pZ\x09-\x0d\x1c-\x20\x{85}]*"
_SUSPECT = "|".join(
    (
        rf"(?:^|[^A-Za-z0-9_/+-])(?:{'|'.join(sorted({re.escape(start) for _, start, _ in _TOKENS}))})[A-Za-z0-9_+/=-]",
        "-----BEGIN ",
        r"hooks\.slack\.com/services/",
        "://[A-Za-z0-9_.%+~-]*:",
        rf"(?i:{'|'.join(map(re.escape, _ASSIGNED))})[A-Za-z0-9_-]*[\"']?\]?[ \t]*(?::[ \t]*(?:str|[Ss]tring)[ \t]*)?"
        rf"(?:=>|:=|=|:){_BLANK}[@bru]?[\"'`][A-Za-z0-9+/=_.~!@#$%^&*-]",
    )
)
_DOMAIN = re.compile(r"@((?:[A-Za-z0-9-]{1,63}\.){1,4}([A-Za-z]{2,24}))(?![A-Za-z0-9_@(\[]|:[A-Za-z0-9~/]|[.-][A-Za-z0-9_])")
_LOCAL = re.compile(r"[A-Za-z0-9._%+-]")
_FILES = {"png", "jpg", "jpeg", "gif", "svg", "webp", "js", "ts", "css", "py", "html", "json", "so", "zip", "tgz", "mark"}
_EXAMPLES = ("example.com", "example.org", "example.net", "example.edu")  # reserved domains (RFC 2606)


def redact(text: str) -> tuple[str, Counter]:
    """`text` with secrets and e-mail addresses masked, and how many of each kind there were.

    Values that are assigned to names like `password`, and keys whose form is not distinctive, are masked only when they
    look random. Addresses in the reserved example domains and `git@host:path` stay.
    """
    finds: Counter = Counter()
    for kind, start, pattern, token in _PATTERNS:
        if start in text:
            text = _masked(text, _secrets(text, start, pattern, token=token), kind, finds)
    text = _masked(text, _assigned(text), "assigned secret", finds)
    return _without_addresses(text, finds)


def redact_all(texts: Sequence[str]) -> list[tuple[str, Counter]]:
    """`redact` for each text. A text in which nothing begins like a secret is only searched for addresses."""
    try:
        suspect = compute.match_substring_regex(pa.array(texts, pa.string()), _SUSPECT).to_pylist()
    except UnicodeEncodeError:  # Arrow rejects lone surrogates
        suspect = [True] * len(texts)
    return [redact(text) if full else _without_addresses(text, Counter()) for text, full in zip(texts, suspect, strict=True)]


def _without_addresses(text: str, finds: Counter) -> tuple[str, Counter]:
    return (_masked(text, _addresses(text), "e-mail address", finds) if "@" in text else text), finds


def _masked(text: str, spans: Iterator[tuple[int, int]], kind: str, finds: Counter) -> str:
    mask = "name@example.com" if kind == "e-mail address" else "REDACTED_" + kind.upper().replace(" ", "_")
    parts, done = [], 0
    for start, end in spans:
        if start < done or "REDACTED_" in text[start:end]:
            continue
        finds[kind] += 1
        parts += [text[done:start], mask]
        done = end
    return "".join([*parts, text[done:]]) if parts else text


def _secrets(text: str, start: str, pattern: re.Pattern[str], *, token: bool) -> Iterator[tuple[int, int]]:
    """Spans of group 1 where `pattern` matches at the literal `start`. A token must not be part of a longer word."""
    at = text.find(start)
    while at >= 0:
        inside = token and at and (text[at - 1].isalnum() or text[at - 1] in "_-/+")
        match = None if inside else pattern.match(text, at)
        if match and (start not in _UNSPECIFIC or _looks_random(match[1])):
            yield match.span(1)
        at = text.find(start, match.end() if match else at + len(start))


def _assigned(text: str) -> Iterator[tuple[int, int]]:
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters become longer in lower case
        lowered = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    spans = set()
    for word in _ASSIGNED:
        at = lowered.find(word)
        while at >= 0:
            match = _VALUE.match(text, at)
            if match and _looks_random(match[1]):
                spans.add(match.span(1))
            at = lowered.find(word, at + len(word))
    yield from sorted(spans)


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in _DOMAIN.finditer(text):
        start = match.start()
        while start and match.start() - start <= 64 and _LOCAL.match(text[start - 1]):
            start -= 1
        local, domain = text[start : match.start()].lstrip(".-%+"), match[1].lower()
        if not 0 < len(local) <= 64 or local == "git" or match[2].lower() in _FILES or domain.endswith(_EXAMPLES):
            continue
        begin = match.start() - len(local)
        if not begin or text[begin - 1] not in "@/":
            yield begin, match.end()


def _looks_random(value: str) -> bool:
    """Whether a value looks like a key and not like words, a path, a name or a format: 3 bits a letter, and some digits."""
    letters, digits = sum(map(str.isalpha, value)), sum(map(str.isdigit, value))
    if not letters or digits < 2 or letters + digits < 0.7 * len(value):
        return False
    counts = Counter(value).values()
    return -sum(count * math.log2(count / len(value)) for count in counts) >= 3 * len(value)
