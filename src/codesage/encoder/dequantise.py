"""Read the weights of an exported model, so that training can start from them.

In: an ONNX file written by encoder.export, fp32 or int8. Out: the state dict in the published layout, in float32. The
rounding of int8 remains: a weight is off by at most half a quantisation step of its row or column.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from codesage.errors import CodesageError

if TYPE_CHECKING:
    from onnx import GraphProto

_LINEARS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")  # linear layers of a block, in graph order
_NORMS = ("ln_1", "ln_2")


def state_of(file: Path) -> dict[str, Tensor]:
    """Weights by published name, linears as (in, out). CodesageError when `file` is not a model written by export."""
    import onnx

    try:
        graph = onnx.load(file).graph
        weights = dict(_tables(graph)) | dict(_blocks(graph)) | dict(_projection(graph))
    except Exception as error:  # the errors of protobuf and onnx share no public base
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise CodesageError(f"{file} holds no weights of an exported encoder ({reason}): export the model again") from None
    return {name: torch.from_numpy(np.array(value, np.float32)) for name, value in weights.items()}


def _tables(graph: "GraphProto") -> Iterator[tuple[str, np.ndarray]]:
    """The token and position tables. Each is one Gather, or for int8 two: the rows and their scales."""
    weights = _weights(graph)
    rows = [weights[node.input[0]] for node in graph.node if node.op_type == "Gather" and node.input[0] in weights]
    if rows[0].dtype == np.int8:
        rows = [table * scale for table, scale in zip(rows[::2], rows[1::2], strict=True)]
    yield from zip(("wte.weight", "wpe.weight"), rows, strict=True)


def _blocks(graph: "GraphProto") -> Iterator[tuple[str, np.ndarray]]:
    weights = _weights(graph)
    norms = [node.input[1:3] for node in graph.node if node.op_type == "LayerNormalization"]
    linears = list(_linears(graph, weights))
    for block in range(len(norms) // 2):
        for name, inputs in zip(_NORMS, norms[2 * block : 2 * block + 2], strict=True):
            yield from _named(f"h.{block}.{name}", *(weights[given] for given in inputs))
        for name, (weight, bias) in zip(_LINEARS, linears[4 * block : 4 * block + 4], strict=True):
            yield from _named(f"h.{block}.{name}", weight, bias)
    yield from _named("ln_f", *(weights[given] for given in norms[-1]))


def _projection(graph: "GraphProto") -> Iterator[tuple[str, np.ndarray]]:
    """The layer that makes pooled vectors narrower, if there is one: it multiplies their sum. Its weight is (out, in)."""
    weights, summed = _weights(graph), {node.output[0] for node in graph.node if node.op_type == "ReduceSum"}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[0] in summed:
            yield "projection.weight", weights[node.input[1]].T


def _linears(graph: "GraphProto", weights: dict[str, np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(weight, bias) of each linear layer, in graph order."""
    added = {given: node.input[1] for node in graph.node if node.op_type == "Add" for given in node.input[:1]}
    for node in graph.node:
        if node.op_type == "DynamicQuantizeMatMul":
            quantised, scale, _, bias = node.input[1:5]
            yield weights[quantised] * weights[scale], weights[bias]
        elif node.op_type == "MatMul" and node.output[0] in added:
            yield weights[node.input[1]], weights[added[node.output[0]]]


def _named(name: str, weight: np.ndarray, bias: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", bias


def _weights(graph: "GraphProto") -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    return {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
