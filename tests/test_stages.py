"""The parts behind the model: corpus, pairs, tokenizer, Stage II, evaluation and the smoke run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from codesage import CodesageError
from codesage.artifacts import open_artifact, publish
from codesage.classify.folds import macro_f1
from codesage.evaluate import local, metrics, stage, tasks
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import load, train

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove", "manifest"])
def test_damaged_artifacts_are_refused_and_failures_leave_the_old(tmp_path, harm):
    target = tmp_path / "thing"
    with publish(target, "thing", settings={}) as folder:
        (folder / "data").write_bytes(b"0123456789")
    with pytest.raises(RuntimeError), publish(target, "thing", settings={}) as folder:
        (folder / "data").write_bytes(b"new")
        raise RuntimeError
    assert (open_artifact(target, "thing").path / "data").read_bytes() == b"0123456789"
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]
    file = target / "data"
    if harm == "truncate":
        file.write_bytes(b"01234")
    elif harm == "flip":
        file.write_bytes(b"0123456780")
    elif harm == "remove":
        file.unlink()
    else:
        (target / "manifest.json").write_text("{")
    with pytest.raises(CodesageError, match=str(target)):
        open_artifact(target, "thing")
    with pytest.raises(CodesageError, match="expected a model|again"):
        open_artifact(target, "model")


def test_messages_about_a_wrong_folder_name_its_kind_as_a_folder(tmp_path):
    """Kinds such as tokens and labels take no article, so the messages speak of their folders."""
    with pytest.raises(CodesageError, match=r"gone: no such folder: expected a tokens folder written by codesage$"):
        open_artifact(tmp_path / "gone", "tokens")
    with pytest.raises(CodesageError, match="holds no manifest.json: expected a tokens folder written by codesage$"):
        open_artifact(tmp_path, "tokens")
    with publish(tmp_path / "thing", "labels", settings={}):
        pass
    with pytest.raises(CodesageError, match="thing is a labels folder, expected a tokens folder$"):
        open_artifact(tmp_path / "thing", "tokens")


def test_an_artifact_of_another_kind_is_never_replaced(tmp_path):
    with publish(tmp_path / "made", "tokens", settings={}) as folder:
        (folder / "data").write_text("hours of work")
    message = "made is a tokens folder, which a model folder would replace: choose another --out"
    with pytest.raises(CodesageError, match=message), publish(tmp_path / "made", "model", settings={}):
        pass
    with pytest.raises(CodesageError, match="made is a tokens folder"):
        train(["def f(x): return x"] * 3, tmp_path / "made")
    assert (tmp_path / "made" / "data").read_text() == "hours of work"
    (tmp_path / "made" / "manifest.json").write_text("{")  # what cannot be read again may be made again
    with publish(tmp_path / "made", "tokens", settings={}):
        pass


def test_a_foreign_folder_is_never_replaced(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(CodesageError, match="holds no manifest"), publish(tmp_path, "thing", settings={}):
        pass
    assert (tmp_path / "mine").read_text() == "precious"


def test_tokenizer_ids_truncation_and_special_text(tmp_path):
    tokenizer = train(["def f(x): return x"] * 3, tmp_path / "t", settings=TokenizerSettings(vocab_size=280))
    assert tokenizer.end_id == 0 and (tokenizer.mask_id, tokenizer.pad_id) == (
        tokenizer.vocab_size - 2,
        tokenizer.vocab_size - 1,
    )
    (ids,) = tokenizer.encode(["def f(x): <mask> 🎉"], max_tokens=100)
    assert ids[-1] == 0 and tokenizer.mask_id not in ids
    assert tokenizer.decode(ids) == "def f(x): <mask> 🎉<|endoftext|>"
    assert tokenizer.encode(["x " * 10_000, ""], max_tokens=4) == [
        [*tokenizer.encode(["x x x x"], max_tokens=9)[0][:3], 0],
        [0],
    ]
    assert load(tmp_path / "t").encode(["abc"], max_tokens=9) == tokenizer.encode(["abc"], max_tokens=9)
    (tmp_path / "t" / "tokenizer.json").write_text("{}")
    with pytest.raises(CodesageError):
        load(tmp_path / "t")


def test_metrics_golden_and_against_loops():
    scores = np.array([[0.9, 0.5, 0.1], [0.2, 0.2, 0.2], [0.3, 0.1, 0.7]])
    assert metrics.ranks(scores, [0, 1, 1]).tolist() == [1, 3, 3]  # ties count against the query
    assert metrics.mean_reciprocal_rank(np.array([1, 4, 2000])) == pytest.approx((1 + 0.25) / 3)
    assert metrics.mean_reciprocal_rank(np.array([])) == 0
    assert macro_f1([0, 1, 1, 0], [0, 1, 0, 0]) == pytest.approx((0.8 + 2 / 3) / 2)
    similar = np.array([[1, 0.9, 0.8, 0.1], [0.9, 1, 0.2, 0.3], [0.8, 0.2, 1, 0.4], [0.1, 0.3, 0.4, 1]])
    # labels a a b a: item 0 ranks 1, 2, 3: hits at 1 and 3; item 1: 0, 3, 2; item 3: 2, 1, 0; item 2 has none
    labels = np.array(["a", "a", "b", "a"])
    precisions = metrics.average_precisions(similar, labels[:, None] == labels, np.eye(4, dtype=bool))
    assert precisions == pytest.approx([(1 + 2 / 3) / 2, 1.0, np.nan, (1 / 2 + 2 / 3) / 2], nan_ok=True)
    at_r = metrics.average_precisions(similar, labels[:, None] == labels, np.eye(4, dtype=bool), at_r=True)
    assert at_r == pytest.approx([1 / 2, 1.0, np.nan, (1 / 2) / 2], nan_ok=True)  # with two answers, two ranks count
    flat = metrics.average_precisions(np.zeros((1, 4)), np.array([[1, 0, 0, 0]], bool), np.zeros((1, 4), bool))
    assert flat == pytest.approx([1 / 4])  # ties count against the answer
    with pytest.raises(CodesageError, match="finite"):
        metrics.ranks(np.array([[np.nan]]), [0])


def test_fused_scores_are_sums_of_standardised_ones():
    task = tasks.RetrievalTask("t", ["read file", "nothing"], ["read a file", "write file", "x", "read"], [0, 3])
    random = np.random.default_rng(0)

    class Encoder:
        def encode(self, texts, *, kind="code"):
            return random.normal(size=(len(texts), 8)).astype(np.float32)

    _, scores = next(stage.score_blocks({"m": Encoder()}, task, dense_weight=2.0))
    words, cosines = np.log1p(scores["BM25"][0]), scores["m"][0]
    want = (words - words.mean()) / words.std() + 2 * (cosines - cosines.mean()) / cosines.std()
    np.testing.assert_allclose(scores["m + BM25"][0], want, rtol=1e-4)
    assert not scores["BM25"][1].any()  # no candidate holds the words: the vectors decide alone
    assert (np.argsort(-scores["m + BM25"][1]) == np.argsort(-scores["m"][1])).all()


def test_a_query_without_words_scores_0():
    candidates = ["read a file", "write", "???"]
    given = ["", "???", "\n", "🙂", "unknown", "write"]
    scores = stage.BM25(candidates).scores(given)
    assert scores.shape == (6, 3) and not scores[:5].any() and scores[5].argmax() == 1
    ranks = stage.ranked({}, tasks.RetrievalTask("t", given, candidates, [0] * 5 + [1]))["BM25"]
    assert ranks.tolist() == [3] * 5 + [1]  # ties count against the answer


def test_standardised_scores_do_not_depend_on_the_scale():
    scores = np.random.default_rng(0).normal(size=(3, 20)).astype(np.float32)
    np.testing.assert_allclose(stage.standardised(5 + 3 * scores), stage.standardised(scores), atol=1e-5)
    assert not stage.standardised(np.full((2, 5), 0.1, np.float32)).any()


def test_benchmark_loaders(tmp_path):
    (tmp_path / "codebase.jsonl").write_text('{"code_id": 7, "code": "x"}\n{"code_id": 9, "code": "read file"}\n')
    (tmp_path / "queries.jsonl").write_text('{"query_id": 0, "query": "read a file", "code_id": 9}\n')
    task = local.cosqa(tmp_path)
    assert task.relevant == [1] and stage.ranked({}, task)["BM25"].tolist() == [1]
    (tmp_path / "mbxp").mkdir()
    for language, name in (("python", "min_cost"), ("java", "minCost"), ("php", "minCost")):
        row = {"task": 1, "entry_point": name, "code": f"{name}(a) + minCost(b)"}
        (tmp_path / "mbxp" / f"{language}.jsonl").write_text(json.dumps(row) + "\n")
    across = local.mbxp_across(tmp_path / "mbxp")
    assert len(across) == 6 and len({task.name for task in across}) == 6
    assert all(task.queries == ["f(a) + f(b)"] == task.candidates for task in across)
    with pytest.raises(CodesageError, match="expected"):
        local.cosqa(tmp_path / "nowhere")
    with pytest.raises(CodesageError, match="two or more"):
        local.mbxp_across(tmp_path / "nowhere")


class Counting:
    """An encoder with one-hot vectors by length of the text; it counts its inputs."""

    def __init__(self):
        self.encoded = 0

    def encode(self, texts, *, kind):
        self.encoded += len(texts)
        return np.eye(8, dtype=np.float32)[[len(text) % 8 for text in texts]]


def test_systems_are_compared_over_tasks_and_encoded_once():
    one = tasks.RetrievalTask("a", ["read file", "open door!"], ["def read_file", "def open_door"], [0, 1])
    other = tasks.RetrievalTask("b", ["read file", "open door!"], ["def open_door", "def read_file"], [1, 0])
    model = Counting()
    scores, reciprocal = stage.compare({"m": stage.CachedEncoder(model)}, [one, other, one], dense_weight=0.0)
    assert model.encoded == 2 + 2 and list(scores) == ["BM25", "m", "m + BM25"]
    assert scores["BM25"]["mrr"] == scores["m + BM25"]["mrr"] == 100 and scores["m"]["mrr"] < 100
    assert scores["m"] == stage.compare({"m": model}, [one], dense_weight=1.0)[0]["m"]
    assert [part.tolist() for part in reciprocal["BM25"]] == [[1, 1]] * 3


def test_smoke_run_covers_the_whole_path(tmp_path):
    environment = {**os.environ, "OUT": str(tmp_path / "smoke"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", str(ROOT / "runs" / "smoke.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| both + BM25 |" in done.stdout and (tmp_path / "smoke" / "model" / "model.int8.onnx").exists()
