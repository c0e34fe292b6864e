"""Tables and sentences from the records of a grid.

In: a plan and the records of its finished runs. Out: report.md and report.json in the folder of the grid. Each figure has the
95% interval of its mean over seeds. A claim is a difference of two rows: it agrees when the interval of the difference lies
above 0, disagrees when it lies below, and is no difference otherwise. With one seed there is no interval, so it stays open.
"""

import json
from dataclasses import asdict, dataclass

from codesage.ablate import measure, published, seeds
from codesage.ablate.cells import Plan
from codesage.ablate.grid import Claim, Row
from codesage.artifacts import write_whole
from codesage.evaluate.reports import environment

_STAGES = {"stage1": "Stage I alone", "stage2": "after Stage II"}
_WORDS = {"agrees": "agrees", "disagrees": "disagrees", "none": "no difference", "open": "open"}

Figures = dict[str, dict[str, list[float]]]  # by stage, by title: one figure for each finished seed


@dataclass(frozen=True, slots=True)
class Report:
    """The written report."""

    text: str
    finished: int  # runs
    failed: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What the measurement says of a claim on one task."""

    stage: str
    title: str
    difference: seeds.Estimate
    verdict: str


def write(plan: Plan) -> Report:
    """Write report.md and report.json of all finished runs."""
    records = {name: record for name in plan.cells if (record := plan.record(name)) is not None}
    figures = {row.name: figures_of(plan, row, records) for row in plan.grid.rows}
    judged = [judge(claim, figures, stage_of(plan, claim)) for claim in plan.grid.claims]
    text = markdown(plan, records, figures, judged)
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_whole(plan.folder / "report.md", text + "\n")
    write_whole(plan.folder / "report.json", json.dumps(_json(plan, records, figures, judged), indent=1) + "\n")
    failed = len(_failed(records))
    return Report(text, len(records) - failed, failed)


def figures_of(plan: Plan, row: Row, records: dict[str, dict]) -> Figures:
    """The figures of a row's finished runs, by stage and title."""
    by_stage: Figures = {}
    for seed in row.seeds:
        for stage, name in plan.of_row[row.name, seed].items():
            for title, value in records.get(name, {}).get("figures", {}).items():
                by_stage.setdefault(stage, {}).setdefault(title, []).append(value)
    return by_stage


def stage_of(plan: Plan, claim: Claim) -> str:
    """The stage after which a claim is judged: its own, or the last that both rows have, finished or not; "" without one.

    An earlier stage is no substitute for it: rows that differ in Stage II only share the runs of Stage I.
    """
    first = {row.name: plan.of_row[row.name, row.seeds[0]] for row in plan.grid.rows}
    shared = [stage for stage in _STAGES if stage in first[claim.higher] and stage in first[claim.lower]]
    return claim.stage or next(reversed(shared), "")


def judge(claim: Claim, figures: dict[str, Figures], stage: str) -> list[Judged]:
    """What the figures after `stage` say of a claim, one by one. [] when a row has none yet."""
    higher, lower = figures[claim.higher], figures[claim.lower]
    judgements = []
    for title, values in higher.get(stage, {}).items():
        others = lower.get(stage, {}).get(title, [])
        if others and (not claim.metrics or title in claim.metrics):
            gap = seeds.difference(values, others)
            judgements.append(Judged(stage, title, gap, _verdict(gap)))
    return judgements


def _verdict(gap: seeds.Estimate) -> str:
    if gap.count < 2:
        return "open"
    return "none" if not gap.decided else "agrees" if gap.value > 0 else "disagrees"


def markdown(plan: Plan, records: dict, figures: dict[str, Figures], judged: list[list[Judged]]) -> str:
    """The whole report as text."""
    failed = _failed(records)
    measured = [stage for stage in _STAGES if any(stage in by_stage for by_stage in figures.values())]
    parts = [
        f"# {plan.grid.title or 'Component analysis'}",
        _summary(plan, records),
        "## Scores",
        *(_scores(plan, figures, stage) for stage in measured),
    ]
    if failed:
        parts += [
            "## Failed runs",
            "\n".join(f"- {one['row']}, {one['stage']}, seed {one['seed']}: {one['failed']}" for one in failed),
        ]
    for title, of_paper in (("What the paper found, and what this grid finds", True), ("Our own questions", False)):
        lines = [
            _sentence(claim, judgements)
            for claim, judgements in zip(plan.grid.claims, judged, strict=True)
            if claim.published == of_paper
        ]
        parts += [f"## {title}", "\n".join(lines)] if lines else []
    parts += ["## Published scores of the objectives of Stage I", published.table()]
    return "\n\n".join(parts)


def _failed(records: dict[str, dict]) -> list[dict]:
    return [record for record in records.values() if "failed" in record]


def counted(finished: int, failed: int, runs: int) -> str:
    """How many runs are finished and how many failed, in words."""
    return f"{finished} of {runs} runs are finished" + (f", {failed} failed" if failed else "")


def _summary(plan: Plan, records: dict) -> str:
    budget = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in plan.grid.budget.items())
    seconds = sum(record.get("training_seconds", 0) + record.get("measuring_seconds", 0) for record in records.values())
    failed = len(_failed(records))
    return (
        f"{counted(len(records) - failed, failed, len(plan.cells))}, {seconds / 60:.0f} minutes in all. Budget of every run: "
        f"{budget}. Scores are times 100: the mean over seeds and half of its 95% interval (Student's t). A difference "
        "whose own interval (Welch) holds 0 is called no difference. Nothing is corrected for the number of comparisons: "
        "of twenty true zeros about one looks like a difference."
    )


def _scores(plan: Plan, figures: dict[str, Figures], stage: str) -> str:
    rows = [row for row in plan.grid.rows if figures[row.name].get(stage)]
    titles = list(dict.fromkeys(title for row in rows for title in figures[row.name][stage]))
    lines = [
        f"### {_STAGES[stage][:1].upper()}{_STAGES[stage][1:]}",
        "",
        "| group | row | seeds | " + " | ".join(measure.TITLES.get(title, title) for title in titles) + " |",
        "|---|---|---:|" + "---:|" * len(titles),
    ]
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        names = tuple(plan.of_row[row.name, seed].get(stage, "") for seed in row.seeds)
        if names in seen:  # rows that share this stage
            continue
        seen.add(names)
        by_title = figures[row.name][stage]
        count = max(map(len, by_title.values()))
        label = f"**{row.label}**" if row.headline else row.label
        cells = " | ".join(_cell(by_title.get(title, [])) for title in titles)
        lines.append(f"| {row.group} | {label} | {count} of {len(row.seeds)} | {cells} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    estimate = seeds.mean(values)
    return f"{estimate.value:.1f}" + (f" ± {estimate.high - estimate.value:.1f}" if estimate.count > 1 else "")


def _sentence(claim: Claim, judged: list[Judged]) -> str:
    source = f" ({claim.source})" if claim.source else ""
    if not judged:
        return f"- **{claim.says}**{source}: not measured yet."
    groups = {}
    for one in judged:
        groups.setdefault(one.verdict, []).append(f"{measure.TITLES.get(one.title, one.title)} {_gap(one.difference)}")
    verdicts = "; ".join(f"{_WORDS[verdict]}: {', '.join(parts)}" for verdict, parts in groups.items())
    return f"- **{claim.says}**{source}, {_STAGES[judged[0].stage]}: {verdicts}."


def _gap(estimate: seeds.Estimate) -> str:
    return f"{estimate.value:+.1f}" + (
        f" ({estimate.low:+.1f} to {estimate.high:+.1f})" if estimate.count > 1 else " (one seed)"
    )


def _json(plan: Plan, records: dict, figures: dict[str, Figures], judged: list[list[Judged]]) -> dict:
    rows = [
        {
            "name": row.name,
            "label": row.label,
            "group": row.group,
            "headline": row.headline,
            "runs": {str(seed): plan.of_row[row.name, seed] for seed in row.seeds},
            "figures": figures[row.name],
            "means": {
                stage: {title: _estimate(seeds.mean(values)) for title, values in by_title.items()}
                for stage, by_title in figures[row.name].items()
            },
        }
        for row in plan.grid.rows
    ]
    claims = [
        {
            **asdict(claim),
            "found": [
                {"stage": one.stage, "metric": one.title, "verdict": one.verdict, "difference": _estimate(one.difference)}
                for one in judgements
            ],
        }
        for claim, judgements in zip(plan.grid.claims, judged, strict=True)
    ]
    return {
        **environment(),
        "title": plan.grid.title,
        "budget": plan.grid.budget,
        "runs": len(plan.cells),
        "finished": len(records) - len(_failed(records)),
        "failed": len(_failed(records)),
        "base": plan.grid.base,
        "evaluation": plan.grid.evaluation,
        "rows": rows,
        "claims": claims,
        "published": published.OBJECTIVES,
    }


def _estimate(estimate: seeds.Estimate) -> dict:
    """JSON has no infinity: an unknown interval is null."""
    known = estimate.count > 1
    return {
        "value": round(estimate.value, 3),
        "low": round(estimate.low, 3) if known else None,
        "high": round(estimate.high, 3) if known else None,
        "seeds": estimate.count,
    }


def listed(plan: Plan) -> list[str]:
    """A line for each run, and how many are left."""
    states = [_state(plan, name) for name in plan.cells]
    lines = [
        f"{state:8}  {cell.name}  {cell.row.name}, seed {cell.seed}"
        for state, cell in zip(states, plan.cells.values(), strict=True)
    ]
    return [*lines, counted(states.count("finished"), states.count("failed"), len(states))]


def _state(plan: Plan, name: str) -> str:
    record = plan.record(name)
    return "to do" if record is None else "failed" if "failed" in record else "finished"
