"""Write docs/commands.md: the help of every command, so that the site has what the terminal shows."""

from pathlib import Path

import click
import typer

from codesage import cli

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
HEAD = """# Commands

This page is the output of `--help` of every command. `python scripts/commands_page.py` writes it.
A failure that was foreseen is one line on stderr with exit code 2.
"""


def commands(group: click.Group, name: str = "codesage"):
    """Yield (full name, command) of every command below `group`, groups left out."""
    for part, command in group.commands.items():
        full = f"{name} {part}"
        if hasattr(command, "commands"):
            yield from commands(command, full)
        else:
            yield full, command


def page() -> str:
    """The whole page."""
    cli._mount()
    parts = [HEAD]
    for name, command in commands(typer.main.get_command(cli.app)):
        context = command.make_context(name, [], resilient_parsing=True, terminal_width=100, max_content_width=100)
        parts.append(f"## {name}\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
