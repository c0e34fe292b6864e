"""Write a model folder in the layout of transformers and sentence-transformers.

In: a model folder of ours, a published one, or the name of a bundled model. Out: a folder that works both ways.
`codesage.load` opens it as an artifact. SentenceTransformer(folder) opens it once codesage is imported; for this it holds
model.safetensors, config.json, the tokenizer's files, modules.json (transformer, mean pooling, the projection if there is
one, normalisation) and a card. It contains no remote code, and writing it does not need transformers.
"""

import json
import re
from pathlib import Path

from codesage.artifacts import Artifact, open_any, open_artifact, publish
from codesage.encoder.config import FILE as CONFIG
from codesage.encoder.config import Config
from codesage.encoder.folders import SAFETENSORS, folder_of
from codesage.encoder.model import Encoder
from codesage.encoder.queries import PROMPT
from codesage.encoder.runtime import CODE_TOKENS, TEXT_TOKENS
from codesage.encoder.weights import DENSE, load_with_tokenizer, save_weights
from codesage.tokenizer import END, MASK, PAD, Tokenizer
from codesage.tokenizer import FILE as TOKENIZER

_KIND = "sentence_transformers.models."  # names that the library accepts since version 2


def export_hub(source: Path | str, out: Path | str, *, name: str = "", licence: str = "") -> Artifact:
    """Write the model `source` to `out` in the layout of the hub.

    `name`: the card's title; "": the folder's name. `licence`: an identifier such as "apache-2.0"; "": the one in the
    source's card, or none. Raises CodesageError when the source is missing or damaged, or when the tokenizer has more
    entries than the encoder.
    """
    source, out = folder_of(source), Path(out)
    encoder, tokenizer = load_with_tokenizer(source)
    made = open_any(source, "model")
    settings, facts = made.settings, made.facts
    longest = min(facts.get("max_tokens", CODE_TOKENS), encoder.config.max_position_embeddings)
    header, story = _card_of(source)
    with publish(out, "model", settings=settings, facts={**facts, "max_tokens": longest}) as folder:
        save_weights(encoder, folder)
        _add(
            folder / CONFIG,
            architectures=["CodesageModel"],
            dtype="float32",
            tie_word_embeddings=True,
            bos_token_id=tokenizer.end_id,
            eos_token_id=tokenizer.end_id,
            pad_token_id=tokenizer.pad_id,
        )
        _save_tokenizer(tokenizer, folder, longest)
        _save_modules(folder, encoder, longest)
        text = card(
            encoder.config,
            facts,
            name=name or out.name,
            licence=licence or header.get("license", ""),
            max_tokens=longest,
            story=story,
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
    return open_artifact(out, "model")


def card(config: Config, facts: dict, *, name: str, licence: str, max_tokens: int, story: str = "") -> str:
    """README.md of a model: YAML front matter, a description, how to load it. `story`: the text of the source's card."""
    front = ["license: " + licence] if licence else []
    front += [
        "library_name: sentence-transformers",
        "pipeline_tag: sentence-similarity",
        "tags: [code, code-search, sentence-similarity, sentence-transformers, codesage]",
    ]
    stages = " and ".join(facts.get("stages", [])) or "unknown"
    dims = facts.get("matryoshka_dims")
    narrower = f"projected to width {config.projection_dim}, " if config.projection_dim else ""
    cut = f" Vectors may be cut to {', '.join(map(str, dims))} and normalised again.\n" if dims else ""
    return (
        "\n".join(["---", *front, "---"])
        + f"""
# {name}

A bidirectional encoder of source code and of text about it (CodeSage, ICLR 2024): {config.num_hidden_layers} layers, width
{config.hidden_size}, {config.parameters():,} parameters, up to {max_tokens:,} tokens. Stages of training: {stages}.
Vectors are the mean of the last hidden states, {narrower}of unit length; compare them by cosine.
{cut}
```python
import codesage  # makes the model type known; no remote code
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
code = model.encode_document(["def add(a, b): return a + b"])
query = model.encode_query(["how to add two numbers in python"])  # reads "Add two numbers", as in training
```

`encode_query` rewrites queries into the form of the training texts and cuts them at {min(TEXT_TOKENS, max_tokens)} tokens.
`encode` and `encode_document` leave texts as they are. If code is the query, use `encode`. Programs that read tokenizer.json
without codesage have to rewrite queries with `codesage.query_form`.

Once exported to ONNX, the model runs without torch: `codesage.load("{name}").encode([...], kind="text")` gives the vectors
of `encode_query`.

{story}""".rstrip()
        + "\n"
    )


def _save_tokenizer(tokenizer: Tokenizer, folder: Path, longest: int) -> None:
    """Save a tokenizer that appends the end token after truncation and treats special tokens in texts as plain text."""
    from tokenizers import Tokenizer as Bpe
    from tokenizers.processors import TemplateProcessing

    tokenizer.save(folder)
    bpe = Bpe.from_file(str(folder / TOKENIZER))
    bpe.post_processor = TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B:1 {END}:1", special_tokens=[(END, tokenizer.end_id)]
    )
    bpe.save(str(folder / TOKENIZER))
    special = {"bos_token": END, "eos_token": END, "unk_token": END, "pad_token": PAD, "mask_token": MASK}
    _write(folder / "special_tokens_map.json", special)
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CodesageTokenizer",  # encoder.interchange.tokenizing
            **special,
            "model_max_length": longest,
            "padding_side": "right",
            "truncation_side": "right",
            "split_special_tokens": True,
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )


def _save_modules(folder: Path, encoder: Encoder, longest: int) -> None:
    configs = _module_configs(encoder)
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": _KIND + kind}
        for place, (path, kind) in enumerate([("", "Transformer"), *((path, path[2:]) for path in configs)])
    ]
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
    _write(
        folder / "config_sentence_transformers.json",
        {"prompts": {"query": PROMPT, "document": ""}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    for path, config in configs.items():
        (folder / path).mkdir()
        _write(folder / path / "config.json", config)
    if encoder.projection is not None:
        from safetensors.torch import save_file

        weight = {"linear.weight": encoder.projection.weight.detach().contiguous()}
        save_file(weight, folder / DENSE / SAFETENSORS, metadata={"format": "pt"})


def _module_configs(encoder: Encoder) -> dict[str, dict]:
    """What follows the transformer, by folder: its place and its kind."""
    shape = encoder.config
    configs = {"1_Pooling": {"word_embedding_dimension": shape.hidden_size, "pooling_mode_mean_tokens": True}}
    if encoder.projection is not None:
        widths = {"in_features": shape.hidden_size, "out_features": shape.vector_width, "bias": False}
        configs[DENSE] = {**widths, "activation_function": "torch.nn.modules.linear.Identity"}
    return configs | {f"{len(configs) + 1}_Normalize": {}}


def _card_of(source: Path) -> tuple[dict[str, str], str]:
    """Front matter (plain `key: value` lines) and text of the source's card, without its title."""
    file = source / "README.md"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    front = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    header = dict(re.findall(r"^(\w+): *(\S.*)$", front[1], re.MULTILINE)) if front else {}
    return header, re.sub(r"\A\s*# .*\n+", "", text[front.end() :] if front else text)


def _add(file: Path, **entries: object) -> None:
    _write(file, {**json.loads(file.read_text(encoding="utf-8")), **entries})


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
