"""Look-alikes share a fold, and folds weigh about the same."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.document import read_table, write_table
from pipeline.self_clean.folds import AssignFolds, FoldTask, assign, read_folds
from pipeline.shards import DocumentShard


@given(arrays(np.int64, st.integers(1, 200), elements=st.integers(0, 30)), st.integers(2, 5))
def test_groups_stay_together_unless_they_are_too_large(group: np.ndarray, folds: int) -> None:
    """Documents of one group are in one fold; a group over its limit is split by document."""
    group = np.minimum.reduceat(np.arange(len(group)), np.arange(len(group)))[np.searchsorted(np.unique(group), group)]
    size = np.full(len(group), 10)
    fold = assign(group, size, np.zeros(len(group), np.int64), folds, seed=1)
    limit = size.sum() / (2 * folds)
    for number in np.unique(group):
        mine = group == number
        if size[mine].sum() <= limit:
            assert len(set(fold[mine].tolist())) == 1


def test_folds_weigh_the_same() -> None:
    """Two groups just below the limit do not meet in one fold."""
    group = np.concatenate([np.zeros(240), np.full(240, 240), np.arange(480, 1000)]).astype(np.int64)
    fold = assign(group, np.full(1000, 7), np.zeros(1000, np.int64), 2, seed=1)
    assert 450 <= (fold == 0).sum() <= 550


def test_a_language_from_one_host_is_in_every_fold() -> None:
    """A group that is all of a language is split, and its other languages stay together."""
    group = np.zeros(1000, np.int64)
    language = np.repeat([0, 1], 500)
    group[600:] = np.arange(600, 1000)
    fold = assign(group, np.ones(1000, np.int64), language, 2, seed=1)
    assert set(fold[:500].tolist()) == {0, 1}
    assert len(set(fold[500:600].tolist())) == 1


def test_folds_do_not_depend_on_anything_but_the_seed() -> None:
    """The same groups give the same folds, another seed gives others."""
    group = np.arange(20_000)
    same = [assign(group, np.ones(20_000, np.int64), group % 5, 2, seed) for seed in (1, 1, 2)]
    assert (same[0] == same[1]).all()
    assert (same[0] != same[2]).any()


def test_assignment_holds_few_bytes_a_document() -> None:
    """Beside its inputs, 24 bytes a document, the assignment holds no more than 60."""
    draw, count = np.random.default_rng(0), 100_000
    group = np.minimum(draw.integers(0, count, count), np.arange(count))
    size, language = draw.integers(1, 10_000, count), draw.integers(0, 30, count)
    tracemalloc.start()
    assign(group, size, language, 2, seed=1)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held / count < 60


def test_what_folds_hold_of_a_language_is_recorded(tmp_path: Path) -> None:
    """The bytes of each language in each fold, over all shards, also where there are none."""
    draw, shards = np.random.default_rng(1), []
    for number, count in enumerate((70, 30)):
        shard = DocumentShard(f"s{number}", str(tmp_path), 70 * number, count, 0)
        names = ["en", *draw.choice(["en", "fi"], count - 1).tolist()]
        write_table(shard.path("documents"), pa.table({"language": names}))
        write_table(shard.path("signatures"), pa.table({"bytes": draw.integers(1, 999, count)}))
        shards.append(shard)
    write_table(shards[1].path("documents"), pa.table({"language": ["und", *["en"] * 29]}))
    record = AssignFolds(str(tmp_path), tuple(shards), (), 2, 1)(FoldTask("folds", ()))
    held = dict.fromkeys((f"{name} {fold}" for name in ("en", "fi", "und") for fold in range(2)), 0)
    for shard in shards:
        columns = [read_table(shard.path(kind), [name])[name].to_pylist() for kind, name in KINDS]
        for language, size, fold in zip(*columns, read_folds(str(tmp_path), shard), strict=True):
            held[f"{language} {fold}"] += size
    assert record["summary"]["language_bytes"] == held
    assert sorted(held[f"und {fold}"] > 0 for fold in range(2)) == [False, True]
    for fold in range(2):
        assert record["summary"]["fold_bytes"][str(fold)] == sum(n for k, n in held.items() if k.endswith(str(fold)))


def test_no_array_holds_the_languages_of_all_documents(tmp_path: Path) -> None:
    """What Arrow holds at once is a shard's: an array of all languages cannot be made of 1.1 billion documents."""
    name, rows, shards = "und_" * 25, 500, []  # a long name stands for many documents
    for number in range(40):
        shard = DocumentShard(f"s{number}", str(tmp_path), rows * number, rows, 0)
        write_table(shard.path("documents"), pa.table({"language": [name] * rows}))
        write_table(shard.path("signatures"), pa.table({"bytes": np.ones(rows, np.int64)}))
        shards.append(shard)
    usual, watched = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(watched)
    try:
        AssignFolds(str(tmp_path), tuple(shards), (), 2, 1)(FoldTask("folds", ()))
    finally:
        pa.set_memory_pool(usual)
    assert 0 < watched.max_memory() < len(name) * rows * len(shards) / 2


KINDS = (("documents", "language"), ("signatures", "bytes"))
