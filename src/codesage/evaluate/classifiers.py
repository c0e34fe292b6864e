"""Classifiers that are trained as in the paper, on every system: our encoders, other encoders, and the words of BM25.

In: encoders and a task. Out: by system, the predictions of the test part. An encoder of the paper's form gives its pooled
vectors as they are, and learns if it is fine-tuned. Other encoders, cut vectors and words give unit vectors. Their numbers are
scaled to a mean square of 1, since a linear layer learns little from small numbers in ten epochs. An encoder that was converted
from BERT counts among the others: its vectors have another scale. Shapes: N texts, D width.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import numpy as np
import torch

from codesage.classify import training
from codesage.classify.folds import Validated
from codesage.encoder.runtime import Embedder
from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.evaluate import models
from codesage.evaluate.features import BASELINE, checked, word_weights
from codesage.evaluate.tasks import ClassificationTask


def measured(
    systems: Mapping[str, models.EncodesTexts],
    paths: Mapping[str, str],
    task: ClassificationTask,
    *,
    tuned: bool,
    device: str,
    say: Callable[[str], None],
) -> dict[str, Validated]:
    """Predictions by system. `paths`: of the systems that are whole models. `tuned`: train their weights too.

    The words of BM25 have no weights: they are measured with a linear layer in any case. `say` gets a line about each model
    that cannot be fine-tuned. CodesageError when that leaves no model.
    """
    protocol = _in_epochs(training.FINE_TUNED if tuned else training.FROZEN, task)
    told = {BASELINE: _on_vectors(word_weights(task.texts), task, _in_epochs(training.FROZEN, task))}
    for name, system in systems.items():
        encoder = models.with_weights(paths[name], device) if name in paths and models.has_weights(paths[name]) else None
        if encoder is not None and (tuned or encoder.config.norm_first):
            ids = cast("Embedder", system).token_ids(task.texts)
            with _naming(name):
                told[name] = training.trained(encoder, ids, task.labels, task.parts, task.codes, protocol)
        elif not tuned:
            told[name] = _on_vectors(checked(system.encode(task.texts, kind="code"), name), task, protocol)
        else:
            say(f"{name}: left out of {task.name}: only a CodeSage encoder can be fine-tuned")
    if len(told) == 1:
        raise CodesageError(
            f"{task.name}: no model can be fine-tuned: give a CodeSage encoder, or --classifier frozen or exact"
        )
    return told


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the name of the model in front of each CodesageError of the block."""
    try:
        yield
    except CodesageError as error:
        raise CodesageError(f"{name}: {error}") from None


def _in_epochs(protocol: training.Protocol, task: ClassificationTask) -> training.Protocol:
    return replace(protocol, epochs=task.epochs or protocol.epochs)


def _on_vectors(vectors_ND: np.ndarray, task: ClassificationTask, protocol: training.Protocol) -> Validated:
    scaled_ND = unit_length(vectors_ND) * np.sqrt(vectors_ND.shape[1])
    vectors = torch.from_numpy(scaled_ND.astype(np.float32))
    return training.trained_on(vectors, task.labels, task.parts, task.codes, protocol)
