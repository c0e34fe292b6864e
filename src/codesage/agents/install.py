"""The configuration of agents: the file with their MCP servers, and how our entry is written there.

In: the name of an agent and the folder of a project. Out: its configuration file with an entry "codesage"; everything else in
the file stays the same. A file that cannot be read as JSON is never overwritten.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codesage.errors import CodesageError

NAME = "codesage"


@dataclass(frozen=True, slots=True)
class Agent:
    """`file(project)`: its configuration; `key`: the table of its servers; `more`: what an entry has beside the command."""

    title: str
    file: Callable[[Path], Path]
    key: str
    more: dict


AGENTS = {
    "claude-code": Agent("Claude Code", lambda project: project / ".mcp.json", "mcpServers", {"type": "stdio"}),
    "cursor": Agent("Cursor", lambda project: project / ".cursor" / "mcp.json", "mcpServers", {}),
    "vscode": Agent("Visual Studio Code", lambda project: project / ".vscode" / "mcp.json", "servers", {"type": "stdio"}),
    "gemini": Agent("Gemini CLI", lambda project: project / ".gemini" / "settings.json", "mcpServers", {}),
    "windsurf": Agent("Windsurf", lambda project: Path.home() / ".codeium" / "windsurf" / "mcp_config.json", "mcpServers", {}),
}


def entry(project: Path, *, model: str = "") -> dict:
    """How an agent starts the server for `project`. The entry names this Python, so that it does not depend on PATH."""
    return {
        "command": sys.executable,
        "args": ["-m", "codesage", "mcp", "run", "--root", str(project), *(["--model", model] if model else [])],
    }


def install(name: str, project: Path, *, model: str = "") -> Path:
    """Write the entry into the configuration of the agent `name`; returns its file. CodesageError when it cannot be."""
    if name not in AGENTS:
        raise CodesageError(f"unknown agent {name!r}: expected one of {', '.join(AGENTS)}")
    agent, project = AGENTS[name], project.resolve()
    file = agent.file(project)
    held = _read(file)
    servers = held.setdefault(agent.key, {})
    if not isinstance(servers, dict):
        raise CodesageError(f"{file} does not have an object under {agent.key!r}: edit it by hand")
    servers[NAME] = agent.more | entry(project, model=model)
    fresh = file.with_name(f"{file.name}.new-{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise CodesageError(f"{file} cannot be written ({error.strerror})") from None
    return file


def _read(file: Path) -> dict:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CodesageError(f"{file} is not readable as JSON ({error}): repair it, or add the server by hand") from None
    if not isinstance(held, dict):
        raise CodesageError(f"{file} does not hold a JSON object: repair it, or add the server by hand")
    return held
