"""Start from a BERT-type sentence encoder: its weights and its WordPiece tokenizer, in a model folder of ours.

In: a sentence-transformers folder with mean pooling. Out: an Encoder with post-LN blocks and a tokenizer, which every command
takes. Our texts have an end token and no begin token. So the position of [CLS] is left out, and the end token starts as the
mean of [CLS] and [SEP] (docs/log.md has the measurement). With the texts of a corpus, the vocabulary keeps only the pieces
that are most frequent there, which removes most rows of the token table. The tokenizer ignores case, so words that would run
together, such as `parseJson`, are split where their case changes.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codesage.encoder.config import FILE as CONFIG
from codesage.encoder.config import Config, load_config
from codesage.encoder.model import Encoder
from codesage.encoder.runtime import foreign_length
from codesage.encoder.weights import read_state
from codesage.errors import CodesageError
from codesage.tokenizer import CASE_CHANGES, END, FILE, MASK, PAD, Tokenizer

UNKNOWN = "[UNK]"
_BEGIN = "[CLS]"
_ROLES = {END: "[SEP]", MASK: "[MASK]", PAD: "[PAD]", UNKNOWN: UNKNOWN}
_FIRST = 2  # ids before the pieces
_TEXTS = 1_000  # tokenised at a time
_OURS = {  # our parameter to BERT's, within layer l: encoder.layer.l
    "attn.c_proj": "attention.output.dense",
    "mlp.c_fc": "intermediate.dense",
    "mlp.c_proj": "output.dense",
    "ln_2": "attention.output.LayerNorm",
}


def from_bert(folder: Path | str, *, texts: Iterable[str] = (), vocab_size: int = 0) -> tuple[Encoder, Tokenizer]:
    """The encoder and the tokenizer of the sentence-transformers folder `folder`, in float32 and eval mode.

    `vocab_size`: keep this many pieces, the most frequent ones in `texts`; 0: all. Pieces of one ASCII character are always
    kept, so that every ASCII word still has tokens. Raises CodesageError when the folder is not that of a BERT model with mean
    pooling and WordPiece, is damaged, or when `vocab_size` is too small or larger than the vocabulary.
    """
    folder = Path(folder)
    config = _config(folder)
    state = {name.removeprefix("bert."): tensor.float() for name, tensor in read_state(folder).items()}
    library, row_of = _tokenizer(folder)
    special = {token["content"] for token in library["added_tokens"]}
    pieces = [piece for piece in row_of if piece not in special and not piece.startswith("[unused")]
    if vocab_size:
        pieces = _kept(library, pieces, texts, vocab_size)
    tokenizer = _with_pieces(library, pieces)
    names = [_ROLES[END], UNKNOWN, *pieces, _ROLES[MASK], _ROLES[PAD]]
    positions = config.max_position_embeddings - 1
    encoder = Encoder(replace(config, vocab_size=len(names), max_position_embeddings=positions))
    try:
        encoder.load_state_dict(_renamed(state, config.num_hidden_layers, row_of, names))
    except (KeyError, IndexError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise CodesageError(f"{folder}: its tensors do not match its config.json ({reason}): copy it again") from None
    return encoder.eval(), tokenizer


def fewer_pieces(encoder: Encoder, tokenizer: Tokenizer, size: int) -> tuple[Encoder, Tokenizer]:
    """Keep the first pieces of a vocabulary, `size` entries in all, and pieces of one ASCII character.

    `from_bert` sorts the pieces by frequency, so the rarest ones go, and words that had them are split into more pieces.
    Raises CodesageError when the tokenizer is not one of `from_bert`, or when `size` is too small or too large.
    """
    library = json.loads(tokenizer.state())
    if library["model"].get("type") != "WordPiece":
        raise CodesageError("only a WordPiece vocabulary, such as that of 'general', can lose its rarest pieces")
    row_of = library["model"]["vocab"]
    pieces = [piece for piece in sorted(row_of, key=row_of.__getitem__) if piece not in (END, UNKNOWN, MASK, PAD)]
    letters = {piece for piece in pieces if len(piece.removeprefix("##")) == 1 and piece.isascii()}
    least = len(letters) + len(_ROLES)
    if not least <= size <= tokenizer.vocab_size:
        raise CodesageError(f"vocab_size is {size}, expected {least:,} to {tokenizer.vocab_size:,} for this tokenizer")
    kept = letters.union([piece for piece in pieces if piece not in letters][: size - least])
    names = [END, UNKNOWN, *(piece for piece in pieces if piece in kept), MASK, PAD]
    added = [token | {"id": names.index(token["content"])} for token in library["added_tokens"]]
    model = library["model"] | {"vocab": {name: row for row, name in enumerate(names)}}
    smaller = Encoder(replace(encoder.config, vocab_size=size)).eval()
    smaller.load_state_dict(encoder.state_dict() | {"wte.weight": encoder.wte.weight[[row_of[name] for name in names]]})
    return smaller, Tokenizer(_library_of(library | {"added_tokens": added, "model": model}))


def _library_of(state: dict) -> Any:
    from tokenizers import Tokenizer as Library

    return Library.from_str(json.dumps(state))


def _config(folder: Path) -> Config:
    shape = load_config(folder)
    raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    kind, positions = raw.get("model_type"), raw.get("position_embedding_type", "absolute")
    if kind != "bert" or positions != "absolute":
        raise CodesageError(f"{folder}: a model of type {kind!r} with {positions} positions, expected bert with absolute ones")
    foreign_length(folder)  # refuses other pooling than the mean
    activation, epsilon = raw.get("hidden_act", "gelu"), raw.get("layer_norm_eps", 1e-12)
    return replace(shape, activation_function=activation, layer_norm_epsilon=epsilon, norm_first=False).without_dropout()


def _renamed(state: dict[str, Tensor], layers: int, row_of: dict[str, int], names: list[str]) -> dict[str, Tensor]:
    """BERT's tensors under our names. Our norms come before a sum and BERT's after it, so each moves one place on."""
    rows = [row_of[name] for name in names]
    words_VD, positions_LD = (state[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position"))
    wte_VD = words_VD[rows]
    wte_VD[0] = (words_VD[row_of[_BEGIN]] + words_VD[row_of[_ROLES[END]]]) / 2
    ours = {"wte.weight": wte_VD, "wpe.weight": positions_LD[1:] + state["embeddings.token_type_embeddings.weight"][0]}
    before = "embeddings.LayerNorm"
    for layer in range(layers):
        theirs = f"encoder.layer.{layer}."
        tensors = {"ln_1": before} | {our: theirs + their for our, their in _OURS.items()}
        for kind in ("weight", "bias"):
            qkv = [state[f"{theirs}attention.self.{side}.{kind}"] for side in ("query", "key", "value")]
            ours[f"h.{layer}.attn.c_attn.{kind}"] = torch.cat(qkv)
            ours |= {f"h.{layer}.{our}.{kind}": state[f"{their}.{kind}"] for our, their in tensors.items()}
        before = f"{theirs}output.LayerNorm"
    return ours | {f"ln_f.{kind}": state[f"{before}.{kind}"] for kind in ("weight", "bias")}


def _tokenizer(folder: Path) -> tuple[dict, dict[str, int]]:
    """tokenizer.json without what wraps ids, and the row of each of its pieces; special ones included."""
    try:
        library = json.loads((folder / FILE).read_text(encoding="utf-8"))
        row_of = dict(library["model"]["vocab"])
        if library["model"].get("type", "WordPiece") != "WordPiece" or library["model"]["continuing_subword_prefix"] != "##":
            raise ValueError("its model is not WordPiece")
        missing = [name for name in (_BEGIN, *_ROLES.values()) if name not in row_of]
        if missing:
            raise ValueError(f"it has no {missing[0]}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CodesageError(f"{folder / FILE} is not a WordPiece tokenizer ({error}): copy the model again") from None
    return library | {"truncation": None, "padding": None, "post_processor": None}, row_of


def _kept(library: dict, pieces: list[str], texts: Iterable[str], size: int) -> list[str]:
    """The pieces to keep, the most frequent first."""
    letters = {piece for piece in pieces if len(piece.removeprefix("##")) == 1 and piece.isascii()}
    least, most = len(letters) + len(_ROLES), len(pieces) + len(_ROLES)
    if not least <= size <= most:
        raise CodesageError(f"vocab_size is {size}, expected {least:,} to {most:,} for this tokenizer, or 0 for all its pieces")
    tokenizer, rest = _with_pieces(library, pieces), iter(texts)
    count_V = np.zeros(tokenizer.vocab_size, np.int64)
    while some := list(islice(rest, _TEXTS)):
        count_V += np.bincount(list(chain.from_iterable(tokenizer.encode_pieces(some))), minlength=len(count_V))
    by_count = sorted(zip((-count_V[_FIRST:]).tolist(), pieces, strict=False), key=lambda pair: pair[0])
    spare = size - least
    others = [piece for _, piece in by_count if piece not in letters][:spare]
    kept = letters.union(others)
    return [piece for _, piece in by_count if piece in kept]


def _with_pieces(library: dict, pieces: list[str]) -> Tokenizer:
    """A tokenizer with `pieces` in this order. The end token comes first, then [UNK]; the mask and padding come last."""
    names = [END, UNKNOWN, *pieces, MASK, PAD]
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    split = {"type": "Replace", "pattern": {"Regex": CASE_CHANGES}, "content": " "}
    state = library | {
        "added_tokens": [{"id": names.index(name), "content": name, **added} for name in (END, UNKNOWN, MASK, PAD)],
        "normalizer": {"type": "Sequence", "normalizers": [split, library["normalizer"]]},
        "model": library["model"] | {"vocab": {name: row for row, name in enumerate(names)}},
    }
    return Tokenizer(_library_of(state))
