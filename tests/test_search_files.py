"""Which files search reads: ignore files, nested repositories, and files that can be read only in part."""

import base64
import json
import os
import time
from pathlib import Path

import pytest

from codesage.search import files as station
from codesage.search.files import IN_PART, files_of, holds, read
from codesage.search.kinds import kinds_of, names_version
from codesage.search.ranking import requested_kinds
from codesage.search.secrets import holds_secret
from codesage.walk import name_of, walk
from test_search import ENCODER, names, opened
from test_search_commands import paths_of, root, run

__all__ = ["root"]  # the fixture


@pytest.fixture
def project(tmp_path):
    return laid_out(tmp_path / "project", {"a.py": "def quagga():\n    return 1\n"})


def laid_out(folder: Path, texts: dict[str, str | bytes]) -> Path:
    """Write files into a folder."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def indexed(folder: Path) -> set[str]:
    """The files of an index, ignore files left out."""
    return {name for path in files_of(folder) if not (name := name_of(path, folder)).endswith("ignore")}


def test_a_codesageignore_forces_in_and_out_at_any_depth(tmp_path):
    texts = ("a.py", "made/b.py", "made/deep/c.py", "node_modules/n.js", ".venv/v.py", "sub/x.log", "sub/y.py", "sub/z.py")
    folder = laid_out(tmp_path, dict.fromkeys(texts, "x = 1\n"))
    laid_out(folder, {".gitignore": "made/\n*.log\nnode_modules/\n", "sub/.gitignore": "z.py\n"})
    assert indexed(folder) == {"a.py", "sub/y.py"}
    laid_out(folder, {".codesageignore": "!made/\n!node_modules/\n", "sub/.codesageignore": "!x.log\n!z.py\ny.py\n"})
    assert indexed(folder) == {"a.py", "made/b.py", "made/deep/c.py", "node_modules/n.js", "sub/x.log", "sub/z.py"}
    laid_out(folder, {".codesageignore": "!.git/\n!.git\n", ".git/config.py": "x = 1\n"})
    assert not [name for name in indexed(folder) if name.startswith((".git/", "made"))]
    assert "made/b.py" not in {name_of(path, folder) for path in walk(folder)}  # for corpora it means nothing


def test_ignore_files_above_the_root_of_a_repository_mean_nothing(tmp_path):
    rules = {".gitignore": "*\n", ".ignore": "*.go\n", ".codesageignore": "*.go\n", "repo/.gitignore": "*.log\n"}
    code = {"repo/a.py": "x = 1\n", "repo/b.go": "package b\n", "repo/pkg/c.py": "x = 1\n", "repo/pkg/d.log": "x\n"}
    home = laid_out(tmp_path, rules | code)
    assert indexed(home / "repo") == {"a.py", "b.go", "pkg/c.py"}  # without a repository none above counts either
    (home / "repo" / ".git").mkdir()
    assert indexed(home / "repo") == {"a.py", "b.go", "pkg/c.py"}
    assert indexed(home / "repo" / "pkg") == {"c.py"}  # the rules of its repository count
    (home / "repo" / ".git").rmdir()
    (home / ".git").mkdir()
    assert indexed(home / "repo") == set()


def test_files_that_take_too_long_to_parse_are_indexed_in_windows(root):
    garbage = "*\n|\n" * 1_500 + "quagga_word\n" + "*\n|\n" * 1_500
    laid_out(root, {"bad.py": garbage, "bad.rb": "quagga_word\n=\n" * 1_500, "good.py": "def quagga_word():\n    return 1\n"})
    assert run("index").returncode == 0
    assert {"bad.py", "bad.rb", "good.py"} <= set(paths_of(run("search", "quagga_word", "-l")))
    assert run("status", "--skipped").stdout == ""


def test_nested_repositories_are_named_and_can_be_searched_as_paths(root, monkeypatch):
    laid_out(
        root,
        {
            "lib/one/.git": "gitdir: ../../.git/modules/lib/one\n",
            "lib/one/code.py": "def quagga():\n    return 1\n",
            "trees/fix/.git": f"gitdir: {root}/.git/worktrees/fix\n",
            "trees/fix/retry.py": "def retry(): pass\n",
            "other/.git/HEAD": "x",
            "other/c.py": "def c(): pass\n",
            "other/inner/.git/HEAD": "x",
        },
    )
    (root / ".git").mkdir()
    indexed = run("index")
    assert "3 skipped: " in indexed.stderr, indexed.stderr
    skipped = run("status", "--skipped").stdout.splitlines()
    assert [line.partition(" (give it as a path")[0] for line in skipped] == [
        "lib/one: submodule",
        "other: nested repository",
        "trees/fix: worktree",
    ]
    assert run("index").stderr == ""  # nothing new
    assert "lib/one/code.py" in paths_of(run("search", "quagga", "lib/one", "-l"))
    monkeypatch.chdir(root / "lib")
    assert "one/code.py" in paths_of(run("search", "quagga", "one", "-l"))
    (root / "lib/one/.git").unlink()
    assert paths_of(run("search", "quagga", "..", "-l"))[0].endswith("lib/one/code.py")
    assert "submodule" not in run("status", "..").stdout


def test_paths_that_git_ignores_are_searched_beside_their_parent(root):
    (root / ".git").mkdir()
    texts = {
        ".gitignore": "made/\n*.log.py\n",
        "made/gen.py": "def quagga():\n    return 1\n",
        "src/b.log.py": "def quagga(): pass\n",
    }
    laid_out(root, texts)
    for given, found in ((["made"], {"made/gen.py"}), (["src/b.log.py", "src"], {"src/b.log.py"}), (["src/pkg"], set())):
        assert set(paths_of(run("search", "quagga", ".", *given, "-l", "-e", "quagga"))) == found, given
    listed = [holds(root, root / path) for path in ("src", "src/pkg/http.js", "made", "made/gen.py", "src/b.log.py", "docs")]
    assert listed == [True, True, False, False, False, True]


def test_what_was_unreadable_is_read_once_it_can_be(project, tmp_path, monkeypatch):
    index = opened(project, tmp_path)
    laid_out(project, {"shut.py": "def okapi():\n    return 1\n", "dark/b.py": "def bongo():\n    return 1\n"})
    reads, access, closed = station.read_text, os.access, {"shut.py", "dark"}

    def refuse(path, *, name, **options):
        return station.Skipped(name, "unreadable") if name in closed else reads(path, name=name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(station, "read_text", refuse)
        patch.setattr(os, "access", lambda path, mode: Path(path).name not in closed and access(path, mode))
        patch.setattr(station, "files_of", lambda root: _with_dark_folder(root, files_of))
        index.update(ENCODER)
        assert index.status().skipped == {"unreadable": 2} and index.status().files == 1
        assert not index.update(ENCODER)["read"]  # nothing has changed: views stay as they are
    assert index.update(ENCODER)["read"] == 2
    assert index.status().skipped == {} and names(index, "okapi")[0] == "okapi" and names(index, "bongo")[0] == "bongo"


def _with_dark_folder(root, all_files):
    yield from (path for path in all_files(root) if path.parent.name != "dark")
    yield root / "dark"


def test_a_folder_that_cannot_be_listed_is_handed_over(project, monkeypatch):
    import rignore

    (project / "dark").mkdir()
    entries = iter([project, project / "a.py", project / "dark", OSError("Permission denied")])

    class Walker:
        def __init__(self, *arguments, **options):
            pass

        def __next__(self):
            if isinstance(entry := next(entries), OSError):
                raise entry
            return entry

    monkeypatch.setattr(rignore, "Walker", Walker)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("dark"))
    assert [path.name for path in files_of(project)] == ["a.py", "dark"]
    assert read(project / "dark", "dark").reason == "unreadable"


LONG = "x" * 6_000


@pytest.mark.parametrize(
    ("name", "data", "reason", "kept", "lines"),
    [
        ("a.py", "def größe():\n    return 'one word'  # and more\n".encode("latin-1"), "encoding", "def gr\ufffd\ufffde", 2),
        ("a.py", f"a = 1\nb = '{LONG}'\nc = 3\n".encode(), "minified", "a = 1\n\nc = 3", 3),
        ("a.py", b"a = 1\r\nb = '" + LONG.encode() + b"'\r\nc = 3\r\n", "minified", "a = 1\n\nc = 3", 3),
        ("a.py", b"abc = 1\n" * 200_000, "huge", "abc = 1", 125_000),
        ("a.md", b"\xff\xfe" + ("Größe: a word\n" * 40_000).encode("utf-16-le"), "huge", "Größe", 35_714),
    ],
)
def test_what_can_be_read_is_read(tmp_path, name, data, reason, kept, lines):
    (tmp_path / name).write_bytes(data)
    source = read(tmp_path / name, name)
    assert source.reason == reason + IN_PART
    assert kept in source.document.text and source.document.text.count("\n") == lines


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.py", "größenänderung äöüß".encode("latin-1"), "encoding"),
        ("a.py", LONG.encode(), "minified"),
        ("a.py", b"x" * 2_000_000, "huge"),
        ("a.csv", b"1,2\n" * 300_000, "huge"),
        ("a.json", f"{{\n{LONG}\n}}".encode(), "minified"),
        ("a.py", b"x = 1\n\0", "binary"),
        ("a.py", b"\xff\xfe\0\0" + "x = 1\n".encode("utf-32-le"), "binary"),
        ("a.py", b"\xff\xfe\0\0" + ("x = 1\n" * 90_000).encode("utf-32-le"), "binary"),
        ("a.py", b"x = '\xff'\n-----BEGIN RSA PRIVATE KEY-----\n" + b"x = 1\n" * 9, "secret"),
        (".env", b"\xff" + b"x" * 40, "secret"),
        ("a.py", b"\n \n", "empty"),
        ("a.ipynb", b"\0" * 9, "binary"),
    ],
)
def test_what_cannot_be_read_has_its_reason(tmp_path, name, data, reason):
    (tmp_path / name).write_bytes(data)
    source = read(tmp_path / name, name)
    assert source.document is None and source.reason == reason


KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"


def in_base64(kind: str) -> str:
    return base64.b64encode(f"-----BEGIN {kind}PRIVATE KEY-----\n{KEY}\n".encode()).decode()


@pytest.mark.parametrize(
    ("text", "is_secret"),
    [
        (f'{{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\n{KEY}\\n"}}\n', True),
        (f'key: "-----BEGIN RSA PRIVATE KEY-----\n  {KEY}\n  -----END RSA PRIVATE KEY-----"\n', True),
        (f'KEY = """-----BEGIN EC PRIVATE KEY-----\n{KEY}\n"""\n', True),
        (f'KEY = "-----BEGIN PRIVATE KEY-----\\n" + "{KEY}"\n', True),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\nlQdGBF\n", True),
        (
            'if text.startswith("-----BEGIN RSA PRIVATE KEY-----"):\n    load_the_rsa_private_key_of_the_process(text)\n',
            False,
        ),
        ("# Files with BEGIN PRIVATE KEY are skipped.\n", False),
        (f"# -----BEGIN RSA PRIVATE KEY-----\n# {KEY}\n", True),
        (f"key = ['-----BEGIN RSA PRIVATE KEY-----', '{KEY}']\n", True),
        (f"$key = '-----BEGIN PRIVATE KEY-----' . \"\\n\" . '{KEY}';\n", True),
        (f"<key>-----BEGIN PRIVATE KEY-----&#10;{KEY}</key>\n", True),
        (f"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{KEY}\n", True),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", True),
        (f"# public key: age1x\nAGE-SECRET-KEY-1{'Q' * 58}\n", True),
        *((f"client-key-data: {in_base64(kind)}\n", True) for kind in ("", "RSA ", "EC ", "OPENSSH ")),
        ('if (text === "-----BEGIN PRIVATE KEY-----", loadThePrivateKeyOfTheProcessFromTheDisk) {}\n', False),
        ('PREFIX = "PuTTY-User-Key-File-"\nOTHER = "AGE-SECRET-KEY-1"\nMARK = "LS0tLS1CRUdJTi"\n', False),
        (f"-----BEGIN CERTIFICATE-----\n{KEY}\n", False),
    ],
)
def test_keys_in_a_file_are_secret_and_code_about_keys_is_not(tmp_path, text, is_secret):
    (tmp_path / "a.py").write_text(text)
    assert (read(tmp_path / "a.py", "a.py").reason == "secret") == is_secret


@pytest.mark.parametrize(
    ("name", "text", "is_secret"),
    [
        ("config/secrets.yml", "production:\n  secret_key_base: 9a4f2c8d3b7a1e6f\n", True),
        ("config/secrets.yml", "production:\n  secret_key_base: <%= ENV['SECRET_KEY_BASE'] %>\n", False),
        ("secrets.yaml", "password: ENC[AES256_GCM,data:c29wcw==]\ntoken: ${TOKEN}\nother: {{ vault_token }}\n", False),
        ("k8s/secret.yaml", "kind: Secret\nmetadata:\n  name: db-secret\ndata:\n  DB_PASS: aHVudGVyMg==\n", True),
        ("secrets.py", "password = 'correcthorse'\n", False),
        ("terraform.tfvars", 'region = "eu-west-1"\nkey_name = "deploy-2024"\n', False),
        ("prod.auto.tfvars", 'region = "eu-west-1"\ndb_password = "correcthorse"\n', True),
        ("terraform.tfvars.example", 'db_password = "correcthorse"\n', False),
        ("auth.json", '{"http-basic": {"repo.example.org": {"username": "me", "password": "x"}}}\n', True),
        ("auth.json", '{"github-oauth": {"github.com": "0123456789abcdef"}}\n', True),
        ("tests/fixtures/auth.json", '{"token": "abc123def456", "user": {"id": 7, "password": "hunter22"}}\n', False),
        ("docker/config.json", '{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6aHVudGVyMg=="}}}\n', True),
        ("config.json", '{"auths": {"index.docker.io": {}}, "credsStore": "desktop", "token": "abc123def456"}\n', False),
        ("wp-config.php", "<?php\ndefine( 'DB_NAME', 'blog' );\ndefine( 'DB_PASSWORD', 'correcthorse' );\n", True),
        (
            "wp-config.php",
            "<?php\ndefine( 'DB_PASSWORD', getenv_docker('WORDPRESS_DB_PASSWORD', 'example password') );\n",
            False,
        ),
        (
            "wp-config.php",
            "<?php\ndefine( 'DB_PASSWORD', 'password_here' );\ndefine('AUTH_KEY', 'YOUR_SECURE_AUTH_KEY');\n",
            False,
        ),
        ("wp-config-sample.php", "<?php\ndefine( 'DB_PASSWORD', 'correcthorse' );\n", False),
        ("credentials.xml", "<com><password>{AQAAABAAAAAQ5xY7d2b1kPq=}</password></com>\n", True),
        ("credentials.xml", "<resources><string name='hint'>Enter your password</string></resources>\n", False),
        ("application-prod.properties", "server.port=8080\nspring.datasource.password=s3cr3tPw9\n", True),
        ("application.properties", "spring.datasource.password=petclinic\njwt.token-lifetime=36000000\n", False),
        ("application.yml", "spring:\n  datasource:\n    password: ${DB_PASSWORD:changeme1}\n", False),
        ("appsettings.json", '{"ConnectionStrings": {"Main": "Server=db;User Id=sa;Password=Gr33nHouse;"}}\n', True),
        (
            "appsettings.json",
            '{"Jwt": {"SecretName": "prod-jwt-2024", "TokenUrl": "https://login.example.org/oauth2"}}\n',
            False,
        ),
        ("nuget.config", '<add key="ClearTextPassword" value="Gr33nHouse" />\n', True),
        ("database.yml", "production:\n  password: <%= ENV['PASSWORD'] %>\n", False),
        ("settings.py", "PASSWORD = 'Gr33nHouse'\n", False),
    ],
)
def test_settings_are_secret_only_if_they_hold_a_password_a_token_or_a_key(tmp_path, name, text, is_secret):
    (tmp_path / "file").write_text(text)
    assert (read(tmp_path / "file", name).reason == "secret") == is_secret


def test_rules_for_secrets_take_time_in_proportion_to_the_text():
    texts = [
        "secret" * 800,
        "password=" * 500,
        "a_key " * 800,
        "token" + "." * 4_900,
        '"auths": {' * 400,
        "secret = " + " " * 4_900,
    ]
    started = time.process_time()
    for name in ("secrets.yml", "application.yml", "config.json"):
        for text in texts:
            holds_secret(name, f"{text}\n" * 100)
    assert time.process_time() - started < 3.0


def notebook(*cells: tuple[str, list[str]], language: str = "python") -> dict:
    """A notebook with a picture among its outputs."""
    picture = {"output_type": "display_data", "data": {"image/png": LONG * 300}, "metadata": {}}
    return {
        "cells": [
            {"cell_type": kind, "metadata": {}, "source": source} | ({"outputs": [picture]} if kind == "code" else {})
            for kind, source in cells
        ],
        "metadata": {"kernelspec": {"language": language}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


CELLS = (
    ("markdown", ["# Quaggas\n", "How they run."]),
    ("code", []),
    ("code", ["def gallop(quagga):\n", "    return quagga.run()"]),
)


@pytest.mark.parametrize("indent", [1, 4, None])
def test_a_notebook_is_its_code_and_prose_without_pictures(tmp_path, indent):
    raw = json.dumps(notebook(*CELLS), indent=indent)
    laid_out(tmp_path / "project", {"a.ipynb": raw})
    source = read(tmp_path / "project/a.ipynb", "a.ipynb")
    assert source.reason == "" and source.document.language == "python"
    assert [line for line in source.document.text.split("\n") if line] == [
        "# # Quaggas",
        "# How they run.",
        "def gallop(quagga):",
        "    return quagga.run()",
    ]
    index = opened(tmp_path / "project", tmp_path)
    index.update(ENCODER)
    assert index.status().files == 1 and names(index, "gallop quagga")[0] == "gallop"
    if indent:  # the lines are those of the file
        (start,) = index.connection.execute("SELECT start_line FROM chunks WHERE name = 'gallop'").fetchone()
        assert "def gallop" in raw.split("\n")[start - 1]


def test_a_notebook_of_another_language_or_of_none(tmp_path):
    laid_out(
        tmp_path,
        {
            "r.ipynb": json.dumps(notebook(*CELLS, language="R"), indent=1),
            "text.ipynb": "no notebook, a quagga\n",
            "odd.ipynb": json.dumps({"cells": 3, "note": "quagga"}),
            "joined.ipynb": json.dumps(notebook(("code", ["a = 1\nb = 2\n", "c = 3"])), indent=1),
        },
    )
    assert read(tmp_path / "r.ipynb", "r.ipynb").document.language == ""
    assert read(tmp_path / "text.ipynb", "text.ipynb").document.text == "no notebook, a quagga\n"
    assert "quagga" in read(tmp_path / "odd.ipynb", "odd.ipynb").document.text
    assert read(tmp_path / "joined.ipynb", "joined.ipynb").document.text == "a = 1\nb = 2\nc = 3"


def test_files_in_part_are_named_with_their_reason(root):
    laid_out(root, {"part.py": f"def okapi():\n    return 1\n\n\nDATA = '{LONG}'\n", "big.csv": b"1,2\n" * 300_000})
    indexed = run("index")
    assert "1 skipped: 1 huge; 1 indexed in part: 1 minified" in indexed.stderr
    assert run("status", "--skipped").stdout.splitlines() == ["big.csv: huge", "part.py: minified, indexed in part"]
    assert "indexed in part: 1 minified" in run("status").stdout
    shown = run("search", "okapi", "-k", 1, "-C", 1).stdout
    assert shown.startswith("part.py:1: okapi") and "2      return 1" in shown


@pytest.mark.parametrize(
    ("paths", "declaring"),
    [
        (["lib/url.c", "lib/url.h", "lib/setup.h"], ["lib/url.h"]),
        (["include/pool.hpp", "src/Pool.cc", "src/one_header.hpp"], ["include/pool.hpp"]),
        (["a/view.d.ts", "a/view.js", "types.d.ts", "b/parse.pyi", "b/parse.py", "c/list.mli", "c/list.ml"],
         ["a/view.d.ts", "b/parse.pyi", "c/list.mli"]),
        (["tests/util.h", "tests/util.c", "vendor/x.h", "vendor/x.c"], []),  # tests and vendored code already
        (["v1/url.h", "v2/url.h", "v2/url.c"], ["v2/url.h"]),  # v1 is an older version
        (["url.py", "url.h", "h", ".h", "url.c/readme.md"], []),
        (["url.h", "url.c", "url.h", "url.c"], ["url.h", "url.h"]),  # of two repositories
        (["Contracts/Cache/Store.php", "Cache/Store.php", "Contracts/Lock.php"], ["Contracts/Cache/Store.php"]),
        (["src/interfaces/Clock.java", "src/Clock.java", "Interfaces/b.ts"], ["src/interfaces/Clock.java"]),
        (["contracts/a.py", "contracts", "b/contracts/a.py", "b/a.go"], []),
    ],
)  # fmt: skip
def test_headers_and_stubs_of_files_that_are_there_are_declarations(paths, declaring):
    assert [path for path, kind in zip(paths, kinds_of(paths), strict=True) if kind == "declarations"] == declaring


@pytest.mark.parametrize(
    ("paths", "types"),
    [
        (["types/store.ts", "createStore.ts", "types/actions.ts"], ["types/store.ts"]),
        (["src/types/reducers.ts", "src/combineReducers.ts", "lib/store.js"], ["src/types/reducers.ts"]),
        (["node/types/coverage.ts", "node/coverage.ts", "node/types/deep/pool.mts", "node/pools/pool.tsx"],
         ["node/types/coverage.ts", "node/types/deep/pool.mts"]),
        (["a/types/store.ts", "b/store.ts"], []),  # not beside the folder
        (["types/store.ts", "tests/store.ts", "store.test.ts", "store.md"], []),  # no code defines it
        (["types/user_store.ts", "store.ts", "types.ts", "store/types.ts"], []),
        (["types/store.py", "store.py", "types/$.ts", "$.ts"], []),
        (["src/types/index.d.ts", "src/index.js"], []),  # declarations already
    ],
)  # fmt: skip
def test_files_in_a_folder_of_types_are_types_of_what_stands_beside(paths, types):
    assert [path for path, kind in zip(paths, kinds_of(paths), strict=True) if kind == "types"] == types


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("how HTTP authentication headers are selected and output", set()),
        ("header files of the resolver", {"declarations"}),
        ("header: opens the file", {"declarations"}),
        ("where are ids generated", set()),
        ("which generated files are written", {"generated"}),
        ("how old entries are evicted", set()),
        ("errors of the old version", {"legacy"}),
        ("reducer type definition", {"types"}),
        ("tests of the vendored parser", {"test", "vendored"}),
    ],
)
def test_words_with_another_meaning_ask_for_no_kind_of_file(query, kinds):
    assert requested_kinds(query) == kinds


def test_code_stands_before_its_types_unless_those_are_asked_for(root):
    typed = "/** Creates a wombat store with a reducer. */\nexport interface Store {\n  reducer: Reducer;\n  w: string;\n}\n"
    made = "/** Creates a wombat. */\nexport function makeStore(reducer) {\n  return { wombat: reducer() };\n}\n"
    laid_out(root, {"types/store.ts": typed, "makeStore.ts": made})

    def first(query):
        return run("search", query, "-l").stdout.splitlines()[0]

    assert first("creates a wombat store with a reducer") == "makeStore.ts"
    assert first("types: creates a wombat store with a reducer") == "types/store.ts"


def test_of_a_long_class_the_part_that_defines_it_comes_first(root):
    comment = [f"  # Line {number} says how an engine mounts routes." for number in range(130)]
    comment[60] = "  #   class Engine < Shop::Engine"
    methods = [line for number in range(3) for line in (f"    def mount{number}", f"      routes[{number}]", "    end", "")]
    lines = ["module Shop", *comment, "  class Engine < Base", *methods, "    isolate true", "  end", "end", ""]
    laid_out(root, {"engine.rb": "\n".join(lines), "other.rb": "module Shop\n  class Other\n    Engine.call\n  end\nend\n"})
    hits = json.loads(run("search", "Shop::Engine", "--json").stdout)["results"]
    assert "class Engine < Base" in hits[0]["snippet"] and hits[0]["name"] == "Shop.Engine"
    assert sum(hit["score"] > hits[0]["score"] / 2 for hit in hits) == 1


def test_definitions_stand_before_their_declarations_unless_those_are_asked_for(root):
    declared = "/* Opens the okapi file by its name and reads the first line. */\nint open_okapi(const char *name);\n"
    defined = "/* Opens the okapi file by its name. */\nint open_okapi(const char *name) {\n  return open(name, 0);\n}\n"
    laid_out(root, {"okapi.h": declared, "okapi.c": defined})

    def first(query):
        return run("search", query, "-l").stdout.splitlines()[0]

    query = "opens the okapi file by its name and reads the first line"
    assert first(query) == "okapi.c" and first(f"header: {query}") == "okapi.h"


def test_the_documentation_of_a_package_is_documentation_in_any_language():
    paths = ["lang/package-info.java", "doc.go", "client/doc.go", "lang/PackageInfo.java", "docs.go", "my_doc.go", "doc.py"]
    assert kinds_of(paths) == ["docs", "docs", "docs", "code", "code", "code", "code"]
    assert kinds_of(["old/doc.go", "tests/doc.go"]) == ["legacy", "test"]


def test_code_stands_before_the_documentation_of_its_package(root):
    package = "/**\n * Opens the okapi file by its name and reads the first line.\n */\npackage okapi;\n"
    opened = "/** Opens the okapi file by its name. */\nclass Opened {\n  int open(String name) { return 0; }\n}\n"
    laid_out(root, {"okapi/package-info.java": package, "okapi/Opened.java": opened})

    def first(query):
        return run("search", query, "-l").stdout.splitlines()[0]

    query = "opens the okapi file by its name and reads the first line"
    assert first(query) == "okapi/Opened.java" and first(f"documentation: {query}") == "okapi/package-info.java"


@pytest.mark.parametrize(
    ("paths", "older"),
    [
        (["v3/types.ts", "v4/core/schemas.ts", "index.ts"], ["v3/types.ts"]),
        (["api/v1/pod.go", "api/v1beta1/pod.go", "api/v1alpha1/pod.go"], ["api/v1beta1/pod.go", "api/v1alpha1/pod.go"]),
        (["api/v1/pod.go", "api/server.go"], []),  # the only version
        (["a/v1/main.py", "a/v1/errors.py", "a/main.py", "a/errors.py"], ["a/v1/main.py", "a/v1/errors.py"]),  # copies
        (["http_v9.py", "http_v10.py"], ["http_v9.py"]),
        (["docs/2.9/guide.md", "docs/2.10/guide.md", "docs/guide/a.md"], ["docs/2.9/guide.md"]),
        (["versioned_docs/version-1.0/a.md", "versioned_docs/version-2.0/a.md"], ["versioned_docs/version-1.0/a.md"]),
        (["tests/v1/test_a.py", "tests/v2/test_a.py"], []),  # tests already
        (["src/2024/report.py", "src/2025/report.py", "lib/utf8.py", "lib/ipv6.c", "lib/v/a.c"], []),  # no versions
    ],
)
def test_code_and_prose_of_older_versions_are_legacy(paths, older):
    assert [path for path, kind in zip(paths, kinds_of(paths), strict=True) if kind == "legacy"] == older
    assert not any(names_version("how pods are checked in v1beta", path) for path in paths)
    assert names_version("pods of v1beta1", "api/v1beta1/pod.go") and names_version("Zod V3 errors", "v3/errors.ts")
