"""A model that looks for names: a small one, on real contracts; adopted, pinned, and part of what a part is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from operators.core.anonymisation.anonymiser import Anonymiser
from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN, pseudonym
from operators.core.errors import DataError
from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.spec import IngestionSpec, NameModelSpec
from operators.core.manifest import Manifest, sha256_of_file
from operators.core.models.known import ALL_MINILM_L6_V2
from operators.core.models.names import NameModel
from operators.core.models.spec import BaseModelSpec
from operators.core.progress import no_progress
from operators.core.sources.discover import discover
from operators.core.storage import Store
from operators.core.validation.validate import validate
from operators.local.base_model import fetch_base_model
from tests.core.ingestion.parts import decode_rows
from tests.core.ingestion.small_ner import fit, sentences
from tests.core.mails import DAY, KEY, POLICY, SOURCE, SUITE, at, land, mail

REPOSITORY = Path(__file__).resolve().parents[3]
CONTRACTS = REPOSITORY.parent / "shared" / "datasets" / "sec_fin_ner"
SIGNED = "Name: Mary Ann O'Neill\nTitle: Chief Executive Officer"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
    pytest.mark.skipif(not CONTRACTS.is_dir(), reason="needs shared/datasets/sec_fin_ner beside the project"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the fitted model in it."""
    models = tmp_path_factory.mktemp("models")
    torch.set_num_threads(1)
    base = fetch_base_model(REPOSITORY / "var" / "downloads", REPOSITORY / "var" / "models")
    known = [sentence for sentence in sentences(CONTRACTS / "FIN5.txt") if len(sentence) < 40]
    fit(base, models / "contracts", [s for n, s in enumerate(known) if n % 8 == 0 or any(marked for _, marked in s)])
    return models


@pytest.fixture(scope="module")
def spec(folder: Path) -> NameModelSpec:
    """The model, pinned."""
    files = sorted((folder / "contracts").iterdir())
    model = BaseModelSpec(
        name="contracts",
        digests=tuple((path.name, sha256_of_file(path)) for path in files),
        architectures=("BertForTokenClassification",),
    )
    return NameModelSpec(model=model)


def part_of(store: Store, landing: Path, spec: IngestionSpec, models: Path | None) -> Manifest:
    """Return the part that ingestion makes of one mail about somebody whom no header names."""
    land(landing, DAY, [mail(1, body=SIGNED)])
    common = {"landing": at(landing), "source": SOURCE, "progress": no_progress}
    (listing,) = discover(
        store, landing=at(landing), spec=SOURCE, first_day=DAY, last_day=DAY, progress=no_progress, groups=1
    )
    valid = validate(store, listing=listing.digest, spec=SUITE, **common)
    group = ingest(
        store, validation=valid.digest, anonymisation=POLICY, spec=spec, key=KEY, models=models, **common
    ).manifest
    (part,) = [store.manifest(item.manifest) for item in group.inputs_of("file") if item.manifest is not None]
    return part


def test_names_that_nothing_gives_are_found(folder: Path, spec: NameModelSpec) -> None:
    """Of names in contracts that it never saw most are found, none without it; the share is printed."""
    anonymiser = Anonymiser(POLICY, KEY, NameModel(folder / "contracts", spec.types, spec.min_probability).find)
    found = total = 0
    for sentence in [s for s in sentences(CONTRACTS / "FIN3.txt") if any(marked for _, marked in s)][:30]:
        words = [word for word, marked in sentence if marked and len(word) > 3]
        left = PSEUDONYM_PATTERN.sub(" ", anonymiser.text(" ".join(word for word, _ in sentence))).split()
        total += len(words)
        found += sum(word not in left for word in words)

    print(f"recall of names in contracts, by a linear head on a frozen encoder: {found / total:.3f} of {total}")
    assert found / total > 0.5
    assert Anonymiser(POLICY, KEY).text(SIGNED) == SIGNED


def test_what_went_through_comes_out_unchanged(folder: Path, spec: NameModelSpec) -> None:
    """No pseudonym is taken for a name, and a name has the pseudonym that it has in a header."""
    anonymiser = Anonymiser(POLICY, KEY, NameModel(folder / "contracts", spec.types, spec.min_probability).find)
    once = anonymiser.text(SIGNED)

    assert once == SIGNED.replace("Mary Ann O'Neill", pseudonym("name", "mary ann o neill", KEY))
    assert anonymiser.text(once) == once


def test_a_long_line_is_looked_at_to_its_end(folder: Path, spec: NameModelSpec) -> None:
    """A line of more tokens than the model takes is looked at in pieces that overlap."""
    model = NameModel(folder / "contracts", spec.types, spec.min_probability)
    line = "the parties agree as follows. " * 80 + SIGNED.split("\n")[0]

    assert "O'Neill" in [line[start:end] for start, end in model.find(line)][-1]


def test_a_part_names_the_model_that_it_went_through(
    store: Store, tmp_path: Path, folder: Path, spec: NameModelSpec
) -> None:
    """It is adopted, an input of the part, and found again without its folder; nothing of it runs unasked."""
    part = part_of(store, tmp_path, IngestionSpec(names=spec), folder)
    (row,) = decode_rows(store.read(part.file("part.parquet")))
    bare = part_of(store, tmp_path, IngestionSpec(), None)

    assert "Neill" not in row["text"] and "Chief Executive Officer" in row["text"]
    assert store.manifest(part.input("name_model").manifest or "").facts["name"] == "contracts"
    assert part_of(store, tmp_path, IngestionSpec(names=spec), tmp_path / "nowhere").digest == part.digest
    assert "Neill" in decode_rows(store.read(bare.file("part.parquet")))[0]["text"]
    assert not bare.inputs_of("name_model")


def test_a_model_that_does_not_fit_is_refused(store: Store, tmp_path: Path, folder: Path, spec: NameModelSpec) -> None:
    """One that finds no names, a type that it does not know, a share out of range, no folder to take it from."""
    with pytest.raises(ValueError, match="BertForTokenClassification"):
        NameModelSpec(model=ALL_MINILM_L6_V2)
    with pytest.raises(ValueError, match="types="):
        replace(spec, types=())
    with pytest.raises(ValueError, match=r"0\.01 to 0\.99"):
        replace(spec, min_probability=1.0)
    with pytest.raises(DataError, match=r"knows no \['LOC'\]: choose among \['O', 'PER'\]"):
        NameModel(folder / "contracts", ("LOC",), 0.5)
    with pytest.raises(ValueError, match="name the folder in which models lie"):
        part_of(store, tmp_path, IngestionSpec(names=spec), None)
