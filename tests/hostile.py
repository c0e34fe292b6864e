"""Creates over two hundred files that are hostile to readers and parsers, each in one known way.

`plant(folder)` writes them and returns their paths. Hostile archives and Parquet files are in test_sources.py.
"""

import os
import socket
from pathlib import Path

SUFFIXES = {
    "python": "py",
    "java": "java",
    "javascript": "js",
    "typescript": "ts",
    "csharp": "cs",
    "c": "c",
    "ruby": "rb",
    "go": "go",
    "php": "php",
}
_BODY = "x = 1;\ny = x + 2;\n"


def _texts(language: str) -> dict[str, bytes]:
    """Hostile texts in any language, by name."""
    comment = "#" if language in ("python", "ruby") else "//"
    head = "<?php\n" * (language == "php") + f"{comment} {language}\n"  # different in every language, so that none is a copy
    forms = {
        "brackets": "(" * 200_000,
        "closing": ")" * 200_000,
        "mixed": "([{" * 60_000,
        "levels": "{\n" * 5_000 + "}\n" * 5_000,
        "staircase": "".join(" " * i + "if x:\n" for i in range(700)),
        "sum": "x = " + "+".join(["a"] * 30_000) + ";\n",
        "sums": "x = " + " + \n".join(["a"] * 30_000) + ";\n",
        "unary": "x = " + "!" * 3_000 + "a;\n",
        "minus": "x = " + "- " * 30_000 + "a;\n",
        "calls": "f(" * 900 + ")" * 900,
        "dots": "a" + ".b" * 30_000 + ";\n",
        "ternary": "x = " + "a ? b :\n" * 5_000 + "c;\n",
        "elses": "if (a) { b(); }\n" + "else if (a) { b(); }\n" * 3_000,
        "quote": 'x = "' + "a\n" * 5_000,
        "comment": "/*" + " a\n" * 5_000,
        "comments": f"{comment} a\n" * 20_000,
        "stars": "/**\n" + " *\n" * 30_000 + " */\nvoid f() { a(); b(); }\n",
        "backslashes": 'x = "' + "\\" * 50_001,
        "templates": "x = `" + "${`" * 2_000,
        "generics": "List<" * 3_000 + "a" + ">" * 3_000 + " x;\n",
        "arrows": "x = " + "a => " * 5_000 + "b;\n",
        "long line": "x = '" + "a" * 900_000 + "';\n",
        "spaces": " " * 900_000 + "x\n",
        "tabs": "\t" * 900 + "x\n",
        "carriage returns": "x = 1\r" * 5_000,
        "separators": "x = 1\u2028y = 2\u2029\u0085z = 3\x0b\x0c\n" * 500,
        "controls": "".join(map(chr, range(1, 32))) + _BODY,
        "emoji": "🎉 = '🧑‍🚀';\n" * 500,
        "combining": "x" + "\u0301" * 20_000 + " = 1;\n",
        "right to left": "x = '\u202e\u2066// \u2069';\n" * 100,
        "number": "x = " + "9" * 4_900 + ";\n",
        "names": "".join(f"v{i} = {i};\n" for i in range(6_000)),
    }
    lines = {f"{name} in lines": _wrapped(text) for name, text in forms.items() if max(map(len, text.split("\n"))) > 2_000}
    return {name: (head + text).encode() for name, text in (forms | lines).items()} | {
        "ten megabytes": b"x" * 10_000_000,
        "nothing": b"",
        "blank": b" \n\t\n",
        "nul": (head + _BODY).encode() + b"\0\0" + _BODY.encode(),
        "invalid": (head + "x = '").encode() + b"\xff\xfe\xc0\x80'\n",
        "surrogate": (head + "x = '").encode() + b"\xed\xa0\x80'\n",
        "cut": (head + _BODY + "é").encode()[:-1],
        "latin": (head + "x = 'déjà vu';\n").encode("latin-1"),
        "utf16": (head + _BODY).encode("utf-16"),
        "utf16 odd": (head + _BODY).encode("utf-16")[:-1],
        "utf16 bare": (head + _BODY).encode("utf-16-le"),
        "utf32": (head + _BODY).encode("utf-32"),
        "mark": b"\xef\xbb\xbf" + (head + _BODY).encode(),
    }


def _wrapped(text: str) -> str:
    """`text` in lines of 60 characters. Walkers skip long lines, but these files should reach the parsers."""
    return "\n".join(text[start : start + 60] for start in range(0, min(len(text), 120_000), 60))


def plant(folder: Path) -> list[str]:
    """Write every hostile file below `folder`; returns the paths of those that a walker should see."""
    names = []
    for language, suffix in SUFFIXES.items():
        (folder / language).mkdir(parents=True)
        for name, data in _texts(language).items():
            names.append(f"{language}/{name}.{suffix}")
            (folder / names[-1]).write_bytes(data)
    return names + _special(folder)


def _special(folder: Path) -> list[str]:
    os.mkfifo(folder / "pipe.py")
    with socket.socket(socket.AF_UNIX) as bound:
        at = os.open(folder, os.O_RDONLY)  # a socket's path is limited to 108 bytes, so use a relative one
        here = os.open(".", os.O_RDONLY)
        os.fchdir(at)
        bound.bind("socket.py")
        os.fchdir(here)
        os.close(at)
        os.close(here)
    with open(folder / "sparse.py", "wb") as file:
        file.truncate(10 << 30)
    (folder / "loop").symlink_to(folder)
    (folder / "itself.py").symlink_to("itself.py")
    (folder / "away.py").symlink_to("/etc/passwd")
    (folder / "folder.py").mkdir()
    (folder / "line\nbreak.py").write_text("x = (\n")
    deep = folder / "/".join(["d" * 60] * 12)
    deep.mkdir(parents=True)
    (deep / "deep.py").write_text("x = 1\n")
    return ["pipe.py", "socket.py", "sparse.py", "line\nbreak.py", f"{deep.relative_to(folder)}/deep.py"]
