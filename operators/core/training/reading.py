"""A training job's loader: its data set's training shards from the store, tokenised as they are needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from operators.core.labels import decode_spans
from operators.core.manifest import Manifest
from operators.core.models.tags import tag_tokens
from operators.core.models.tokenising import encode, encode_words, load_tokenizer
from operators.core.storage import Store
from operators.core.training import job as names
from operators.core.training.augmentation import Augmenter, word_beginnings
from operators.core.training.job import TrainingJob
from operators.core.training.loader import Loader, Plan
from operators.core.training.masking import Masker
from operators.core.training.rows import number_labels, read_shard, shards_of
from operators.core.training.spec import MASKED, Objective
from operators.core.training.tokens import TokenTable, TokenTables


def open_loader(
    store: Store, job: TrainingJob, folder: Path, *, rank: int, ranks: int, is_held_out: bool = False
) -> Loader:
    """Return one rank's loader of the rows to train on, or of those held out.

    Tables lie in the job's folder, where the other ranks find them.
    """
    shards = shards_of(_dataset(store, job), "train")
    tokenizer = load_tokenizer(folder / names.BASE_MODEL)

    def make(number: int) -> TokenTable:
        # A few thousand rows at once: texts are many times larger than their tokens.
        pieces = read_shard(store, shards[number])
        return TokenTable.join(_TABLES[job.loop.task](tokenizer, texts, labels, job) for texts, labels in pieces)

    plan = Plan(
        shard_rows=tuple(entry.rows or 0 for entry in shards),
        batch_size=job.loop.batch_size,
        batch_by=job.loop.batch_by,
        seed=job.loop.seed,
        held_out=job.loop.held_out,
        is_held_out=is_held_out,
    )
    loop, augment = job.loop, None
    if (loop.word_drop or loop.word_swap) and not is_held_out:
        augment = Augmenter(word_beginnings(tokenizer), drop=loop.word_drop, swap=loop.word_swap, seed=loop.seed)
    mask = None
    if loop.task == MASKED:
        # Whatever the seed, held-out rows are asked the same.
        mask = Masker.of(tokenizer, share=loop.masked_share, seed=0 if is_held_out else loop.seed)
    return Loader(plan, TokenTables(folder / names.TOKENS, make), rank, ranks, augment, mask)


def _unlabelled(tokenizer: Tokenizer, texts: list[str], labels: pa.StringArray, job: TrainingJob) -> TokenTable:
    return TokenTable.of(encode(tokenizer, texts, job.loop.max_length), np.zeros(len(texts), np.int64))


def _labelled(tokenizer: Tokenizer, texts: list[str], labels: pa.StringArray, job: TrainingJob) -> TokenTable:
    return TokenTable.of(encode(tokenizer, texts, job.loop.max_length), number_labels(labels, job.labels))


def _tagged(tokenizer: Tokenizer, texts: list[str], labels: pa.StringArray, job: TrainingJob) -> TokenTable:
    words = encode_words(tokenizer, texts, job.loop.max_length)
    spans = [decode_spans(label) for label in labels.to_pylist()]
    tags = (tag_tokens(one, of_text, job.labels) for one, of_text in zip(words, spans, strict=True))
    return TokenTable.tagged([one.ids for one in words], tags)


_TABLES: dict[Objective, Callable[[Tokenizer, list[str], pa.StringArray, TrainingJob], TokenTable]] = {
    "text_classification": _labelled,
    "token_classification": _tagged,
    "masked_language_model": _unlabelled,
}


def _dataset(store: Store, job: TrainingJob) -> Manifest:
    (digest,) = [item.manifest for item in job.inputs if item.role == "dataset"]
    assert digest is not None, "both inputs lie in the store"
    return store.manifest(digest)
