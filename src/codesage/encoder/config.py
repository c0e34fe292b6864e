"""The shape of an encoder, with the field names of the published config.json, and the named sizes.

small, base and large come from the paper (table 5 of the appendix). nano and mini are ours, for CPUs and small devices.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from codesage.errors import CodesageError

FILE = "config.json"
ACTIVATIONS = {"gelu_new": "tanh", "gelu": "none"}  # the approximation of GELU, as torch and ONNX name it


@dataclass(frozen=True, slots=True)
class Config:
    """Shape and regularisation of the encoder, with the field names of the published config.json.

    The published encoders are pre-LN GPT-2 bodies. `norm_first` and `activation_function` also allow the post-LN body of BERT.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int = 49_154
    max_position_embeddings: int = 2048
    intermediate_size: int = 0  # 0: four times hidden_size
    activation_function: str = "gelu_new"  # one of ACTIVATIONS
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    embedding_dropout_prob: float = 0.1
    attention_dropout_prob: float = 0.1
    residual_dropout_prob: float = 0.1
    norm_first: bool = True  # False: post-LN, the residual stream is normalised before each sum (BERT)
    head_dim: int = 0  # width of an attention head; 0: hidden_size / num_attention_heads
    projection_dim: int = 0  # width of the vectors, where a linear layer makes them narrower; 0: hidden_size

    def __post_init__(self) -> None:
        if self.intermediate_size == 0:
            object.__setattr__(self, "intermediate_size", 4 * self.hidden_size)
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("head_dim", "projection_dim") else 1
            if field.type in (int, "int") and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise CodesageError(
                    f"{field.name} is {value!r} in the encoder's config, expected a whole number of at least {least}"
                )
            if field.name.endswith("_prob") and not (isinstance(value, (int, float)) and 0 <= value < 1):
                raise CodesageError(f"{field.name} is {value!r} in the encoder's config, expected 0 <= p < 1")
        if self.head_dim == 0:
            if self.hidden_size % self.num_attention_heads:
                raise CodesageError(
                    f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
                )
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if self.activation_function not in ACTIVATIONS:
            raise CodesageError(
                f"activation_function is {self.activation_function!r}, expected one of {', '.join(ACTIVATIONS)}"
            )
        if not isinstance(self.norm_first, bool):
            raise CodesageError(f"norm_first is {self.norm_first!r} in the encoder's config, expected true or false")

    @property
    def attention_width(self) -> int:
        """Width of the queries, keys and values of a token, in all heads."""
        return self.num_attention_heads * self.head_dim

    @property
    def vector_width(self) -> int:
        """Width of the vectors of texts."""
        return self.projection_dim or self.hidden_size

    def parameters(self) -> int:
        """Exact number of parameters of an `Encoder` of this shape; the head is tied to the embedding."""
        width, inner, attention = self.hidden_size, self.intermediate_size, self.attention_width
        block = 4 * width * attention + 3 * attention + width + 2 * width * inner + inner + width + 4 * width
        rows = self.vocab_size + self.max_position_embeddings + self.projection_dim
        return rows * width + self.num_hidden_layers * block + 2 * width

    def without_dropout(self) -> "Config":
        """The same shape with all dropouts 0, for single-epoch runs on small devices. The paper trains with 0.1."""
        return replace(self, embedding_dropout_prob=0.0, attention_dropout_prob=0.0, residual_dropout_prob=0.0)

    def save(self, folder: Path) -> None:
        """Write config.json into `folder`."""
        text = json.dumps({"model_type": "codesage", **asdict(self)}, indent=2) + "\n"
        (folder / FILE).write_text(text, encoding="utf-8")


SIZES: dict[str, Config] = {
    "nano": Config(256, 4, 4, vocab_size=16_384),
    "mini": Config(512, 8, 8, vocab_size=16_384),
    "small": Config(1024, 6, 8),
    "base": Config(1024, 24, 8),
    "large": Config(2048, 24, 16),
}


def load_config(folder: Path) -> Config:
    """Read config.json of `folder`, ours or a published one. Keys that do not shape the encoder are ignored.

    Raises CodesageError when it is missing, is not JSON, lacks a key or describes another architecture.
    """
    file = folder / FILE
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CodesageError(f"{folder} holds no {FILE}: expected the folder of a CodeSage encoder") from None
    except (OSError, ValueError) as error:
        raise CodesageError(f"{file} is not readable JSON ({error}): copy the model folder again") from None
    if not isinstance(raw, dict):
        raise CodesageError(f"{file} is not a JSON object: copy the model folder again")
    known = {field.name: raw[field.name] for field in fields(Config) if raw.get(field.name) is not None}
    missing = [name for name in ("hidden_size", "num_hidden_layers", "num_attention_heads") if name not in known]
    if missing:
        raise CodesageError(f"{file} lacks {', '.join(missing)}: expected the config of a CodeSage encoder")
    return Config(**known)
