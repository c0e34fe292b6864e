"""The nearest of many vectors, exactly, at the speed of int8.

In: vectors and a query. Out: products in 7 bits with a bound on their error, which tells the pieces that can be among the
nearest, and the exact products of those (View.nearest). The error is at most the length of what rounding took from the vectors
and from the query. ONNX Runtime computes the products, a quarter of the bytes and several in one instruction. 7 bits, because
processors without VNNI add pairs of products in 16 bits.
Shapes: P pieces, D the width of the vectors.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_STEPS = 63  # of 7 bits with a sign
_ZERO = 128  # what stands for 0 in the query
_OPSET, _IR = 20, 10
_UINT8, _INT8, _INT32 = 2, 3, 6  # of ONNX


class Scan:
    """Vectors in 7 bits. They take 2 microseconds per vector to build, so they are for processes with many queries."""

    def __init__(self, vectors_PD: np.ndarray) -> None:
        self._vectors_PD = vectors_PD
        scales_P1 = np.abs(vectors_PD).max(axis=1, keepdims=True).clip(np.finfo(np.float32).tiny) / _STEPS
        rounded_PD = np.rint(vectors_PD / scales_P1)
        self._scales_P = scales_P1[:, 0]
        self._error = float(np.linalg.norm(vectors_PD - rounded_PD * scales_P1, axis=1).max(initial=0.0))
        self._longest = float(np.linalg.norm(rounded_PD * scales_P1, axis=1).max(initial=0.0))
        self._session = _session(rounded_PD.astype(np.int8))

    def approximate(self, vector_D: np.ndarray) -> tuple[np.ndarray, float]:
        """float32 (P,) products with the vector, and how far off each is at most."""
        scale = float(np.abs(vector_D).max()) / 127 or 1.0
        rounded_D = np.rint(vector_D / scale)
        (products,) = self._session.run(None, {"a": (rounded_D + _ZERO).astype(np.uint8)[None]})
        error = float(np.linalg.norm(vector_D)) * self._error
        error += float(np.linalg.norm(vector_D - rounded_D * scale)) * self._longest
        return np.asarray(products)[0] * (self._scales_P * np.float32(scale)), error + 1e-5  # for the rounding of float32

    def exact(self, vector_D: np.ndarray, pieces: np.ndarray) -> np.ndarray:
        """float32 products of some pieces with the vector."""
        return self._vectors_PD[pieces] @ vector_D


def _session(rows_PD: np.ndarray) -> "InferenceSession":
    """ONNX Runtime on one product of matrices: uint8 (1, D) in, int32 (1, P) out."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(_model(rows_PD), options, providers=["CPUExecutionProvider"])


def _model(rows_PD: np.ndarray) -> bytes:
    """The graph in the format of ONNX, which needs no package to write: each field is its number, its length and its bytes."""
    count, width = rows_PD.shape
    node = b"".join(_field(1, name) for name in (b"a", b"b", b"zero")) + _field(2, b"y") + _field(4, b"MatMulInteger")
    weights = _number(1, width) + _number(1, count) + _number(2, _INT8) + _field(8, b"b")
    weights += _field(9, np.ascontiguousarray(rows_PD.T).tobytes())
    zero = _number(2, _UINT8) + _field(8, b"zero") + _field(9, bytes([_ZERO]))
    graph = _field(1, node) + _field(2, b"scan") + _field(5, weights) + _field(5, zero)
    graph += _field(11, _value(b"a", _UINT8, (1, width))) + _field(12, _value(b"y", _INT32, (1, count)))
    return _number(1, _IR) + _field(7, graph) + _field(8, _field(1, b"") + _number(2, _OPSET))


def _value(name: bytes, kind: int, shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(_field(1, _number(1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _number(1, kind) + _field(2, sizes)))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all bytes but the last have their highest bit set."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
