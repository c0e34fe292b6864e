"""The server that agents talk to: three read-only tools over the folders that it is allowed to search.

In: Folders, or a store. Out: an MCP server (SDK 2.x). Each answer has two forms: compact text for the model, and the same as
structured output for programs. Schemas have no nullable unions: optional arguments have defaults. An expected failure is an
error result with one line, which the model reads.
"""

import os
from collections.abc import Callable
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

import codesage
from codesage.agents.folders import Answer, Searched
from codesage.errors import CodesageError, printable
from codesage.records import Hit
from codesage.search.defaults import MOST_OF_QUERY
from codesage.search.places import LAST_LINE

_READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_INSTRUCTIONS = (
    "Searches source code by meaning, offline. Use `search` to find code by what it does, in plain words or code, when you do "
    "not know what it is called; use `similar` to find code like a given place, in any language. Answers are path:line and the "
    "first lines of each piece: read the file there for the rest."
)
_Limit = Annotated[int, Field(ge=1, le=50, description="How many results.")]
_Lines = Annotated[int, Field(ge=0, le=200, description="Lines of each result that are shown; 0: none.")]


class Piece(BaseModel):
    """One result."""

    path: str = Field(description="Below the root; absolute if several roots were searched.")
    start_line: int
    end_line: int
    kind: str = Field(description="function, class or window.")
    name: str
    language: str
    score: float
    text: str


class SearchAnswer(BaseModel):
    """An answer."""

    root: str = Field(description="The folder that paths are below; empty: several were searched.")
    files_indexed: int
    partial: str = Field(description="Why the index may lack files; empty: it lacks none.")
    unused_filters: list[str] = Field(description="If there are no results: filters that no indexed file passes.")
    results: list[Piece]


class Folder(BaseModel):
    """The state of one folder."""

    root: str
    files: int
    chunks: int
    skipped: dict[str, int] = Field(description="Files that are not indexed, by reason.")
    partial: str


class State(BaseModel):
    """The state of all folders."""

    folders: list[Folder]


def server_of(folders: Searched) -> MCPServer:
    """An MCP server with the tools `search`, `similar` and `status` over `folders`."""
    server = MCPServer("codesage", instructions=_INSTRUCTIONS, version=codesage.__version__, log_level="WARNING")

    @server.tool(title="Search code by meaning", annotations=_READ_ONLY)
    def search(
        query: Annotated[
            str,
            Field(
                description="What the code does, in plain words, or a piece of code.", min_length=1, max_length=MOST_OF_QUERY
            ),
        ],
        path: Annotated[str, Field(description="Folder or file to search in; empty: all roots.")] = "",
        language: Annotated[str, Field(description="Only this language, such as python; empty: all.")] = "",
        glob: Annotated[str, Field(description="Only paths that match, such as src/*.py; empty: all.")] = "",
        limit: _Limit = 8,
        lines: _Lines = 6,
    ) -> Annotated[CallToolResult, SearchAnswer]:
        """Find code by what it does. Words need not match: "retry with backoff" finds code that sleeps and tries again."""
        return _result(lambda: folders.search(query, path=path, language=language, glob=glob, top=limit), lines)

    @server.tool(title="Find similar code", annotations=_READ_ONLY)
    def similar(
        path: Annotated[str, Field(description="File, absolute or below a root.")],
        line: Annotated[int, Field(ge=1, le=LAST_LINE, description="A line of the function, counted from 1.")],
        limit: _Limit = 8,
        lines: _Lines = 6,
    ) -> Annotated[CallToolResult, SearchAnswer]:
        """Find code that does the same as the function at a place, in any language: duplicates, ports, variants."""
        return _result(lambda: folders.similar(path, line, top=limit), lines)

    @server.tool(title="State of the indexes", annotations=_READ_ONLY)
    def status() -> Annotated[CallToolResult, State]:
        """Say which folders can be searched, how many files are indexed, and which were left out and why."""
        with _foreseen():
            states = [
                Folder(root=held.root, files=held.files, chunks=held.chunks, skipped=held.skipped, partial=partial)
                for held, partial in folders.status()
            ]
        lines = [
            f"{one.root}: {one.files:,} files, {one.chunks:,} chunks" + (f" ({one.partial})" if one.partial else "")
            for one in states
        ]
        return _both("\n".join(lines), State(folders=states))

    return server


def _result(ask: Callable[[], Answer], lines: int) -> CallToolResult:
    with _foreseen():
        answer = ask()
    pieces = [_piece(hit, lines) for hit in answer.hits]
    structured = SearchAnswer(
        root=answer.root,
        files_indexed=answer.files,
        partial=answer.partial,
        unused_filters=list(answer.unused),
        results=pieces,
    )
    head = [f"note: {answer.partial}"] if answer.partial else []
    head += [f"{option} matches none of the {answer.files:,} indexed files" for option in answer.unused]
    body = [_as_text(piece, answer.root) for piece in pieces] or ["nothing found"]
    return _both("\n".join([*map(printable, head), *body]), structured)


def _piece(hit: Hit, lines: int) -> Piece:
    chunk = hit.chunk
    text = "\n".join(line[:200] for line in chunk.text.split("\n")[:lines])
    return Piece(
        path=chunk.path,
        start_line=chunk.start_line,
        end_line=chunk.end_line,
        kind=chunk.kind,
        name=chunk.name,
        language=chunk.language,
        score=round(hit.score, 4),
        text=text,
    )


def _as_text(piece: Piece, root: str) -> str:
    """One result as lines. Control characters are escaped, as on a terminal: names and code may hold anything."""
    place = f"{os.path.join(root, piece.path)}:{piece.start_line}-{piece.end_line} {piece.name or piece.kind}"
    return "\n".join([printable(place), *(f"    {printable(line)}" for line in piece.text.split("\n") if piece.text)])


def _both(text: str, structured: BaseModel) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured.model_dump(mode="json"))


class _foreseen:
    """Turns a CodesageError into an error result, which the model reads; others are crashes, which it does not."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, CodesageError):
            raise ToolError(str(error)) from None
