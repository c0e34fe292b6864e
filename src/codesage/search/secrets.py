"""Recognise files that hold secrets by their text, for search: private keys in any file, passwords and tokens in settings.

In: the name and the text of a file. Out: whether it stays out of an index. Files whose name alone says it are those of
walk.is_secret. Some names are of settings that may hold secrets or not, such as terraform.tfvars and application.properties:
such a file is secret if it sets a password, a token or a key to a value that is neither a placeholder nor a reference.
"""

import base64
import hashlib
import re
from functools import cache

from codesage import walk

_BEGIN = r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----"
_KINDS_OF_KEYS = ("", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED ")
_ENCODED = "|".join(  # the same mark in base64, as in a kubeconfig; its last bytes are in letters that depend on what follows
    re.escape(base64.b64encode(f"-----BEGIN {kind}PRIVATE KEY-----".encode()).decode()[:36]) for kind in _KINDS_OF_KEYS
)
_PRIVATE_KEY = re.compile(  # the mark alone on its line, or with a key behind it; code that only names the mark has neither
    rf"^[ \t]*{_BEGIN}\s*$|{_BEGIN}(?:\\[rn]|[\s\"'+\\])*[A-Za-z0-9+/]{{32}}"
    rf"|{_BEGIN}(?:\\[rn]|&#\w+;|[\s\"'`+\\.,#/*|>-]){{,80}}(?=[A-Za-z+/]{{,39}}[0-9])[A-Za-z0-9+/]{{40}}"
    r"|^---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\s*$|^PuTTY-User-Key-File-\d: |AGE-SECRET-KEY-1[0-9A-Z]{50}"
    rf"|(?:{_ENCODED})[A-Za-z0-9+/]{{40}}",
    re.MULTILINE,
)
_KEY_MARKS = ("PRIVATE KEY", "PuTTY-User-Key-File-", "AGE-SECRET-KEY-1", "LS0tLS1CRUdJTi")  # each key has one
_FOR_SECRETS = re.compile(  # names of files that are made for secrets
    r"secrets?(?:[._-][\w-]+)?\.(?:ya?ml|json|toml|ini|properties|conf|txt)|[\w.-]+\.tfvars(?:\.json)?|wp-config[\w.-]*\.php"
    r"|(?:credentials?|passwords?|vault)(?:[._-][\w-]+)?\.(?:xml|ya?ml|json|ini|csv|txt|properties|conf)"
)
_OF_SETTINGS = re.compile(  # names of files that hold all settings of a program
    r"(?:application|bootstrap)(?:-[\w-]+)?\.(?:properties|ya?ml)|appsettings(?:\.[\w-]+)?\.json|(?:database|parameters)\.ya?ml"
    r"|(?:key|keystore|signing|gradle|local)\.properties|(?:local_?settings|settings[._]local)\.(?:py|php|json)"
    r"|(?:env|configuration)\.php|\.yarnrc(?:\.yml)?|pip\.conf|nuget\.config|profiles\.yml"
)
_OF_CLIENTS = re.compile(r"auth\.json|config\.json")  # of Composer and Docker, but other programs have files of these names
_SIGNED_IN = re.compile(
    r'"(?:http-basic|(?:github|gitlab|bitbucket)-oauth|gitlab-token|forgejo-token)"\s*:\s*\{\s*"[^"]+"\s*:\s*[{"]'
    r'|"auths"\s*:\s*\{[^{}]*\{[^{}]*"(?:auth|identitytoken)"\s*:\s*"[A-Za-z0-9+/=._-]{8}'
)
_VALUE = re.compile(  # `name = value` in all the forms of settings; group 1 is the rest of the name, group 2 the value
    r"(?:passw(?:or)?d|pwd|passphrase|secret|token|api_?-?key|access_?-?key|private_?-?key|auth_?-?key|[a-z]_(?:key|pass|salt)\b)"
    r"([\w.-]{0,40})[\"']?\s{0,8}(?:=>|:=|[:=,>]|\"\s+value=)[ \t]{0,8}[\"']?([^\s\"'<>;,#]{6,})",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(  # ends of names whose values are about a secret: where it is, how long it lives
    r"(?:name|ref|url|uri|file|path|dir|type|id|arn|ttl|length|size|header|field|policy|expir\w*|lifetime|seconds|minutes|days"
    r"|timeout|store|alias|provider|class|location|version|enabled|required|algorithm|encoding|format|prefix)$",
    re.IGNORECASE,
)
_REFERENCE = re.compile(  # values that name another place: variables, templates, functions, vaults; {AQ is how Jenkins begins
    r"[$%@!~./(\[]|\{(?!AQ)|.*(?:\$\{|\{\{|\}\}|://|\()|(?:env|file|vault|arn|op|ssm|sops|ref|cipher|var|local|data|enc|os|process)[:.\[(]|ssh-",
    re.IGNORECASE,
)
_PLACEHOLDERS = frozenset(  # words that only stand for a secret
    "a admin an and api app auth bar baz change changeit changeme client database db default dev development dummy enter "
    "example examplepassword fake fill fixme foo for generate guest here id insert key local localhost me mock my mysecret "
    "mypassword mysql none not null of pass passwd password phrase placeholder postgres please prod production put pwd "
    "redacted replace root sa sample secret secretkey set some string super supersecret test testing the this to todo token "
    "unique unset user username value with xx xxx xxxx xxxxxx xxxxxxxx you your yourpassword".split()
)
_WORD = re.compile(r"[a-z]+")
_LONG = 8  # characters of a password that can be told from a word in settings


def holds_secret(name: str, text: str) -> bool:
    """Whether the text of a file `name` holds secrets."""
    if any(mark in text for mark in _KEY_MARKS) and _PRIVATE_KEY.search(text):
        return True
    file = name.rpartition("/")[2].lower()
    if walk.is_example(file):
        return False
    if _FOR_SECRETS.fullmatch(file):
        return any(_is_value(match) for match in _VALUE.finditer(text))
    if _OF_SETTINGS.fullmatch(file):
        return any(_is_value(match) and _looks_chosen(match[2]) for match in _VALUE.finditer(text))
    return bool(_OF_CLIENTS.fullmatch(file) and _SIGNED_IN.search(text))


def _is_value(match: re.Match[str]) -> bool:
    """Whether a match of _VALUE assigns a secret, and not a placeholder or a reference."""
    value = match[2]
    if _NO_SECRET.search(match[1]) or _REFERENCE.match(value) or not any(map(str.isalpha, value)):
        return False
    words = _WORD.findall(value.lower())
    return words[:1] != ["your"] and not _PLACEHOLDERS.issuperset(words)


def _looks_chosen(value: str) -> bool:
    """Whether a value has letters and digits, as passwords have and words have not."""
    return len(value) >= _LONG and any(map(str.isdigit, value))


@cache
def rules_name() -> str:
    """A name that changes with the rules by which a file is secret."""
    patterns = (_PRIVATE_KEY, _FOR_SECRETS, _OF_SETTINGS, _OF_CLIENTS, _SIGNED_IN, _VALUE, _NO_SECRET, _REFERENCE)
    own = [*(one.pattern for one in patterns), *sorted(_PLACEHOLDERS), str(_LONG)]
    return hashlib.sha256("\n".join([*walk.secret_rules(), *own]).encode()).hexdigest()[:16]
