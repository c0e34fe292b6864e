"""MTEB: the encoder as an MTEB model, the search engine behind MTEB's search protocol, and our tasks as MTEB tasks.

In: a model of ours. Out: objects for `mteb.evaluate`, so that any retrieval task of MTEB can be run, such as those of CoIR.
Needs the extra `mteb`.
"""

import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mteb
import numpy as np
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction
from mteb.types import PromptType

from codesage.encoder.runtime import Embedder
from codesage.errors import CodesageError
from codesage.evaluate.tasks import RetrievalTask
from codesage.languages import LANGUAGES
from codesage.search import query as engine
from codesage.search.filters import ALL, Filter, Texts
from codesage.search.index import Index
from codesage.search.ranking import Rules
from codesage.search.view import View

_SUFFIXES = {name: language.suffixes[0] for name, language in LANGUAGES.items()}

_EVERY = 1_000_000  # hits: all chunks of the documents that a query is about


class MtebEncoder(AbsEncoder):
    """`mteb.evaluate(MtebEncoder(codesage.load()), tasks)`: vectors by cosine.

    Queries are encoded as text and everything else as code, unless `queries_are_code`, for tasks from code to code.
    """

    def __init__(self, encoder: Embedder, *, name: str = "codesage/default", queries_are_code: bool = False) -> None:
        self.model, self._queries_are_code = encoder, queries_are_code
        self.mteb_model_meta = _meta(encoder, name)

    def encode(
        self,
        inputs: Iterable[Mapping],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Vectors of all texts in `inputs`, in their order: float32 (N, width)."""
        texts = [text for batch in inputs for text in batch["text"]]
        kind = "text" if prompt_type == PromptType.query and not self._queries_are_code else "code"
        return self.model.encode(texts, kind=kind)


class MtebSearch:
    """`mteb.evaluate(MtebSearch(codesage.load()), tasks)`: what `codesage search` answers.

    Each document becomes a file in a temporary folder, which is indexed. A file's rank is that of its best chunk. `close()`
    removes the folder.
    """

    def __init__(self, encoder: Embedder, *, name: str = "codesage/search", language: str = "python") -> None:
        """`language`: of the documents, so that they are cut as in a repository. CodesageError for an unknown one."""
        if language not in _SUFFIXES:
            raise CodesageError(f"unknown language {language!r}: expected one of {', '.join(_SUFFIXES)}")
        self._encoder, self._suffix = encoder, _SUFFIXES[language]
        self._folder: tempfile.TemporaryDirectory | None = None
        self._identities: dict[str, str] = {}
        self.mteb_model_meta = _meta(encoder, name)

    def index(
        self,
        corpus: Iterable[Mapping],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        encode_kwargs: Any,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the documents of `corpus` as files, and index them."""
        self.close()
        self._folder = tempfile.TemporaryDirectory(prefix="codesage-mteb-")
        tree = Path(self._folder.name, "tree")
        tree.mkdir()
        self._identities = {}
        for row, document in enumerate(corpus):
            name = f"{row:07}{self._suffix}"
            text = "\n".join(part for part in (document.get("title", ""), document["text"]) if part)
            (tree / name).write_text(text, encoding="utf-8")
            self._identities[name] = str(document["id"])
        index = self._opened()
        index.update(self._encoder)
        index.connection.close()

    def search(
        self,
        queries: Iterable[Mapping],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        encode_kwargs: Any,
        top_ranked: Mapping[str, list[str]] | None = None,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, float]]:
        """Scores by document id for each query id: at most `top_k` documents. `top_ranked`: the only ones that count."""
        index = self._opened()
        try:
            return {
                str(query["id"]): self._ranked(index, query["text"], top_k, (top_ranked or {}).get(query["id"]))
                for query in queries
            }
        finally:
            index.connection.close()

    def close(self) -> None:
        """Remove what was indexed."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _opened(self) -> Index:
        if self._folder is None:
            raise CodesageError("nothing is indexed: call index() first")
        folder = Path(self._folder.name)
        return Index.open(folder / "tree", folder=folder / "index", encoder=self._encoder)

    def _ranked(self, index: Index, query: str, top_k: int, only: list[str] | None) -> dict[str, float]:
        where, most = ALL, 2 * top_k
        if only is not None:
            wanted = set(only)
            where, most = _Files(files={name for name, identity in self._identities.items() if identity in wanted}), _EVERY
        scores: dict[str, float] = {}
        for hit in engine.search(index, self._encoder, query, top=most, where=where, rules=Rules(floor=False)):
            scores.setdefault(self._identities[hit.chunk.path], float(hit.score))
        return dict(list(scores.items())[:top_k])


@dataclass(frozen=True, slots=True)
class _Files(Filter):
    """A filter that only chunks of these files pass."""

    files: Collection[str] = ()

    def allowed(self, view: View, texts: Texts) -> np.ndarray:
        return np.array([path in self.files for path in view.paths], bool)


def task_of(task: RetrievalTask) -> AbsTaskRetrieval:
    """One of our tasks as an MTEB task of one split, "test". Nothing is downloaded."""
    name = re.sub(r"[^A-Za-z0-9]+", "", task.name.title()) or "Task"
    made = type(name, (AbsTaskRetrieval,), {"metadata": _metadata(name)})()
    made.load_data = lambda *_, **__: None
    made.data_loaded = True
    made.dataset = {
        "default": {
            "test": {
                "corpus": Dataset.from_list(
                    [{"id": f"c{row}", "title": "", "text": text} for row, text in enumerate(task.candidates)]
                ),
                "queries": Dataset.from_list([{"id": f"q{row}", "text": text} for row, text in enumerate(task.queries)]),
                "relevant_docs": {f"q{row}": {f"c{answer}": 1} for row, answer in enumerate(task.relevant)},
                "top_ranked": None,
            }
        }
    }
    return made


def scores(model: MtebEncoder | MtebSearch, task: AbsTaskRetrieval) -> Mapping[str, float]:
    """The scores that MTEB computes for `model` on the first split of `task`, such as "ndcg_at_10" and "mrr_at_10"."""
    results = mteb.evaluate(cast(Any, model), task, cache=None, show_progress_bar=False)
    return next(iter(results.task_results[0].scores.values()))[0]


def _meta(encoder: Embedder, name: str) -> ModelMeta:
    return ModelMeta.create_empty(
        {
            "name": name,
            "revision": encoder.fingerprint,
            "embed_dim": encoder.width,
            "max_tokens": encoder.max_tokens,
            "similarity_fn_name": ScoringFunction.COSINE,
            "open_weights": True,
            "license": "apache-2.0",
            "framework": ["ONNX"],
        }
    )


def _metadata(name: str) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        description="A task from local data.",
        reference=None,
        type="Retrieval",
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn", "python-Code"],
        main_score="ndcg_at_10",
        dataset={"path": "local", "revision": "1"},
        modalities=["text"],
    )
