"""The generated crawl is the same every time, and what it says of itself is true."""

import random
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.config import Input
from pipeline.formats.read import read_piece
from pipeline.formats.record import Record, Skipped, Unreadable
from pipeline.plan import Piece
from tests.benchmarks.crawl import DOCUMENTS, TRUSTED, Crawl, write_files
from tests.benchmarks.crawl_texts import SHARES, Pieces, clusters, cut_pieces, draw_texts, keys, lengths, similarities
from tests.pipeline.conftest import sentence

FILES = 4  # the last is a WARC


@cache
def pieces() -> Pieces:
    """Return the halves of 3,000 English sentences and of 600 Chinese ones."""
    draw = random.Random(1)
    made = [("en", " ".join(sentence(draw) for _ in range(10))) for _ in range(300)]
    signs = [chr(0x4E00 + n) for n in range(2000)]
    return cut_pieces([*made, *[("zh", "".join(draw.choices(signs, k=20)) + "。") for _ in range(600)]])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a crawl of four files."""
    folder = tmp_path_factory.mktemp("crawl")
    write_files(folder, Crawl(pieces(), 7, FILES))
    return folder


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return the runs of five words of an English text, as deduplication defines words; all of a shorter text."""
    letters = "".join(c if c.isalnum() else " " for c in text.lower())
    words = letters.split()
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def test_a_crawl_is_the_same_every_time(written: Path, tmp_path: Path) -> None:
    """The same seed and size give the same bytes, another seed others."""
    write_files(tmp_path / "again", Crawl(pieces(), 7, FILES))
    names = sorted(path.name for path in written.glob("*.gz"))
    assert len(names) == FILES
    assert all((written / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    write_files(tmp_path / "other", Crawl(pieces(), 8, 1))
    assert (tmp_path / "other" / names[0]).read_bytes() != (written / names[0]).read_bytes()


def test_every_record_is_what_the_truth_says(written: Path) -> None:
    """Readers find each text and junk by its id, and as many unreadable records as were broken."""
    for number, path in enumerate(sorted(written.glob("*.gz"))):
        truth = pq.read_table(written / "truth" / f"{number:05d}.parquet").to_pylist()
        piece = Piece(path=str(path), relative=path.name, input=0, size=path.stat().st_size, changed=0.0)
        events = list(read_piece(piece, Input(paths=("x",)), 10**7, None))
        found = [event.source_id for event in events if isinstance(event, Record)]
        assert found == [row["id"] for row in truth if row["kind"] != "broken"]
        broken = sum(event.records for event in events if isinstance(event, Unreadable))
        assert broken == DOCUMENTS - len(found) > 0
        skipped = [event.kind for event in events if isinstance(event, Skipped)]
        assert skipped.count("request") == (DOCUMENTS if "warc" in path.name else 0)


def test_members_are_as_alike_as_the_truth_says() -> None:
    """The Jaccard similarity of plain sets of words is that of the truth, from equal texts to hardly alike ones."""
    english = cut_pieces([("en", " ".join(sentence(random.Random(n)) for _ in range(5))) for n in range(400)])
    drawn = draw_texts(english, 3, np.arange(3000), 3000)
    members = [text for text, cluster in zip(drawn.texts, drawn.cluster.tolist(), strict=True) if cluster >= 0]
    told = similarities(members, drawn.bases)
    assert len(members) > 400
    for text, base, similarity in zip(members, drawn.bases, told.tolist(), strict=True):
        one, other = shingles(text.decode()), shingles(base.decode())
        assert similarity == pytest.approx(len(one & other) / len(one | other))
    equal = np.array([text == base for text, base in zip(members, drawn.bases, strict=True)])
    assert (told[equal] == 1).all()
    assert 0.3 < equal.mean() < 0.7
    assert (told < 0.5).mean() > 0.02


def test_only_what_is_planned_is_alike() -> None:
    """Documents of no cluster share next to nothing with each other, those of one have the same base."""
    drawn = draw_texts(pieces(), 3, np.arange(2000), 2000)
    alone = [shingles(drawn.texts[i].decode()) for i in np.flatnonzero((drawn.cluster < 0) & (drawn.language == 0))]
    draw = random.Random(2)
    pairs = [draw.sample(alone, 2) for _ in range(3000)]
    assert max(len(a & b) / len(a | b) for a, b in pairs) < 0.3
    bases: dict[int, bytes] = {}
    for cluster, base in zip(drawn.cluster[drawn.cluster >= 0].tolist(), drawn.bases, strict=True):
        assert bases.setdefault(cluster, base) == base


def test_sizes_and_clusters_have_long_tails() -> None:
    """A crawl of a million documents: some have thousands of sentences, some clusters hundreds of members."""
    numbers = np.arange(1_000_000)
    count = lengths(keys(1, numbers, "document"))
    assert np.median(count) == pytest.approx(16, abs=1)
    assert count.max() > 2000
    members = clusters(1, numbers, len(numbers))
    assert (members >= 0).mean() == pytest.approx(0.2, abs=0.01)
    sizes = np.bincount(members[members >= 0])
    assert sizes.max() > 500
    assert np.median(sizes[sizes > 0]) < 5


def test_languages_are_those_with_shares() -> None:
    """What is taken from the corpus by its declared language has a share of the crawl."""
    assert set(SHARES) >= TRUSTED
    assert pieces().languages == ("en", "zh")
