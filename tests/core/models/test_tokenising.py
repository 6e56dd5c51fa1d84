"""Reading only the beginning of a text gives the token numbers of the whole, cut."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from operators.core.models.batching import batches_by_length, pad
from operators.core.models.tokenising import encode


def tokenizer() -> Tokenizer:
    """Return a WordPiece tokenizer over a few word pieces."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", "##b", "ab", "."]
    made = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="ab. \n\u0301A" + "é", max_size=600), max_length=st.integers(3, 12))
def test_long_texts_give_the_numbers_of_the_whole(text: str, max_length: int) -> None:
    """Whatever the text, the result is what the tokenizer gives for all of it, cut to length."""
    whole = tokenizer()
    whole.enable_truncation(max_length)

    assert encode(tokenizer(), [text], max_length) == [whole.encode(text).ids]


def test_padding_ends_at_the_longest_row() -> None:
    """The mask tells tokens from padding."""
    ids, mask = pad([[5, 6, 7], [8]])

    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_batches_hold_every_row_once() -> None:
    """Sorting by length loses nothing."""
    rows = [[0] * (i * 7 % 13 + 1) for i in range(50)]

    assert sorted(np.concatenate(batches_by_length(rows, 8))) == list(range(50))
