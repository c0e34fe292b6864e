"""A stand-in that pip starts instead of a package's build backend. It returns the name and version, and runs nothing else.

In: the arguments of pip's call (a script, a hook of PEP 517, a folder) and the environment. Out: the hook's result in
that folder, as pip's own helper would write it. This file imports nothing of codesage, since pip runs it by its path.
"""

import json
import os
import sys
from pathlib import Path


def answer(hook: str, folder: Path) -> object:
    """The result that a backend would return for `hook`. The hook that makes metadata writes a minimal METADATA."""
    if hook.startswith("get_requires_for"):
        return []
    if hook == "_supported_features":
        return []
    if hook != "prepare_metadata_for_build_wheel":
        raise SystemExit(f"{hook}: codesage does not build packages")
    name, version = os.environ["CODESAGE_NAME"], os.environ["CODESAGE_VERSION"]
    call = json.loads((folder / "input.json").read_text(encoding="utf-8"))
    target = Path(call["kwargs"]["metadata_directory"]) / f"{name.replace('-', '_')}-{version}.dist-info"
    target.mkdir()
    (target / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    return target.name


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit("codesage does not build packages")
    result = {"return_val": answer(sys.argv[2], Path(sys.argv[3]))}
    (Path(sys.argv[3]) / "output.json").write_text(json.dumps(result), encoding="utf-8")
