"""Engines that turn units into rows: this process, or a pool of encoders on the workers of a Ray cluster.

In: units. Out: what was done with each, as soon as it is done. Both engines run the same code on each unit. An engine is a
context manager that is entered before LanceDB is loaded: Ray starts processes, and LanceDB has threads that a fork would break.
"""

import logging
import pickle
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from codesage.encoder.runtime import load
from codesage.errors import CodesageError
from codesage.records import Encoder
from codesage.remote import cluster
from codesage.search.store.rows import Done, Embedding, Unit
from codesage.search.store.table import Store
from codesage.search.vectors import Vectors

ENGINES = ("local", "ray")
_BLOCKS = 10_000  # at most: Ray keeps some kilobytes for each


class Engine(Protocol):
    """Turns units into rows."""

    def __enter__(self) -> object: ...
    def __exit__(self, *error: object) -> None: ...

    def map(self, units: Sequence[Unit], store: Store) -> Iterator[Done]:
        """What was done with each unit, in any order."""
        ...


@dataclass(frozen=True, slots=True)
class Local:
    """The process itself. Vectors are kept in the user's cache too, where `codesage index` without a store finds them."""

    encoder: Encoder

    def __enter__(self) -> "Local":
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to end."""

    def map(self, units: Sequence[Unit], store: Store) -> Iterator[Done]:
        """What was done with each unit, in order."""
        with closing(Vectors(self.encoder)) as cache:
            embedding = Embedding(self.encoder, cache.encode, store.vectors_of if store.count() else _none)
            yield from map(embedding, units)


class OnRay:
    """The cluster that RAY_ADDRESS or `ray start` names, or one of `workers` processes that is started here for the run.

    Every machine reads the files and the model's folder at the same paths, and reaches the store.
    """

    def __init__(self, encoder: Encoder, model: Path | None, workers: int = 0) -> None:
        """`workers`: encoders, 0 for one for each processor of the cluster. CodesageError when Ray is missing."""
        self._ray = cluster.load_ray()
        import_module("ray.data")
        self._encoder, self._workers, self._started = encoder, workers, False
        self._model = None if model is None else model.absolute()

    def __enter__(self) -> "OnRay":
        self._started = not self._ray.is_initialized()
        if self._started:
            cluster.start(self._ray, self._workers)
        return self

    def __exit__(self, *error: object) -> None:
        if self._started:
            self._ray.shutdown()

    def map(self, units: Sequence[Unit], store: Store) -> Iterator[Done]:
        """What was done with each unit, in any order. CodesageError when a worker fails."""
        context = self._ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        workers = self._workers or int(self._ray.cluster_resources().get("CPU", 1))
        rows = [{"unit": pickle.dumps(unit)} for unit in units]
        settings = (self._model, self._encoder.fingerprint, store.address if store.count() else "")
        done = self._ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS)).map_batches(
            Worker, fn_constructor_args=settings, batch_size=1, concurrency=min(workers, len(units)), num_cpus=1
        )
        with cluster.errors():
            for row in done.iter_rows():
                yield pickle.loads(row["done"])


class Worker:
    """A process on the cluster with an encoder of its own, which reads the table as it was at the worker's first question.

    `address`: of the store, "" while it is empty.
    """

    def __init__(self, model: Path | None, fingerprint: str, address: str) -> None:
        self._encoder, self._address = load(model), address
        if self._encoder.fingerprint != fingerprint:
            raise CodesageError(
                f"the model on {socket.gethostname()} is {self._encoder.fingerprint}, not {fingerprint}: "
                "install the same version and model on every machine"
            )
        self._store: Store | None = None
        self._folder = tempfile.TemporaryDirectory()  # a cache for this worker's life, which encodes in the batches of Local

    def _known(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        self._store = self._store or Store.open(self._address, self._encoder)
        return self._store.vectors_of(keys)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """A batch of Ray Data: pickled units in the column "unit", what was done with each in "done"."""
        with closing(Vectors(self._encoder, Path(self._folder.name))) as cache:  # of one thread; Ray may call from several
            embedding = Embedding(self._encoder, cache.encode, self._known if self._address else _none)
            return {"done": [pickle.dumps(embedding(pickle.loads(unit))) for unit in batch["unit"]]}


def _none(keys: Sequence[str]) -> dict[str, np.ndarray]:
    return {}
