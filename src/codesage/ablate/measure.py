"""Measure a trained encoder of the grid on held-out functions and, if a folder is given, on data sets.

In: an encoder, its tokenizer, tokens. Out: {"held-out": 12.3, ...}, all times 100. Search is measured by MRR or MAP by plain
cosine, as published, classification by macro F1 of a linear head on frozen vectors, clones by F1. Sizes go into the record.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from codesage.ablate.grid import built
from codesage.classify import folds
from codesage.contrast import filtering
from codesage.corpus.tokens.tokenised import Tokens
from codesage.encoder import runtime
from codesage.encoder.model import Encoder
from codesage.errors import CodesageError
from codesage.evaluate import sets, stage
from codesage.evaluate.metrics import average_precisions, ranks
from codesage.evaluate.tasks import ClassificationTask, CloneTask, GroupTask, RepositoryTask, RetrievalTask
from codesage.tokenizer import Tokenizer
from codesage.training import retrieval

Measured = RetrievalTask | GroupTask | CloneTask | ClassificationTask  # search in repositories needs an index
TITLES = {"held-out": "held-out functions, whole", "held-out bodies": "held-out functions, bodies"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured. Samples are the same for all rows and seeds."""

    held_out: int = 500  # held-out functions; texts find whole definitions, and bodies
    text_tokens: int = 64  # of held-out functions
    code_tokens: int = 256  # of all code
    sets: tuple[str, ...] = ("cosqa", "mbxp", "codenet", "codecomplex")  # data sets, where the folder has them
    most_tasks: int = 0  # so many of the tasks of a data set, such as pairs of languages, spread over it; 0: all
    most_queries: int = 0  # a sample of the queries of each task; 0: all
    most_candidates: int = 0  # and of its candidates, with all answers; 0: all

    def __post_init__(self) -> None:
        known = [name for name, one in sets.SETS.items() if not one.slow]
        if unknown := set(self.sets) - set(known):
            raise CodesageError(f"unknown data set {min(unknown)!r}: expected {', '.join(known)}")
        if self.held_out < 2 or min(self.text_tokens, self.code_tokens) < 2:
            raise CodesageError(
                f"held_out {self.held_out}, text_tokens {self.text_tokens}, code_tokens {self.code_tokens}: "
                "expected at least 2 each"
            )


def settings_of(table: dict) -> Settings:
    """Settings from the table `evaluation` of a grid. CodesageError when it cannot work."""
    return built(Settings, table, "evaluation")


def check(settings: Settings, positions: int) -> None:
    """CodesageError when an encoder with so many positions cannot be measured."""
    longest = max(settings.text_tokens, settings.code_tokens)
    if longest > positions:
        raise CodesageError(
            f"evaluation reads {longest} tokens, but the encoder has {positions} positions: lower text_tokens and code_tokens "
            "of [evaluation], or raise max_position_embeddings"
        )


def tasks_of(settings: Settings, benchmarks: Path | None) -> dict[str, Sequence[Measured]]:
    """The tasks of the wanted data sets that the folder holds, sampled; by title."""
    if benchmarks is None:
        return {}
    there = [name for name in settings.sets if (benchmarks / name).is_dir()]
    if not there:
        raise CodesageError(f"{benchmarks} holds none of {', '.join(settings.sets)}: give a folder with a folder for each set")
    sets_read = sets.read(None, benchmarks, there, say=lambda line: None)
    return {
        title: [
            sampled(task, settings)
            for task in group[:: -(-len(group) // (settings.most_tasks or len(group)))]
            if not isinstance(task, RepositoryTask)
        ]
        for title, group in sets_read.items()
    }


def sampled(task: Measured, settings: Settings) -> Measured:
    """A task for search with fewer queries and candidates; answers are always candidates. Other tasks stay whole.

    Items are chosen by a hash of the text, so that tasks that share texts keep the same ones.
    """
    if not isinstance(task, RetrievalTask) or not (settings.most_queries or settings.most_candidates):
        return task
    order = np.argsort([zlib.crc32(text.encode()) for text in task.queries], kind="stable")
    kept = np.sort(order[: settings.most_queries or None])
    answers = list(dict.fromkeys(task.relevant[query] for query in kept))
    rest = sorted(set(range(len(task.candidates))) - set(answers), key=lambda row: zlib.crc32(task.candidates[row].encode()))
    most = settings.most_candidates or len(task.candidates)
    rows = sorted(answers + rest[: max(0, most - len(answers))])
    row_of = {row: number for number, row in enumerate(rows)}
    return replace(
        task,
        queries=[task.queries[query] for query in kept],
        candidates=[task.candidates[row] for row in rows],
        relevant=[row_of[task.relevant[query]] for query in kept],
    )


def scores(
    encoder: Encoder, tokens: Tokens, tokenizer: Tokenizer, settings: Settings, tasks: dict[str, Sequence[Measured]]
) -> dict[str, float]:
    """All figures of an encoder, times 100, by title. CodesageError when a score is not finite or nothing is held out."""
    embedder = embedder_of(encoder.eval(), tokenizer, settings.code_tokens)
    result = held_out(embedder, tokens, settings)
    cached = stage.CachedEncoder(embedder)
    for title, group in tasks.items():
        result[title] = round(100 * float(np.mean([_score(cached, task) for task in group])), 3)
    return result


def held_out(embedder: runtime.Embedder, tokens: Tokens, settings: Settings) -> dict[str, float]:
    """MRR x 100 of texts of held-out functions that search whole definitions, and that search bodies."""
    rows = held_out_rows(tokens, settings)
    held = replace(tokens, pairs=tokens.held_out)
    result = {}
    for title, side in (("held-out", "code"), ("held-out bodies", "body")):
        texts_PD, codes_PD = filtering.vectors_of(
            embedder, held, rows, side=side, text_tokens=settings.text_tokens, code_tokens=settings.code_tokens
        )
        result[title] = stage.measure(ranks(texts_PD @ codes_PD.T, range(len(rows))))["mrr"]
    return result


def held_out_rows(tokens: Tokens, settings: Settings) -> np.ndarray:
    """Row numbers of the held-out pairs that are measured. CodesageError when there are fewer than two."""
    rows = retrieval.distinct(tokens.held_out, most=settings.held_out)
    if len(rows) < 2:
        raise CodesageError(
            f"{tokens.path} holds out {len(rows)} pairs, expected two or more to measure: build a corpus with "
            "--held-out PACKAGE"
        )
    return rows


def embedder_of(encoder: Encoder, tokenizer: Tokenizer, max_tokens: int) -> runtime.Embedder:
    """An embedder like that of `codesage.load`, on the device of the encoder."""
    width, forward = encoder.config.vector_width, runtime.forward_of(encoder)
    at_once = runtime.batch_tokens(encoder.wte.weight.device.type)
    return runtime.Embedder(tokenizer, forward, width=width, max_tokens=max_tokens, fingerprint="grid", batch_tokens=at_once)


def _score(encoder: stage.CachedEncoder, task: Measured) -> float:
    """The figure of a task, in 0..1."""
    if isinstance(task, RetrievalTask):
        queries_QD, candidates_CD = stage.vectors(encoder, task, centred=False)
        return stage.measure(ranks(queries_QD @ candidates_CD.T, task.relevant))["mrr"] / 100
    if isinstance(task, GroupTask):
        queries_QD, candidates_CD = stage.vectors(encoder, task, centred=False)
        relevant_QC = np.asarray(task.query_labels)[:, None] == np.asarray(task.candidate_labels)
        own_QC = np.asarray(task.query_identities)[:, None] == np.asarray(task.candidate_identities)
        precisions = average_precisions(queries_QD @ candidates_CD.T, relevant_QC, own_QC, at_r=task.at_r)
        return float(np.nanmean(precisions))
    if isinstance(task, CloneTask):
        return stage.called_clones({"model": encoder}, task)["model"][0]["F1"] / 100
    vectors_ND = encoder.encode(list(task.texts), kind="code")
    if task.parts:
        told = folds.tested(vectors_ND, task.labels, task.parts, task.codes)
    else:
        told = folds.cross_validated(vectors_ND, task.labels, task.codes)
    return told.figures()["macro F1"] / 100
