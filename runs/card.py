"""Write the card of a trained model beside its weights: what it was trained on, and what was measured.

Run: python runs/card.py MODEL CORPUS RETRIEVAL.json NAME [BEFORE...] [--title TITLE]; NAME is its row in the figures, BEFORE
are the folders of the models that training started from, the first one first. Every figure comes from these.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

from codesage.artifacts import open_artifact
from codesage.corpus.read import read_pairs
from codesage.encoder.config import load_config
from codesage.evaluate.reports import table


def main() -> None:
    """Write README.md into the model folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "corpus", "retrieval", "name"):
        parser.add_argument(name)
    parser.add_argument("before", nargs="*")
    parser.add_argument("--title", default="CodeSage nano")
    given = parser.parse_args()
    model, corpus = open_artifact(given.model, "model"), open_artifact(given.corpus, "corpus", verify=False)
    measured = json.loads(Path(given.retrieval).read_text(encoding="utf-8"))
    config, facts, data = load_config(model.path), model.facts, corpus.facts
    history = [*(open_artifact(before, "model", verify=False).facts for before in given.before), facts]
    held_out = sorted({pair.package for pair in read_pairs(corpus.path, held_out=True)})
    counts = ", ".join(f"{count:,} {language}" for language, count in sorted(data["pairs"].items()))
    text = (
        f"""---
license: apache-2.0
tags: [code, feature-extraction, codesage]
---
# {given.title}

An encoder of source code and of text about it: {config.num_hidden_layers} layers, width {config.hidden_size}, vectors of \
width {config.vector_width}, {config.parameters():,} parameters, code up to {facts["max_tokens"]} tokens. {_origin(facts)}

## Trained on
A corpus of {sum(data["documents"].values()):,} files and {sum(data["pairs"].values()):,} (text, code) pairs: {counts}.
Benchmark items were kept out; held out for evaluation: {", ".join(held_out)}.

{stages_of(history)}

Packages, with version and licence as stated by each: {packages_of(data, held_out)}.

## Measured
{measured["cpu"]}, {measured["cores"]} cores, Python {measured["python"]}, onnxruntime {measured["versions"]["onnxruntime"]}, \
{measured["date"]}. `{given.name}` is this folder (int8); "+ BM25": fused, vectors at weight {measured["dense_weight"]}.

{table(measured["figures"])}

{table(measured["classification"], "macro F1") if measured.get("classification") else ""}
""".rstrip()
        + "\n"
    )
    (model.path / "README.md").write_text(text, encoding="utf-8")


def _origin(facts: dict) -> str:
    """What the model was before its training."""
    if start := facts.get("start"):
        return (
            f"Its blocks, positions and tokens start from {start}, a general sentence encoder, converted by `codesage "
            "convert`; Stage II then taught it code."
        )
    return (
        "A small model after minutes of training: it is there so that search works at once, beside full-text ranking, not to "
        "compete with published models."
    )


def stages_of(history: list[dict]) -> str:
    """A line for each stage: what it saw, and how long. `history`: the facts of each model that was trained in turn."""
    lines = []
    for before, facts in pairwise([{}, *history]):
        if before:
            lines.append("- then from these weights:")
        if facts.get("shrunk_from") != before.get("shrunk_from"):
            lines.append("- shrunk before the next training (`codesage shrink`)")
        if facts.get("lengthened_from") != before.get("lengthened_from"):
            lines.append("- given more positions before the next training (`codesage lengthen`)")
        lines.append(_stages({name: value for name, value in facts.items() if value not in before.values()}))
        lines += [
            f"  - {part['entry']}: {part['share']:.0%} of the batches, from {part['rows']:,} pairs or groups"
            for part in facts.get("mixture", ())
        ]
        if teacher := facts.get("teacher"):
            lines.append(f"  - teacher of the similarities among texts: {teacher['name']}")
        if larger := facts.get("distilled_from"):
            lines.append(f"  - vectors of texts and codes learned from: {larger['name']}, {larger['parameters']:,} parameters")
        if averaged := facts.get("averaged"):
            share, others = averaged["share"], averaged["with"]
            both = f"{share:.0%} after this training, {1 - share:.0%} before it"
            if averaged.get("of_one_start"):
                rest = "another" if len(others) == 1 else f"{len(others)} others"
                both = f"{share:.0%} of this training, {1 - share:.0%} of {rest} from the same weights"
            lines.append(f"  - the weights are a mean: {both} (`codesage average`)")
    return "\n".join(lines)


def _stages(facts: dict) -> str:
    stages = [name for name in facts if name.split("-")[0] in ("pretrain", "shallow", "contrast")]
    order = sorted(stages, key=lambda name: (name.split("-")[0] != "pretrain", "shallow" not in name, name))
    return "\n".join(f"- {name}: " + ", ".join(f"{k} {v:,}" for k, v in facts[name].items()) for name in order)


def packages_of(data: dict, held_out: list[str]) -> str:
    """Name, version and licence of every package that training pairs and documents came from."""
    return ", ".join(
        f"{name} {origin['version']} ({' and '.join(origin['licences'])})".replace(" ()", "")
        for name, origin in sorted(data["packages"].items())
        if name not in held_out
    )


if __name__ == "__main__":
    main()
