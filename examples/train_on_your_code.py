"""Train the bundled model further on your own code: python examples/train_on_your_code.py path/to/code out/example

The settings are tiny, so that the example takes seconds: they show the way and do not improve the model. For a real
run, leave out `steps` and the batch size, and give it minutes. It needs the extra `train`.
"""

import sys
from dataclasses import replace
from pathlib import Path

from codesage import recipes, tokenizer
from codesage.contrast import stage
from codesage.corpus.commands import sources_of
from codesage.corpus.stage import Settings, build
from codesage.corpus.tokens import tokenised
from codesage.encoder.folders import BUNDLED
from codesage.encoder.runtime import load
from codesage.encoder.weights import load_encoder


def main(code: str, out: str, steps: str = "2", pairs: str = "8") -> None:
    """Corpus, tokens, Stage II; then compare one query with two pieces of code."""
    folder = Path(out)
    build(Settings(workers=1), sources_of([Path(code)]), folder / "corpus", cache=folder / "cache")
    words = tokenizer.load(BUNDLED)
    tokenised.build(folder / "corpus", words, folder / "tokens", settings=tokenised.Settings(workers=1))
    tokens = tokenised.open_tokens(folder / "tokens", tokenizer=words)

    settings = recipes.fine_tuning(pairs=len(tokens.pairs))
    settings = replace(
        settings,
        loop=replace(settings.loop, steps=int(steps), warmup_steps=1, evaluations=0),
        batches=replace(settings.batches, batch_pairs=int(pairs)),
    )
    stage.run(
        settings, tokens, load_encoder(BUNDLED), tokenizer=words, out=folder / "model", checkpoints=folder / "checkpoints"
    )

    model = load(folder / "model")
    vectors = model.encode(["return open(path).read()", "return a + b"])
    print("cosines:", model.encode(["read a file"], kind="text") @ vectors.T)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) >= 3 else sys.exit(__doc__)
