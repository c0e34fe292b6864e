"""What fine-tuning the bundled model on one's own code brings, measured on components that were held out.

    python benchmarks/fine_tuning.py FOLDER [--minutes 10] [--threads 2] [--out FILE.json]

FOLDER is src/Illuminate of a clone of https://github.com/laravel/framework (MIT; the recorded run used commit bd71b45f). Its
components are published as packages of their own. Four of them (Cache, Console, Mail and Queue) are held out. The commands
are those of the training guide. The report has the figures before and after, with 95% intervals and the paired test of
`codesage evaluate --against`.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from codesage.evaluate.reports import environment

HELD_OUT = ("Cache", "Console", "Mail", "Queue")


def codesage(*words: object) -> str:
    """Run one command; returns what it printed."""
    command = [sys.executable, "-m", "codesage", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Build, train, export, compare; write JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        held_out = [word for name in HELD_OUT for word in ("--held-out", name)]
        components = sorted(path for path in given.folder.iterdir() if path.is_dir())
        codesage("corpus", "build", *components, "--out", home / "corpus", *held_out)
        codesage("tokens", home / "corpus", "--tokenizer", "default", "--out", home / "tokens")
        start, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        training = ["--model", "default", "--minutes", given.minutes, "--threads", given.threads]
        trained = codesage("contrast", home / "tokens", *training, "--out", home / "tuned")
        wall, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used
        codesage("export", home / "tuned", "--out", home / "model", "--int8-only")
        codesage("evaluate", "bundled=default", "--corpus", home / "corpus", "--out", home / "before.json")
        before = json.loads((home / "before.json").read_text())
        compared = ["--against", home / "before.json", "--out", home / "after.json"]
        report = codesage("evaluate", f"bundled={home / 'model'}", "--corpus", home / "corpus", *compared)
        after = json.loads((home / "after.json").read_text())
    print(trained, report, sep="\n")
    if given.out:
        facts = {
            "date": str(date.today()),
            **environment(),
            "minutes": given.minutes,
            "training_wall_s": wall,
            "training_cpu_s": used,
        }
        differences = [line for line in report.splitlines() if line.startswith("held-out pairs, ")]
        facts |= {"training": trained.strip().splitlines()[-1].partition(": ")[2], "differences": differences}
        facts |= {"before": before["figures"], "after": after["figures"]}
        given.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
