"""A small BERT model with random weights, as sentence-transformers keeps it."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import BertWordPieceTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_(){}.,:"
PARTS = [f"##{letter}" for letter in LETTERS[:36]]
WORDS = ["parse", "json", "html", "get", "url", "##ing", "value", "the", "##er"]
VOCABULARY = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *PARTS, *WORDS]
WIDTH, INNER, LAYERS, POSITIONS = 16, 24, 3, 40
CONFIG = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": len(VOCABULARY),
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": INNER,
    "hidden_act": "gelu",
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}


def state() -> dict[str, torch.Tensor]:
    """Random tensors under the names of BertModel."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        inside = f"encoder.layer.{layer}."
        linears = {f"attention.self.{side}": (WIDTH, WIDTH) for side in ("query", "key", "value")}
        linears |= {
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (INNER, WIDTH),
            "output.dense": (WIDTH, INNER),
        }
        for name, shape in linears.items():
            shapes |= {f"{inside}{name}.weight": shape, f"{inside}{name}.bias": shape[:1]}
        norms += [f"{inside}attention.output.LayerNorm", f"{inside}output.LayerNorm"]
    for name in norms:
        shapes |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    random = torch.Generator().manual_seed(0)
    scaled = {name: torch.randn(shape, generator=random) * 0.2 for name, shape in shapes.items()}
    return {name: 1 + tensor if name.endswith("LayerNorm.weight") else tensor for name, tensor in scaled.items()}


def write(folder: Path, changes: dict[str, dict] | None = None) -> Path:
    """Write the model; `changes`: entries to change or add, by JSON file."""
    save_file(state(), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    library = BertWordPieceTokenizer({word: row for row, word in enumerate(VOCABULARY)}, lowercase=True)
    library.save(str(folder / "tokenizer.json"))
    for name, entries in (changes or {}).items():
        file = folder / name
        before = json.loads(file.read_text()) if file.is_file() else {}
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(before | entries))
    return folder
