"""The default folders of indexes in the user's cache, and the commands that messages suggest.

This module is light, so that commands can use it first.
"""

import glob
import hashlib
import os
import shlex
from pathlib import Path

from codesage.encoder.folders import BUNDLED, BUNDLED_MODELS
from codesage.machine import cache_folder
from codesage.records import Encoder


def default_folder(root: Path, model: str) -> Path:
    """The default folder of the index of `root`: in the user's cache, by name and hash of the real path.

    Each `model` (the fingerprint of an encoder) has its own index. So a new model does not replace the index of the old one.
    """
    real = root.resolve()
    name = f"{escaped(real.name) or 'root'}-{hashlib.sha256(os.fsencode(real)).hexdigest()[:12]}-{model.replace(':', '-')}"
    return cache_folder("indexes") / name


def command(*words: object) -> str:
    """A command of `codesage` that can be pasted into a shell. A Path that begins with a dash is not taken for an option."""
    texts = [f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words]
    return shlex.join(["codesage", *texts])


def index_command(root: Path, encoder: Encoder, index_dir: Path | None, *options: str) -> str:
    """The command that indexes `root` in full for the model of `encoder`, in `index_dir` unless that is None."""
    folder = getattr(encoder, "folder", None)
    name = next((name for name, bundled in BUNDLED_MODELS.items() if bundled == folder), folder)
    own_folder = ["--index-dir", index_dir] if index_dir else []
    own_model = ["--model", name] if folder not in (None, BUNDLED) else []
    return command("index", root, *own_folder, *own_model, *options)


def has_index(root: Path, folder: Path | None) -> bool:
    """Whether there is an index of `root` in `folder`, or of any model in the user's cache."""
    if folder is not None:
        return os.path.exists(folder)
    return bool(other_model_indexes(default_folder(root, ""), ""))


def real_path(root: Path) -> str:
    """The real path of `root` as text. Bytes that are not UTF-8 are escaped."""
    return escaped(str(root.resolve()))


def may_exist(real: str) -> bool:
    """Whether a path that `real_path` gave may still exist. Where it is escaped, that cannot be told."""
    return "\\x" in real or Path(real).exists()


def escaped(path: str) -> str:
    r"""A path as text. Bytes that are not UTF-8 are escaped, as in `caf\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def other_model_indexes(folder: Path, model: str) -> list[Path]:
    """The default folders of indexes of the same root with other models than `model`."""
    root = folder.name.removesuffix(f"-{model.replace(':', '-')}")
    return sorted(path for path in folder.parent.glob(f"{glob.escape(root)}*") if path != folder)
