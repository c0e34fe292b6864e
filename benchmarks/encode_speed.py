"""Functions encoded a second, beside sentence-transformers, ONNX Runtime and OpenVINO with the same weights.

    python benchmarks/encode_speed.py [--model default] [--texts 400] [--rounds 5] [--out FILE]

The texts are functions of the standard library, of mixed lengths, cut at what the model reads. In each round every system
encodes all of them, tokenisation included, one system after the other; ratios are medians over rounds. Before that, vectors
are compared: those in fp32 have a cosine of at least 0.9999 with ours in fp32, those in int8 at least 0.99, or the run fails.

"sentence-transformers" loads what `codesage export-hub` writes (torch, fp32). Its ONNX and OpenVINO backends need an exporter
that knows the architecture, so they stand here as what they run: the same encoder in standard ONNX operators, texts sorted by
length in padded batches of 32; int8 by ONNX Runtime's dynamic quantisation, with the settings of sentence-transformers' "avx2"
and "avx512_vnni", and by NNCF's post-training quantisation for transformers, calibrated on other functions. Needs
sentence-transformers ("peers"), openvino, nncf and onnxscript.
"""

import argparse
import json
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn
from torch.nn import functional as F

import codesage
from codesage.encoder.export import export_folder
from codesage.encoder.folders import folder_of
from codesage.encoder.hub import export_hub
from codesage.encoder.model import Encoder
from codesage.encoder.runtime import padded
from codesage.encoder.sentence import SentenceEncoder
from codesage.encoder.weights import load_encoder
from codesage.evaluate.reports import environment
from codesage.syntax import functions, parse
from codesage.tokenizer import load as load_tokenizer
from codesage.walk import Text, read_text, walk

Encode = Callable[[list[str]], np.ndarray]
BATCH = 32  # the default of sentence-transformers
LEAST = {"fp32": 0.9999, "int8": 0.99}  # cosine with our vectors in fp32
CALIBRATED = 200  # functions for the quantisation of NNCF


def main() -> None:
    """Measure, print, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="default", help="a model folder, or the bundled one")
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    texts, others = texts_of(arguments.texts)
    with tempfile.TemporaryDirectory() as temporary:
        systems = systems_of(folder_of(arguments.model), Path(temporary), others)
        cosines = {name: least_cosine(encode(texts), systems["codesage, fp32"](texts)) for name, encode in systems.items()}
        print(json.dumps(cosines, indent=1), flush=True)
        short = [name for name in systems if name.startswith("codesage") and cosines[name] < LEAST[name.rpartition(" ")[2]]]
        if short:
            raise SystemExit(f"the vectors of {', '.join(short)} are not equal enough to compare speeds")
        rounds = [{name: seconds(encode, texts) for name, encode in systems.items()} for _ in range(arguments.rounds)]
    rates = {name: round(len(texts) / statistics.median(one[name]["wall_s"] for one in rounds), 1) for name in systems}
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "versions": {name: version(name) for name in ("torch", "sentence-transformers", "onnxruntime", "openvino", "nncf")},
        "texts": len(texts),
        "least cosine with ours in fp32": cosines,
        "texts a second": rates,
        "ratios": ratios(rounds),
        "rounds": rounds,
    }
    print(json.dumps({name: record[name] for name in ("texts a second", "ratios")}, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def texts_of(count: int) -> tuple[list[str], list[str]]:
    """`count` functions to encode, of the standard library, and others to calibrate with."""
    texts = []
    for path in walk(Path(sysconfig.get_path("stdlib"))):
        read = read_text(path, name=path.name) if path.suffix == ".py" and "site-packages" not in path.parts else None
        if isinstance(read, Text):
            texts += [one.signature + one.body for one in functions(parse(read.text, "python")) if one.kind == "function"]
        if len(texts) > 40 * (count + CALIBRATED):
            break
    chosen = np.random.default_rng(0).choice(len(texts), count + CALIBRATED, replace=False).tolist()
    return [texts[place] for place in chosen[:count]], [texts[place] for place in chosen[count:]]


def systems_of(model: Path, folder: Path, others: list[str]) -> dict[str, Encode]:
    """What is compared, by name; each name ends with the precision."""
    export_folder(model, folder / "ours")
    export_hub(model, folder / "hub")
    ours = {precision: codesage.load(folder / "ours", precision=precision) for precision in ("int8", "fp32")}
    sentence = SentenceEncoder(folder / "hub", name="hub", device="cpu")
    batches = Batches(folder / "ours", ours["fp32"].max_tokens)
    plain = folder / "plain.onnx"
    write_plain(load_encoder(model), plain)
    systems: dict[str, Encode] = {f"codesage, {precision}": encoder.encode for precision, encoder in ours.items()}
    systems["sentence-transformers, fp32"] = sentence.encode
    systems["ONNX Runtime, fp32"] = batches.encoder(onnx_runtime(plain))
    for name, settings in (("avx2", {"reduce_range": True}), ("vnni", {"reduce_range": False})):
        quantised = folder / f"{name}.onnx"
        quantize_dynamic(plain, quantised, per_channel=False, weight_type=QuantType.QInt8, **settings)
        systems[f"ONNX Runtime, {name}, int8"] = batches.encoder(onnx_runtime(quantised))
    systems |= {f"OpenVINO, {name}": batches.encoder(run) for name, run in openvino(plain, batches, others).items()}
    return systems


class Plain(nn.Module):
    """The encoder on padded rows in plain operators, with mean pooling: what an exporter makes of it."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Vectors (B, D) of unit length."""
        encoder = self.encoder
        x_BLD = encoder.wte(ids_BL) + encoder.wpe(torch.arange(ids_BL.shape[1]))
        seen_B11L = mask_BL[:, None, None, :].bool()
        for block in encoder.h:
            normed_BLD = block.ln_1(x_BLD)
            parts = block.attn.c_attn(normed_BLD).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (block.attn.heads, -1)).transpose(1, 2) for part in parts)
            y_BHLK = F.scaled_dot_product_attention(q, k, v, attn_mask=seen_B11L)
            x_BLD = (x_BLD if block.norm_first else normed_BLD) + block.attn.c_proj(y_BHLK.transpose(1, 2).flatten(2))
            normed_BLD = block.ln_2(x_BLD)
            x_BLD = (x_BLD if block.norm_first else normed_BLD) + block.mlp(normed_BLD)
        weights_BL1 = mask_BL[..., None].float()
        return F.normalize(encoder.project((encoder.ln_f(x_BLD) * weights_BL1).sum(1)), dim=-1)


def write_plain(encoder: Encoder, file: Path) -> None:
    """Export `Plain` with rows and lengths left open."""
    ids_BL, mask_BL = (
        torch.full((2, 9), value, dtype=torch.int64) for value in (5, 1)
    )  # one tensor for both would be one input
    axes = {0: torch.export.Dim("rows"), 1: torch.export.Dim("length", min=2)}
    torch.onnx.export(
        Plain(encoder.eval()),
        (ids_BL, mask_BL),
        file,
        input_names=["ids", "mask"],
        output_names=["vectors"],
        dynamic_shapes=(axes, axes),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


class Batches:
    """Texts in padded batches, sorted by length, as sentence-transformers makes them."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        self._tokenizer, self._max_tokens = load_tokenizer(folder), max_tokens

    def of(self, texts: list[str]) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
        """Rows, ids int64 (B, L) and mask int64 (B, L) of each batch."""
        ids = self._tokenizer.encode(texts, max_tokens=self._max_tokens)
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            ids_BL, mask_BL = padded([ids[row] for row in rows], self._tokenizer.pad_id)
            yield rows, ids_BL, mask_BL.astype(np.int64)

    def encoder(self, run: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Encode:
        """What encodes texts by running each batch."""

        def encode(texts: list[str]) -> np.ndarray:
            parts = [(rows, run(ids_BL, mask_BL)) for rows, ids_BL, mask_BL in self.of(texts)]
            vectors = np.empty((len(texts), parts[0][1].shape[1]), np.float32)
            for rows, own in parts:
                vectors[rows] = own
            return vectors

        return encode


def onnx_runtime(file: Path) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """What runs a batch with ONNX Runtime as it comes: all threads, all optimisations."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda ids_BL, mask_BL: np.asarray(session.run(None, {"ids": ids_BL, "mask": mask_BL})[0])


def openvino(file: Path, batches: Batches, others: list[str]) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """What runs a batch with OpenVINO, by precision."""
    import nncf
    import openvino as ov

    core, model = ov.Core(), ov.convert_model(file)
    samples = [{"ids": ids_BL, "mask": mask_BL} for _, ids_BL, mask_BL in batches.of(others)]
    quantised = nncf.quantize(model, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = {"fp32": core.compile_model(model, "CPU", settings), "int8": core.compile_model(quantised, "CPU", settings)}

    def runs(one) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return lambda ids_BL, mask_BL: one({"ids": ids_BL, "mask": mask_BL})[0]

    return {precision: runs(one) for precision, one in compiled.items()}


def least_cosine(vectors_ND: np.ndarray, ours_ND: np.ndarray) -> float:
    """The lowest cosine of two vectors of one text."""
    return round(float(np.einsum("nd,nd->n", vectors_ND, ours_ND).min()), 5)


def seconds(encode: Encode, texts: list[str]) -> dict[str, float]:
    """Wall and processor time of encoding all texts."""
    cpu, wall = time.process_time(), time.perf_counter()
    encode(texts)
    return {"wall_s": round(time.perf_counter() - wall, 3), "cpu_s": round(time.process_time() - cpu, 3)}


def ratios(rounds: Sequence[dict]) -> dict[str, float]:
    """How many times as fast ours is, in the median of rounds: fp32 beside each in fp32, int8 beside each in int8."""
    medians = {}
    for name in rounds[0]:
        own = f"codesage, {name.rpartition(' ')[2]}"
        if name != own:
            times = [one[name]["wall_s"] / one[own]["wall_s"] for one in rounds]
            medians[f"{own} over {name}"] = round(statistics.median(times), 2)
    return medians


if __name__ == "__main__":
    main()
