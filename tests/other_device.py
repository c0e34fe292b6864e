"""A GPU that is none: tensors that count as being on `cuda:0`, computed on the CPU, and never mixed with tensors of the CPU.

`with other_device():` makes torch say that there is one GPU. A tensor is on it after `.to`, after `device=` of what makes
tensors, or as the result of an operation on it; the place is kept with the tensor's memory, so views have it too. Every
operation is checked as CUDA checks it: tensors of two places raise, except scalars (0-dim tensors of the CPU) in element-wise
operations, and indices. `.numpy()` of a tensor on the device raises. The device has a random state of its own. Attention in
half precision goes to `varlen_attn` below, which refuses what the kernel refuses. So the code runs as on a GPU, with the
values of the CPU. It shows neither rounding, speed, memory nor kernels of a GPU, and compiles nothing. Work in other threads is
not checked. Libraries that use torch are imported, and their models loaded, before.

`waits` lists what made the processor wait until the device had done everything: values that are read, copies that block or that
are not from pinned memory, and results whose size depends on values. What a copy brings without blocking is -1 or NaN until an
event that was recorded after it was waited for. `leads` says how many operations the device had to do at each such wait.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
MEMORY = 140 * 10**9  # bytes
MAKERS = (
    *("tensor", "as_tensor", "empty", "zeros", "ones", "full", "arange", "eye", "rand", "randn", "randint", "randperm"),
    *("linspace", "from_numpy", "frombuffer", "empty_strided", "scalar_tensor"),
)
LIKES = ("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like")
aten = torch.ops.aten
_COPIES = {aten.copy_.default, aten._to_copy.default}
_INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index.Tensor}
_READ = {
    *(aten._local_scalar_dense.default, aten.equal.default, aten.nonzero.default, aten.masked_select.default),
    *(aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default, aten.bincount.default),
}

_device_of = torch._C.TensorBase.device.__get__
_to, _cpu_numpy, _deepcopy, _as_tensor = Tensor.to, Tensor.numpy, Tensor.__deepcopy__, torch.as_tensor
_tolist = Tensor.tolist


def place_of(tensor: Tensor) -> torch.device | None:
    """Where a tensor counts as being; None for one that torch made inside of an operation and nothing has used yet."""
    return getattr(tensor.untyped_storage(), "place", CPU) if _device_of(tensor) == CPU else _device_of(tensor)


def put(tensor: Tensor, place: torch.device | None) -> Tensor:
    """The same tensor, with its memory at `place`."""
    if _device_of(tensor) == CPU:
        tensor.untyped_storage().place = place  # pyright: ignore[reportAttributeAccessIssue]
    return tensor


def _whole(device: Any) -> torch.device:
    """A device with its number, as a tensor names it."""
    device = torch.device(device)
    if device.type == "cuda" and (device.index or 0) > 0:
        raise RuntimeError("CUDA error: invalid device ordinal")
    return CUDA if device.type == "cuda" else device


class Checks(TorchDispatchMode):
    """Refuses operations on tensors of two places; `done` counts those on the device, by name; `waits` and `leads`: above."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, int] = {}
        self.waits: list[str] = []
        self.leads: list[int] = []
        self.arriving: list[tuple[Tensor, Tensor]] = []  # what is there now, and what will be
        torch.manual_seed(0)
        self.random = torch.get_rng_state()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        place = None if func in _COPIES else _common_place(func, args, given)
        if place == CUDA:
            self.done[func.__name__] = self.done.get(func.__name__, 0) + 1
        if _waits(func, args, given, kwargs):
            self.waits.append(func.__name__)
        with self.own_random_state(place == CUDA and torch.Tag.nondeterministic_seeded in func.tags):
            result = func(*args, **kwargs)
        place = place_of(args[0]) if func in _COPIES else place
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and not any(leaf is one for one in given):
                put(leaf, place)
        return result

    def launched(self) -> int:
        """How many operations the device was given so far."""
        return sum(self.done.values())

    def sent(self, source: Tensor, result: Tensor, *, blocks: bool) -> Tensor:
        """The copy `result` of a tensor of the other place: what a program sees of it at once."""
        if source.device == CPU:
            if blocks or not getattr(source.untyped_storage(), "pinned", False):
                self.waits.append("to the device")
            return result
        if blocks:
            self.waits.append("to the CPU")
            return result
        shown = put(torch.full_like(result, math.nan if result.is_floating_point() else -1), CPU)
        self.arriving.append((shown, result))
        return shown

    @contextmanager
    def own_random_state(self, drawn: bool) -> Iterator[None]:
        """The random state of the device in place of the CPU's, where numbers are drawn on the device."""
        if not drawn:
            yield
            return
        before = torch.get_rng_state()
        torch.set_rng_state(self.random)
        yield
        self.random = torch.get_rng_state()
        torch.set_rng_state(before)


def _waits(func: Any, args: tuple, given: list[Tensor], kwargs: dict) -> bool:
    """Whether the processor waits for the device in an operation."""
    places = [place_of(tensor) for tensor in given]
    if CUDA not in places:
        return False
    if func in _INDEXED:
        indices = [one for one in tree_leaves(args[1]) if isinstance(one, Tensor)]
        return any(place_of(one) == CPU or one.dtype in (torch.bool, torch.uint8) for one in indices)
    if func is aten.repeat_interleave.Tensor:
        return kwargs.get("output_size") is None
    return func in _READ or (func is aten.copy_.default and CPU in places)


def _common_place(func: Any, args: tuple, given: list[Tensor]) -> torch.device | None:
    """The place of an operation. RuntimeError where its tensors are in two places, and CUDA would refuse that."""
    free = torch.Tag.pointwise in func.tags or func.__name__.startswith("_foreach")
    indices = tree_leaves(args[1]) if func in _INDEXED else []
    places: list[torch.device] = []
    for tensor in given:
        place = place_of(tensor)
        scalar = free and tensor.ndim == 0 and place == CPU
        index = any(tensor is one for one in indices) and place == CPU
        if place is not None and not scalar and not index and place.type != "meta":
            places.append(place)
    if len(set(places)) > 1:
        raise RuntimeError(f"Expected all tensors to be on the same device, but found cuda:0 and cpu in {func.__name__}")
    known = places or [place for place in map(place_of, given) if place is not None]
    return known[0] if known else None


def _mover(checks: Checks) -> Callable[..., Tensor]:
    """Tensor.to."""

    def moved(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        words, given = list(args), dict(kwargs)
        target = kwargs.pop("device", None)
        if words and isinstance(words[0], Tensor):
            other = words.pop(0)
            target, kwargs = other.device, {"dtype": other.dtype, **kwargs}
        elif words and isinstance(words[0], (str, torch.device)):
            target = words.pop(0)
        if target is None or torch.device(target).type == "meta" or self.device.type == "meta":
            return _to(self, *args, **given)
        target, here = _whole(target), self.device
        result = _to(self, CPU, *words, **kwargs)
        if target == here:
            return result
        if result.untyped_storage().data_ptr() == self.untyped_storage().data_ptr():
            result = result.clone()
        return checks.sent(self, put(result, target), blocks=not kwargs.get("non_blocking"))

    return moved


def _pinned(self: Tensor) -> Tensor:
    """Tensor.pin_memory."""
    if self.device.type == "cuda":
        raise RuntimeError("cannot pin a tensor of cuda:0, only dense CPU tensors can be pinned")
    result = self.clone()
    result.untyped_storage().pinned = True  # pyright: ignore[reportAttributeAccessIssue]
    return result


def _lister(checks: Checks) -> Callable[[Tensor], Any]:
    """Tensor.tolist."""

    def listed(self: Tensor) -> Any:
        if self.device.type == "cuda":
            checks.waits.append("tolist")
        return _tolist(self)

    return listed


def _grouper(group: Callable[..., Any]) -> Callable[..., Any]:
    """torch._C._group_tensors_by_device_and_dtype, with the place of the tensors as the device."""

    def grouped(lists: list, *words: Any) -> dict:
        found = group(lists, *words)
        return {(next(t.device for t in values[0][0] if t is not None), key[1]): values for key, values in found.items()}

    return grouped


def _event(checks: Checks) -> type:
    """torch.cuda.Event."""

    class Event:
        def record(self, stream: None = None) -> None:
            self.arrived, checks.arriving = checks.arriving, []
            self.before = checks.launched()

        def synchronize(self) -> None:
            checks.leads.append(checks.launched() - self.before)
            for shown, true in self.arrived:
                shown.copy_(true)

    return Event


def _numpy(self: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Tensor.numpy."""
    if self.device.type == "cuda":
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy it first.")
    return _cpu_numpy(self, *args, **kwargs)


def _array(self: Tensor, dtype: Any = None) -> Any:
    """Tensor.__array__."""
    return self.numpy() if dtype is None else self.numpy().astype(dtype, copy=False)


def _copied(self: Tensor, memo: dict) -> Tensor:
    """Tensor.__deepcopy__."""
    known = id(self) in memo
    result = _deepcopy(self, memo)
    return result if known else put(result, self.device)


def _maker(make: Callable[..., Tensor], checks: Checks) -> Callable[..., Tensor]:
    """A function that makes tensors, with `device=`."""

    @wraps(make)
    def made(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if device is not None and torch.device(device).type == "meta":
            return make(*args, device=device, **kwargs)
        if make is _as_tensor and isinstance(args[0], Tensor):
            return args[0] if device is None else args[0].to(device)
        place = CPU if device is None else _whole(device)
        if place == CUDA and make.__name__ in ("tensor", "as_tensor", "from_numpy", "frombuffer", "scalar_tensor"):
            checks.waits.append(make.__name__)
        with checks.own_random_state(place == CUDA and make.__name__.startswith("rand")):
            return put(make(*args, **kwargs), place)

    return made


def _liker(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that makes a tensor like another one, where that is or at `device=`."""

    @wraps(make)
    def made(tensor: Tensor, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if device is None or torch.device(device).type == "meta":
            return make(tensor, *args, device=device, **kwargs)
        return put(make(tensor, *args, device=CPU, **kwargs), _whole(device))

    return made


def varlen_attn(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int, dropout: float = 0.0
) -> Tensor:
    """torch.nn.attention.varlen.varlen_attn, document by document. It refuses what the kernel refuses."""
    for tensor in (query, key, value):
        if tensor.dtype not in (torch.float16, torch.bfloat16) or not tensor.is_cuda:
            raise RuntimeError("FlashAttention only supports fp16 and bf16 on CUDA")
        if tensor.shape[-1] % 8 or tensor.shape[-1] > 256 or tensor.stride(-1) != 1:
            raise RuntimeError("head_size must be a multiple of 8 and at most 256, with a contiguous last dimension")
    for borders in (cu_seq_q, cu_seq_k):
        if borders.dtype != torch.int32 or not borders.is_cuda or not borders.is_contiguous():
            raise RuntimeError("cu_seqlens must be contiguous, int32 and on CUDA")
    queries, keys = _tolist(cu_seq_q.diff()), _tolist(cu_seq_k.diff())
    assert sum(queries) == len(query) and sum(keys) == len(key) and max(queries) <= max_q and max(keys) <= max_k
    parts = []
    for q, k, v in zip(query.split(queries), key.split(keys), value.split(keys), strict=True):
        q, k, v = (side.transpose(0, 1)[None] for side in (q, k, v))
        parts.append(F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)[0].transpose(0, 1))
    return torch.cat(parts)


class _Flash:
    """torch.ops.aten._flash_attention_forward. Else it is torch's own."""

    def __init__(self, torchs: Any) -> None:
        self._torchs = torchs

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, *words: Any) -> tuple[Tensor]:
        """Take the arguments that torch documents, in its order; give the output alone."""
        borders_q, borders_k, most_q, most_k, dropout, causal, masked = words
        assert not causal and not masked
        return (varlen_attn(q, k, v, borders_q, borders_k, most_q, most_k, dropout),)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torchs, name)


class Properties:
    """torch.cuda.get_device_properties."""

    total_memory, name = MEMORY, "NVIDIA H200"


@contextmanager
def cpu_alone() -> Iterator[None]:
    """Within it there is no GPU, also on a machine with one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


@contextmanager
def other_device(*, bf16: bool = True) -> Iterator[Checks]:
    """Within it there is one GPU, `cuda:0`. `bf16`: whether it multiplies bf16 natively."""
    with pytest.MonkeyPatch.context() as patch, Checks() as checks:
        patch.setattr(Tensor, "device", property(lambda self: place_of(self) or CPU), raising=False)
        patch.setattr(Tensor, "is_cuda", property(lambda self: self.device.type == "cuda"), raising=False)
        patch.setattr(Tensor, "to", _mover(checks))
        patch.setattr(Tensor, "cuda", lambda self, *args, **kwargs: self.to(CUDA))
        patch.setattr(Tensor, "cpu", lambda self: self.to(CPU))
        patch.setattr(Tensor, "pin_memory", _pinned)
        patch.setattr(Tensor, "tolist", _lister(checks))
        patch.setattr(Tensor, "numpy", _numpy)
        patch.setattr(Tensor, "__array__", _array)
        patch.setattr(Tensor, "__deepcopy__", _copied)
        for name in MAKERS:
            patch.setattr(torch, name, _maker(getattr(torch, name), checks))
        for name in LIKES:
            patch.setattr(torch, name, _liker(getattr(torch, name)))
        patch.setattr(torch._C, "_group_tensors_by_device_and_dtype", _grouper(torch._C._group_tensors_by_device_and_dtype))
        _pretend(patch, checks, bf16)
        yield checks


def _pretend(patch: pytest.MonkeyPatch, checks: Checks, bf16: bool) -> None:
    """What torch says of GPUs, of autocast on them, and of their attention."""
    said = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "Event": _event(checks),
        "synchronize": lambda device=None: checks.waits.append("synchronize"),
        "set_device": _whole,
        "get_device_name": lambda device=None: Properties.name,
        "get_device_properties": lambda device=None: Properties,
        "is_bf16_supported": lambda including_emulation=True: bf16,
        "get_rng_state": lambda device=None: put(checks.random.clone(), CPU),
        "set_rng_state": lambda state, device=None: setattr(checks, "random", state.cpu().clone()),
    }
    for name, function in said.items():
        patch.setattr(torch.cuda, name, function)
    seed, autocast = torch.manual_seed, torch.autocast
    enabled, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype

    def manual_seed(number: int) -> torch.Generator:
        generator = seed(number)
        checks.random = torch.get_rng_state()
        return generator

    patch.setattr(torch, "manual_seed", manual_seed)
    patch.setattr(torch, "autocast", lambda kind, *args, **kwargs: autocast("cpu", *args, **kwargs))
    patch.setattr(torch, "is_autocast_enabled", lambda kind="cuda": enabled("cpu"))
    patch.setattr(torch, "get_autocast_dtype", lambda kind: dtype("cpu"))
    patch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    patch.setattr(torch.ops.aten, "_flash_attention_forward", _Flash(torch.ops.aten._flash_attention_forward))
