"""What AutoModel, AutoModelForMaskedLM and AutoModelForSequenceClassification give for the model type "codesage".

Importing this registers them.

The classes hold our own Encoder, its linears swapped for Conv1D, so that names and orientation of the weights are the
published ones and there is one forward, that without padding. Shapes: B documents, L padded length, T real tokens, D
width, V vocabulary, C labels.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, PreTrainedModel
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput, SequenceClassifierOutput
from transformers.pytorch_utils import Conv1D

from codesage.encoder.interchange.configuration import CodesageConfig
from codesage.encoder.model import Encoder, Layout


class _Pretrained(PreTrainedModel):
    config_class = CodesageConfig
    base_model_prefix = "transformer"
    _no_split_modules = ["Block"]  # noqa: RUF012
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Embedding, nn.Linear, Conv1D)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, (nn.Linear, Conv1D)) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


class CodesageModel(_Pretrained):
    """Token ids to last hidden states and their mean: what AutoModel gives."""

    wte: nn.Embedding

    def __init__(self, config: CodesageConfig) -> None:
        super().__init__(config)
        self.projection = None
        for name, module in _published_layout(Encoder(config.shape())).named_children():
            setattr(self, name, module)
        self.post_init()

    forward_flat, project = Encoder.forward, Encoder.project  # they find wte, h and other parts here as in an Encoder

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.wte

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding."""
        self.wte = cast(nn.Embedding, value)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, return_dict: bool = True, **_unused: object
    ) -> BaseModelOutputWithPooling | tuple[Tensor, Tensor]:
        """Hidden states (B, L, D) of ids (B, L), 0 where `attention_mask` is 0, and pooled vectors (B, vector width).

        A pooled vector is the mean over the other tokens, times `projection` where the config has one.

        Padding may be on either side; it is taken out before the encoder and put back after it. Positions count from the first
        real token.
        """
        mask_BL = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        lengths_B = (mask_BL != 0).sum(1)
        order_B = lengths_B.argsort(stable=True)  # neighbours of equal length are attended to together
        order_B = order_B[lengths_B[order_B] > 0]
        place_T = ((mask_BL[order_B] != 0).nonzero() * torch.tensor([input_ids.shape[1], 1], device=mask_BL.device)).sum(1)
        sorted_ids = input_ids[order_B].flatten()[place_T]
        hidden_TD = self.forward_flat(sorted_ids, Layout.of(lengths_B[order_B].tolist(), input_ids.device))
        rows = hidden_TD.new_zeros(len(order_B) * input_ids.shape[1], hidden_TD.shape[1])
        rows = rows.index_copy(0, place_T, hidden_TD).unflatten(0, (len(order_B), input_ids.shape[1]))
        hidden_BLD = rows.new_zeros(*input_ids.shape, rows.shape[-1]).index_copy(0, order_B, rows)
        pooled_BD = self.project(hidden_BLD.sum(1) / lengths_B.clamp(min=1)[:, None])
        if return_dict:
            return BaseModelOutputWithPooling(last_hidden_state=hidden_BLD, pooler_output=pooled_BD)
        return hidden_BLD, pooled_BD


class CodesageForMaskedLM(_Pretrained):
    """The model with the head of Stage I, which is the token embedding itself: what AutoModelForMaskedLM gives."""

    def __init__(self, config: CodesageConfig) -> None:
        super().__init__(config)
        self.transformer = CodesageModel(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool = True,
        **_unused: object,
    ) -> MaskedLMOutput | tuple[Tensor, ...]:
        """Logits (B, L, V); with `labels` (B, L), -100 where there is none, also the mean cross entropy."""
        hidden_BLD = self.transformer(input_ids, attention_mask).last_hidden_state
        logits_BLV = F.linear(hidden_BLD, self.transformer.wte.weight)
        loss = None if labels is None else F.cross_entropy(logits_BLV.flatten(0, 1).float(), labels.flatten())
        if return_dict:
            return MaskedLMOutput(loss=loss, logits=logits_BLV)
        return (logits_BLV,) if loss is None else (loss, logits_BLV)


class CodesageForSequenceClassification(_Pretrained):
    """The model with a linear layer on the mean of its hidden states: what AutoModelForSequenceClassification gives.

    Dropout before the layer is `classifier_dropout` of the config, or that of the residual stream where it is not set.
    """

    def __init__(self, config: CodesageConfig) -> None:
        super().__init__(config)
        self.transformer = CodesageModel(config)
        given = config.classifier_dropout
        self.dropout = nn.Dropout(config.residual_dropout_prob if given is None else given)
        self.classifier = nn.Linear(config.shape().vector_width, cast(int, config.num_labels))
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool = True,
        **_unused: object,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Logits (B, C); with `labels` also the loss, as in other models of transformers: by `problem_type` of the config."""
        pooled_BD = self.transformer(input_ids, attention_mask).pooler_output
        logits_BC = self.classifier(self.dropout(pooled_BD))
        loss = None if labels is None else ForSequenceClassificationLoss(labels, logits_BC, self.config)
        if return_dict:
            return SequenceClassifierOutput(loss=loss, logits=logits_BC)
        return (logits_BC,) if loss is None else (loss, logits_BC)


def _published_layout(encoder: Encoder) -> Encoder:
    """`encoder` with every nn.Linear of its blocks as the Conv1D of the same name, weights (in, out)."""
    for parent in list(encoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and child is not encoder.projection:
                swapped = Conv1D(child.out_features, child.in_features)
                swapped.to(child.weight.device)
                with torch.no_grad():
                    swapped.weight.copy_(child.weight.T)
                    swapped.bias.copy_(child.bias)
                setattr(parent, name, swapped)
    return encoder


AutoModel.register(CodesageConfig, CodesageModel, exist_ok=True)
AutoModelForMaskedLM.register(CodesageConfig, CodesageForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(CodesageConfig, CodesageForSequenceClassification, exist_ok=True)
