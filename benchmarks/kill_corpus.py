"""SIGKILL a build at random moments, run it again, and compare: the corpus must equal that of a build left alone.

    python benchmarks/kill_corpus.py RECIPE_OR_FOLDER... --cache DIR [--kills 30] [--out FILE.json]

Every kill comes at a random moment of what is left to do; after the last one the build is run to its end.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from codesage.artifacts import open_artifact
from codesage.evaluate.reports import environment


def main() -> None:
    """Build once in peace, then under fire until `--kills` kills have hit; exit code 1 when the bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--cache", required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "corpus"
        command = [sys.executable, "-m", "codesage", "corpus", "build", *arguments.sources, "--cache", arguments.cache]
        command += ["--workers", "2", "--out", str(out)]
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        whole, expected = time.monotonic() - started, open_artifact(out, "corpus").fingerprint
        hits, builds, equal = 0, 0, 0
        while hits < arguments.kills:
            shutil.rmtree(out)
            while not out.exists():
                process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    process.wait(moments.uniform(0.1, 1.0) * whole if hits < arguments.kills else None)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    hits += 1
                process.wait()
            builds += 1
            equal += open_artifact(out, "corpus").fingerprint == expected
        record = {
            "date": date.today().isoformat(),
            **environment(),
            "kills": hits,
            "builds": builds,
            "equal": equal,
            "seconds of a build": round(whole, 1),
        }
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.exit(equal != builds)


if __name__ == "__main__":
    main()
