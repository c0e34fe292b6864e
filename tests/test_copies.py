"""Documentation that was copied from a sibling and not changed gives no pair."""

import pyarrow.parquet as pq

from codesage.corpus.pairs.copies import Documented, copies
from codesage.corpus.sources.trees import Folder
from codesage.corpus.stage import Settings, build
from timing import takes_less


def documented(*names_and_codes: tuple[str, str], text: str) -> list[str]:
    """The names of the pairs with this text that are copies."""
    pairs = [
        Documented("pack", "java", "function", text, name, "a.java", code, 0, row)
        for row, (name, code) in enumerate(names_and_codes)
    ]
    return [pair.name for pair in copies(pairs)]


def test_documentation_of_a_sibling_is_a_copy():
    text = "Handler for the Namespace attribute"
    two = ("Function.HandleNamespaceAttribute", "x"), ("Function.HandleBuiltInAttribute", "isBuiltIn = Read(x);")
    assert documented(*two, text=text) == ["Function.HandleBuiltInAttribute"]
    assert (
        documented(two[0], ("Function.HandleBuiltInAttribute", "return ReadNamespace(x);"), text=text) == []
    )  # its code shows it
    assert documented(two[0], ("Namespace.HandleBuiltInAttribute", "x"), text=text) == []  # its class does
    assert documented(two[0], ("Other.HandleNamespaceAttribute", "x"), text=text) == []  # the same method
    opposite = ("Watcher.asyncStop", "x"), ("Watcher.asyncStart", "x")
    assert documented(*opposite, text="Stop watching for new devices") == ["Watcher.asyncStart"]
    synonym = ("Surface.loadCurvature", "x"), ("Surface.readCurvature", "x")
    assert documented(*synonym, text="Load the curvature of the surface") == []
    assert documented(("A.add", "x"), ("A.addAll", "x"), text="Adds the elements") == []


def located(*homes: tuple[str, str], text: str) -> list[str]:
    """The files of the functions of the given (file, name) pairs that have the documentation of another one."""
    pairs = [Documented("pack", "python", "function", text, name, file, "x", 0, row) for row, (file, name) in enumerate(homes)]
    return [pair.path for pair in copies(pairs)]


def test_documentation_of_another_file_or_class_is_a_copy():
    text = "Set up the switches of the hub from a config entry"
    assert located(("hub/switch.py", "setup"), ("hub/sensor.py", "setup"), text=text) == ["hub/sensor.py"]
    assert located(("hub/switch.py", "setup"), ("other/sensor.py", "setup"), text=text) == []  # another folder
    assert located(("hub/switch.py", "setup"), ("hub/sensor.py", "setup_switch"), text=text) == []  # its name shows it
    text = "Record that an attribute of the context was replaced"
    two = ("a/s.java", "ContextListener.replaced"), ("b/t.java", "SessionListener.replaced")
    assert located(*two, text=text) == ["b/t.java"]
    assert located(("a/n.cs", "XmlNode.Prefix"), ("b/e.cs", "XmlElement.Prefix"), text="Gets the prefix of this node") == []


def test_copies_of_many_names_are_found_in_linear_time():
    names = [(f"A.handle{'ABCDEFGHIJ'[i % 10]}x{i}Attribute", "x") for i in range(4_000)]
    assert takes_less(3, lambda: documented(*names, text="Handler for the Namespace attribute"))


def test_copies_go_from_a_corpus_with_any_number_of_workers(tmp_path):
    source = "".join(
        f'def drain_{kind}_buffer(queue):\n    """Drains the read buffer up to a threshold."""\n'
        f"    {kind} = queue.take({number})\n    queue.{verb}({kind}, {number})\n    count({kind})\n\n\n"
        for number, (kind, verb) in enumerate([("read", "forward"), ("write", "apply_task")])
    )
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "a.py").write_text(source)
    (tmp_path / "pack" / "b.py").write_text("def other(x):\n    y = x\n    return y\n")
    built = [
        build(Settings(workers=n), [Folder(str(tmp_path / "pack"))], tmp_path / f"w{n}", cache=tmp_path / "cache")
        for n in (1, 2)
    ]
    assert built[0].fingerprint == built[1].fingerprint
    assert built[0].facts["dropped"]["documentation of another"] == 1
    (file,) = (tmp_path / "w1" / "pairs").glob("*.parquet")
    assert pq.read_table(file)["name"].to_pylist() == ["drain_read_buffer"]
