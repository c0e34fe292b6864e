"""What AutoConfig gives for the model type "codesage"; importing this registers it."""

from dataclasses import fields
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from codesage.encoder import config as shapes


class CodesageConfig(PreTrainedConfig):
    """The published config.json; without arguments the shape of `small`."""

    model_type = "codesage"

    def __init__(
        self,
        hidden_size: int = 1024,
        num_hidden_layers: int = 6,
        num_attention_heads: int = 8,
        vocab_size: int = 49_154,
        max_position_embeddings: int = 2048,
        intermediate_size: int = 0,
        activation_function: str = "gelu_new",
        layer_norm_epsilon: float = 1e-5,
        initializer_range: float = 0.02,
        embedding_dropout_prob: float = 0.1,
        attention_dropout_prob: float = 0.1,
        residual_dropout_prob: float = 0.1,
        norm_first: bool = True,
        head_dim: int = 0,
        projection_dim: int = 0,
        classifier_dropout: float | None = None,
        **others: Any,
    ) -> None:
        shape = shapes.Config(
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            vocab_size,
            max_position_embeddings,
            intermediate_size or 0,
            activation_function,
            layer_norm_epsilon,
            initializer_range,
            embedding_dropout_prob,
            attention_dropout_prob,
            residual_dropout_prob,
            norm_first,
            head_dim or 0,
            projection_dim or 0,
        )
        for field in fields(shapes.Config):
            setattr(self, field.name, getattr(shape, field.name))
        self.classifier_dropout = classifier_dropout  # before a linear layer of labels; None: residual_dropout_prob
        super().__init__(**{"tie_word_embeddings": True, **others})

    def shape(self) -> shapes.Config:
        """The same as our Config."""
        return shapes.Config(**{field.name: getattr(self, field.name) for field in fields(shapes.Config)})


AutoConfig.register("codesage", CodesageConfig, exist_ok=True)
