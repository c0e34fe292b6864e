"""Use the bundled model with sentence-transformers: python examples/sentence_transformers_model.py out/hub

It needs the extra `hub`. The folder can be any model that `codesage export-hub` wrote.
"""

import sys
from pathlib import Path

import codesage  # noqa: F401  (makes the model type known to transformers)
from codesage.encoder.folders import BUNDLED
from codesage.encoder.hub import export_hub


def main(out: str) -> None:
    """Write the bundled model in the layout of sentence-transformers, open it there, and compare a query with code."""
    if not Path(out).exists():
        export_hub(BUNDLED, out)
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(out, device="cpu")
    code = model.encode_document(["return open(path).read()", "return a + b"])
    query = model.encode_query(["how to read a file in python"])  # rewritten as codesage.load() does it: "Read a file"
    print("cosines:", model.similarity(query, code))


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) >= 2 else sys.exit(__doc__)
