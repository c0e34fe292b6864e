"""Search as people type it: paths, filters, forms of output, and what a terminal, a pipe and a signal get."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import rignore

import codesage
from codesage import CodesageError
from codesage.encoder.centring import without_language
from codesage.search import floor
from codesage.search.filters import filter_of, type_named
from codesage.search.globs import Globs
from codesage.search.index import Index
from codesage.search.maintenance import to_clear
from codesage.search.patterns import Patterns, _stays_in_a_line
from codesage.search.places import place_in, places_of
from codesage.search.query import considered
from codesage.search.refresh import refresh
from codesage.search.searcher import Searcher, openable
from codesage.search.show import printable
from command_line import Stream, run
from test_search import ENCODER, HashingEncoder

FILES = {
    "src/retry.py": "import time\n\n\ndef retry(call):\n    for pause in (1, 2):\n        time.sleep(pause)\n    return call\n",
    "src/pkg/http.js": "function fetchPage(address) {\n  return open(address).read();\n}\n",
    "src/pkg/http.rs": "fn fetch_page(address: &str) -> String {\n    open(address)\n}\n",
    "docs/retry.md": "# Retry\n\nHow often a call is repeated.\n",
    "settings.yaml": "retry: 3\npause: 2\n",
}
LOOP = "def total(numbers):\n    result = 0\n    for number in numbers:\n        result += number\n    return result\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("codesage.encoder.runtime.load", lambda model=None, **options: ENCODER)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    folder = tmp_path / "project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    return folder


def on_terminal(*arguments) -> str:
    """What a command writes to a terminal."""
    return run(*arguments, terminal=True).stdout


def paths_of(answer) -> list[str]:
    assert answer.returncode in (0, 1), answer.stderr
    return answer.stdout.splitlines()


PATTERNS = """
*.py src/*.py src/** **/src/*.py **/a.py src/**/a.py /a.py a.py *.{py,js} {src,lib}/**/*.py [ab].py [!a].js src/pkg src !src
!src/ !**/src/ !*.py src/pkg/* ** **/* * ?.py a[-]b.py \\{z\\}.py {a,b}.{py,js} src/*/a.py */a.py !src/pkg/** *,y.txt [[]k].py
**.py src** {**/,}a.py [a-c]*.py /** {src/**,lib/**} {lib/src,docs/**} {**} {src/**}/a.py !{lib/**,docs} {src**,x,y}.txt
"""
TREE = """
a.py b.js src/a.py src/b.ts src/pkg/a.py src/pkg/deep/c.py lib/src/a.py docs/x.md docs/src test/a_test.py x,y.txt src/{z}.py
a-b.py src/[k].py Src/A.PY
"""


def test_globs_choose_what_ripgreps_own_library_chooses(tmp_path):
    files, alone = TREE.split(), PATTERNS.split()
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    pairs = list(permutations(alone, 2))[::11]
    for patterns in [*((pattern,) for pattern in alone), *pairs]:
        theirs = {
            entry.relative_to(tmp_path).as_posix()
            for entry in map(Path, rignore.Walker(tmp_path, ignore_hidden=False, overrides=list(patterns)))
            if entry.is_file()
        }
        globs = Globs(patterns)
        assert {name for name in files if globs.allow(name)} == theirs, patterns


def test_odd_paths_are_searched_as_they_are_given(root, tmp_path, monkeypatch):
    other = tmp_path / os.fsdecode(b"other \xe9")
    (other / "deep").mkdir(parents=True)
    (other / "door.py").write_text("def open_door(door):\n    return door.open()\n")
    assert run("search", "open door", other, "--weak", "-l", text=False).stdout == os.fsencode(other / "door.py") + b"\n"
    assert run("index", other, "--index-dir", tmp_path / "own").returncode == 0
    assert to_clear([], everything=False, gone=True, vectors=False, index_dir=None) == []
    assert to_clear([str(other)], everything=False, gone=False, vectors=False, index_dir=tmp_path / "own")
    monkeypatch.chdir(other / "deep")
    assert paths_of(run("search", "open door", "..", "--weak", "-l")) == ["../door.py"]
    assert run("search", "open door", "..", "--weak", "-l", "--no-update").returncode == 0  # it is the same index
    monkeypatch.chdir(root)
    (root / "link.py").symlink_to(other / "door.py")
    (root / "away").symlink_to(other / "deep")
    assert paths_of(run("search", "open door", "link.py", "--weak", "-l")) == ["link.py"]
    assert paths_of(run("search", "open door", "away/..", "--weak", "-l")) == ["away/../door.py"]


def test_globs_take_folders_and_the_working_folder_as_people_type_them():
    def chosen(*patterns):
        return [name for name in ("x/a.py", "x/y/b.py", "z/x/c.py", "x.py") if Globs(patterns).allow(name)]

    assert chosen("x/") == ["x/a.py", "x/y/b.py", "z/x/c.py"] and chosen("./x/") == ["x/a.py", "x/y/b.py"]
    assert chosen("./x.py") == ["x.py"] and chosen("./x/*.py") == ["x/a.py"]
    assert chosen("!y/") == ["x/a.py", "z/x/c.py", "x.py"] and chosen("*.py", "!z") == ["x/a.py", "x/y/b.py", "x.py"]
    for wrong in ("[a", "{a,b", "a}", "a\\", "!", "./"):
        with pytest.raises(CodesageError, match="pattern"):
            Globs([wrong])


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("*a" * 40 + "b", "a" * 250, False),
        ("*a" * 40, "a" * 250, True),
        ("?*" * 60 + "b", "a" * 250, False),
        ("!" + "*a" * 40 + "b/", "a" * 250 + "/x", True),
        ("**/a/" * 40 + "b", "a/" * 400 + "a", False),
        ("**/a/" * 40 + "b", "a/" * 400 + "b", True),
        ("**/*a*/" * 30 + "b", "aa/" * 300 + "a", False),
        ("{a,aa,*a}" * 4 + "*b", "a" * 250, False),
    ],
)
def test_no_pattern_takes_long_for_any_path(pattern, path, allowed):
    started = time.process_time()
    assert Globs([pattern]).allow(path) == allowed
    assert time.process_time() - started < 2.0  # with a regular expression that tries all ways: longer than anybody waits


def test_braces_that_stand_for_too_many_patterns_are_refused():
    assert Globs(["{a,b}" * 9]).allow("ab" * 4 + "a") and not Globs(["{a,b}" * 9]).allow("ab" * 4 + "c")
    for many in ("{a,b}" * 10, "{a,b}" * 5_000):
        with pytest.raises(CodesageError, match=r"its braces stand for more than 1,000 patterns$"):
            Globs([many])


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("^[[:alpha:]]+$", ["abc"]),
        ("^[[:digit:][:upper:]_]+$", ["4_T"]),
        ("[^[:alnum:]]", ["4_T", "-]"]),
        (r"\[:alpha:\]", []),
        ("[]-]", ["-]"]),
        ("[:b]c", ["abc"]),
    ],
)
def test_classes_of_posix_are_those_of_ripgrep(pattern, matched):
    assert filter_of(patterns=[pattern]).patterns.found_in((text, text) for text in ("abc", "4_T", "-]")) == matched


@pytest.mark.parametrize(
    ("pattern", "lines"),
    [
        (r"import[^;]*os", []),
        (r"sys\s+print", []),
        (r"(?s)import.*os", []),
        (r"sys\nprint", []),
        (r"s\W+p", []),
        (r"[^;]*os", [3]),
        (r"\Aprint", [2]),
        (r"sys\Z|^return", [1, 3]),
        (r"rin[t-z]\(\d\)$", [2]),
        (r"s\s*$", [1]),
    ],
)
def test_a_pattern_matches_within_a_line(root, pattern, lines):
    (root / "lines.py").write_text('import sys\nprint(1)\nreturn "os"\n')
    answer = run("search", "lines", "lines.py", "-e", pattern, "--json")
    assert [hit["matching_lines"] for hit in json.loads(answer.stdout)["results"]] == [lines] * bool(lines)


def test_patterns_that_stay_in_a_line_are_known():
    text = "\n".join(map(chr, range(1, 0x250)))
    for pattern in ("a|b", r"\w+\(", "x.y", "[a-z]+", "(?:a)(b)", r"\bdef", "^$"):
        assert _stays_in_a_line(pattern), pattern
        assert not any("\n" in match[0] for match in re.finditer(pattern, text, re.MULTILINE)), pattern
    for pattern in (r"\s", r"\W", r"\D", "[^a]", r"[\s]", r"\n", "\n", "(?s).", r"\x0a", r"\012", "[\t-z]", r"(?<!a)b", r"\Aa"):
        assert not _stays_in_a_line(pattern), pattern


def test_patterns_that_never_end_are_stopped():
    endless = "a" * 60 + "!"
    before = signal.getsignal(signal.SIGVTALRM)
    for ask in (lambda one: one.found_in([(0, endless)]), lambda one: one.matching([endless])):
        with pytest.raises(CodesageError, match=r"^matching '\(a\+\)\+\$' takes more than 0.2 s: make it simpler"):
            ask(Patterns(["(a+)+$"], seconds=0.2))
    spent = Patterns(["b", "(a+)+$"], seconds=0.2)
    assert spent.found_in([(7, "ab"), (8, "c"), (9, "aa")]) == [7, 9]
    with pytest.raises(CodesageError, match="^matching 'b' and 1 more takes more than 0.2 s"):
        spent.found_in([(0, endless)])
    with pytest.raises(CodesageError):  # nothing is left for a second path
        spent.found_in([(0, endless)])
    short, started = Patterns(["(a+)+$"], seconds=0.2), time.process_time()
    with pytest.raises(CodesageError):  # each text takes less time than the clock of the timer ticks
        while time.process_time() - started < 2.0:
            short.found_in([(0, "a" * 12 + "!")])
    assert signal.getsignal(signal.SIGVTALRM) == before and signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("(" * 3000 + ")" * 3000, f"'{'(' * 80}...' cannot be read: its groups are nested too deeply"),
        ("a{99999999999999}", "'a{99999999999999}' cannot be read: the repetition number is too large"),
        ("(", "'(' cannot be read: missing ), unterminated subpattern at position 0"),
    ],
)
def test_a_pattern_that_cannot_be_read_is_one_short_line(pattern, fault):
    with pytest.raises(CodesageError) as raised:
        filter_of(patterns=[pattern])
    assert str(raised.value) == f"the regular expression {fault}"


def test_patterns_give_no_warnings_of_python():
    assert filter_of(patterns=["[[a]"]).patterns.matching(["b", "[", "a"]) == [1, 2]


def test_many_paths_of_one_index_open_and_update_it_once(root, monkeypatch):
    codesage.Index(".", model=ENCODER).update()
    opened = mock.Mock(wraps=Index.open)
    monkeypatch.setattr(Index, "open", opened)
    places = places_of(["src/retry.py", "src/pkg", "docs", "settings.yaml"], ENCODER)
    assert [place.below for place in places] == ["src/retry.py", "src/pkg", "docs", "settings.yaml"]
    assert opened.call_count == 1  # 4 before
    updated = []
    searcher = Searcher(places, ENCODER, refresh=updated.append)
    answer = searcher.search("retry a call", top=9)
    assert len(updated) == 1 and answer.files == 5  # 4 and 20 before
    assert {hit.chunk.path for hit in answer.hits} == {
        "src/retry.py",
        "src/pkg/http.js",
        "src/pkg/http.rs",
        "docs/retry.md",
        "settings.yaml",
    }
    assert searcher.clones(min_lines=1).files == 5 and len(updated) == 2


def test_of_a_long_query_the_beginning_is_searched_for(root):
    assert considered("a b") == "a b" and considered("x" * 10_001) == "x" * 10_000
    assert considered(" " * 20_000 + "ab " * 4_000) == ("ab " * 3_333).rstrip()
    long = "retry a call " + "w" * 9_980 + " nowhere " + "more " * 18_000
    assert considered(long) == "retry a call " + "w" * 9_980
    answer = run("search", long, "-l", "-k", 1, "--weak")
    assert paths_of(answer) == paths_of(run("search", considered(long), "-l", "-k", 1, "--weak"))
    assert answer.stderr.splitlines()[0] == "only the first 9,993 of 100,002 characters of the query are searched for"


def test_types_have_the_names_that_people_use():
    assert [type_named(name) for name in ("py", "JS", "c#", "golang", ".md", "rs", "yml")] == [
        "python",
        "javascript",
        "csharp",
        "go",
        "markdown",
        "rust",
        "yaml",
    ]
    with pytest.raises(CodesageError, match="unknown language 'cobol'.*python"):
        type_named("cobol")
    for wrong in ({"content": "prose"}, {"patterns": ["("]}, {"globs": ["["]}):
        with pytest.raises(CodesageError):
            filter_of(**wrong)


def test_filters_act_before_the_best_are_chosen(root):
    def paths(*options):
        return set(paths_of(run("search", "retry a call", "-l", "-k", 1, *options)))

    assert paths("-t", "js") == {"src/pkg/http.js"} and paths("-t", "rust") == {"src/pkg/http.rs"}
    assert paths("-t", "md") == paths("--content", "docs") == {"docs/retry.md"}
    assert paths("--content", "config") == {"settings.yaml"} and paths("-g", "src/*") == {"src/retry.py"}
    both = paths_of(run("search", "fetch page", "-l", "-t", "js", "-t", "rs", "-g", "!*.rs"))
    assert both == ["src/pkg/http.js"]
    assert paths("-e", r"open\(", "-e", "nowhere") <= {"src/pkg/http.js", "src/pkg/http.rs"} != set()


def test_a_filter_that_no_file_passes_is_told_from_no_hit(root):
    nothing = run("search", "retry", "-g", "*.foo", "-g", "lib/**", "-t", "php", "--content", "code")
    assert nothing.returncode == 1 and not nothing.stdout
    for option in ("-g *.foo", "-g lib/**", "-t php"):
        assert f"{option} matches none of the 5 indexed files" in nothing.stderr
    assert "--content" not in nothing.stderr
    empty = run("search", "retry", "-e", "no such text")
    assert empty.returncode == 1 and empty.stderr.splitlines()[-1] == "nothing found" and "matches none" not in empty.stderr


def test_nonsense_gets_no_answer_unless_asked_for(root, monkeypatch):
    assert run("search", "xqzv blorptang", "-l").stdout  # the nearest of so few chunks tells little
    monkeypatch.setattr(floor, "_FEWEST", 0)
    for nonsense in ("xqzv blorptang", "asdfgh", "the blorptang of xqzv"):
        nothing = run("search", nonsense)
        assert nothing.returncode == 1 and not nothing.stdout, nonsense
        assert nothing.stderr.splitlines()[-1] == "nothing found; --weak shows the nearest code all the same"
        assert run("search", nonsense, "--weak", "-l", "--no-update").stdout
        assert run("search", nonsense, "--dense-weight", "0").returncode == 1
    assert json.loads(run("search", "asdfgh", "--json").stdout)["results"] == []
    assert run("search", "asdfgh", "-e", "sleep", "-l").stdout == "src/retry.py\n"  # the pattern says what is meant
    for real in ("retry", "etchPag", "how is this used", "src/pkg"):
        assert run("search", real, "-l", "--no-update").returncode == 0, real
    words_alone = json.loads(run("search", "retry", "--dense-weight", "0", "--json").stdout)["results"]
    assert {hit["path"] for hit in words_alone} == {"src/retry.py", "docs/retry.md", "settings.yaml"}
    assert {hit["tier"] for hit in words_alone} == {"words"}
    assert codesage.search("asdfgh", model=ENCODER) == [] != codesage.search("asdfgh", model=ENCODER, weak=True)


def test_a_place_without_code_is_one_clear_line(root):
    (root / "src/gap.py").write_text("def one():\n    return 1\n\n\ndef two():\n    return 2\n")
    (root / "data.bin").write_bytes(b"\0")
    for place, message in (
        ("src/gap.py:3", "src/gap.py:3 is empty"),
        ("src/gap.py:99", "is after the last line of code, 6"),
        ("data.bin:1", "data.bin is not indexed (binary)"),
        ("nowhere.py:1", "nowhere.py: no such file:"),
        ("/etc/hosts:1", "is in none of the folders"),
        ("src/gap.py", "expected FILE:LINE"),
        ("src/gap.py:2147483647", "is after the last line of code, 6"),
        ("src/gap.py:2147483648", "2147483648 is too large for the number of a line"),
        (f"src/gap.py:{'9' * 5000}", "expected one up to 2147483647"),
    ):
        refused = run("similar", place)
        assert refused.returncode == 2 and message in refused.stderr and not refused.stdout, place
        assert len([line for line in refused.stderr.splitlines() if "indexed (" not in line or "not" in line]) == 1
    assert run("similar", "src/gap.py:2").returncode == 0


def held(real, *, covered, below):
    """What an index holds, if its nearest chunk is that much below the floor and has this share of the words."""
    near = floor._floor(real, ENCODER) - below
    fake = mock.Mock(chunks=real.chunks, encoded=1.0, floors=real.floors)
    fake.coverage.return_value, fake.is_in_a_name.return_value, fake.highest.return_value = covered, False, np.array([near])
    return fake


def test_a_floor_is_measured_for_each_index(root, monkeypatch):
    monkeypatch.setattr(floor, "_FEWEST", 0)
    index = Index.open(root, folder=None, encoder=ENCODER)
    index.update(ENCODER)
    view = index.view()
    nearest = sorted(float((view.vectors_PD @ probe_D).max()) for probe_D in ENCODER.encode(floor._PROBES))
    assert floor._floor(floor.InIndex(index, view), ENCODER) == pytest.approx(nearest[-3] + 0.08, abs=1e-6) and view.floors
    axis_D = np.eye(ENCODER.width, dtype=np.float32)[0]
    assert not floor.passes(floor.InIndex(index, view), ENCODER, "blorptang xqzv", axis_D)
    assert floor.passes(floor.InIndex(index, view), ENCODER, "blorptang xqzv", view.vectors_PD[0])  # whatever its words
    assert not floor.passes(
        floor.InIndex(index, view), ENCODER, "blorptang xqzv retry", axis_D
    )  # holds a third of the weight or less
    assert floor.passes(floor.InIndex(index, view), ENCODER, "retry call", axis_D)
    under = {share: held(floor.InIndex(index, view), covered=share, below=0.06) for share in (0.0, 0.2, 0.4)}
    assert [floor.passes(one, ENCODER, "blorptang xqzv", axis_D) for one in under.values()] == [False, False, True]
    for encoded, passes in ((0, True), (2, True), (3, False), (5, False)):  # if it passes, the answer says "partial"
        partial = replace(view, statics_ND=np.zeros((6, 0)), encoded_N=np.arange(6) < encoded)
        assert floor.passes(floor.InIndex(index, partial), ENCODER, "blorptang", axis_D) == passes, encoded


def test_paths_open_from_where_the_user_stands(root, tmp_path, monkeypatch):
    for folder, given in (
        (root, ["."]),
        (root, ["src"]),
        (root / "docs", ["../src"]),
        (tmp_path, [root / "src"]),
        (root, ["./src/retry.py"]),
        (root / "src", []),
        (root, []),
    ):
        monkeypatch.chdir(folder)
        paths = paths_of(run("search", "retry a call with pauses", "-t", "py", "-l", *given))
        assert [os.path.realpath(folder / path) for path in paths] == [str(root / "src/retry.py")], (folder, given)
    monkeypatch.chdir(root)
    several = paths_of(run("search", "retry", "src", "docs", "src/pkg", "-l", "-k", 3))
    assert set(several) <= {"src/retry.py", "docs/retry.md", "src/pkg/http.js", "src/pkg/http.rs"}
    assert several[0] in ("src/retry.py", "docs/retry.md") and {"src/retry.py", "docs/retry.md"} <= set(several)


def test_globs_count_from_the_working_folder(root, monkeypatch):
    assert run("index", ".").returncode == 0
    assert paths_of(run("search", "retry", "src", "-l", "-g", "src/*.py")) == ["src/retry.py"]
    assert run("search", "retry", "src", "-l", "-g", "./*.py").returncode == 1
    monkeypatch.chdir(root / "src")
    assert paths_of(run("search", "retry", "-l", "-g", "./*.py")) == ["retry.py"]


def test_a_part_of_an_indexed_folder_needs_no_index_of_its_own(root, tmp_path):
    assert run("index", ".").returncode == 0
    answer = run("search", "fetch page", "src/pkg", "-l")
    assert set(answer.stdout.splitlines()) == {"src/pkg/http.js", "src/pkg/http.rs"} and not answer.stderr
    assert len(list((tmp_path / "cache/codesage/indexes").iterdir())) == 1


def test_a_folder_of_clones_is_searched_as_several_repositories(root, tmp_path, monkeypatch):
    for name in ("one", "group/two"):
        (tmp_path / "clones" / name / ".git").mkdir(parents=True)
        (tmp_path / "clones" / name / ".gitignore").write_text("!*.py\n")
        (tmp_path / "clones" / name / "code.py").write_text(f"def of_{name[-3:]}():\n    return 1\n")
    (tmp_path / "clones" / ".gitignore").write_text("*.py\n")
    monkeypatch.chdir(tmp_path)
    answer = run("search", "of", "clones", "-l", "-t", "py")
    assert set(answer.stdout.splitlines()) == {"clones/one/code.py", "clones/group/two/code.py"}, answer.stderr


@pytest.fixture
def clones(root, tmp_path, monkeypatch):
    """A folder with two repositories that hold a copy of one function, and the working folder is in it."""
    folder = tmp_path / "clones"
    for name, text in (("one/a.py", LOOP), ("two/dup.py", LOOP), ("two/other.py", "def quagga():\n    return 1\n")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).parent.joinpath(".git").mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    return folder


def test_similar_code_is_searched_in_all_paths_that_are_given(clones):
    for given in ([], ["."], ["one", "two"], ["two", "one"]):
        answer = run("similar", "one/a.py:1", *given, "-k", 1, "--jsonl")
        assert answer.returncode == 0, answer.stderr
        hit = json.loads(answer.stdout)
        assert hit["path"] == "two/dup.py" and hit["score"] > 0.9, given
    assert run("similar", "one/a.py:1", "one", "-l").returncode == 1
    assert "is in none of the folders" in run("similar", "one/a.py:1", "two").stderr


def test_similar_code_of_several_paths_is_compared_without_the_means_of_all(root):
    (root / "src/again.js").write_text(FILES["src/pkg/http.js"].replace("fetchPage", "readPage"))
    (root / "docs/more.py").write_text(FILES["src/retry.py"])
    lines = run("similar", "src/pkg/http.js:1", "src", "docs", "--jsonl").stdout.splitlines()
    scores = {hit["path"]: hit["score"] for hit in map(json.loads, reversed(lines))}  # the best of each file
    views = [Index.open(root / name, folder=None, encoder=ENCODER).view() for name in ("src", "docs")]
    paths = [f"src/{path}" for path in views[0].paths] + [f"docs/{path}" for path in views[1].paths]
    languages = views[0].languages + views[1].languages
    vectors = without_language(np.concatenate([view.vectors_PD for view in views]), languages)
    products = vectors @ vectors[paths.index("src/pkg/http.js")]
    expected = {path: score for score, path in sorted(zip(products.tolist(), paths, strict=True))}
    assert set(scores) == {"src/again.js", "src/pkg/http.rs", "src/retry.py", "docs/more.py"}
    assert scores == pytest.approx({path: expected[path] for path in scores}, abs=1e-5)


def test_status_shows_each_repository_of_a_folder_of_clones(clones):
    assert run("index").returncode == 0
    blocks = run("status").stdout.split("\n\n")
    assert [re.findall("(?m)^(?:root|files): (.*)", block) for block in blocks] == [[".", "0"], ["one", "1"], ["two", "2"]]
    (clones / "one/data.bin").write_bytes(b"\0")
    (clones / "three/.git").mkdir(parents=True)
    assert run("index", "one").returncode == 0
    assert run("status", "--skipped").stdout == "one/data.bin: binary\n"
    unindexed = run("status")
    assert unindexed.stdout.count("root: ") == 3 and unindexed.returncode == 2
    assert "three has no index" in unindexed.stderr and unindexed.stderr.count("\n") == 1


def test_repositories_that_are_searched_too_do_not_count_as_skipped(clones):
    (clones / "one/data.bin").write_bytes(b"\0")
    for command in (("search", "quagga"), ("index", "--rebuild"), ("index", "--rebuild", ".", "one", "two")):
        counts = [line for line in run(*command).stderr.splitlines() if "files indexed (" in line]
        assert [line.partition("), ")[2] for line in counts] == ["0 skipped", "1 skipped: 1 binary", "0 skipped"], command
    assert re.findall("(?m)^skipped: (.*)", run("status").stdout) == ["none", "1 binary", "none"]


def test_skipped_files_are_those_below_the_path_that_is_given(root):
    for name in ("data.bin", "src/more.bin"):
        (root / name).write_bytes(b"\0")
    assert run("index").returncode == 0
    assert run("status", "src", "--skipped").stdout == "src/more.bin: binary\n"


def test_forms_of_output(root):
    document = json.loads(run("search", "retry", "--json", "--explain").stdout)
    lines = list(map(json.loads, run("search", "retry", "--jsonl", "-e", "sleep").stdout.splitlines()))
    assert document["partial"] == 0 and document["results"][0]["path"] == "src/retry.py"
    assert document["results"][0]["parts"] and document["results"][0]["stale"] is False
    assert [(one["path"], one["matching_lines"]) for one in lines] == [("src/retry.py", [6])]
    around = run("search", "retry", "-t", "py", "-k", 1, "-C", 1).stdout.splitlines()
    assert run("search", "retry", "-t", "py", "-k", 1, "-C", 10**9).stdout.count("\n") == 9  # all lines of the file
    assert around[0].startswith("src/retry.py:4: retry  ") and around[1:] == [
        "    3  ",
        "    4: def retry(call):",
        "    5      for pause in (1, 2):",
    ]
    matching = run("search", "retry", "-e", "sleep").stdout.splitlines()
    assert matching[0].startswith("src/retry.py:6: retry") and matching[1:] == ["    6:         time.sleep(pause)"]
    assert json.loads(run("search", "retry", "--json", "-e", "no such text").stdout) == {"partial": 0, "results": []}
    for wrong in (("--json", "-l"), ("-0",), ("--color", "red"), ("--content", "all", "-t", "cobol")):
        refused = run("search", "retry", *wrong)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and not refused.stdout
    assert run("search", " ").returncode == 2


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1001", "1e308"])
def test_numbers_that_are_not_finite_are_refused(root, number):
    assert run("search", "retry", f"--dense-weight={number}").returncode == 2
    assert run("clones", f"--threshold={number}").returncode == 2
    with pytest.raises(CodesageError, match="from 0 to 1,000"):
        codesage.search("retry", root, model=ENCODER, dense_weight=float(number))


def test_a_place_may_have_a_column(root):
    (root / "a:2").write_text("def other():\n    return 2\n")
    expected = run("similar", "src/retry.py:4").stdout
    assert expected and {run("similar", f"src/retry.py:4{end}").stdout for end in (":9", ":9:", ":")} == {expected}
    assert place_in("a:2:1") == (Path("a:2"), 1) and place_in("b:2:1") == (Path("b"), 2)


def test_a_place_that_is_not_indexed_is_told_why(root, tmp_path):
    (root / ".git").mkdir()
    (root / "third" / ".git").mkdir(parents=True)
    (root / "third" / "inner.py").write_text("def inner():\n    return 1\n")
    (root / ".codesageignore").write_text("ignored.py\n")
    for name in ("ignored.py", "node_modules/a.py"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("def a():\n    return 1\n")
    (root / "brackets.js").write_text("{\n}\n")
    assert run("index").returncode == 0
    (root / "new.py").write_text("def new():\n    return 1\n")
    (root / "sub").mkdir()
    for place, message in (
        ("src/retry.py:0", "lines are counted from 1"),
        ("src/gone.py:10", "src/gone.py: no such file"),
        ("sub:1", "sub is a folder"),
        ("third/inner.py:1", "third/inner.py is in a nested repository"),
        ("ignored.py:1", "ignored.py is not indexed: git or a .codesageignore ignores it"),
        ("node_modules/a.py:1", "node_modules/a.py is not indexed: git"),
        ("new.py:1", "new.py is newer than the index: leave out --no-update"),
        ("brackets.js:1", "brackets.js holds no code"),
        (f"{root}/src/retry.py:2", f"{root}/src/retry.py:2 is empty"),
    ):
        answer = run("similar", place, ".", "--no-update")
        assert answer.returncode == 2 and message in answer.stderr, (place, answer.stderr)


def test_what_changed_since_is_marked(root):
    assert run("index", ".").returncode == 0
    (root / "src/retry.py").write_text("# new\n")
    (hit,) = json.loads(run("search", "retry a call", "-t", "py", "--json", "--no-update").stdout)["results"][:1]
    assert hit["stale"] is True
    assert "(changed since)" in run("search", "retry a call", "-t", "py", "--no-update", "-C", 1).stdout


def test_colours_are_for_terminals(root, monkeypatch):
    assert "\x1b[" in on_terminal("search", "retry", "-t", "py")
    assert "\x1b[" in run("search", "retry", "--color", "always").stdout
    assert "\x1b" not in run("search", "retry").stdout + on_terminal("search", "retry", "--color", "never")
    for name, value in (("TERM", "dumb"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
        plain = on_terminal("search", "retry", "-t", "py")
        assert "src/retry.py:4: retry" in plain and "\x1b" not in plain


def test_progress_on_a_terminal_has_escape_sequences_only_where_they_are_wanted_and_something_is_done(root, monkeypatch):
    index = Index.open(root, folder=None, encoder=ENCODER)

    def said(**variables) -> str:
        stream = Stream(terminal=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            for name, value in variables.items():
                patch.setenv(name, value)
            refresh(index, ENCODER)
        return stream.data().decode()

    assert "\x1b" in said() and said() == ""
    for number, variables in enumerate(({"NO_COLOR": "1"}, {"TERM": "dumb"})):
        (root / f"new{number}.py").write_text(f"def new{number}():\n    return {number}\n")
        assert said(**variables) == f"{6 + number} files indexed ({7 + number} chunks), 0 skipped\n"
    index.close()


def test_a_terminal_hears_no_control_characters_and_a_pipe_gets_names_as_they_are(root, monkeypatch):
    evil = "ev\x1b]0;owned\x07il.py"
    (root / evil).write_text("def quagga():\n    return '\x1b]52;c;AAAA\x07 \u202e \x9b31m'\n")
    (root / os.fsdecode(b"caf\xe9.py")).write_text("def quagga_two():\n    return 2\n")
    assert "\x1b]" not in on_terminal("search", "quagga", "-t", "py")  # colours, and nothing else
    monkeypatch.setenv("NO_COLOR", "1")
    for options in ((), ("-l",), ("-C", 2), ("-e", "return"), ("--json",), ("--jsonl",), ("--explain",)):
        shown = on_terminal("search", "quagga", "-t", "py", *options)
        assert "quagga" in shown or options == ("-l",)
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", shown), options
    raw = run("search", "quagga", "-t", "py", "-l", "-0", text=False).stdout
    assert {os.fsencode(evil), b"caf\xe9.py"} <= set(raw.split(b"\0")) and all(map(os.path.exists, raw.split(b"\0")[:-1]))
    assert printable("a\tb é 中") == "a\tb é 中" and printable("\x1b\u2028") == "\\x1b\\u2028"


def test_streams_that_are_closed_full_or_left_are_no_tracebacks(root):
    for index in range(40):
        (root / f"many_{index}.py").write_text(f"def retry_{index}():\n" + "".join(f"    x{n} = {n}\n" for n in range(60)))
    program = f"{sys.executable} -m codesage search retry -k 100 -C 100"
    for command, code in (
        (f"set -o pipefail; {program} | head -n 1", 0),
        (f"{program} >&-", 0),
        (f"{program} nowhere 2>&-", 2),
        (f"{program} >/dev/full", 2),
    ):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.count("\n")) == (code, int("head" in command)), done.stderr
        lines = [line for line in done.stderr.splitlines() if "index" not in line]
        assert len(lines) == ("full" in command) and "Traceback" not in done.stderr, done.stderr
        assert ["no space is left" in line and "DEBUG" not in line for line in lines] == [True] * len(lines), done.stderr


def test_json_is_valid_in_any_encoding(root):
    (root / "names.py").write_text("def größe():\n    return 'é 中 😀'\n", encoding="utf-8")
    for encoding in ("latin-1", "ascii", "utf-8"):
        done = run("search", "größe", "--json", "-t", "py", encoding=encoding, text=False)
        results = json.loads(done.stdout.decode(encoding))["results"]
        assert "é 中 😀" in results[0]["snippet"] and results[0]["name"] == "größe"


@pytest.mark.parametrize("given", [[], ["project"]])
def test_a_deleted_working_folder_is_named(root, tmp_path, monkeypatch, given):
    """Also where the paths that are given exist."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = run("search", "retry", *(tmp_path / path for path in given))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "codesage: the working folder was deleted: change to another folder\n"


def test_a_path_that_is_not_utf8_can_be_typed(root, monkeypatch):
    root = root.rename(root.with_name("pröject"))
    monkeypatch.chdir(root)
    folder, name = os.fsdecode(b"caf\xe9"), os.fsdecode(b"gen\xe9.py")
    (root / folder).mkdir()
    for path in (root / folder / name, root / name):
        path.write_text("def quagga_two():\n    return 2\n")
    run("index")
    for given, found in (
        (folder, rb"caf\xe9/gen\xe9.py"),
        (name, rb"gen\xe9.py"),
        (f"{folder}/{name}", rb"caf\xe9/gen\xe9.py"),
    ):
        answer = run("search", "quagga", given, "--json")
        assert answer.returncode == 0 and not answer.stderr, answer.stderr  # the index of the parent has it
        (hit,) = json.loads(answer.stdout)["results"]
        assert hit["path"].encode() == found and not hit["stale"]
        assert run("search", "quagga", given, "-l", text=False).stdout == os.fsencode(openable(hit["path"])) + b"\n"
    assert run("similar", f"{folder}/{name}:2", "--json").returncode == 0
    monkeypatch.chdir(root / folder)
    assert run("search", "quagga", "-l", "-g", "./*.py", text=False).stdout == os.fsencode(name) + b"\n"


def test_a_query_that_is_not_utf8(root):
    done = run("search", os.fsdecode(b"retry caf\xe9"), "-l")
    assert done.returncode == 0 and "src/retry.py" in done.stdout and "not UTF-8" in done.stderr


def test_control_c_says_what_is_kept(root, monkeypatch):
    class Interrupted(HashingEncoder):
        def encode(self, texts, *, kind="code"):
            if any("Retry" in text for text in texts):
                raise KeyboardInterrupt
            return super().encode(texts, kind=kind)

    for name in ("_CHUNKS_A_BATCH", "_HURRIED"):
        monkeypatch.setattr(f"codesage.search.index.{name}", 1)
    monkeypatch.setattr("codesage.encoder.runtime.load", lambda model=None, **options: Interrupted())
    for command in (("index",), ("search", "retry")):
        stopped = run(*command)
        assert stopped.returncode == 130 and stopped.stderr.count("\n") == 1 and not stopped.stdout
        assert "interrupted: 5 files are indexed and kept (partial: 2 of 6 chunks are not encoded yet)" in stopped.stderr
    assert "partial: 2 of 6 chunks are not encoded yet" in run("status").stdout
    stopped = run("search", "Retry", "-t", "js", "--no-update")  # while the query is encoded
    assert stopped.returncode == 130 and stopped.stderr == "codesage: interrupted; what was indexed or written before is kept\n"
    monkeypatch.setattr("codesage.encoder.runtime.load", lambda model=None, **options: ENCODER)
    assert run("index").returncode == 0 and "state: complete" in run("status").stdout


def test_skipped_files_are_named_with_their_reason(root):
    (root / ".env").write_text("TOKEN=1")
    (root / "data.bin").write_bytes(b"\0\1")
    (root / "link.py").symlink_to("src/retry.py")
    (root / "src" / "outside").symlink_to("/etc")
    (root / "broken").symlink_to("gone")
    (root / "ignored").symlink_to("src")
    (root / ".codesageignore").write_text("/ignored\n.*\n!.env\n")
    assert run("index").returncode == 0
    assert run("status", "--skipped", "-").returncode == 2
    assert run("status", "--skipped").stdout.splitlines() == [
        ".env: secret",
        "broken: link",
        "data.bin: binary",
        "link.py: link",
        "src/outside: link",
    ]
    (root / "link.py").unlink()
    (root / "link.py").write_text("def linked():\n    return 1\n")
    assert paths_of(run("search", "linked", "-l"))[0] == "link.py"


def listed(only):
    return {option: [value] for option, value in only.items()}


def test_an_index_that_stays_open_is_opened_again_after_a_rebuild(root):
    with codesage.Index("src", model=ENCODER) as index:
        assert index.search("retry", types="py")
        for act in (index.update, lambda: index.search("retry"), lambda: index.search("retry", update=False), index.status):
            assert run("index", "src", "--rebuild").returncode == 0
            act()
            assert index.search("retry", update=False, types="py")[0].chunk.path == "src/retry.py"
        assert index.status()[0].files == 3 and run("clear", "src").returncode == 0
        with pytest.raises(CodesageError, match="has no index"):
            index.search("retry", update=False)
        assert index.search("retry", types="py")[0].chunk.path == "src/retry.py"


def test_search_from_python(root):
    hit = codesage.search("retry a call", types=["py"], model=ENCODER)[0]
    assert (hit.chunk.path, hit.chunk.name) == ("src/retry.py", "retry")
    assert {hit.chunk.path for hit in codesage.search("retry", ["src/pkg", "docs"], model=ENCODER)} == {
        "src/pkg/http.js",
        "src/pkg/http.rs",
        "docs/retry.md",
    }
    assert "fetchPage" in [hit.chunk.name for hit in codesage.similar("src/retry.py:5", model=ENCODER)]
    with codesage.Index("src", model=ENCODER) as index:
        assert index.search("retry", update=False, globs=["*.py"])[0].chunk.path == "src/retry.py"
        (root / "src/late.py").write_text("def quagga():\n    return 1\n")
        assert "quagga" not in [hit.chunk.name for hit in index.search("quagga", update=False)]
        index.update()
        assert index.search("quagga", update=False)[0].chunk.name == "quagga" and index.status()[0].files == 6
    assert codesage.search("retry", globs="", patterns="", types="", model=ENCODER) == codesage.search("retry", model=ENCODER)
    for only in ({"patterns": "sleep"}, {"globs": "src/*.py"}, {"types": "py"}):
        one, several = (
            {hit.chunk.path for hit in codesage.search("retry", **kind, model=ENCODER)} for kind in (only, listed(only))
        )
        assert one == several and "src/retry.py" in one <= {"src/retry.py", "src/late.py"}, only
    for wrong in (
        lambda: codesage.search("x", "nowhere", model=ENCODER),
        lambda: codesage.similar("x", model=ENCODER),
        lambda: codesage.search(" ", model=ENCODER),
        lambda: codesage.search("x", types=["cobol"], model=ENCODER),
    ):
        with pytest.raises(CodesageError):
            wrong()
