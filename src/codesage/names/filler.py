"""A Stage I model that predicts hidden tokens.

In: windows of token ids, some of them hidden, and the positions that are asked for. Out: the log-probability of every token at
each of them. The head is the embedding of tokens, as in Stage I (paper section 3.1). An exported model needs onnxruntime alone,
a folder with weights needs torch. Shapes: B windows, L length, M positions, D width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from codesage import tokenizer as tokenizers
from codesage.artifacts import MANIFEST, open_artifact
from codesage.encoder.config import load_config
from codesage.encoder.folders import NAMES, TOKENS
from codesage.encoder.runtime import device_of, onnx_session, padded
from codesage.errors import CodesageError

_BATCH_TOKENS = 4_096  # padded tokens of a forward pass

States = Callable[[list[list[int]], np.ndarray], np.ndarray]


class Filler:
    """A loaded model: its tokenizer, the longest window it takes, and what it predicts."""

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, states: States, table_VD: np.ndarray, *, max_tokens: int, name: str = "the model"
    ) -> None:
        """`states`: windows and the flat rows asked for, int64 (M,) into (B, L), to their last states, float32 (M, D).

        `name`: what errors call the model.
        """
        self.tokenizer, self.max_tokens, self._name = tokenizer, max_tokens, name
        self._states, self._table_DV = states, np.ascontiguousarray(table_VD[: tokenizer.vocab_size].T)

    def log_probabilities(self, windows: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Of each window, the natural log-probabilities at its positions: float32 (positions, V).

        CodesageError when the weights of the model give a score that is not finite.
        """
        results: list[np.ndarray] = [np.empty(0, np.float32)] * len(windows)
        order = sorted(range(len(windows)), key=lambda row: len(windows[row]))
        while order:
            size = max(1, _BATCH_TOKENS // len(windows[order[-1]]))
            rows, order = order[-size:], order[:-size]
            self._fill(results, rows, windows, positions)
        return results

    def _fill(self, results: list, rows: list[int], windows: Sequence, positions: Sequence) -> None:
        longest = max(len(windows[row]) for row in rows)
        flat_M = np.concatenate([place * longest + np.asarray(positions[row], np.int64) for place, row in enumerate(rows)])
        scores_MV = self._states([list(windows[row]) for row in rows], flat_M) @ self._table_DV
        highest_M = scores_MV.max(axis=1, keepdims=True)
        if not np.isfinite(highest_M).all():  # NaN is the highest of all
            raise CodesageError(f"{self._name} gives scores that are not finite: train or export it again")
        scores_MV -= highest_M
        scores_MV -= np.log(np.exp(scores_MV).sum(axis=1, keepdims=True))
        ends = np.cumsum([len(positions[row]) for row in rows])[:-1]
        for row, part in zip(rows, np.split(scores_MV, ends), strict=True):
            results[row] = part


def load(path: Path | str | None = None, *, device: str = "cpu") -> Filler:
    """The model that ships (None), or the one at `path`: a folder of Stage I, or one of `codesage export --names`.

    `device`: see `runtime.device_of`; an exported folder runs on the CPU. CodesageError when the folder is missing or damaged,
    does not say how it was trained, or has been through Stage II, which changes what Stage I learned, or when the device is not
    there.
    """
    folder = NAMES if path is None else Path(path)
    if path is None and not folder.is_dir():
        raise CodesageError(
            "no model for names is installed: train one with 'codesage pretrain TOKENS --names', "
            "and give its folder with --model"
        )
    if not folder.is_dir():
        raise CodesageError(
            f"{folder}: no such folder: expected a model of 'codesage pretrain --names', give its folder with --model"
        )
    if not (folder / MANIFEST).is_file():
        raise CodesageError(
            f"{folder} holds no {MANIFEST}, so nothing says how it was trained: expected a model of 'codesage pretrain --names'"
        )
    facts = open_artifact(folder, "model").facts
    stages = facts.get("stages", [])
    if stages[-1:] != ["pretrain"]:
        raise CodesageError(
            f"{folder} has been through {', '.join(stages) or 'no stage'}: names need a model whose "
            "last stage is 'codesage pretrain'"
        )
    config, tokenizer = load_config(folder), tokenizers.load(folder)
    reach = min(facts.get("max_tokens", config.max_position_embeddings), config.max_position_embeddings)
    exported = (folder / TOKENS).is_file()
    place = device_of(device, folder, "int8" if exported else "torch")
    states, table_VD = _onnx(folder / TOKENS, tokenizer) if exported else _torch(folder, place)
    return Filler(tokenizer, states, table_VD, max_tokens=reach, name=str(folder))


def _onnx(file: Path, tokenizer: tokenizers.Tokenizer) -> tuple[States, np.ndarray]:
    session = onnx_session(file)

    def run(output: str, windows: list[list[int]], rows_M: np.ndarray) -> np.ndarray:
        ids_BL, mask_BL = padded(windows, tokenizer.pad_id)
        return np.asarray(session.run([output], {"ids": ids_BL, "mask": mask_BL, "rows": rows_M})[0])

    table_VD = run("table", [[tokenizer.end_id]], np.zeros(1, np.int64))
    return lambda windows, rows_M: run("states", windows, rows_M), table_VD


def _torch(folder: Path, device: str) -> tuple[States, np.ndarray]:
    if find_spec("torch") is None:
        raise CodesageError(
            f"{folder} holds no {TOKENS}, and torch is not installed: pip install 'codesage[train]', or run "
            "'codesage export --names' where torch is installed"
        )
    import torch

    from codesage.encoder.model import Encoder, Layout
    from codesage.encoder.weights import load_encoder

    encoder: Encoder = load_encoder(folder).to(device)

    def states(windows: list[list[int]], rows_M: np.ndarray) -> np.ndarray:
        """The final hidden states (M, D) of the tokens at `rows_M`, counted as in windows padded to the longest."""
        lengths, longest = np.array([len(window) for window in windows]), max(map(len, windows))
        window_M, place_M = np.divmod(rows_M, longest)
        flat_M = (np.cumsum(lengths) - lengths)[window_M] + place_M  # no padding here
        order = np.argsort(flat_M, kind="stable")
        with torch.inference_mode():
            ids_T = torch.tensor([token for window in windows for token in window], device=device)
            asked_M = torch.from_numpy(flat_M[order]).to(device)
            found_MD = encoder(ids_T, Layout.of(lengths.tolist(), ids_T.device), rows_M=asked_M).cpu().numpy()
        return found_MD[np.argsort(order)]

    return states, encoder.wte.weight.detach().cpu().numpy()
