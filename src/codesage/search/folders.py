"""The default folders of indexes in the user's cache. This module is light, so that commands can use it first."""

import glob
import hashlib
from pathlib import Path

from platformdirs import user_cache_dir


def default_folder(root: Path, model: str) -> Path:
    """The default folder of the index of `root`: in the user's cache, by name and hash of the real path.

    Each `model` (the fingerprint of an encoder) has its own index. So a new model does not replace the index of the old one.
    """
    real = root.resolve()
    name = f"{real.name or 'root'}-{hashlib.sha256(str(real).encode()).hexdigest()[:12]}-{model.replace(':', '-')}"
    return Path(user_cache_dir("codesage", appauthor=False)) / "indexes" / name


def other_model_indexes(folder: Path, model: str) -> list[Path]:
    """The default folders of indexes of the same root with other models than `model`."""
    root = folder.name.removesuffix(f"-{model.replace(':', '-')}")
    return sorted(path for path in folder.parent.glob(f"{glob.escape(root)}*") if path != folder)


def is_new(path: Path, index_dir: Path | None) -> bool:
    """Whether a folder and all folders above it have no index of any model. False if `path` is no folder."""
    if not path.is_dir():
        return False
    if index_dir is not None:
        return not index_dir.exists()
    real = path.resolve()
    beginnings = [default_folder(root, "") for root in (real, *real.parents)]
    return not any(any(one.parent.glob(f"{glob.escape(one.name)}*")) for one in beginnings)
