"""Corpus, pairs, tokenizer, Stage II, evaluation and the smoke run: the stations behind the model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from codesage import CodesageError
from codesage.artifacts import open_artifact, publish
from codesage.contrast import stage as contrast
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder
from codesage.evaluate import metrics, stage, tasks
from codesage.records import Pair
from codesage.search.ranking import reciprocal_rank_fusion
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import load, train
from codesage.training import loop

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


def test_stage_two_overfits_one_batch(tmp_path):
    pairs = [
        Pair(f"{word} the {noun}", "", f"{noun}.{word}()\n{word} += {i}", "", "python", "f", "function", "a.py", 1)
        for i, (word, noun) in enumerate((w, n) for w in ("open", "close", "read", "write") for n in ("file", "door"))
    ]
    tokenizer = train([p.text + p.bare_body for p in pairs], tmp_path / "t", settings=TokenizerSettings(vocab_size=300))
    torch.manual_seed(0)
    encoder = Encoder(Config(32, 2, 4, vocab_size=tokenizer.vocab_size, max_position_embeddings=64).without_dropout())
    settings = contrast.Settings(loop.Settings(60, 5, 5e-3), batch_pairs=8, text_tokens=32, code_tokens=64,
                                 shallow=loop.Settings(20, 2, 1e-2))  # fmt: skip
    facts = contrast.run(settings, pairs, encoder, tokenizer=tokenizer, out=tmp_path / "m").facts
    assert facts["contrast"]["loss"] < 0.3 and facts["stages"] == ["contrast"]
    task = tasks.RetrievalTask("t", [p.text for p in pairs], [p.bare_body for p in pairs], list(range(8)))
    import codesage

    assert stage.measure(stage.encoder_scores(codesage.load(tmp_path / "m"), task), task)["mrr"] > 90
    with pytest.raises(CodesageError, match="pairs"):
        contrast.run(settings, pairs[:1], encoder, tokenizer=tokenizer, out=tmp_path / "n")


def test_metrics_golden_and_against_loops():
    scores = np.array([[0.9, 0.5, 0.1], [0.2, 0.2, 0.2], [0.3, 0.1, 0.7]])
    assert metrics.ranks(scores, [0, 1, 1]).tolist() == [1, 3, 3]  # ties count against the query
    assert metrics.mean_reciprocal_rank(np.array([1, 4, 2000])) == pytest.approx((1 + 0.25) / 3)
    assert metrics.mean_reciprocal_rank(np.array([])) == 0
    assert metrics.macro_f1([0, 1, 1, 0], [0, 1, 0, 0]) == pytest.approx((0.8 + 2 / 3) / 2)
    similar = np.array([[1, 0.9, 0.8, 0.1], [0.9, 1, 0.2, 0.3], [0.8, 0.2, 1, 0.4], [0.1, 0.3, 0.4, 1]])
    # labels a a b a: item 0 ranks 1, 2, 3: hits at 1 and 3; item 1: 0, 3, 2; item 3: 2, 1, 0; item 2 has none
    want = np.mean([(1 + 2 / 3) / 2, 1.0, (1 / 2 + 2 / 3) / 2])
    assert metrics.mean_average_precision(similar, ["a", "a", "b", "a"]) == pytest.approx(want)
    with pytest.raises(CodesageError, match="finite"):
        metrics.ranks(np.array([[np.nan]]), [0])


def test_fusion_equals_that_of_search():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 3, 20))
    fused = stage.fused_scores(a, b)
    for row in range(3):
        want = dict(reciprocal_rank_fusion([np.argsort(-a[row]).tolist(), np.argsort(-b[row]).tolist()]))
        np.testing.assert_allclose(fused[row], [want[i] for i in range(20)])


def test_benchmark_loaders(tmp_path):
    (tmp_path / "codebase.jsonl").write_text('{"code_id": 7, "code": "x"}\n{"code_id": 9, "code": "read file"}\n')
    (tmp_path / "queries.jsonl").write_text('{"query_id": 0, "query": "read a file", "code_id": 9}\n')
    task = tasks.cosqa(tmp_path)
    assert task.relevant == [1] and stage.measure(stage.bm25_scores(task), task)["mrr"] == 100
    for language, name in (("python", "min_cost"), ("java", "minCost")):
        row = {"task": 1, "entry_point": name, "code": f"{name}(a) + minCost(b)"}
        (tmp_path / f"{language}.jsonl").write_text(json.dumps(row) + "\n")
    masked = tasks.mbxp(tmp_path, "python", "java")
    assert masked.queries == ["f(a) + f(b)"] == masked.candidates
    with pytest.raises(CodesageError, match="expected"):
        tasks.cosqa(tmp_path / "nowhere")


def test_smoke_run_walks_the_whole_path(tmp_path):
    environment = {**os.environ, "OUT": str(tmp_path / "smoke"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", str(ROOT / "runs" / "smoke.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| both + BM25 |" in done.stdout and (tmp_path / "smoke" / "model" / "model.int8.onnx").exists()
