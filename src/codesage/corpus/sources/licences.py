"""Read the licences that packages state, as short SPDX-like names, and decide which of them are permissive.

In: what a package says about itself (metadata of Python distributions, package.json, debian/copyright), or the head of a
file. Out: an expression of names joined by AND and OR ("" when nothing is known), and whether it lets one choose
permissive terms only. Only permissive sources go into the models we ship.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message

PERMISSIVE = frozenset({
    "Apache-2.0", "MIT", "BSD", "BSD-2-Clause", "BSD-3-Clause", "ISC", "PSF-2.0", "HPND", "Unlicense", "0BSD", "Zlib",
    "CC0-1.0", "Ruby", "PHP-3.01", "PostgreSQL", "OpenSSL", "curl", "blessing", "Unicode", "BSL-1.0", "public-domain",
    "WTFPL", "BlueOak-1.0.0", "X11", "TCL", "ZPL-2.1", "Artistic-2.0", "BSD-4-Clause", "Libpng", "NCSA", "W3C",
    "Apache-1.1", "CC-BY-3.0", "CC-BY-4.0",
})  # fmt: skip
HEADER = 2_000  # characters at the start of a file that are searched for its licence

# The first match gives the name. Licences that are not permissive come first, so that "GPL or Apache" is not read as Apache.
_NAMES = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"Commons[- ]Clause|Proprietary|Commercial|\bNC\b|BUSL|Business Source|\bBSL[- ]?1\.1|SSPL|Server Side", "restricted"),
        (r"\bAGPL|Affero", "AGPL"), (r"\bLGPL|Lesser General|Library General", "LGPL"),
        (r"\bGPL|GNU General|\bGFDL|\bGNU Public", "GPL"), (r"\bMPL|Mozilla", "MPL-2.0"), (r"\bEPL|Eclipse", "EPL"),
        (r"\bCDDL|Common Development", "CDDL"), (r"CC[- ]BY[- ](?:NC|ND)", "restricted"), (r"CC[- ]BY[- ]SA", "CC-BY-SA"),
        (r"CC[- ]BY[- ]3\.0", "CC-BY-3.0"), (r"CC[- ]BY[- ]4\.0", "CC-BY-4.0"), (r"\bEUPL", "EUPL"),
        (r"\bOSL|Open Software", "OSL"), (r"CeCILL", "CeCILL"),
        (r"Apache[^;,|]*\b1\.[01]", "Apache-1.1"), (r"\bApache|\bASL[- ]?2", "Apache-2.0"),
        (r"\bExpat|\bMIT\b", "MIT"), (r"\b0BSD|BSD-0", "0BSD"),
        (r"BSD[- ]?4|4[- ]clause", "BSD-4-Clause"), (r"BSD[- ]?3|3[- ]clause|(new|modified) BSD", "BSD-3-Clause"),
        (r"BSD[- ]?2|2[- ]clause|simplified BSD", "BSD-2-Clause"), (r"BSD|^Go$", "BSD"), (r"\bISC\b", "ISC"),
        (r"Python Software Foundation|\bPSF|^Python(-2\.0)?$", "PSF-2.0"), (r"HPND|Historical", "HPND"),
        (r"\bUnlicense\b", "Unlicense"), (r"\bzlib|libpng", "Zlib"), (r"CC0", "CC0-1.0"), (r"^Ruby\b", "Ruby"),
        (r"\bPHP(-?3|\b.*3\.0)", "PHP-3.01"), (r"PostgreSQL", "PostgreSQL"), (r"OpenSSL|SSLeay", "OpenSSL"),
        (r"^curl$", "curl"), (r"blessing", "blessing"), (r"\bUnicode", "Unicode"), (r"\bBSL[- ]?1\.0|Boost", "BSL-1.0"),
        (r"public[- _]?domain|^PD$", "public-domain"), (r"WTFPL", "WTFPL"), (r"BlueOak|Blue Oak", "BlueOak-1.0.0"),
        (r"^X11|MIT/X", "X11"), (r"\bTCL\b", "TCL"), (r"\bZPL|Zope", "ZPL-2.1"),
        (r"Artistic-2|Artistic.* 2\.0", "Artistic-2.0"), (r"\bNCSA|Illinois", "NCSA"), (r"\bW3C\b", "W3C"),
    )
)  # fmt: skip
_TEXTS = tuple(
    (re.compile(r"\s+".join(pattern.split(" ")), re.IGNORECASE | re.DOTALL), name)
    for pattern, name in (
        (r"GNU AFFERO GENERAL PUBLIC", "AGPL"),
        (r"GNU (Lesser|Library) General Public", "LGPL"),
        (r"GNU GENERAL PUBLIC", "GPL"),
        (r"Mozilla Public License", "MPL-2.0"),
        (r"Eclipse Public License", "EPL"),
        (r"Common Development and Distribution License", "CDDL"),
        (r"Apache License,? (Version )?2", "Apache-2.0"),
        (r"Permission is hereby granted, free of charge, to any person", "MIT"),
        (r"Redistribution and use in source and binary forms.*(?:Neither the name|may not be used to endorse)", "BSD-3-Clause"),
        (r"Redistribution and use in source and binary forms", "BSD-2-Clause"),
        (r"Permission to use, copy, modify,? (and/or|and) distribute this software for any purpose", "ISC"),
        (r"This software is provided ['\"]+as-is['\"]+, without any express or implied warranty", "Zlib"),
        (r"Boost Software License", "BSL-1.0"),
        (r"PYTHON SOFTWARE FOUNDATION LICENSE", "PSF-2.0"),
        (r"Permission to use, copy, modify, and distribute this software and its documentation", "HPND"),
        (r"This is free and unencumbered software released into the public domain", "Unlicense"),
    )
)
_LICENCE_FILE = re.compile(r"(?:^|/)(?:licen[cs]es?|copying)(?:[.-]\w+)*$", re.IGNORECASE)
_COPYLEFT_HEADER = re.compile(
    r"GNU\W+(?:\w+\W+){0,3}?General\W+Public\W+Licen[cs]e|(?:Mozilla|Eclipse)\W+Public\W+Licen[cs]e"
    r"|Common\W+Development\W+and\W+Distribution\W+Licen[cs]e|SPDX-License-Identifier:[^\n]*\b(?:[AL]?GPL|MPL|EPL|CDDL)-",
    re.IGNORECASE,
)
_HEADER_WORDS = ("gnu", "mozilla", "eclipse", "common development", "spdx-license")  # each such header has one of these
_PERMISSIVE_TOO = re.compile(
    r"\b(?:or|either|alternatively|dual)\b[^.]{0,200}\b(?:MIT|BSD|Apache|Ruby|ISC|zlib)\b", re.IGNORECASE
)
_WITH = re.compile(r"\s+with\s+[^()]*?(?=\s+(?:and|or)\s|[,()]|$)", re.IGNORECASE)
_OPERATOR = re.compile(r"(\s+and\s+|\s+or\s+|[()])", re.IGNORECASE)
_COMMA = re.compile(r",\s*(?:(and|or)\b)?", re.IGNORECASE)
_CHOICE = re.compile(r"\bor\b|[/|]", re.IGNORECASE)
_DENIAL = re.compile(r"\b(?:not|non|no|except|excluding|without|but)\b[\s-]*(?:\w+\s+){0,3}$", re.IGNORECASE)  # before a name
_DROPPED = ("", "lib/", "src/", "source/", "sample/", "samples/", "examples/")  # folders that an installed path lacks
_FAMILIES = {
    "BSD-2-Clause": "BSD",
    "BSD-3-Clause": "BSD",
    "BSD-4-Clause": "BSD",
    "X11": "MIT",
    "Expat": "MIT",
    "blessing": "public-domain",
    "Unlicense": "public-domain",
    "CC0-1.0": "public-domain",
}


def name_of(stated: str) -> str:
    """The SPDX-like name of one licence in free wording ("Expat", "BSD License", "GPL-2+").

    "" when unknown, also for "not MIT".
    """
    stated = stated.strip()
    name, match = next(((name, match) for pattern, name in _NAMES if (match := pattern.search(stated))), ("", None))
    return "" if match and name in PERMISSIVE and _is_denied(stated, match) else name


def _is_denied(stated: str, match: re.Match) -> bool:
    """Whether a text says that something is not under the licence it names: "non-MIT", "not under the MIT licence"."""
    return _DENIAL.search(stated[max(0, match.start() - 40) : match.start()]) is not None


def expression(stated: str) -> str:
    """Turn a stated expression with AND, OR, "/", "|" and commas into one of SPDX-like names, without WITH clauses.

    "/" and "|" bind more tightly than AND and OR, and commas less tightly, as in debian/copyright. A clause WITH more
    restrictions stays. An unknown part keeps its wording, so it never counts as permissive.
    """
    stated = _comma_groups(_WITH.sub(_restriction, stated.replace(";", ",")))
    stated = re.sub(r"(?<=\w)\s*(?:/|\|+)\s*(?=[A-Z])", " | ", stated)
    tokens = [word for token in _OPERATOR.split(stated) if (word := token.strip())]
    mixed = any(token.lower() == "and" for token in tokens)
    joined = " ".join(_spdx(token, bracketed=mixed) for token in tokens).replace("( ", "(").replace(" )", ")")
    joined = re.sub(r"\(([^()\s]+|\([^()]*\))\)", r"\1", joined)  # brackets around one name or around brackets
    return re.sub(r"^\(([^()]*)\)$", r"\1", joined)


def _restriction(clause: re.Match) -> str:
    """What stays of a WITH clause: nothing of an exception, which permits more, and "restricted" of a restriction."""
    return " and restricted" if name_of(clause.group()) == "restricted" else ""


def _comma_groups(stated: str) -> str:
    """A stated expression with AND in place of commas, and with brackets around what is between them if there is a choice."""
    if "," not in stated:
        return stated
    if not _CHOICE.search(stated):
        return _COMMA.sub(" and ", stated)
    stated = stated.replace("(", "((").replace(")", "))")
    return "(" + _COMMA.sub(lambda comma: f") {comma.group(1) or 'and'} (", stated) + ")"


def _spdx(token: str, *, bracketed: bool) -> str:
    """One token of an expression: an operator in capitals, a bracket, or the name of a licence, or of several after "|"."""
    if token.lower() in ("and", "or"):
        return token.upper()
    names = [name_of(word) or re.sub(r"\s+", "-", word) for part in token.split(" | ") if (word := part.strip())]
    joined = " OR ".join(names)
    return f"({joined})" if bracketed and len(names) > 1 else joined


def every(stated: Iterable[str]) -> str:
    """The expression that requires each of several stated licences. An element with a choice is in brackets."""
    parts = [part for one in stated if (part := expression(one))]
    return " AND ".join(f"({part})" if " OR " in part and len(parts) > 1 else part for part in parts)


def is_permissive(licence: str) -> bool:
    """Whether an `expression` lets one choose permissive terms only: every side of an AND, and one side of an OR."""
    tokens = re.findall(r"[()]|[^\s()]+", licence)
    try:
        allowed, rest = _any(tokens)
    except (IndexError, RecursionError):
        return False
    return allowed and not rest


def _any(tokens: list[str]) -> tuple[bool, list[str]]:
    allowed, tokens = _every(tokens)
    while tokens and tokens[0] == "OR":
        other, tokens = _every(tokens[1:])
        allowed = allowed or other
    return allowed, tokens


def _every(tokens: list[str]) -> tuple[bool, list[str]]:
    allowed, tokens = _one(tokens)
    while tokens and tokens[0] == "AND":
        other, tokens = _one(tokens[1:])
        allowed = allowed and other
    return allowed, tokens


def _one(tokens: list[str]) -> tuple[bool, list[str]]:
    if tokens[0] != "(":
        return tokens[0] in PERMISSIVE, tokens[1:]
    allowed, rest = _any(tokens[1:])
    return allowed and rest[0] == ")", rest[1:]


def agree(stated: str, expected: str) -> bool:
    """Whether two expressions can mean the same: they share a licence. Licences of one family count as equal."""
    sets = [
        {_FAMILIES.get(word, word) for word in re.findall(r"[^\s()]+", text) if word not in ("AND", "OR")}
        for text in (stated, expected)
    ]
    return bool(sets[0] & sets[1])


def of_text(text: str) -> str:
    """The licence whose wording is in a text: the most restrictive one that is found, or ""."""
    return next((name for pattern, name in _TEXTS if pattern.search(text)), "")


def is_licence_file(path: str) -> bool:
    """Whether a path names a licence file: LICENSE, LICENCE.md, COPYING.txt."""
    return _LICENCE_FILE.search(path) is not None


def of_file(text: str) -> str:
    """The licence whose text a licence file contains, or that its first lines name; "" when it is not recognised."""
    return of_text(text) or name_of(text[:500])


def of_distribution(metadata: Message) -> str:
    """The licences that a Python distribution states, joined by AND; "" when none is known.

    They come from License-Expression, else from the classifiers, else from License: from its first line, or from its
    wording when it contains the whole licence.
    """
    stated = metadata.get("License-Expression") or ""
    if stated:
        return expression(stated)
    classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    text = (metadata.get("License") or "").strip()
    names, rest = [], "; ".join(classifiers) or "".join(text.splitlines()[:1])
    for pattern, name in _NAMES:
        if match := pattern.search(rest):
            names.append(f"not-{name}" if name in PERMISSIVE and _is_denied(rest, match) else name)
            rest = pattern.sub("", rest)
    if {"BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause"} & set(names):
        names = [name for name in names if name != "BSD"]
    return " AND ".join(sorted(names)) or of_text(text)


def of_npm(package: Mapping) -> str:
    """The licence that a package.json states, in the present format or an older one (object, list); "" when unknown."""
    stated = package.get("license", package.get("licenses", ""))
    parts = stated if isinstance(stated, list) else [stated]
    names = [part.get("type", "") if isinstance(part, dict) else part for part in parts]
    return " OR ".join(expression(n) for n in names if isinstance(n, str) and n and not n.upper().startswith("SEE "))


def copyleft_header(text: str) -> bool:
    """Whether the head of a file states a copyleft licence and offers no permissive alternative."""
    head = text[:HEADER]
    lower = head.lower()
    if not any(word in lower for word in _HEADER_WORDS):  # ten times faster than the regular expressions
        return False
    return bool(_COPYLEFT_HEADER.search(head)) and not _PERMISSIVE_TOO.search(head)


@dataclass(frozen=True, slots=True)
class Copyright:
    """A debian/copyright in the machine-readable format: licences by path pattern. The last match wins."""

    main: str  # the licence of `Files: *`, "" when there is none
    stanzas: tuple[tuple[str, str], ...]  # (regular expression for whole paths, licence expression), the last stanza first
    matcher: re.Pattern  # all patterns in this order, one group each

    def licence_of(self, path: str) -> str:
        """The licence expression for one path, relative to the unpacked source."""
        match = self.matcher.fullmatch(path)
        return self.stanzas[match.lastindex - 1][1] if match and match.lastindex else self.main

    def licence_of_installed(self, path: str) -> str:
        """The licence expression for one path of a binary package, where files lie in other folders than in the source.

        A stanza applies when its pattern matches the end of the path, with or without a source folder that packaging
        drops. If several apply, the first that is not permissive counts. The stanza debian/*, which is for the packaging
        itself, is ignored.
        """
        parts = path.split("/")
        tails = [f"{dropped}{'/'.join(parts[at:])}" for at in range(len(parts)) for dropped in _DROPPED]
        licences = [
            licence
            for pattern, licence in self.stanzas
            if pattern != ".*" and pattern.split("/")[0] != "debian" and any(re.fullmatch(pattern, tail) for tail in tails)
        ]
        return next((licence for licence in licences if not is_permissive(licence)), licences[0] if licences else self.main)


def read_copyright(text: str) -> Copyright:
    """Read a debian/copyright. A free-form file gives no stanzas and no licence, since it may state the packaging's licence."""
    fields = [_fields(part) for part in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n"))]
    if not any("copyright-format" in f.get("format", "") or "dep5" in f.get("format", "").lower() for f in fields[:2]):
        return _copyright([])
    texts = {}
    for field in fields:
        name, _, body = field.get("license", "").partition("\n")
        if body.strip():
            texts.setdefault(name.strip().lower(), of_text(body))
    stanzas = []
    for field in fields:
        short = field.get("license", "").partition("\n")[0].strip()
        if "files" in field and short:
            known = expression(short)
            if not is_permissive(known) and not name_of(short):
                known = texts.get(short.lower()) or known
            stanzas += [(_pattern(glob), known) for glob in field["files"].split()]
    return _copyright(stanzas[::-1])


def _copyright(stanzas: list[tuple[str, str]]) -> Copyright:
    main = next((licence for pattern, licence in stanzas if pattern == ".*"), "")
    return Copyright(main, tuple(stanzas), re.compile("|".join(f"({pattern})" for pattern, _ in stanzas), re.DOTALL))


def _fields(stanza: str) -> dict[str, str]:
    fields, name = {}, ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t") and name:
            fields[name] += "\n" + line.strip()
        elif ":" in line and not line.startswith("#"):
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _pattern(glob: str) -> str:
    """The regular expression for a glob of debian/copyright: `*` and `?` also match slashes, and a backslash escapes."""
    glob = glob.removeprefix("./")
    return "".join({"*": ".*", "?": "."}.get(part) or re.escape(part[-1:]) for part in re.findall(r"\\.|.", glob, re.DOTALL))
