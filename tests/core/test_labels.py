"""Labels of tokens: spans as one text and back, and nothing else taken for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.errors import DataError
from operators.core.labels import LabelledSpan, decode_spans, encode_spans, names_in

BORDERS = st.lists(st.integers(0, 500), unique=True, max_size=12).map(sorted)


@given(borders=BORDERS, names=st.lists(st.text(min_size=1, max_size=9), min_size=6, max_size=6))
def test_spans_come_back_as_they_were_written(borders: list[int], names: list[str]) -> None:
    """Whatever their names, touching ones too."""
    spans = tuple(LabelledSpan(*pair) for pair in zip(borders[::2], borders[1::2], names, strict=False))

    assert decode_spans(encode_spans(spans)) == spans
    assert names_in(encode_spans(spans), "token_classification") == tuple(span.name for span in spans)


@pytest.mark.parametrize(
    "label",
    [
        *("person", "{}", "7", "[1]", "[[0,5]]", "[" * 100_000, '[[0,5,"x"'),
        *('[[0,0,"x"]]', '[[-1,2,"x"]]', '[[0,2,""]]', "[[0,2,7]]", '[[true,2,"x"]]', '[[0,1.5,"x"]]'),
        *('[[0,5,"x"],[4,6,"y"]]', '[[4,6,"y"],[0,2,"x"]]'),
    ],
)
def test_what_lists_no_spans_is_refused_unquoted(label: str) -> None:
    """A wrong type, a place that is none, spans out of order or one in another."""
    with pytest.raises(DataError, match="label") as caught:
        decode_spans(label)

    assert "person" not in str(caught.value)


def test_the_label_of_a_text_is_its_only_name() -> None:
    """Also where it looks like spans."""
    assert names_in("[]", "text_classification") == ("[]",)
