"""Export a trained encoder to ONNX, in fp32 and int8: token ids in, unit vectors out.

The graph is written node by node, because its shape determines the speed. Each layer has one fused attention node, and the
graph includes pooling and normalisation. In int8 each linear layer is one fused node (activations quantised per call,
weights per output channel), and the embedding tables are quantised per row. int8 weights use 7 bits. So processors without
VNNI, whose u8 x s8 products saturate at 16 bits, give the same result as processors with it.

Inputs: ids int64 (B, L), mask int32 (B, L), 1 for tokens and 0 for padding on the right. Output: vectors float32
(B, vector width), rows of unit length.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from codesage.artifacts import Artifact, open_any, open_artifact, publish
from codesage.encoder.config import ACTIVATIONS
from codesage.encoder.folders import FP32, INT8, TOKENS, folder_of
from codesage.encoder.model import Encoder
from codesage.encoder.shrink import shrink
from codesage.encoder.weights import load_with_tokenizer, save_weights
from codesage.tokenizer import Tokenizer

_STEPS = 63  # 7-bit signed weights
_OPSET = 20  # the first opset with Gelu


@dataclass(slots=True)
class _Graph:
    """Collects nodes and weights. Every method returns the name of the value it adds."""

    int8: bool
    nodes: list = field(default_factory=list)
    weights: list = field(default_factory=list)

    def constant(self, value: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        return self.add_several(operator, *inputs, outputs=1, domain=domain, **attributes)[0]

    def add_several(self, operator: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node with several outputs; returns their names."""
        names = [f"n{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, domain=domain, **attributes))
        return names

    def linear(self, x: str, layer: nn.Linear) -> str:
        weight, bias = _array(layer.weight).T, self.constant(_array(layer.bias))
        if not self.int8:
            return self.add("Add", self.add("MatMul", x, self.constant(weight)), bias)
        quantised, scale_O = quantise(weight, axis=0)
        return self.add(
            "DynamicQuantizeMatMul", x, self.constant(quantised), self.constant(scale_O[0]), "", bias, domain="com.microsoft"
        )

    def lookup(self, table: nn.Embedding, indices: str) -> tuple[str, tuple[str, ...]]:
        """The rows of a table at `indices`, and the table's own weights."""
        rows = _array(table.weight)
        if not self.int8:
            weights = (self.constant(rows),)
            return self.add("Gather", weights[0], indices), weights
        weights = tuple(map(self.constant, quantise(rows, axis=1, steps=127)))
        values = self.add("Cast", self.add("Gather", weights[0], indices), to=TensorProto.FLOAT)
        return self.add("Mul", values, self.add("Gather", weights[1], indices)), weights

    def norm(self, x: str, layer: nn.LayerNorm) -> str:
        weight, bias = self.constant(_array(layer.weight)), self.constant(_array(layer.bias))
        return self.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=layer.eps)


def quantise(weight: np.ndarray, *, axis: int, steps: int = _STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 quantisation of a matrix with one scale per slice along `axis`.

    Returns (int8 of the same shape, float32 scales with `axis` kept as 1): weight is about int8 * scale.
    """
    scale = np.abs(weight).max(axis=axis, keepdims=True) / steps
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    return np.clip(np.rint(weight / scale), -steps, steps).astype(np.int8), scale


def build(encoder: Encoder, *, int8: bool) -> onnx.ModelProto:
    """The ONNX model of `encoder` (paper appendix A), including mean pooling and normalisation."""
    graph = _Graph(int8)
    hidden, _ = _hidden(graph, encoder)
    weight = graph.add("Unsqueeze", graph.add("Cast", "mask", to=TensorProto.FLOAT), graph.constant(np.array([2], np.int64)))
    axis = graph.constant(np.array([1], np.int64))
    summed = graph.add("ReduceSum", graph.add("Mul", hidden, weight), axis, keepdims=0)  # the mean's divisor cancels
    if encoder.projection is not None:  # in fp32 in both files: it takes next to no time
        summed = graph.add("MatMul", summed, graph.constant(_array(encoder.projection.weight).T))
    graph.nodes.append(helper.make_node("LpNormalization", [summed], ["vectors"], axis=-1, p=2))
    return _model(graph, [], {"vectors": ["B", encoder.config.vector_width]})


def build_tokens(encoder: Encoder) -> onnx.ModelProto:
    """The int8 ONNX model of Stage I: what predicts hidden tokens.

    A further input, rows int64 (M,): which of the B * L tokens are asked for, counted row by row. Outputs: states float32
    (M, D), their last hidden states, and table float32 (V, D), which does not depend on the inputs: states @ table.T are the
    scores over the vocabulary, since the head is tied.
    """
    graph, width = _Graph(int8=True), encoder.config.hidden_size
    hidden, (quantised, scale) = _hidden(graph, encoder)
    flat = graph.add("Reshape", hidden, graph.constant(np.array([-1, width], np.int64)))
    graph.nodes.append(helper.make_node("Gather", [flat, "rows"], ["states"], axis=0))
    graph.nodes.append(helper.make_node("Mul", [graph.add("Cast", quantised, to=TensorProto.FLOAT), scale], ["table"]))
    rows = helper.make_tensor_value_info("rows", TensorProto.INT64, ["M"])
    return _model(graph, [rows], {"states": ["M", width], "table": [encoder.config.vocab_size, width]})


def _hidden(graph: _Graph, encoder: Encoder) -> tuple[str, tuple[str, ...]]:
    """The last hidden states (B, L, D), and the weights of the token table: rows, and for int8 their scales."""
    config = encoder.config
    zero, one = (graph.constant(np.array(number, np.int64)) for number in (0, 1))
    length = graph.add("Squeeze", graph.add("Shape", "ids", start=1, end=2))
    reach = graph.add("Range", zero, length, one)
    tokens, table = graph.lookup(encoder.wte, "ids")
    x = graph.add("Add", tokens, graph.lookup(encoder.wpe, reach)[0])
    for block in encoder.h:
        normed = graph.norm(x, block.ln_1)
        qkv = graph.linear(normed, block.attn.c_attn)
        q, k, v = graph.add_several("Split", qkv, outputs=3, axis=-1, num_outputs=3)
        attended = graph.add(
            "MultiHeadAttention", q, k, v, "", "mask", num_heads=config.num_attention_heads, domain="com.microsoft"
        )
        x = graph.add("Add", x if config.norm_first else normed, graph.linear(attended, block.attn.c_proj))
        normed = graph.norm(x, block.ln_2)
        inner = graph.add("Gelu", graph.linear(normed, block.mlp.c_fc), approximate=ACTIVATIONS[config.activation_function])
        x = graph.add("Add", x if config.norm_first else normed, graph.linear(inner, block.mlp.c_proj))
    return graph.norm(x, encoder.ln_f), table


def _model(graph: _Graph, further: list, outputs: dict[str, list]) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", "L"]),
        helper.make_tensor_value_info("mask", TensorProto.INT32, ["B", "L"]),
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    return helper.make_model(
        helper.make_graph(graph.nodes, "codesage", inputs + further, results, graph.weights),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
        producer_name="codesage",
    )


def export(
    encoder: Encoder,
    tokenizer: Tokenizer,
    out: Path | str,
    *,
    settings: dict,
    facts: dict,
    torch_weights: bool = True,
    precisions: tuple[str, ...] = (FP32, INT8),
    files: dict[str, str] | None = None,
) -> Artifact:
    """Publish `encoder` at `out` as a model folder that works without torch: config, tokenizer, ONNX files.

    `torch_weights`: also write model.safetensors. `precisions`: the ONNX file names to write. `files`: additional text files
    (name to text), such as a model card.
    """
    with publish(out, "model", settings=settings, facts=facts) as folder:
        if torch_weights:
            save_weights(encoder, folder)
        else:
            encoder.config.save(folder)
        tokenizer.save(folder)
        for name in precisions:
            model = build_tokens(encoder) if name == TOKENS else build(encoder, int8=name == INT8)
            onnx.save(model, folder / name)
        for name, text in (files or {}).items():
            (folder / name).write_text(text, encoding="utf-8")
    return open_artifact(out, "model")


def export_folder(source: Path | str, out: Path | str, *, int8_only: bool = False, names: bool = False) -> Artifact:
    """Export a trained, published or bundled model. `int8_only`: write only the int8 file, for the smallest folder.

    `names`: write only the int8 file that `codesage names` reads, with the positions that the model has learned.
    """
    source = folder_of(source)
    encoder, tokenizer = load_with_tokenizer(source)
    made = open_any(source, "model")
    if names:
        encoder = shrink(encoder, positions=made.facts.get("max_tokens", 0))
    card = source / "README.md"
    files = {"README.md": card.read_text(encoding="utf-8")} if card.is_file() else None
    return export(
        encoder,
        tokenizer,
        out,
        settings=made.settings,
        facts=made.facts,
        torch_weights=not (int8_only or names),
        precisions=(TOKENS,) if names else (INT8,) if int8_only else (FP32, INT8),
        files=files,
    )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()
