"""The configuration of agents: the file with their MCP servers, and how our entry is written there.

In: the name of an agent and the folder of a project. Out: its configuration file with an entry "codesage". All other settings,
their order, the indentation and the permissions of the file stay the same. A file that cannot be read as JSON is never
overwritten.
"""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codesage.artifacts import write_whole
from codesage.encoder.folders import BUNDLED_MODELS
from codesage.errors import CodesageError

NAME = "codesage"
_PRIVATE = 0o600  # of a new file: other servers' entries may hold tokens


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
    """How an agent starts the server for `project`. CodesageError when there is no such folder, or no such model.

    The entry names this Python, so that it does not depend on PATH. Agents start it in the project. `-P` keeps Python from
    importing modules from there.
    """
    if not project.is_dir():
        raise CodesageError(f"{project}: no such folder: give the folder of the project")
    more = ["--model", _model(model)] if model else []
    return {"command": sys.executable, "args": ["-P", "-m", "codesage", "mcp", "run", "--root", str(project.resolve()), *more]}


def install(name: str, project: Path, *, model: str = "") -> Path:
    """Write the entry into the configuration of the agent `name`; returns its file. CodesageError when it cannot be."""
    if name not in AGENTS:
        raise CodesageError(f"unknown agent {name!r}: expected one of {', '.join(AGENTS)}")
    agent, own = AGENTS[name], entry(project, model=model)
    file = _target(agent.file(project.resolve()))
    text, held = _read(file)
    servers = held.setdefault(agent.key, {})
    if not isinstance(servers, dict):
        raise CodesageError(f"{file} does not have an object under {agent.key!r}: edit it by hand")
    servers[NAME] = _kept(servers.get(NAME)) | agent.more | own
    _write(file, json.dumps(held, indent=_indentation(text), ensure_ascii=False) + "\n")
    return file


def _model(given: str) -> str:
    """A model for an agent, which starts the server in a folder of its own: a path becomes absolute."""
    if Path(given).exists():
        return str(Path(given).resolve())
    if given not in BUNDLED_MODELS:
        raise CodesageError(f"{given}: no such model: give its folder, or one of {', '.join(BUNDLED_MODELS)}")
    return given


def _target(file: Path) -> Path:
    """The file itself, where `file` is a link to it."""
    try:
        return file.resolve()
    except (OSError, RuntimeError):  # links in a circle
        raise CodesageError(f"{file} is a link that leads nowhere: repair it, or remove it") from None


def _kept(earlier: object) -> dict:
    """What a new entry takes from an earlier one: its order, and settings such as `env`. Nothing from one without a command."""
    return earlier if isinstance(earlier, dict) and "command" in earlier else {}


def _indentation(text: str) -> str:
    """The indentation of a file of JSON: that of its first indented line."""
    first = re.search(r"^[ \t]+(?=\S)", text, re.MULTILINE)
    return first[0] if first else "  "


def _read(file: Path) -> tuple[str, dict]:
    """The text of the file, and what it holds."""
    try:
        text = file.read_text(encoding="utf-8")
        held = json.loads(text)
    except FileNotFoundError:
        return "", {}
    except (OSError, ValueError) as error:
        raise CodesageError(f"{file} is not readable as JSON ({error}): repair it, or add the server by hand") from None
    if not isinstance(held, dict):
        raise CodesageError(f"{file} does not hold a JSON object: repair it, or add the server by hand")
    return text, held


def _write(file: Path, text: str) -> None:
    """Replace the file at once, with the permissions that it had."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        mode = file.stat().st_mode & 0o777 if file.exists() else _PRIVATE
        write_whole(file, text.encode(), mode=mode)
        file.chmod(mode)  # all of it, whatever the umask is
    except (OSError, ValueError) as error:
        raise CodesageError(f"{file} cannot be written ({getattr(error, 'strerror', None) or error})") from None
