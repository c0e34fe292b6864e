"""From process start to exit: `codesage --help` and a warm search over about 2,000 functions, beside `python -c pass`.

Run: python benchmarks/startup.py [--out FILE.json]. Functions come from a slice of the standard library, copied to a
temporary folder. Median of 7 runs each after one that is not counted, the commands in turn, with the processor time of each.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from datetime import date
from pathlib import Path

from codesage.evaluate.reports import environment
from codesage.syntax import functions, parse
from cold_start import timed, with_bytecode

ROUNDS, FUNCTIONS = 7, 2_000


def main() -> None:
    """Measure and print; write JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root, index = Path(temporary) / "code", Path(temporary) / "index"
        count = _copy(root)
        codesage = [sys.executable, "-m", "codesage"]
        place = [str(root), "--index-dir", str(index)]
        started = time.perf_counter()
        subprocess.run([*codesage, "index", *place], check=True, capture_output=True)
        indexing = time.perf_counter() - started
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "codesage --help": [*codesage, "--help"],
            "codesage search (warm)": [*codesage, "search", "parse an email header", *place],
        }
        environ = with_bytecode(Path(temporary))
        runs = [{name: timed(command, environ) for name, command in commands.items()} for _ in range(ROUNDS + 1)][1:]
    wall, processor = (
        {name: round(statistics.median(run[name][unit] for run in runs), 3) for name in commands}
        for unit in ("wall_s", "cpu_s")
    )
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "functions": count,
        "index_seconds": round(indexing, 1),
        "median_seconds": wall,
        "median_processor_seconds": processor,
        "runs": {name: [run[name] for run in runs] for name in commands},
    }
    print(json.dumps({"functions": count, "index_seconds": round(indexing, 1), "wall": wall, "processor": processor}, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _copy(root: Path) -> int:
    root.mkdir()
    count = 0
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if count >= FUNCTIONS:
            break
        count += sum(f.kind == "function" for f in functions(parse(file.read_text(encoding="utf-8"), "python")))
        shutil.copy(file, root)
    return count


if __name__ == "__main__":
    main()
