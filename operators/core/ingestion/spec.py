"""How validated rows become anonymised Parquet, and Parquet parts a data set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestionSpec:
    """What is kept of a row."""

    max_text_characters: int = 4000
    """Longer texts are cut at the last white space before. A model of 128 tokens reads about the first 600."""

    def __post_init__(self) -> None:
        if not 200 <= self.max_text_characters <= 100_000:
            raise ValueError(f"max_text_characters={self.max_text_characters}: 200 to 100000")


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSpec:
    """How the parts of a window become one data set."""

    test_share: float = 0.2
    """Part of the distinct texts held out, chosen by a keyed hash of the text."""
    near_duplicates: float | None = None
    """Rows whose text is at least so similar to an earlier row's are dropped: Jaccard index of windows of eight bytes.
    None keeps them, and then nothing keeps near-copies of test rows out of train: right where a word decides."""
    target_bytes: int = 128 * 1024**2
    """Size of a Parquet file: a shard is closed by the row group, of at most 16 MiB of values, that reaches it."""

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share={self.test_share}: above 0 and below 1")
        if self.near_duplicates is not None and not 0.7 <= self.near_duplicates <= 1:
            raise ValueError(f"near_duplicates={self.near_duplicates}: from 0.7 to 1, or None")
        if not 1024 <= self.target_bytes <= 4 * 1024**3:
            raise ValueError(f"target_bytes={self.target_bytes}: 1024 to {4 * 1024**3}")
