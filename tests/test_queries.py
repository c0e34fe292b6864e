"""Queries as people type them are brought into the encoder's form, by the same rule in every caller."""

import asyncio
import time

import numpy as np
import pytest

import codesage
from codesage.agents.folders import Folders
from codesage.encoder.queries import query_form, read_query
from codesage.encoder.runtime import Embedder
from codesage.search import api
from codesage.search.statics import statics_of
from command_line import run


@pytest.mark.parametrize(
    ("typed", "text", "languages"),
    [
        ("how to reverse a list in python", "Reverse a list", ("python",)),
        ("python reverse a list", "Reverse a list", ("python",)),
        ("Reverse a list?", "Reverse a list", ()),
        ("how do i convert a string to int in C#", "Convert a string to int", ("csharp",)),
        ("how can you sort a map by value in java?", "Sort a map by value", ("java",)),
        ("what is the best way to read a file line by line using golang", "Read a file line by line", ("go",)),
        ("read a file in go", "Read a file", ("go",)),
        ("go to the next line", "Go to the next line", ()),
        ("parse json with node", "Parse json", ("javascript",)),
        ("node of a linked list", "Node of a linked list", ()),
        ("function to check if a number is prime", "Check if a number is prime", ()),
        ("write a function that merges two dicts", "Merges two dicts", ()),
        ("i want to download a file", "Download a file", ()),
        ("how to port python code to golang", "Port python code to golang", ("python", "go")),
        ("parse java.util.Date", "Parse java.util.Date", ()),
        ("compile c++ in c", "Compile c++", ("c",)),
        ("parse files in python scripts", "Parse files", ("python",)),
        ("dead imports in java codebase", "Dead imports codebase", ("java",)),
        ("c# enums versus java enums", "C# enums versus java enums", ("csharp", "java")),
        ("python", "Python", ("python",)),
        ("how to java", "How to java", ("java",)),
        ("", "", ()),
        ("Compute the contrastive loss.", "Compute the contrastive loss", ()),
        ("getUserName", "GetUserName", ()),
    ],
)
def test_a_query_gets_the_form_of_documentation(typed: str, text: str, languages: tuple) -> None:
    assert read_query(typed) == (text, languages)


def test_the_form_of_a_query_full_of_spaces_takes_little_time() -> None:
    started = time.process_time()
    assert read_query("a" + " " * 20_000 + "b in \n  python") == ("A b", ("python",))
    assert time.process_time() - started < 1.0  # when each place in the spaces was tried: 4 s


def test_the_form_is_idempotent() -> None:
    for typed in ("how to reverse a list in python", "python sort dict", "how to how to sort a list", "Read a file"):
        once = query_form(query_form(typed))
        assert query_form(once) == once


def test_encode_brings_texts_to_that_form_and_leaves_code_alone() -> None:
    model = codesage.load()
    typed, plain, shouted = model.encode(["how to reverse a list in python", "Reverse a list", "reverse a list?"], kind="text")
    np.testing.assert_allclose(typed, plain, atol=1e-6)
    np.testing.assert_allclose(shouted, plain, atol=1e-6)
    code = model.encode(["how to reverse a list in python", "Reverse a list"])
    assert not np.allclose(code[0], code[1], atol=1e-3)


TYPED, FORM = "how to reverse a list in python?", "Reverse a list"


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "lists.py").write_text("def turned(items):\n    return items[::-1]\n")
    return tmp_path / "tree"


@pytest.fixture
def read(monkeypatch) -> list[list[int]]:
    """What the encoder reads from now on: the token ids of each text."""
    seen, encode_ids = [], Embedder.encode_ids

    def noted(self, documents, **options):
        seen.extend(map(list, documents))
        return encode_ids(self, documents, **options)

    monkeypatch.setattr(Embedder, "encode_ids", noted)
    api._loaded.cache_clear()  # another test may have left its own encoder there
    return seen


def by_python(tree):
    codesage.search(TYPED, tree, index_dir=tree.parent / "index")


def by_command(tree):
    assert run("search", TYPED, tree, "--index-dir", tree.parent / "index").returncode == 0


def by_store(tree):
    pytest.importorskip("lancedb")
    address = f"lance://{tree.parent}/store"
    for arguments in (("index", "--store", address, tree), ("search", TYPED, "--store", address)):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr


def by_server(tree, *requests):
    """Send requests (method, address, options) to the application of the server."""
    httpx2 = pytest.importorskip("httpx2")
    pytest.importorskip("fastapi")
    from codesage.serve.app import Service, app_of

    async def sent():
        transport = httpx2.ASGITransport(app_of(service))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for method, address, options in requests:
                assert (await client.request(method, address, **options)).status_code == 200

    model = codesage.load()
    service = Service(model, Folders([tree], lambda: model, index_dir=tree.parent / "index"))
    asyncio.run(sent())
    service.batcher.close()


def by_server_search(tree):
    by_server(tree, ("GET", "/search", {"params": {"q": TYPED}}))


def by_server_embeddings(tree):
    by_server(tree, ("POST", "/v1/embeddings", {"json": {"model": "codesage-query", "input": TYPED}}))


def by_server_rerank(tree):
    by_server(tree, ("POST", "/rerank", {"json": {"query": TYPED, "documents": ["x"]}}))


def by_agent(tree):
    mcp = pytest.importorskip("mcp")
    from codesage.agents import server

    async def asked():
        model = codesage.load()
        folders = Folders([tree], lambda: model, index_dir=tree.parent / "index")
        async with mcp.Client(server.server_of(folders)) as client:
            assert not (await client.call_tool("search", {"query": TYPED})).is_error

    asyncio.run(asked())


CALLERS = (by_python, by_command, by_store, by_server_search, by_server_embeddings, by_server_rerank, by_agent)


@pytest.mark.parametrize("ask", CALLERS)
def test_the_encoder_reads_a_typed_query_in_that_form_whoever_asks(tree, read, ask) -> None:
    ask(tree)
    form, typed = codesage.load().token_ids([FORM, TYPED])
    assert form in read and typed not in read


def test_code_for_the_server_is_not_rewritten(tree, read) -> None:
    by_server(tree, ("POST", "/v1/embeddings", {"json": {"model": "codesage", "input": TYPED}}))
    assert codesage.load().token_ids([TYPED])[0] in read


def test_static_vectors_of_a_typed_query_are_those_of_that_form() -> None:
    statics = statics_of(codesage.load())
    np.testing.assert_array_equal(statics.encode_query(TYPED), statics.encode_query(FORM))
