"""What AutoTokenizer gives for the model type "codesage"; importing this registers it.

sentence-transformers puts the prompt of queries before each text of `encode_query`. The tokenizer takes it off again and
applies the rule of `encoder/queries.py`, so that these queries get the token ids that `codesage.load().encode(kind="text")`
gives them.
"""

from typing import Any

from transformers import AutoTokenizer, BatchEncoding, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils.generic import PaddingStrategy

from codesage.encoder.interchange.configuration import CodesageConfig
from codesage.encoder.queries import PROMPT, query_form
from codesage.encoder.runtime import TEXT_TOKENS


class CodesageTokenizer(PreTrainedTokenizerFast):
    """A tokenizer that rewrites texts which begin with the prompt of queries. All other texts stay as they are.

    If truncation is on and all texts are queries, they are cut at 128 tokens, unless they are padded to a fixed length.
    """

    def _encode_plus(self, text: Any, text_pair: Any = None, *others: Any, **options: Any) -> BatchEncoding:
        several = isinstance(text, (list, tuple))
        given = list(text) if several else [text]
        cut = options.get("truncation_strategy", TruncationStrategy.DO_NOT_TRUNCATE) != TruncationStrategy.DO_NOT_TRUNCATE
        if cut and options.get("padding_strategy") != PaddingStrategy.MAX_LENGTH and given and all(map(_is_query, given)):
            options["max_length"] = min(options.get("max_length") or self.model_max_length, TEXT_TOKENS)
        rewritten: Any = list(map(_rewritten, given))
        return super()._encode_plus(rewritten if several else rewritten[0], text_pair, *others, **options)


def _is_query(text: object) -> bool:
    return isinstance(text, str) and text.startswith(PROMPT)


def _rewritten(text: Any) -> Any:
    return query_form(text[len(PROMPT) :]) if _is_query(text) else text


AutoTokenizer.register(CodesageConfig, fast_tokenizer_class=CodesageTokenizer, exist_ok=True)
