"""The encoder compared with published counts and with transformers' GPT-2; loading and saving of weights."""

import inspect
import json

import pytest
import torch
from torch.nn import functional as F

from codesage import CodesageError
from codesage.encoder import model
from codesage.encoder.config import SIZES, Config, load_config
from codesage.encoder.model import Encoder, Layout, Requested, _plain_attention, _stacked_attention, _varlen_attention
from codesage.encoder.weights import load_encoder, save_weights

TINY = Config(32, 2, 4, vocab_size=97, max_position_embeddings=64).without_dropout()


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(TINY).eval()


def documents(lengths, vocabulary=97):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, vocabulary, (length,), generator=generator).tolist() for length in lengths]


@pytest.mark.parametrize(
    ("size", "count"), [("small", 128_010_240), ("base", 354_742_272), ("large", 1_313_464_320), ("nano", 7_878_144)]
)
def test_parameter_counts_are_the_published_ones(size, count):
    config = SIZES[size]
    with torch.device("meta"):
        assert sum(p.numel() for p in Encoder(config).parameters()) == count == config.parameters()


def test_our_sizes_have_the_promised_parameter_counts():
    assert SIZES["nano"].parameters() <= 10_000_000
    assert 33_000_000 <= SIZES["mini"].parameters() <= 37_000_000


def gpt2_state(encoder: Encoder) -> dict:
    conv = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    return {name: t.t().contiguous() if name.endswith(conv) else t for name, t in encoder.state_dict().items()}


def test_equals_gpt2_with_a_full_mask(encoder):
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=97,
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation="eager",
    )
    oracle = GPT2Model(config).eval()
    missing, unexpected = oracle.load_state_dict(gpt2_state(encoder), strict=False)
    assert not unexpected and all("bias" in name for name in missing)
    for document in documents([1, 7, 33]):
        ids = torch.tensor([document])
        full = torch.zeros(1, 1, len(document), len(document))  # additive: nothing is masked, no causality
        with torch.no_grad():
            want = oracle(input_ids=ids, attention_mask=full).last_hidden_state[0]
            got = encoder(ids[0], Layout.of([len(document)]))
        torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-4)


def test_documents_of_a_batch_do_not_see_each_other(encoder):
    batch = documents([5, 9, 5, 1, 30])
    with torch.no_grad():
        together = encoder.embed(batch)
        alone = torch.cat([encoder.embed([document]) for document in batch])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("depth", [None, 1, 0])
@pytest.mark.parametrize("rows", [[0, 1, 5, 6, 12, 22], [4], []])
def test_states_of_some_tokens_are_those_of_all(depth, rows):
    torch.manual_seed(0)
    encoder = Encoder(Config(32, 2, 4, vocab_size=100, max_position_embeddings=64).without_dropout()).double()
    layout, ids_T, rows_M = Layout.of([3, 3, 7, 9, 1]), torch.randint(0, 100, (23,)), torch.tensor(rows, dtype=torch.int64)
    results = []
    for states_MD in (encoder(ids_T, layout, depth=depth)[rows_M], encoder(ids_T, layout, depth=depth, rows_M=rows_M)):
        encoder.zero_grad()
        (states_MD.sin() * torch.arange(1, 33)).sum().backward()
        results.append([states_MD, *(p.grad.clone() for p in encoder.parameters() if p.grad is not None)])
    for whole, some in zip(*results, strict=True):
        torch.testing.assert_close(some, whole, rtol=1e-9, atol=1e-9)


def test_attention_is_bidirectional(encoder):
    (document,) = documents([8])
    changed = [*document[:-1], (document[-1] + 1) % 97]
    with torch.no_grad():
        a, b = (encoder(torch.tensor(ids), Layout.of([8])) for ids in (document, changed))
    assert (a[0] - b[0]).abs().max() > 1e-5  # the first token attends to the last


def test_varlen_attention_is_called_as_this_torch_wants_and_bidirectional():
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    called = inspect.signature(varlen.varlen_attn).bind(*"qkv", "borders", "borders", 7, 7)
    called.apply_defaults()
    assert list(called.arguments)[:7] == ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
    assert called.arguments.get("is_causal", False) is False
    assert tuple(called.arguments.get("window_size", (-1, -1))) == (-1, -1)
    schema = torch.ops.aten._flash_attention_forward.default._schema  # used in its place if there is dropout
    assert [argument.name for argument in schema.arguments if not argument.kwarg_only] == [
        "query",
        "key",
        "value",
        "cum_seq_q",
        "cum_seq_k",
        "max_q",
        "max_k",
        "dropout_p",
        "is_causal",
        "return_debug_mask",
    ]
    assert schema.returns[0].name == "output" and torch._C._dispatch_has_kernel_for_dispatch_key(schema.name, "Autograd")


@pytest.mark.parametrize("rows", [None, [0, 1, 5, 6, 12, 22]])
def test_varlen_attention_gets_the_borders_of_queries_and_keys(monkeypatch, rows):
    """The documented computation in a plain loop is equal to our attention on other devices."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")

    def plain(q_MHK, k_THK, v_THK, of_q, of_k, max_q, max_k):
        assert max_q >= of_q.diff().max() and max_k == of_k.diff().max() and of_q.dtype == of_k.dtype == torch.int32
        parts = []
        for q_from, q_to, k_from, k_to in zip(of_q, of_q[1:], of_k, of_k[1:], strict=False):
            scores_HQL = torch.einsum("qhk,lhk->hql", q_MHK[q_from:q_to], k_THK[k_from:k_to]) / q_MHK.shape[-1] ** 0.5
            parts.append(torch.einsum("hql,lhk->qhk", scores_HQL.softmax(-1), v_THK[k_from:k_to]))
        return torch.cat(parts)

    monkeypatch.setattr(varlen, "varlen_attn", plain)
    layout = Layout.of([3, 3, 7, 9, 1])
    q_THK, k_THK, v_THK = torch.randn(3, 23, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = _stacked_attention(q_THK, k_THK, v_THK, [(n, length, length) for n, length in layout.runs], 0.0)
    rows_M = torch.arange(23) if rows is None else torch.tensor(rows)
    borders = layout.borders if rows is None else Requested.of(rows_M, layout).borders
    torch.testing.assert_close(_varlen_attention(q_THK[rows_M], k_THK, v_THK, borders, layout), whole[rows_M])


def test_plain_attention_has_the_values_and_gradients_of_attention():
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 3, n, 8, generator=generator, dtype=torch.float64, requires_grad=True) for n in (5, 7, 7)]
    weight = torch.randn(2, 3, 5, 8, generator=generator, dtype=torch.float64)
    results = []
    for attend in (_plain_attention, F.scaled_dot_product_attention):
        output = attend(*inputs)
        results.append([output, *torch.autograd.grad((output * weight).sum(), inputs)])
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "dropout", "plain"), [("bfloat16", 0.0, [3, 7]), ("bfloat16", 0.1, []), ("float32", 0.0, [])]
)
def test_bf16_on_a_cpu_multiplies_plainly_up_to_a_length(monkeypatch, dtype, dropout, plain):
    seen = []
    monkeypatch.setattr(model, "_PLAIN_LENGTH", 7)
    monkeypatch.setattr(model, "_plain_attention", lambda q, k, v: seen.append(k.shape[2]) or _plain_attention(q, k, v))
    q_THK, k_THK, v_THK = torch.randn(3, 21, 4, 8, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    y_THK = _stacked_attention(q_THK, k_THK, v_THK, [(2, 3, 3), (1, 7, 7), (1, 8, 8)], dropout)
    assert seen == plain and y_THK.dtype == q_THK.dtype and y_THK.shape == q_THK.shape
    if not dropout:  # bf16 rounds to 8 bits: the scores, the weights, their sum
        exact = _stacked_attention(q_THK.double(), k_THK.double(), v_THK.double(), [(2, 3, 3), (1, 7, 7), (1, 8, 8)], 0.0)
        assert (y_THK - exact).norm() < 3 * torch.finfo(y_THK.dtype).eps * exact.norm()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="flash attention is for CUDA")
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_autocast_takes_one_flash_attention_a_layer(encoder, dropout):
    lengths, encoder = [3, 30, 11], encoder.cuda().train()
    ids, layout = torch.randint(0, 97, (44,), device="cuda"), Layout.of(lengths, "cuda")
    expected = encoder(ids, layout)
    for block in encoder.h:
        block.attn.dropout = dropout
    with torch.profiler.profile(acc_events=True) as profile, torch.autocast("cuda", torch.bfloat16):
        states = encoder(ids, layout)
    flash = [event for event in profile.key_averages() if event.key == "aten::_flash_attention_forward"]
    assert sum(event.count for event in flash) == len(encoder.h)
    if dropout == 0.0:
        torch.testing.assert_close(states, expected, rtol=0.05, atol=0.05)
    else:
        with torch.autocast("cuda", torch.bfloat16), torch.no_grad():
            mean = torch.stack([encoder(ids, layout) for _ in range(400)]).mean(0)
        assert not torch.equal(states, expected) and (mean - expected).abs().mean() < 0.05
    states.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_gradients_reach_every_parameter(encoder):
    encoder.train()
    layout = Layout.of([4, 6, 4])
    hidden = encoder(torch.arange(14), layout)
    (F.linear(hidden, encoder.wte.weight).logsumexp(-1).sum() + encoder.pool(hidden, layout).pow(2).sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_too_long_a_text_is_refused(encoder):
    with pytest.raises(CodesageError, match="65 tokens"):
        encoder.embed(documents([65]))


@pytest.mark.parametrize("lengths", [[], [3, 0]])
def test_empty_documents_are_refused(lengths):
    with pytest.raises(ValueError, match="empty"):
        Layout.of(lengths)


def test_save_and_load_give_the_same_vectors(encoder, tmp_path):
    save_weights(encoder, tmp_path)
    loaded = load_encoder(tmp_path)
    assert loaded.config == encoder.config
    batch = documents([3, 12])
    with torch.no_grad():
        assert torch.equal(loaded.embed(batch), encoder.embed(batch))


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_published_pickle_loads_with_and_without_prefix(encoder, tmp_path, prefix):
    encoder.config.save(tmp_path)
    state = {prefix + name: tensor.to(torch.bfloat16) for name, tensor in gpt2_state(encoder).items()}
    torch.save({**state, "lm_head.weight": state[prefix + "wte.weight"]}, tmp_path / "pytorch_model.bin")
    loaded = load_encoder(tmp_path)
    assert loaded.wte.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.h[1].mlp.c_fc.weight, encoder.h[1].mlp.c_fc.weight, atol=1e-3, rtol=1e-2)


class Payload:
    def __reduce__(self):
        return print, ("code from a pickle ran",)


def test_pickled_code_is_never_run(encoder, tmp_path, capsys):
    encoder.config.save(tmp_path)
    torch.save({"wte.weight": Payload()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CodesageError, match="weights-only"):
        load_encoder(tmp_path)
    assert "ran" not in capsys.readouterr().out


def broken(folder, kind):
    if kind == "missing folder":
        return folder / "nowhere"
    if kind == "no config":
        (folder / "config.json").unlink()
    elif kind == "config is not JSON":
        (folder / "config.json").write_text("{")
    elif kind == "foreign config":
        (folder / "config.json").write_text(json.dumps({"hidden_size": 32, "model_type": "bert"}))
    elif kind == "other shape":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 98}))
    elif kind == "negative":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": -1}))
    elif kind == "truncated weights":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    elif kind == "no weights":
        (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize(
    "kind",
    [
        "missing folder",
        "no config",
        "config is not JSON",
        "foreign config",
        "other shape",
        "negative",
        "truncated weights",
        "no weights",
    ],
)
def test_a_bad_folder_is_one_clear_line(encoder, tmp_path, kind):
    save_weights(encoder, tmp_path)
    with pytest.raises(CodesageError) as error:
        load_encoder(broken(tmp_path, kind))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value) + str(tmp_path)


def test_config_round_trip_ignores_foreign_keys(tmp_path):
    TINY.save(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**raw, "auto_map": {"AutoModel": "evil.py"}}))
    assert load_config(tmp_path) == TINY
