"""Rows cover the shards exactly, keep documents apart, and go on from where they stopped."""

import json
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from model.data import IGNORED, PackedTokens, Row
from model.shards import read_index
from tests.model.shards import EOS, documents, write_shards

DOCUMENTS = documents(60)
TOKENS = sum(len(document) for document in DOCUMENTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three training shards of 25, 25 and 10 documents and one for validation."""
    parts = [("train", DOCUMENTS[:25]), ("train", DOCUMENTS[25:50]), ("train", DOCUMENTS[50:])]
    return write_shards(tmp_path / "shards", [*parts, ("validation", documents(5, seed=1))])


def sequences(rows: list[Row]) -> list[list[int]]:
    """Return what is predicted, cut behind every end-of-document token: the documents as they passed."""
    targets = torch.cat([row["targets"] for row in rows])
    stream = targets[targets != IGNORED].numpy()
    return [part.tolist() for part in np.split(stream, np.flatnonzero(stream == EOS) + 1)[:-1]]


def as_sorted(texts: list[np.ndarray]) -> list[list[int]]:
    """Return documents as sorted lists."""
    return sorted(text.tolist() for text in texts)


def same(found: Row, expected: Row) -> bool:
    """Compare two rows or batches bit for bit."""
    return all(torch.equal(found[name], expected[name]) for name in ("tokens", "targets", "positions"))


def test_an_epoch_predicts_every_token_of_every_document_once(folder: Path) -> None:
    """The targets of an epoch are exactly the documents, whole and in some order."""
    rows = list(PackedTokens(folder, context_length=32, epochs=1))
    assert sorted(sequences(rows)) == as_sorted(DOCUMENTS)
    assert len(rows) == -(-TOKENS // 32)


def test_each_token_is_predicted_from_the_one_before_it(folder: Path) -> None:
    """Tokens are targets one later, and a document's first token is predicted from EOS at position 0."""
    rows = list(PackedTokens(folder, context_length=32, epochs=1))
    for row in rows[:-1]:
        assert torch.equal(row["tokens"][1:], row["targets"][:-1])
        starts = row["positions"] == 0
        assert torch.equal(starts[1:], row["tokens"][1:] == EOS)
        assert torch.equal(row["positions"][1:][~starts[1:]], row["positions"][:-1][~starts[1:]] + 1)
    for row, following in pairwise(rows):
        assert following["tokens"][0] == row["targets"][-1]
    assert rows[0]["tokens"][0] == EOS


def test_the_last_row_is_padded_as_a_sequence_of_its_own(folder: Path) -> None:
    """Padding predicts nothing and starts afresh."""
    last = list(PackedTokens(folder, context_length=32, epochs=1))[-1]
    padding = 32 - TOKENS % 32
    assert (last["targets"][-padding:] == IGNORED).all()
    assert (last["targets"][:-padding] != IGNORED).all()
    assert last["positions"][-padding] == 0


def test_consumers_share_the_documents_without_overlap(folder: Path) -> None:
    """Three ranks together see every document once, each about a third."""
    parts = [
        sequences(list(PackedTokens(folder, context_length=32, epochs=1, rank=rank, world_size=3))) for rank in range(3)
    ]
    assert sorted(chain.from_iterable(parts)) == as_sorted(DOCUMENTS)
    assert [len(part) for part in parts] == [20, 20, 20]


def test_epochs_are_shuffled_by_the_seed(folder: Path) -> None:
    """Another epoch and another seed give other orders of the same documents; the same seed the same rows."""
    two = sequences(list(PackedTokens(folder, context_length=TOKENS, epochs=2)))
    other = sequences(list(PackedTokens(folder, context_length=TOKENS, epochs=1, seed=1)))
    again = sequences(list(PackedTokens(folder, context_length=TOKENS, epochs=2)))
    assert two == again
    assert sorted(two[:60]) == sorted(two[60:]) == sorted(other)
    assert two[:60] != two[60:]
    assert two[:60] != other


def test_without_shuffling_documents_come_as_they_lie(folder: Path) -> None:
    """Unshuffled rows follow the index."""
    found = sequences(list(PackedTokens(folder, context_length=32, epochs=1, shuffle=False)))
    assert found == [document.tolist() for document in DOCUMENTS]


@pytest.mark.parametrize("taken", [0, 1, 13, 55, 56, 57, 90])
def test_a_restored_dataset_yields_the_same_rest(folder: Path, taken: int) -> None:
    """After any number of rows, also at an epoch's end, the state through JSON leads to the same rows."""
    dataset = PackedTokens(folder, context_length=32)
    rows = iter(dataset)
    list(islice(rows, taken))
    state = json.loads(json.dumps(dataset.state_dict()))
    restored = PackedTokens(folder, context_length=32)
    restored.load_state_dict(state)
    assert all(same(a, b) for a, b in zip(islice(restored, 70), islice(rows, 70), strict=True))


def test_loader_workers_go_on_with_the_very_next_batch(folder: Path) -> None:
    """With two workers reading ahead, the state of the batches used leads to the batches that follow."""
    dataset = PackedTokens(folder, context_length=32)
    batches = iter(DataLoader(dataset, batch_size=2, num_workers=2))
    for batch in islice(batches, 3):
        dataset.advance(batch["cursor"])
    restored = PackedTokens(folder, context_length=32)
    restored.load_state_dict(json.loads(json.dumps(dataset.state_dict())))
    expected = list(islice(batches, 6))
    found = list(islice(DataLoader(restored, batch_size=2, num_workers=2), 6))
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))
    with pytest.raises(ValueError, match="state is of 2 loader workers, this loader has 1"):
        next(iter(restored))


def test_loader_workers_share_an_epoch(folder: Path) -> None:
    """Two workers together yield every document once."""
    batches = list(DataLoader(PackedTokens(folder, context_length=32, epochs=1), batch_size=None, num_workers=2))
    parts = [[row for row in batches if row["cursor"][1] == worker] for worker in (0, 1)]
    assert sorted(chain.from_iterable(map(sequences, parts))) == as_sorted(DOCUMENTS)


def test_a_state_of_another_run_is_refused(folder: Path) -> None:
    """The error names what differs."""
    state = PackedTokens(folder, context_length=32).state_dict()
    with pytest.raises(ValueError, match="the state has context_length = 32, this dataset 16"):
        PackedTokens(folder, context_length=16).load_state_dict(state)


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    """A folder without an index is not taken for an empty one."""
    with pytest.raises(FileNotFoundError, match=r"index\.json does not exist"):
        PackedTokens(tmp_path)


def test_an_empty_split_is_named(folder: Path) -> None:
    """A split without documents is an error, not an endless wait."""
    with pytest.raises(ValueError, match="no shard of the split 'test' holds a document"):
        PackedTokens(folder, split="test")


def test_another_dtype_than_the_index_says_is_refused(folder: Path) -> None:
    """A shard of 16-bit tokens under an index of 32-bit ones is refused."""
    index = json.loads((folder / "index.json").read_bytes()) | {"dtype": "uint32"}
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"tokens must be list<item: uint32> .* got list<item: uint16>"):
        next(iter(PackedTokens(folder)))


def test_more_consumers_than_documents_are_refused(folder: Path) -> None:
    """A consumer without documents would wait for ever."""
    with pytest.raises(ValueError, match="60 documents are too few for 61 consumers"):
        next(iter(PackedTokens(folder, world_size=61)))


def test_both_widths_of_tokens_are_read(tmp_path: Path) -> None:
    """Tokens of 32 bits give the same rows as tokens of 16."""
    wide = write_shards(tmp_path / "wide", [("train", DOCUMENTS)], "uint32")
    narrow = write_shards(tmp_path / "narrow", [("train", DOCUMENTS)])
    rows = [list(PackedTokens(path, context_length=32, epochs=1)) for path in (wide, narrow)]
    assert all(same(a, b) for a, b in zip(*rows, strict=True))


def test_shards_of_a_later_result_are_refused(folder: Path) -> None:
    """Published while it is read, under the same names: what is open is read on, what is opened then is refused."""
    rows = iter(PackedTokens(folder, context_length=32, shuffle=False))
    seen = [next(rows)]
    later = write_shards(folder.parent / "later", [("train", documents(25, seed=seed)) for seed in (7, 8, 9)])
    for path in later.glob("*.arrow"):
        path.replace(folder / path.name)
    with pytest.raises(ValueError, match=r"train-00001\.arrow is damaged, or of a later result than the index"):
        seen.extend(rows)
    found = sequences(seen)
    assert 20 < len(found) <= 25
    assert found == [document.tolist() for document in DOCUMENTS[: len(found)]]


def test_an_index_that_was_read_is_the_one_that_is_followed(folder: Path) -> None:
    """Published anew between two looks, another index takes nobody along."""
    index = read_index(folder)
    write_shards(folder, [("train", documents(9, seed=7))])
    assert read_index(folder).fingerprint != index.fingerprint
    with pytest.raises(ValueError, match="of a later result"):
        next(iter(PackedTokens(index)))
