"""Mine hard negatives with a model: for each text, wrong codes that the model ranks high.

In: a model and the pairs of Tokens. Out: for each pair, the row numbers of `keep` other pairs in its language. The pairs of
a language are assigned to pools. Within a pool every text is compared with every code. The search is exact, keeps one block
of scores in memory at a time, and uses a GPU if there is one. Among the codes at the requested ranks, those that may be
correct are removed: codes about as similar as the pair's own, codes that share its text, body or group, and codes whose own
text a teacher finds alike.
Shapes: P pairs of a pool, D width, T texts of a block, R ranks.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from codesage.artifacts import Artifact, check_target, open_artifact, publish
from codesage.contrast import columns
from codesage.contrast.filtering import SIDES, EmbedsIds, of_texts, pools_of, vectors_of
from codesage.contrast.teacher import Teacher
from codesage.corpus.tokens.tokenised import PairTokens, Tokens
from codesage.errors import CodesageError
from codesage.training import order

FILE = "mined.npy"
NONE = -1  # fills the row of a pair with fewer than `keep` negatives
_BLOCK = 1024  # texts whose scores are in memory at a time
_DRAW = 21  # purpose of a random key


@dataclass(frozen=True, slots=True)
class Settings:
    """Which codes count as hard negatives. The first ranks are left out because too many of them are correct."""

    first: int = 10  # first rank, counted from 1, included
    last: int = 100  # last rank, included
    keep: int = 8  # negatives per text, drawn at random by the seed
    most_similar: float = 0.95  # maximum similarity of a negative, as a share of the similarity of the pair's own code
    alike: float = 0.8  # maximum similarity of the texts of a pair and of its negative, as the teacher sees them
    pool: int = 50_000  # pairs of one language that are compared with each other
    side: str = "body"  # the code side: the bare body, or "code", the whole definition
    text_tokens: int = 128  # texts are cut at this many tokens, end token included
    code_tokens: int = 256  # the same for code
    seed: int = 0  # of the pools and of the draw

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last or self.keep < 1 or self.pool < 2:
            raise CodesageError(
                f"ranks {self.first} to {self.last}, {self.keep} kept, pools of {self.pool}: expected ranks "
                "of at least 1 in rising order, at least 1 kept, pools of at least 2"
            )
        if not 0 < self.most_similar <= 1:
            raise CodesageError(f"most_similar is {self.most_similar}: expected a share over 0 and at most 1")
        if not -1 <= self.alike <= 1:
            raise CodesageError(f"alike is {self.alike}: expected a cosine, from -1 to 1")
        if self.side not in SIDES:
            raise CodesageError(f"side is {self.side!r}, expected one of {', '.join(SIDES)}")
        if min(self.text_tokens, self.code_tokens) < 2:
            raise CodesageError(f"text_tokens {self.text_tokens}, code_tokens {self.code_tokens}: expected at least 2 each")


def mined(
    embedder: EmbedsIds,
    tokens: Tokens,
    settings: Settings | None = None,
    *,
    teacher: Teacher | None = None,
    progress: Callable[[int, int], None] = lambda done, negatives: None,
) -> np.ndarray:
    """For each pair, the row numbers of pairs whose codes are hard negatives of its text: int32 (pairs, keep), padded by NONE.

    Members of groups have none. With a teacher, codes whose text is too much like the pair's text are no negatives.
    `progress` is called with the number of pairs done and of negatives found so far. The tokens must come from the model's
    tokenizer.
    """
    settings, pairs = settings or Settings(), tokens.pairs
    rows = of_texts(tokens)
    if len(rows) < 2:
        raise CodesageError(f"{tokens.path} holds no pairs of texts and codes to mine: build a larger corpus")
    negatives, done = np.full((len(pairs), settings.keep), NONE, np.int32), 0
    for pool in pools_of(rows, pairs.language[rows], size=settings.pool, seed=settings.seed):
        texts_PD, codes_PD = vectors_of(
            embedder, tokens, pool, side=settings.side, text_tokens=settings.text_tokens, code_tokens=settings.code_tokens
        )
        negatives[pool] = _negatives(texts_PD, codes_PD, pairs, pool, settings, teacher)
        done += len(pool)
        progress(done, int((negatives >= 0).sum()))
    return negatives


def _negatives(
    texts_PD: np.ndarray,
    codes_PD: np.ndarray,
    pairs: PairTokens,
    pool: np.ndarray,
    settings: Settings,
    teacher: Teacher | None,
) -> np.ndarray:
    """Row numbers of the negatives of each pair, int32 (P, keep)."""
    negatives = np.full((len(pool), settings.keep), NONE, np.int32)
    own_P = np.einsum("pd,pd->p", texts_PD, codes_PD)
    for start in range(0, len(pool), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(pool)))
        column_TR, score_TR = _ranked(texts_PD[block], codes_PD, settings.last)
        column_TR, score_TR = column_TR[:, settings.first - 1 :], score_TR[:, settings.first - 1 :]
        wrong_TR = score_TR <= own_P[block, None] - (1 - settings.most_similar) * np.abs(own_P[block, None])
        for keys in (pairs.text_key[pool], pairs.body_key[pool], pairs.group_key[pool]):
            wrong_TR &= (keys[column_TR] != keys[block, None]) | (keys[block, None] == 0)
        wrong_TR &= column_TR != block[:, None]
        for row, place in enumerate(block):
            chosen = pool[column_TR[row, wrong_TR[row]]]
            if teacher is not None:
                own_W = teacher.texts_PW[pool[place]].astype(np.float32)
                chosen = chosen[teacher.texts_PW[chosen].astype(np.float32) @ own_W <= settings.alike]
            draw = order.draws(order.key(settings.seed, _DRAW, int(pool[place])), chosen)
            chosen = chosen[np.argsort(draw, kind="stable")[: settings.keep]]
            negatives[place, : len(chosen)] = chosen
    return negatives


def _ranked(texts_TD: np.ndarray, codes_PD: np.ndarray, last: int) -> tuple[np.ndarray, np.ndarray]:
    """(columns, scores) of the `last` codes most similar to each text, most similar first, ties in their order."""
    import torch

    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    texts, codes = (torch.from_numpy(np.ascontiguousarray(side)).to(device) for side in (texts_TD, codes_PD))
    scores, columns = (texts @ codes.T).topk(min(last, len(codes_PD)), dim=1)
    return columns.cpu().numpy(), scores.cpu().numpy()


def write(
    embedder: EmbedsIds,
    tokens: Tokens,
    out: Path | str,
    settings: Settings | None = None,
    *,
    teacher: Teacher | None = None,
    progress: Callable[[int, int], None] = lambda done, negatives: None,
) -> Artifact:
    """Run `mined` and publish the negatives at `out` (an artifact of kind "mined")."""
    settings, out = settings or Settings(), check_target(out, "mined")
    negatives = mined(embedder, tokens, settings, teacher=teacher, progress=progress)
    facts = {
        "pairs": len(negatives),
        "with_negatives": int((negatives[:, 0] >= 0).sum()),
        "negatives": int((negatives >= 0).sum()),
        "tokens": tokens.fingerprint,
        "model": embedder.fingerprint,
        "teacher": None if teacher is None else teacher.facts,
    }
    with publish(out, "mined", settings=asdict(settings), facts=facts) as folder:
        np.save(folder / FILE, negatives, allow_pickle=False)
    return open_artifact(out, "mined")


def read(path: Path | str, tokens: Tokens) -> np.ndarray:
    """The negatives of an artifact of kind "mined". Raises the errors of `columns.read`."""
    return columns.read(path, tokens, kind="mined", command="codesage mine", file=FILE, dtype=np.int32, ndim=2)[1]
