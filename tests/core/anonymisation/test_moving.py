"""Labelled spans go where the text goes that they label."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from operators.core.anonymisation.anonymiser import Anonymiser
from operators.core.anonymisation.moving import Replaced, cut_spans, move_spans
from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN
from operators.core.labels import LabelledSpan
from tests.core.mails import KEY, POLICY

BORDERS = st.lists(st.integers(0, 40), min_size=2, max_size=8).map(sorted)


@st.composite
def replacements(draw: st.DrawFn) -> list[Replaced]:
    """Return pieces that do not overlap, each with the length of what replaces it."""
    borders = draw(st.lists(st.integers(0, 40), unique=True, max_size=8).map(sorted))
    return [Replaced(a, b, draw(st.integers(1, 9))) for a, b in zip(borders[::2], borders[1::2], strict=False)]


@given(start=st.integers(0, 39), length=st.integers(1, 40), pieces=replacements())
def test_a_span_covers_what_became_of_its_characters(start: int, length: int, pieces: list[Replaced]) -> None:
    """Each character of the new text is an old one or of a replacement: the span's are those, in one run."""
    end = min(40, start + length)
    origin: list[range] = []
    place = 0
    for piece in [*pieces, Replaced(40, 40, 0)]:
        origin += [range(n, n + 1) for n in range(place, piece.start)]
        origin += [range(piece.start, piece.end)] * piece.characters
        place = piece.end
    own = [n for n, old in enumerate(origin) if old.start < end and start < old.stop]

    assert move_spans([LabelledSpan(start, end, "x")], pieces) == (LabelledSpan(own[0], own[-1] + 1, "x"),)


def test_of_two_spans_in_one_piece_the_first_takes_it() -> None:
    """The second keeps what it has beside it, or goes."""
    first, second = LabelledSpan(0, 3, "a"), LabelledSpan(4, 9, "b")

    assert move_spans([first, second], [Replaced(2, 6, 10)]) == (LabelledSpan(0, 12, "a"), LabelledSpan(12, 15, "b"))
    assert move_spans([first, second], [Replaced(2, 9, 10)]) == (LabelledSpan(0, 12, "a"),)


def test_a_cut_ends_spans() -> None:
    """What goes through the cut keeps its beginning; what lies behind it goes."""
    spans = [LabelledSpan(0, 3, "a"), LabelledSpan(4, 9, "b"), LabelledSpan(9, 12, "c")]

    assert cut_spans(spans, 6) == (LabelledSpan(0, 3, "a"), LabelledSpan(4, 6, "b"))


def test_pseudonyms_take_the_place_of_what_was_labelled() -> None:
    """Over several rounds: names, a host and an address in front of, inside of and around labelled spans."""
    text = "Robert Elz met Ann at www.example.com and wrote to ann@example.org about Acme Inc."
    named = ("Robert Elz", "Ann", "www.example.com", "ann@example.org", "Acme Inc")
    spans = tuple(LabelledSpan(text.index(one), text.index(one) + len(one), one) for one in named)
    done, moved = Anonymiser(POLICY, KEY).labelled_text(text, spans, names=["Robert Elz"])
    words = {span.name: done[span.start : span.end] for span in moved}

    assert (words["Ann"], words["Acme Inc"]) == ("Ann", "Acme Inc")
    for name in ("Robert Elz", "www.example.com", "ann@example.org"):
        assert PSEUDONYM_PATTERN.fullmatch(words[name]), name
