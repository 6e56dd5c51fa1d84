"""B1: an epoch of fine-tuning, against Hugging Face's Trainer with its defaults and with its best flags.

Banking77 by its own split, texts cut at 64 tokens, MiniLM below a mean-pool head: the same model, optimiser groups and
rates on all sides, each with every core of the machine. `defaults` takes 8 rows a step in fp32, each padded to 64
tokens; `best flags` our rows a step, bf16 where we take it, rows grouped by length, and frozen embedding tables, as we
do; `one rank` is ours in one process with all cores, which sends no gradients: on an idle machine our best setting. It
is held against the best flags, as our defaults are against the defaults.
Timed from the first step to the last; start-up, evaluation and export are not.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from operators.core.finetuning.fine_tune import fine_tune
from operators.core.finetuning.spec import TrainingSpec
from operators.core.models.adopt import adopt_model
from operators.core.models.known import ALL_MINILM_L6_V2
from operators.core.progress import no_progress
from operators.core.settings import STORAGE_VARIABLE, StorageSettings
from operators.core.storage import Store, open_store
from operators.core.training.machine import this_machine
from operators.core.training.rows import LabelledRows, read_rows
from operators.core.training.spec import LoopSpec
from operators.local.base_model import fetch_base_model
from operators.local.layout import Layout
from tests.benchmarks.shard_io import make_store
from tests.benchmarks.timing import Sample, alternate, compare, measure, parse, publish
from tests.core.training.banking import FOLDER, NEEDED, publish_banking

SPEC = TrainingSpec(epochs=1, max_length=64, dropout=0.0, checkpoint_steps=100_000)
MOST_APART = 0.02
"""Test accuracies of two ways that count as equal: three standard errors of 3,080 rows, after one epoch."""
WAYS = ("ours", "one rank", "defaults", "best flags")


class Bed:
    """A store with the base model and the data set; each way is a process of its own over it."""

    def __init__(self, folder: Path, train_rows: int) -> None:
        layout = Layout.from_environment(os.environ)
        self._folder, self.rows = folder, train_rows
        settings = make_store(folder / "store")
        os.environ[STORAGE_VARIABLE] = settings.to_json()
        store = open_store(settings)
        base = fetch_base_model(layout.home / "downloads", layout.home / "models")
        self._base = adopt_model(store, base, ALL_MINILM_L6_V2, no_progress).digest
        self._dataset = publish_banking(store, train_rows)
        store.close()
        self.accuracies: dict[str, list[float]] = {way: [] for way in WAYS}

    def run(self, way: str, number: int) -> Sample:
        """Train an epoch, with another seed each time; return what its steps took."""
        answer = self._folder / "answer"
        arguments = [way, str(number), self._base, self._dataset, str(answer)]
        process = measure([sys.executable, "-m", "tests.benchmarks.train_epoch", "--child", *arguments])
        document = json.loads(answer.read_text())
        self.accuracies[way].append(document["accuracy"])
        return replace(process, wall_seconds=document["seconds"])


def train_child(way: str, seed: str, base_model: str, dataset: str, answer: str) -> None:
    """Train one epoch one way, and write what it took and what the model is worth."""
    settings = StorageSettings.from_environment(os.environ)
    store = open_store(settings)
    spec = replace(SPEC, seed=int(seed))
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        if way in ("ours", "one rank"):
            if way == "one rank":
                spec = replace(spec, ranks=1, threads_per_rank=os.cpu_count() or 1)
            document = _ours(store, settings, spec, base_model, dataset, Path(name))
        else:
            loop = spec.resolve(this_machine(Path(name)))
            document = _trainer(store, loop, base_model, dataset, Path(name), is_best=way == "best flags")
    Path(answer).write_text(json.dumps(document))
    store.close()


def _ours(
    store: Store, settings: StorageSettings, spec: TrainingSpec, base_model: str, dataset: str, folder: Path
) -> dict[str, float]:
    from operators.core.models.classifier import load_classifier

    account: dict[str, Any] = {}
    model = fine_tune(
        store,
        settings,
        spec,
        dataset=dataset,
        base_model=base_model,
        scratch=folder / "scratch",
        progress=no_progress,
        account=account,
    )
    store.fetch_all(model.manifest, folder / "model")
    test = read_rows(store, store.manifest(dataset), "test")
    answers = load_classifier(folder / "model", os.cpu_count() or 1).answers(test.texts)
    return {
        "seconds": account["spent"]["useful"] + sum(account["spent"]["waiting"].values()),
        "accuracy": _share(test, [answer.label for answer in answers]),
    }


def _trainer(
    store: Store, loop: LoopSpec, base_model: str, dataset: str, folder: Path, *, is_best: bool
) -> dict[str, float]:
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast, Trainer, TrainingArguments
    from transformers.data.data_collator import DataCollatorWithPadding

    from operators.core.models.encoder import EncoderModel, load_base
    from operators.core.training.optimisation import make_optimiser

    torch.set_num_threads(os.cpu_count() or 1)
    base = folder / "base"
    store.fetch_all(store.manifest(base_model), base)
    tokeniser = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(base / "tokenizer.json")), pad_token="[PAD]"
    )
    train, test = (read_rows(store, store.manifest(dataset), split) for split in ("train", "test"))
    model = load_base(base, "text_classification", len(train.label_names), dropout=0.0, seed=loop.seed)
    model.encoder.get_submodule("embeddings").requires_grad_(not is_best)

    class Losing(torch.nn.Module):
        def __init__(self, inner: EncoderModel) -> None:
            super().__init__()
            self.inner = inner

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            logits = self.inner(input_ids=input_ids, attention_mask=attention_mask)
            return {"loss": torch.nn.functional.cross_entropy(logits.float(), labels), "logits": logits}

    def examples(rows: LabelledRows) -> list[dict[str, Any]]:
        encoded = tokeniser(rows.texts, truncation=True, max_length=loop.max_length)
        numbers = {name: number for number, name in enumerate(rows.label_names)}
        return [
            {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": numbers[label]}
            for ids, label in zip(encoded["input_ids"], rows.labels, strict=True)
        ]

    best = {
        "per_device_train_batch_size": loop.batch_size,
        "bf16": loop.precision == "bf16",
        "train_sampling_strategy": "group_by_length",
    }
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        num_train_epochs=1,
        seed=loop.seed,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=loop.device == "cpu",
        warmup_steps=loop.warm_up,
        **(best if is_best else {}),
    )
    padding = {"padding": True} if is_best else {"padding": "max_length", "max_length": loop.max_length}
    trainer = Trainer(
        model=Losing(model),
        args=arguments,
        train_dataset=examples(train),
        data_collator=DataCollatorWithPadding(tokeniser, **padding),
        optimizers=(make_optimiser(model, loop), None),
    )
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    # Grouped by length, rows are predicted in another order than they were given in: their labels come with them.
    answers = trainer.predict(examples(test))
    is_right = answers.predictions.argmax(-1) == answers.label_ids
    return {"seconds": seconds, "accuracy": float(is_right.mean())}


def _share(rows: LabelledRows, predicted: Sequence[str]) -> float:
    return sum(map(str.__eq__, predicted, rows.labels)) / len(rows.labels)


def main() -> None:
    """Measure and print."""
    options = parse(__doc__)
    if not FOLDER.is_dir():
        raise SystemExit(f"B1 {NEEDED}")
    rows = int(10_003 * options.scale)
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        bed = Bed(Path(name), rows)
        counts = dict.fromkeys(WAYS, 0)

        def once(way: str) -> Sample:
            counts[way] += 1
            return bed.run(way, counts[way])

        samples = alternate({way: lambda way=way: once(way) for way in WAYS}, options.pairs)  # type: ignore[misc]
    means = {way: round(sum(many) / len(many), 4) for way, many in bed.accuracies.items()}
    document = compare("B1", samples, {"defaults": 1 / 3}, {}, scale=options.scale)
    best = {"ours": samples["one rank"], "best flags": samples["best flags"]}
    bests = compare("B1", best, {"best flags": 1 / 0.9}, {}, scale=options.scale)
    is_equal = max(means.values()) - min(means.values()) <= MOST_APART
    publish(
        {
            **document,
            "ratio": {**document["ratio"], "one rank to best flags": bests["ratio"]["best flags"]},
            "goal": {**document["goal"], "one rank to best flags": bests["goal"]["best flags"]},
            "accuracy": means,
            "rows": rows,
            "equal": is_equal,
            "met": document["met"] and bests["met"] and is_equal,
        }
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        train_child(*sys.argv[2:])
    else:
        main()
