"""Write the card of a trained model beside its weights: what it was trained on, and what was measured.

Run: python runs/card.py MODEL CORPUS RETRIEVAL.json NAME (of its row there); every figure comes from these three.
"""

import json
import sys
from pathlib import Path

from codesage.artifacts import open_artifact
from codesage.encoder.config import load_config
from codesage.evaluate.commands import table


def main() -> None:
    """Write README.md into the model folder."""
    model, corpus = open_artifact(sys.argv[1], "model"), open_artifact(sys.argv[2], "corpus")
    name = sys.argv[4]
    measured = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))
    config, facts, data = load_config(model.path), model.facts, corpus.facts
    stages = "\n".join(
        f"- {stage}: " + ", ".join(f"{k} {v:,}" for k, v in facts[stage].items())
        for stage in ("pretrain", "shallow", "contrast")
        if stage in facts
    )
    counts = ", ".join(f"{n:,} of {language}" for language, n in sorted(data["pairs"].items()))
    packages = ", ".join(f"{name} {version} ({licence})" for name, (version, licence) in sorted(data["packages"].items()))
    text = f"""---
license: apache-2.0
tags: [code, feature-extraction, codesage]
---
# CodeSage nano: the bundled default

An encoder of source code and of text about it: {config.num_hidden_layers} layers, width {config.hidden_size}, \
{config.parameters():,} parameters, code up to {facts["max_tokens"]} tokens. A small model after minutes of CPU time, almost \
all of it on Python: it is there so that search works at once, beside full-text ranking, not to compete with published models.

## Trained on
{sum(data["documents"].values()):,} files and {sum(data["pairs"].values()):,} (text, code) pairs: {counts}.
Benchmark items were kept out; held out for evaluation: {", ".join(data["held_out_packages"])}.

{stages}

Packages, with version and licence as stated by each: {packages}.

## Measured
{measured["cpu"]}, {measured["cores"]} cores, Python {measured["python"]}, onnxruntime {measured["versions"]["onnxruntime"]}, \
{measured["date"]}. `{name}` is this folder (int8).

{table(measured["figures"])}
"""
    (model.path / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
