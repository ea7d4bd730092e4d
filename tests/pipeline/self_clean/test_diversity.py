"""What a round's verdicts would leave of phrases, words and sources."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from pipeline.config import SelfClean
from pipeline.self_clean.diversity import PHRASE, count_tokens, describe, divergence, entropy
from pipeline.self_clean.round import guards
from pipeline.shards import DocumentShard
from pipeline.summary import OTHERS, Summary, merge
from pipeline.token_shards import token_schema, write_arrow

SCHEMA = token_schema(np.uint16)
counts = st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 100), min_size=1)


@given(counts, counts)
def test_divergence_is_that_of_jensen_and_shannon(a: dict[str, int], b: dict[str, int]) -> None:
    """As scipy has it, in bits; the same both ways, and nothing between counts in the same proportions."""
    names = sorted({*a, *b})
    p, q = ([one.get(name, 0) for name in names] for one in (a, b))
    assert divergence(a, b) == pytest.approx(jensenshannon(p, q, 2) ** 2, abs=1e-9)
    assert divergence(a, b) == pytest.approx(divergence(b, a), abs=1e-12)
    assert divergence(a, {name: 3 * n for name, n in a.items()}) == pytest.approx(0, abs=1e-12)


def test_divergence_from_nothing_is_none() -> None:
    """A corpus without tokens has no shares to shift; one without a word in common shifts by a bit."""
    assert divergence({}, {"a": 1}) == divergence({"a": 1}, {}) == divergence({}, {}) == 0
    assert divergence({"a": 5}, {"b": 9}) == pytest.approx(1)


@given(counts)
def test_entropy_is_that_of_shannon(numbers: dict[str, int]) -> None:
    """The bits that name a draw: 0, not -0, for one source, the logarithm for equal ones; what is none adds none."""
    total = sum(numbers.values())
    expected = math.fsum(-n / total * math.log2(n / total) for n in numbers.values())
    assert entropy({**numbers, "none": 0}) == pytest.approx(expected, abs=1e-12)
    assert math.copysign(1, entropy({"one": 7})) == 1
    assert entropy({str(n): 7 for n in range(8)}) == pytest.approx(3)
    assert entropy({}) == 0


def draw_tokens(seed: int, count: int, size: int) -> dict[str, list[int]]:
    """Return documents of tokens by id."""
    draw = np.random.default_rng(seed)
    return {f"{seed}-{number}": draw.integers(0, 5_000, size).tolist() for number in range(count)}


def write(folder: Path, name: str, documents: dict[str, list[int]]) -> None:
    """Write a token shard of the sample, whose languages the ids begin with: "fi ..."; others are English."""
    rows = [
        {"id": id_, "source": "", "language": id_.partition(" ")[0] if " " in id_ else "en", "tokens": tokens}
        for id_, tokens in documents.items()
    ]
    write_arrow(str(folder / name / "a.arrow"), [pa.Table.from_pylist(rows, schema=SCHEMA)], SCHEMA)


def sampled(folder: Path, parts: dict[str, dict[str, list[int]]], gone: set[str]) -> Summary:
    """Return the counts of a shard's samples."""
    for name in ("fold-0", "more-0", "fold-1", "more-1"):
        write(folder, name, parts.get(name, {}))
    return count_tokens(str(folder), DocumentShard("a", "", 0, 0, 0), 2, gone)


def test_what_is_rejected_is_counted_before_and_not_after(tmp_path: Path) -> None:
    """Tokens, words and phrases of each document once, however many judges it trains; after, without the rejected."""
    first, second = draw_tokens(1, 20, 3_000), draw_tokens(2, 10, 3_000)
    parts = {"fold-0": first, "more-1": {**second, **first}}
    gone = set(list(first)[:5]) | {"never sampled"}
    both = sampled(tmp_path / "both", parts, gone)
    assert both["before"]["tokens"] == 30 * 3_000
    assert both["after"]["tokens"] == 25 * 3_000
    assert both["languages"]["en"]["documents"] == 30
    for when in ("before", "after"):
        assert sum(both["languages"]["en"][when].values()) == both[when]["tokens"]
    left = {id_: tokens for id_, tokens in {**first, **second}.items() if id_ not in gone}
    only = sampled(tmp_path / "only", {"more-0": left}, set())
    assert only["before"] == only["after"] == both["after"]
    assert only["languages"]["en"]["after"] == both["languages"]["en"]["after"]
    phrases = both["before"]["phrases"]
    assert 0.5 < sum(phrases.values()) / (30 * (3_000 - PHRASE + 1) / 1024) < 1.5
    assert sum((Counter(phrases) - Counter(both["after"]["phrases"])).values()) > 0


def test_counts_of_shards_add_up(tmp_path: Path) -> None:
    """Phrases are drawn by what they are, so two shards together have the counts of one that holds both."""
    first, second = draw_tokens(3, 10, 3_000), draw_tokens(4, 10, 3_000)
    parts = [sampled(tmp_path / name, {"fold-0": one}, set()) for name, one in (("a", first), ("b", second))]
    assert merge(parts) == sampled(tmp_path / "both", {"fold-0": {**first, **second}}, set())


def test_a_phrase_counts_once_among_the_distinct(tmp_path: Path) -> None:
    """Rejecting one of two copies keeps every phrase; rejecting both loses theirs alone."""
    up, down = list(range(4_000)), list(range(3_999, -1, -1))
    corpus = {"a": up, "b": up, "c": down, "d": down}
    half = describe(sampled(tmp_path / "half", {"fold-0": corpus}, {"a", "c"}), {}, 1)
    assert half["phrases_kept"] == 1
    assert half["tokens_kept"] == 0.5
    assert half["vocabulary_shift"] == 0
    all_of_one = describe(sampled(tmp_path / "one", {"fold-0": corpus}, {"a", "b"}), {}, 1)
    assert 0 < all_of_one["phrases_kept"] < 1


def zipf(seed: int, count: int, own: float = 0.0) -> list[list[int]]:
    """Return documents of 400 tokens: words as they come in a language, a share of them of a register of its own."""
    draw, ranks = np.random.default_rng(seed), np.arange(8_000)
    share = 1 / (10 + ranks)
    tokens = draw.choice(ranks, (count, 400), p=share / share.sum())
    return np.where(draw.random(tokens.shape) < own, tokens[:, ::-1] // 3 + 5_000, tokens).tolist()


def corpus_of_two() -> dict[str, list[int]]:
    """Return 2,000 English and 300 Finnish documents, a tenth of these by one publisher, with words of their own."""
    documents = [*zipf(1, 2_000), *zipf(2, 270), *zipf(3, 30, own=0.3)]
    names = [f"en {n}" for n in range(2_000)] + [f"fi {n}" for n in range(270)] + [f"fi own {n}" for n in range(30)]
    return dict(zip(names, documents, strict=True))


def test_the_guard_lets_a_tail_go_and_no_register(tmp_path: Path) -> None:
    """A twentieth of each language may go; a tenth of a small one, all of one kind, may not, little as it is of all."""
    settings, corpus = SelfClean(), corpus_of_two()
    tail = {f"en {n}" for n in range(100)} | {f"fi {n}" for n in range(15)}
    register = {name for name in corpus if "own" in name}
    found = [
        sampled(tmp_path / name, {"fold-0": corpus}, gone) for name, gone in (("tail", tail), ("register", register))
    ]
    kept, stopped = (describe(one, {}, settings.guard_documents) for one in found)
    assert guards(kept, settings) == []
    assert stopped["shifted_most"] == "fi"
    assert guards(stopped, settings)[0].startswith("the vocabulary of fi would shift by 0.0")
    of_all = [merge(cell[when] for cell in found[1]["languages"].values()) for when in ("before", "after")]
    assert divergence(*of_all) < settings.max_vocabulary_shift
    assert describe(found[1], {}, 301)["shifted_most"] == "en"


def test_sources_lose_entropy_when_one_is_left() -> None:
    """Entropies are of bytes by source; what names beyond the largest were folded into counts for neither."""
    cell = {"documents": 1, "bytes": 100, "rejected": 0, "rejected_bytes": 0}
    sources = {"a": cell, "b": {**cell, "rejected": 1, "rejected_bytes": 100}}
    found = describe({}, {**sources, OTHERS: {**cell, "bytes": 900}}, 1)
    assert (found["source_entropy_before"], found["source_entropy_after"]) == (1, 0)
    assert (found["tokens_kept"], found["phrases_kept"], found["vocabulary_shift"]) == (0, 0, 0)
