"""What the rules rejected, sampled as tokens, and text that is told from it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from pipeline.document import Writer, schema, write_table
from pipeline.self_clean.counting import CountNgrams, CountTask
from pipeline.self_clean.excerpt import excerpts
from pipeline.self_clean.judges import CONTRASTS, Judges, by_ngrams
from pipeline.self_clean.rejects import SampleRejects, enough, rejects_path
from pipeline.shards import DocumentShard
from tokenizer.encode import Tokenizer
from tokenizer.train import train

GOOD = ["the river runs by the old mill and the miller counts his sacks of flour"] * 200
SPAM = ["win a prize now call this number to claim your free prize today"] * 200


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    """Return the path of a small tokenizer."""
    path = tmp_path / "tokenizer.model"
    path.write_bytes(train([*GOOD, *SPAM], 300))
    return str(path)


def shard_of(folder: Path, texts: list[str | None], languages: list[str]) -> DocumentShard:
    """Return a shard whose ingest rejected these texts."""
    ids = [f"{number * 2654435761 % 2**128:032x}" for number in range(len(texts))]
    table = {
        "id": ids,
        "source": ["web"] * len(texts),
        "language": languages,
        "text": pa.array(texts, pa.large_string()),
    }
    shard = DocumentShard("a", str(folder), 0, 0, 0)
    write_table(shard.path("rejected"), pa.table(table))
    return shard


def sampler(folder: Path, tokenizer: str, *, size: int = 10**9, longest: int = 10**6) -> SampleRejects:
    """Return the work, with no bound unless one is given."""
    return SampleRejects(str(folder / "rejects"), tokenizer, size, longest, 1)


def test_every_reject_is_taken_where_there_is_room(tmp_path: Path, tokenizer: str) -> None:
    """The record counts the tokens of each language that the token shard holds, end-of-document tokens apart."""
    shard = shard_of(tmp_path, [*SPAM[:20], "prix"], ["en"] * 20 + ["fr"])
    record = sampler(tmp_path, tokenizer)(shard)
    with pa.OSFile(rejects_path(str(tmp_path / "rejects"), "a")) as file:
        table = pa.ipc.open_file(file).read_all()
    lengths = [len(tokens) - 1 for tokens in table["tokens"].to_pylist()]
    assert record["documents"] == 21
    assert record["tokens"] == sum(record["languages"].values()) == sum(lengths)
    assert record["languages"]["fr"] == lengths[-1]


def test_a_sample_keeps_to_its_bounds(tmp_path: Path, tokenizer: str) -> None:
    """About `size` bytes are taken, the same ones again, and of a long document its begin."""
    shard = shard_of(tmp_path, list(SPAM), ["en"] * len(SPAM))
    whole = sampler(tmp_path, tokenizer)(shard)
    part = sampler(tmp_path, tokenizer, size=whole["bytes"] // 4)(shard)
    assert 0.15 < part["documents"] / whole["documents"] < 0.35
    assert sampler(tmp_path, tokenizer, size=whole["bytes"] // 4)(shard) == part
    assert sampler(tmp_path, tokenizer, longest=3)(shard)["tokens"] <= 3 * whole["documents"]


def test_rejects_without_text_are_no_negatives(tmp_path: Path, tokenizer: str) -> None:
    """Where no text of rejects is kept, nothing is counted, and no language has enough."""
    shard = shard_of(tmp_path, ["", None, ""], ["en", "en", "zh"])
    record = sampler(tmp_path, tokenizer)(shard)
    assert record["tokens"] == 0
    assert enough([record], 1) == {}


def test_a_shard_of_which_nothing_was_rejected(tmp_path: Path, tokenizer: str) -> None:
    """Its file has no row group, and its token shard no row."""
    shard = DocumentShard("a", str(tmp_path), 0, 0, 0)
    Writer(shard.path("rejected"), schema([], rejected=True)).close()
    record = sampler(tmp_path, tokenizer)(shard)
    assert record == {"documents": 0, "bytes": 0, "tokens": 0, "languages": {}}
    with pa.OSFile(rejects_path(str(tmp_path / "rejects"), "a")) as file:
        assert pa.ipc.open_file(file).read_all().num_rows == 0


def test_a_language_needs_enough_rejects() -> None:
    """Tokens of all shards count together."""
    records = [{"languages": {"en": 60, "fr": 10}}, {"languages": {"en": 50}}]
    assert enough(records, 100) == {"en": 110}


@pytest.fixture
def judges(tmp_path: Path, tokenizer: str) -> Judges:
    """Return one judge of good English and French, and what the rules rejected of English."""
    work = Tokenizer(Path(tokenizer).read_bytes())
    paths = []
    for key, texts, rejected in (("fold-0", GOOD, ("en", "fr")), ("rejects", SPAM, ("en",))):
        shard = shard_of(tmp_path / key, [*texts, *texts], ["en"] * len(texts) + ["fr"] * len(texts))
        record = sampler(tmp_path / key, tokenizer)(shard)
        task = CountTask(key, (rejects_path(str(tmp_path / key / "rejects"), "a"),), rejected, record["tokens"])
        CountNgrams(str(tmp_path / "counts"), tokenizer)(task)
        paths.append(str(tmp_path / "counts" / key / "ngrams.arrow"))
    assert work.vocab_size == 300
    return Judges(tokenizer, (paths[0],), (), paths[1])


def test_text_like_what_the_rules_rejected_lies_below_other_text(judges: Judges) -> None:
    """Good text costs more as a reject, a reject less; no rejects, no contrast; a language nobody knows has NaN."""
    found = excerpts([GOOD[0], SPAM[0], SPAM[0], SPAM[0]], judges.load_tokenizer())
    contrast = by_ngrams(judges, 0, found, ["en", "en", "fr", "xx"])[:, CONTRASTS]
    assert (contrast[0] > 0.5).all()
    assert (contrast[1] < -0.5).all()
    assert (contrast[2] == 0).all()
    assert np.isnan(contrast[3]).all()


def test_without_rejects_there_is_no_contrast(judges: Judges) -> None:
    """A run whose rules rejected too little has zeros, which tell nobody from anybody."""
    alone = Judges(judges.tokenizer, judges.counts, ())
    found = excerpts([GOOD[0], SPAM[0]], judges.load_tokenizer())
    assert (by_ngrams(alone, 0, found, ["en", "en"])[:, CONTRASTS] == 0).all()
