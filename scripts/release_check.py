"""Build the distributions, check them, install the wheel into a clean environment and run both entry points from it.

`make release-check` runs this. The files that are ready to upload lie in dist/ afterwards.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command that must succeed; returns what it printed."""
    print("+", *command, flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, check=True, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Stop with the first command that fails."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    (wheel,) = DIST.glob("*.whl")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "venv", with_pip=True)
        python, command = home / "venv/bin/python", home / "venv/bin/codesage"
        run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
        (home / "code").mkdir()
        (home / "code/files.py").write_text("def read(path):\n    return open(path).read()\n")
        for entry in ([command], [python, "-m", "codesage"]):
            version = run(*entry, "--version", cwd=home).split()[1]
            if f"-{version}-" not in wheel.name:
                raise SystemExit(f"{wheel.name} states version {version}")
            answer = run(*entry, "search", "read a file", "code", "--index-dir", home / "index", cwd=home)
            if not answer.startswith("code/files.py:1: read"):
                raise SystemExit(f"the search found {answer!r}")
    print(f"{wheel.name}: built, checked, installed, and both entry points answer")


if __name__ == "__main__":
    main()
