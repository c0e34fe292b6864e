"""Draw a search in a terminal, with its colours, for the README.

    python scripts/terminal_picture.py docs/search/terminal.svg

Searches src/ of the working folder with the bundled model, in an index that is complete. The picture needs no other file:
letters are those of the reader's fonts of fixed width.
"""

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

QUERY = "where are secrets masked"
_COLUMNS = 112
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # from a server


def main() -> None:
    """Run the search and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        shared = ["src", "--index-dir", folder]
        run("index", *shared)
        answers = run("search", QUERY, *shared, "--top", "3", "--color", "always")
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ codesage search '{QUERY}' src --top 3", style="bold"))
    console.print(Text.from_ansi(answers), soft_wrap=False, overflow="crop", no_wrap=True)
    console.print()  # below the last line, which is cut off at its letters
    drawn = _FONTS.sub("", console.export_svg(title="codesage", theme=MONOKAI, unique_id="search"))
    Path(sys.argv[1]).write_text(drawn.replace("Fira Code", "DejaVu Sans Mono"), encoding="utf-8")
    print(sys.argv[1], f"{Path(sys.argv[1]).stat().st_size:,} bytes")


def run(*arguments: str) -> str:
    """The standard output of a command of codesage."""
    done = subprocess.run([sys.executable, "-m", "codesage", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.rstrip("\n")


if __name__ == "__main__":
    main()
