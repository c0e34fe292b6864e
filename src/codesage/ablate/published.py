"""The paper's published ablation scores, which the report shows beside ours."""

SIZES = ("small", "base", "large")
COLUMNS = {"R": "random masking", "D": "deobfuscation", "S": "sequential", "P": "parallel"}
OBJECTIVES = {  # by task, by objective: small, base, large
    "text to code": {"R": (6.6, 12.2, 19.4), "D": (19.9, 22.5, 23.3), "S": (22.7, 22.0, 29.4), "P": (25.8, 23.3, 30.5)},
    "code to code within": {"R": (16.8, 28.2, 30.7), "D": (14.6, 23.7, 28.2), "S": (17.9, 25.3, 30.2), "P": (19.7, 29.2, 33.9)},
    "code to code across": {"R": (5.7, 17.2, 20.5), "D": (6.7, 14.1, 18.0), "S": (8.8, 14.6, 19.0), "P": (9.6, 19.7, 24.6)},
    "classification": {"R": (51.2, 53.8, 52.0), "D": (53.9, 55.6, 55.6), "S": (53.5, 54.8, 57.2), "P": (53.4, 55.4, 56.5)},
}


def table() -> str:
    """The published scores of the objectives of Stage I as Markdown: small / base / large."""
    lines = [
        f"| {' / '.join(SIZES)} | " + " | ".join(f"{name}: {title}" for name, title in COLUMNS.items()) + " |",
        "|---|" + "---:|" * len(COLUMNS),
    ]
    for task, figures in OBJECTIVES.items():
        cells = " | ".join(" / ".join(f"{value:.1f}" for value in figures[name]) for name in COLUMNS)
        lines.append(f"| {task} | {cells} |")
    return "\n".join(lines)
