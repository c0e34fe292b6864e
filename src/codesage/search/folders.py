"""Where the index of a root lives: in the user's cache, unless told otherwise. Light, so that it can be asked at once."""

import glob
import hashlib
from pathlib import Path

from platformdirs import user_cache_dir


def default_folder(root: Path, model: str) -> Path:
    """Where the index of `root` lives unless told otherwise: the user's cache, by name and hash of the real path.

    Each `model` (the fingerprint of an encoder) has an index of its own: a newer model starts one, and to go back
    costs nothing.
    """
    real = root.resolve()
    name = f"{real.name or 'root'}-{hashlib.sha256(str(real).encode()).hexdigest()[:12]}-{model.replace(':', '-')}"
    return Path(user_cache_dir("codesage", appauthor=False)) / "indexes" / name


def of_other_models(folder: Path, model: str) -> list[Path]:
    """The default folders of the same root's indexes of other models than that of `folder`."""
    root = folder.name.removesuffix(f"-{model.replace(':', '-')}")
    return sorted(path for path in folder.parent.glob(f"{glob.escape(root)}*") if path != folder)


def is_new(path: Path, index_dir: Path | None) -> bool:
    """Whether neither a folder nor one around it has an index, of any model. False for what is no folder."""
    if not path.is_dir():
        return False
    if index_dir is not None:
        return not index_dir.exists()
    real = path.resolve()
    beginnings = [default_folder(root, "") for root in (real, *real.parents)]
    return not any(any(one.parent.glob(f"{glob.escape(one.name)}*")) for one in beginnings)
