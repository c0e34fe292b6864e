"""The peer of the training benchmarks: transformers' GPT-2 with a full attention mask, on padded rows.

It computes the same function as codesage.encoder.model, from the same weights, as people run such a model today: rows of
one length, a mask for the padding, scaled-dot-product attention, every row through the vocabulary. Where nothing is padded
there is no mask at all, as transformers' own bidirectional encoders have it, which is the faster way.
Shapes: B rows, L tokens a row.
"""

from pathlib import Path

from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model, GPT2PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput

from codesage.encoder.config import Config, load_config
from codesage.encoder.folders import SAFETENSORS


class PaddedConfig(GPT2Config):
    """The peer's model type."""

    model_type = "gpt2-bidirectional"


class PaddedModel(GPT2Model):
    """Hidden states of padded rows, every token seeing every real token of its row."""

    config_class = PaddedConfig

    def __init__(self, config: PaddedConfig) -> None:
        super().__init__(config)
        for block in self.h:
            block.attn.is_causal = False

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_unused):
        """ids and mask: int64 (B, L), 0 in the mask where a token is padding."""
        seen = None
        if not attention_mask.all():
            seen = attention_mask[:, None, None, :].bool().expand(-1, 1, input_ids.shape[1], -1)
        return super().forward(input_ids, attention_mask=seen, use_cache=False)


class PaddedForMaskedLM(GPT2PreTrainedModel):
    """The model with its tied vocabulary head and transformers' loss for masked language models."""

    config_class = PaddedConfig
    _tied_weights_keys = {"lm_head.weight": "transformer.wte.weight"}  # noqa: RUF012

    def __init__(self, config: PaddedConfig) -> None:
        super().__init__(config)
        self.transformer = PaddedModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """The head, whose weight is the token embedding."""
        return self.lm_head

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **options) -> MaskedLMOutput:
        """`labels`: int64 (B, L), -100 where nothing is hidden."""
        hidden_BLD = self.transformer(input_ids, attention_mask=attention_mask).last_hidden_state
        logits_BLV = self.lm_head(hidden_BLD)
        loss = self.loss_function(logits_BLV, labels, vocab_size=self.config.vocab_size, **options)
        return MaskedLMOutput(loss=loss, logits=logits_BLV)


def padded_config(shape: Config) -> PaddedConfig:
    """The peer's config of a shape of ours, without dropout."""
    return PaddedConfig(
        vocab_size=shape.vocab_size,
        n_positions=shape.max_position_embeddings,
        n_embd=shape.hidden_size,
        n_layer=shape.num_hidden_layers,
        n_head=shape.num_attention_heads,
        n_inner=shape.intermediate_size,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )


def load_masked_lm(folder: Path | str) -> PaddedForMaskedLM:
    """The peer with the weights of a model folder of ours; ValueError when a tensor finds no place."""
    from safetensors.torch import load_file

    model = PaddedForMaskedLM(padded_config(load_config(Path(folder))))
    missing, unexpected = model.transformer.load_state_dict(load_file(Path(folder) / SAFETENSORS), strict=False)
    if missing or unexpected:
        raise ValueError(f"the peer lacks {missing}, and knows nothing of {unexpected}")
    model.tie_weights()
    return model
