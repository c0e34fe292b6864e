"""Checkpoints of a run: everything needed to resume a killed process.

In: an encoder, its optimizer, the state of the loop. Out: folders such as `step-000001200` with safetensors and JSON files,
nothing pickled: weights, optimizer tensors by parameter name, the random state of every process, and state.json (position,
time used, guard, the settings of the run). Writing follows `artifacts.publish`: the files go into a temporary folder and are
synced, the manifest with sizes and hashes is written last, the folder is renamed, and its parent is synced. Only then are
old checkpoints removed. Resuming uses the newest valid checkpoint; damaged ones are reported on stderr and skipped. State is
stored unsharded, so any number of processes can resume it.
"""

import json
import random
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from codesage.artifacts import MANIFEST, open_artifact, publish
from codesage.errors import CodesageError
from codesage.training import processes

KIND = "checkpoint"
WEIGHTS, OPTIMIZER, RANDOM, STATE = "weights.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"
_NAME = re.compile(r"step-(\d{9,})")
_UNREADABLE = (CodesageError, OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint: its folder, the state of the loop, and the settings of its run."""

    path: Path
    state: dict
    run: dict


def save(
    folder: Path, encoder: nn.Module, optimizer: torch.optim.Optimizer, *, step: int, state: dict, run: dict, keep: int
) -> Path:
    """Write the checkpoint of `step` into `folder`, then keep only the newest `keep`. Every process must call this.

    `state` and `run` are plain JSON values. Returns its folder. Raises CodesageError when the disk is full.
    """
    weights = {name: processes.whole(tensor) for name, tensor in encoder.state_dict().items()}
    moments = {name: processes.whole(tensor) for name, tensor in _moments(encoder, optimizer)}
    tensors, words = _random_state()
    target = folder / f"step-{step:09d}"
    if processes.rank() == 0:
        if target.exists():  # a damaged checkpoint that resuming skipped
            shutil.rmtree(target)
        content = {"step": step, "state": state, "run": run, "random": words}
        with publish(target, KIND, settings={}) as staging:  # no facts: nothing hashes the manifest itself
            _write(staging / WEIGHTS, weights)
            _write(staging / OPTIMIZER, moments)
            _write(staging / RANDOM, tensors)
            (staging / STATE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        prune(folder, keep=keep)
    processes.barrier()
    return target


def newest(folder: Path) -> Checkpoint | None:
    """The newest valid checkpoint in `folder`, or None if there is none yet.

    Damaged ones are reported on stderr. Raises CodesageError when all are damaged.
    """
    damaged = 0
    for path in sorted(_steps(folder), reverse=True):
        try:
            return read(path)
        except _UNREADABLE as error:
            damaged += 1
            print(f"codesage: skipping the checkpoint {path}: {_one_line(error)}", file=sys.stderr)
    if damaged:
        raise CodesageError(f"none of the {damaged} checkpoints in {folder} is valid: start over with --fresh")
    return None


def exist(folder: Path) -> bool:
    """Whether `folder` holds checkpoints, valid or damaged."""
    return bool(_steps(folder))


def read(path: Path) -> Checkpoint:
    """Verify all files of the checkpoint at `path` and read its state. Raises CodesageError when it is damaged."""
    open_artifact(path, KIND)
    text = (path / MANIFEST).read_text(encoding="utf-8")
    manifest = json.loads(text)
    canonical = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if text != canonical or manifest.keys() != {"kind", "settings", "facts", "files"} or manifest["settings"] != {}:
        raise CodesageError(f"{path / MANIFEST} has been altered")
    if set(manifest["files"]) != {WEIGHTS, OPTIMIZER, RANDOM, STATE} or manifest["facts"] != {}:
        raise CodesageError(f"{path / MANIFEST} does not list the files of a checkpoint")
    content = json.loads((path / STATE).read_text(encoding="utf-8"))
    named = _NAME.fullmatch(path.name)
    if named is None or content["step"] != int(named.group(1)):
        raise CodesageError(f"{path} holds step {content['step']}: the folder was renamed")
    return Checkpoint(path, content["state"], content["run"])


def restore(checkpoint: Checkpoint, encoder: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load weights, optimizer tensors and random state in place. Raises CodesageError when they do not match."""
    own = encoder.state_dict()
    weights = _load(checkpoint.path / WEIGHTS)
    if {name: tuple(tensor.shape) for name, tensor in weights.items()} != {n: tuple(t.shape) for n, t in own.items()}:
        raise CodesageError(f"{checkpoint.path} holds an encoder of another shape: use --fresh or another --out")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(processes.like(weights[name], tensor))
    parameters = dict(encoder.named_parameters())
    for key, tensor in _load(checkpoint.path / OPTIMIZER).items():
        name, _, entry = key.rpartition(".")
        parameter = parameters[name]
        if tensor.shape == parameter.shape:
            tensor = processes.like(tensor, parameter)
        optimizer.state[parameter][entry] = tensor.to(parameter.device)
    content = json.loads((checkpoint.path / STATE).read_text(encoding="utf-8"))
    _set_random_state(_load(checkpoint.path / RANDOM), content["random"], seed=content["step"])


def prune(folder: Path, *, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and the temporary folders of killed processes."""
    for path in sorted(_steps(folder), reverse=True)[keep:]:
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def first_difference(was: dict, now: dict, prefix: str = "") -> str:
    """The first difference of two nested settings, such as "encoder.hidden_size 32, now 64"; "" if there is none."""
    for key in sorted(was.keys() | now.keys()):
        old, new = was.get(key, "unset"), now.get(key, "unset")
        if isinstance(old, dict) and isinstance(new, dict):
            if difference := first_difference(old, new, f"{prefix}{key}."):
                return difference
        elif old != new:
            return f"{prefix}{key} {old}, now {new}"
    return ""


def _steps(folder: Path) -> list[Path]:
    return [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)] if folder.is_dir() else []


def _moments(encoder: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in encoder.named_parameters():
        for entry, value in sorted(optimizer.state.get(parameter, {}).items()):
            yield f"{name}.{entry}", torch.as_tensor(value)


def _write(file: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
    except SafetensorError as error:  # the library wraps the system's error
        raise CodesageError(f"cannot write {file} ({_one_line(error)}): free some space or choose another --out") from None


def _load(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise CodesageError(f"{file} cannot be read ({_one_line(error)}): start over with --fresh") from None


def _random_state() -> tuple[dict[str, Tensor], dict]:
    """The random state of all processes: tensors named "process.generator", and the rest as JSON values."""
    own = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        own["cuda"] = torch.cuda.get_rng_state()
    name, key, position, has_gauss, cached = np.random.get_state()
    own["numpy"] = torch.from_numpy(np.asarray(key, np.int64))
    version, internal, gauss = random.getstate()
    words = {"numpy": [name, position, has_gauss, cached], "python": [version, list(internal), gauss]}
    gathered = processes.gather_objects((own, words))
    tensors = {f"{rank}.{key}": tensor for rank, (states, _) in enumerate(gathered) for key, tensor in states.items()}
    return tensors, {str(rank): words for rank, (_, words) in enumerate(gathered)}


def _set_random_state(tensors: dict[str, Tensor], words: dict, *, seed: int) -> None:
    rank = str(processes.rank())
    if rank not in words or len(words) != processes.world():  # the number of processes changed
        torch.manual_seed(seed * 1_000_003 + processes.rank())
        return
    torch.set_rng_state(tensors[f"{rank}.torch"])
    if torch.cuda.is_available() and f"{rank}.cuda" in tensors:
        torch.cuda.set_rng_state(tensors[f"{rank}.cuda"])
    name, position, has_gauss, cached = words[rank]["numpy"]
    np.random.set_state((name, tensors[f"{rank}.numpy"].numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss = words[rank]["python"]
    random.setstate((version, tuple(internal), gauss))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
