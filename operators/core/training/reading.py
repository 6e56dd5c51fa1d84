"""A training job's loader: its data set's training shards from the store, tokenised as they are needed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from operators.core.labels import decode_spans
from operators.core.manifest import Manifest, sha256_of_file
from operators.core.models.causal import end_of_text
from operators.core.models.tags import tag_tokens
from operators.core.models.tokenising import TOKENS, encode, encode_words, load_tokenizer, num_closing
from operators.core.storage import Store
from operators.core.training import job as names
from operators.core.training.augmentation import Augmenter, word_beginnings
from operators.core.training.job import TrainingJob
from operators.core.training.loader import Asker, Loader, Plan
from operators.core.training.masking import Masker
from operators.core.training.next_tokens import NextTokens, continued
from operators.core.training.rows import number_labels, read_shard, shards_of
from operators.core.training.spec import CAUSAL, MASKED, Objective
from operators.core.training.tokens import TokenTable, TokenTables

_MakeTable = Callable[[Tokenizer, pa.Array, pa.StringArray, TrainingJob], TokenTable]


def open_loader(
    store: Store, job: TrainingJob, folder: Path, *, rank: int, ranks: int, is_held_out: bool = False
) -> Loader:
    """Return one rank's loader of the rows to train on, or of those held out.

    Tables lie in the job's folder, where the other ranks find them.
    """
    dataset = dataset_of(store, job)
    shards = shards_of(dataset, "train")
    tokenizer = load_tokenizer(folder / names.BASE_MODEL)
    closing = _closing_tokens(dataset, tokenizer, folder / names.BASE_MODEL / "tokenizer.json", job)
    column = "text" if closing is None else TOKENS
    table = _table(job, folder) if closing is None else functools.partial(_tokenised, closing)

    def make(number: int) -> TokenTable:
        # A few thousand rows at once: texts are many times larger than their tokens.
        pieces = read_shard(store, shards[number], column)
        return TokenTable.join(table(tokenizer, values, labels, job) for values, labels in pieces)

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
    ask: Asker | None = NextTokens() if loop.task == CAUSAL else None
    if loop.task == MASKED:
        # Whatever the seed, held-out rows are asked the same.
        ask = Masker.of(tokenizer, share=loop.masked_share, seed=0 if is_held_out else loop.seed)
    return Loader(plan, TokenTables(folder / names.TOKENS, make), rank, ranks, augment, ask)


def _table(job: TrainingJob, folder: Path) -> _MakeTable:
    """Return what makes texts and labels of the data set a table of the job's rows."""
    if job.loop.task == CAUSAL:
        return functools.partial(continued, end_of_text(folder / names.BASE_MODEL))
    return _TABLES[job.loop.task]


def _unlabelled(tokenizer: Tokenizer, texts: pa.StringArray, labels: pa.StringArray, job: TrainingJob) -> TokenTable:
    return TokenTable.of(encode(tokenizer, texts.to_pylist(), job.loop.max_length), np.zeros(len(texts), np.int64))


def _closing_tokens(dataset: Manifest, tokenizer: Tokenizer, path: Path, job: TrainingJob) -> int | None:
    """Return how many special tokens close each text, where shards hold the very tokens to train on; else None.

    They do where this tokenizer made them, and cut no text shorter than the training does.
    """
    found = dataset.facts.get(TOKENS, {"most": 0})
    if found["most"] < job.loop.max_length or found["tokenizer"] != sha256_of_file(path):
        return None
    return num_closing(tokenizer) if job.loop.task == "text_classification" else None


def _tokenised(
    closing: int, tokenizer: Tokenizer, tokens: pa.ListArray, labels: pa.StringArray, job: TrainingJob
) -> TokenTable:
    most = job.loop.max_length
    rows = (
        row if len(row) <= most else row[: most - closing] + row[len(row) - closing :] for row in tokens.to_pylist()
    )
    return TokenTable.of(rows, number_labels(labels, job.labels))


def _labelled(tokenizer: Tokenizer, texts: pa.StringArray, labels: pa.StringArray, job: TrainingJob) -> TokenTable:
    rows = encode(tokenizer, texts.to_pylist(), job.loop.max_length)
    return TokenTable.of(rows, number_labels(labels, job.labels))


def _tagged(tokenizer: Tokenizer, texts: pa.StringArray, labels: pa.StringArray, job: TrainingJob) -> TokenTable:
    words = encode_words(tokenizer, texts.to_pylist(), job.loop.max_length)
    spans = [decode_spans(label) for label in labels.to_pylist()]
    tags = (tag_tokens(one, of_text, job.labels) for one, of_text in zip(words, spans, strict=True))
    return TokenTable.tagged([one.ids for one in words], tags)


_TABLES: dict[Objective, _MakeTable] = {
    "text_classification": _labelled,
    "token_classification": _tagged,
    "masked_language_model": _unlabelled,
}


def dataset_of(store: Store, job: TrainingJob) -> Manifest:
    """Return the data set that a job trains on."""
    (digest,) = [item.manifest for item in job.inputs if item.role == "dataset"]
    assert digest is not None, "both inputs lie in the store"
    return store.manifest(digest)
