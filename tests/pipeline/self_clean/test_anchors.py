"""Anchors and the damage done to them."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.document import read_table, write_table
from pipeline.self_clean.anchors import (
    LEAST_BYTES,
    LONGEST,
    MATERIAL,
    GatherAnchors,
    anchor_path,
    clean,
    damage,
    make_pool,
)
from pipeline.self_clean.defects import DEFECTS, inject
from pipeline.self_clean.evaluators import Corpus
from pipeline.self_clean.folds import fold_path
from pipeline.shards import DocumentShard

KINDS = {defect.name for defect in DEFECTS}
OF = {defect.name: defect.material for defect in DEFECTS}
WORDS = "river mountain library engine teacher garden market window village doctor harbour letter kitchen".split()
OTHERS = ["Вчера мы долго шли вдоль реки и не встретили ни одного человека в этой стороне."] * 3


def rows(count: int, hosts: int = 4) -> list[dict[str, Any]]:
    """Return anchors of some hosts, no two texts alike."""
    out = []
    for number in range(count):
        draw = random.Random(number)
        lines = (" ".join(draw.choices(WORDS, k=12)) + "'s." for _ in range(6))
        host = f"host{number % hosts}" if number % 5 else ""
        text = "\n".join(lines) + f" {number}."
        out.append({"id": f"{number:032x}", "host": host, "source": "web", "fold": 1, "text": text})
    return out


def test_every_kind_at_every_severity() -> None:
    """Kinds and severities take turns, so that each has about as many anchors as the others, all of their fold."""
    found = damage(rows(9 * 3 * 8), OTHERS)
    assert {(one.kind, one.severity) for one in found} == {(kind, severity) for kind in KINDS for severity in range(3)}
    assert {one.fold for one in found} == {1}
    counts = Counter((one.kind, one.severity) for one in found)
    assert max(counts.values()) - min(counts.values()) <= 2  # damage that changes nothing is left out


def test_an_anchor_is_damaged_once_and_differs() -> None:
    """A damaged text bears its anchor's id, is not its text, and is long enough to tell anything by."""
    anchors = rows(60)
    texts = {row["id"]: row["text"] for row in anchors}
    found = damage(anchors, OTHERS)
    assert len({one.id for one in found}) == len(found) > 50
    assert all(one.text != texts[one.id] and len(one.text.encode()) >= LEAST_BYTES for one in found)
    assert [(one.id, one.text) for one in clean(anchors)] == list(texts.items())
    assert {one.severity for one in clean(anchors)} == {-1}


def test_damage_follows_from_ids_and_texts() -> None:
    """The same anchors are damaged the same again."""
    assert damage(rows(40), OTHERS) == damage(rows(40), OTHERS)


def test_a_kind_without_material_is_left_out() -> None:
    """Where there is no other language no text is mixed with one, and nothing else is missing."""
    found = damage(rows(60), [])
    assert {one.kind for one in found} == {kind for kind in KINDS if OF[kind] != "foreign"}


@pytest.mark.parametrize("others", [0, 1, 2])
def test_a_chain_is_drawn_from_two_texts_or_more(others: int) -> None:
    """One text's chain is nearly that text, which would be taught as damage: its kind is left out, no other is."""
    anchors = rows(60, hosts=60 // (others + 1))
    anchors = [{**row, "host": row["host"] or f"alone{row['id']}"} for row in anchors]
    hosts = Counter(row["host"] for row in anchors)
    kinds = {one.id: one.kind for one in damage(anchors, OTHERS)}
    assert {hosts[row["host"]] for row in anchors if kinds.get(row["id"]) == "babble_source"} <= {3}
    assert KINDS - set(kinds.values()) == (set() if others == 2 else {"babble_source"})


@pytest.mark.parametrize("count", [2, 5, 60])
def test_material_never_holds_the_document(count: int) -> None:
    """Damage is made of other anchors; of its own host's or, without a host, its source's."""
    anchors = rows(count)
    for row in anchors:
        pool = make_pool(row, anchors, OTHERS, random.Random(1))
        assert row["text"] not in pool.mixed
        assert 0 < len(pool.mixed) == len(set(pool.mixed))
        place = row["host"] or row["source"]
        near = [other for other in anchors if other is not row and (other["host"] or other["source"]) == place]
        assert set(pool.source) <= {other["text"] for other in near}
        assert len(pool.source) == min(MATERIAL, len(near))
        assert set(pool.foreign) <= set(OTHERS)


def test_a_lonely_document_has_no_material() -> None:
    """What is made of other texts is left out for a language's only anchor; what needs none is done to it."""
    (row,) = rows(1)
    pool = make_pool(row, [row], [], random.Random(1))
    assert pool.mixed == pool.source == pool.foreign == ()
    for defect in DEFECTS:
        found = {inject(row["text"], defect, severity, random.Random(1), pool) for severity in range(3)}
        assert (found == {row["text"]}) == bool(defect.material)


def gathered(folder: Path, texts: list[str], rate: float) -> tuple[dict[str, Any], Path]:
    """Gather the anchors of a shard of documents; return the record and where they are."""
    shard = DocumentShard("a", str(folder), 0, len(texts), 0)
    ids = [f"{random.Random(number).getrandbits(128):032x}" for number in range(len(texts))]
    columns = {name: ["x"] * len(texts) for name in ("source", "host")}
    languages = ["en" if number % 2 else "fi" for number in range(len(texts))]
    table = {"id": ids, "language": languages, **columns, "text": pa.array(texts, pa.large_string())}
    write_table(shard.path("documents"), pa.table(table))
    folds = pa.array([number // 2 % 2 for number in range(len(texts))], pa.int8())
    write_table(fold_path(str(folder), shard), pa.table({"fold": folds}))
    work = GatherAnchors(str(folder), Corpus((), str(folder), "", {"en": rate, "fi": rate}, 1))
    return work(shard), Path(anchor_path(str(folder), "a"))


def test_gathered_anchors_are_drawn_and_bounded(tmp_path: Path) -> None:
    """About the share asked for, of each language, none longer than LONGEST; none at all leaves no file."""
    record, path = gathered(tmp_path / "some", ["word " * (LONGEST // 4)] * 400, 0.3)
    table = read_table(str(path))
    assert len(table) == record["documents"] == sum(record["anchors"].values())
    places = zip(table["language"].to_pylist(), table["fold"].to_pylist(), strict=True)
    assert record["anchors"] == Counter(f"{language} {fold}" for language, fold in places)
    assert set(record["anchors"]) == {"en 0", "en 1", "fi 0", "fi 1"}
    assert all(15 < count < 45 for count in record["anchors"].values())
    assert {len(text) for text in table["text"].to_pylist()} == {LONGEST}
    record, path = gathered(tmp_path / "none", ["word " * 100] * 20, 0.0)
    assert (record["documents"], record["anchors"]) == (0, {})
    assert not path.exists()


def test_anchors_too_short_to_damage_are_not_counted(tmp_path: Path) -> None:
    """A language whose anchors nobody will measure must not be taken for one that has enough of them."""
    short, long = "é" * (LEAST_BYTES // 2 - 1), "é" * (LEAST_BYTES // 2)
    record, _ = gathered(tmp_path, [short, long] * 50, 1.0)
    assert record["anchors"] == {"en 0": 25, "en 1": 25}
