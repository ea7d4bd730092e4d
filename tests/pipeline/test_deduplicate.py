"""Deduplication, from document shards to sidecars: what is linked, who is kept, in any order and any sharding."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from rich.console import Console

from dedup.clusters import CANDIDATE, EDGE
from pipeline import clean, storage, verifying
from pipeline.config import Config, ConfigError, Deduplicate
from pipeline.deduplicate import seconds
from pipeline.document import Writer, conform, read_table, schema
from pipeline.earlier import Earlier, find_earlier
from pipeline.exchange import read_slices
from pipeline.execute import do_task
from pipeline.line import Line
from pipeline.linking import PAIR
from pipeline.progress import display
from pipeline.publish import _cut
from pipeline.shards import DocumentShard
from pipeline.sign import normal_url, sign, signature_schema
from pipeline.stage import Manifest, Stage, write_manifest
from pipeline.verdicts import read_cuts, read_kept, sidecar_path

SMALL = Deduplicate(shingle_words=2, memory_bytes=20_000)  # ten documents a group, several partitions
SIGNAL = pa.field("test.signal", pa.float64())
Row = dict[str, Any]


@dataclass(slots=True)
class Inline:
    """An engine that does every task here and now, in a given order: no Beam, no processes."""

    seed: int = 0

    def run(self, stage: Stage, work: Any, tasks: Sequence[Any], *_: Any, **__: Any) -> Manifest:
        """Run a stage to its manifest."""
        for task in random.Random(self.seed).sample(list(tasks), len(tasks)):
            do_task(task, work, stage.folder)
        return write_manifest(stage, 0.0)


@dataclass(slots=True)
class Found:
    """What a run left."""

    folder: Path
    judged: Manifest
    clustered: Manifest
    shards: list[DocumentShard]
    verdicts: dict[str, Row] = field(default_factory=dict)  # of rejected documents, by id


def identity(name: str) -> str:
    """Return an id as ingest makes them."""
    return blake2b(name.encode(), digest_size=16).hexdigest()


def write_shards(folder: Path, documents: Sequence[Row], size: int, settings: Deduplicate) -> list[DocumentShard]:
    """Write document and signature shards of a few documents each."""
    shards: list[DocumentShard] = []
    wanted = schema([SIGNAL], rejected=False)
    for first in range(0, len(documents), size):
        rows = [{"language": "en", "host": "", "url": "", "date": "", **d} for d in documents[first : first + size]]
        table = conform(pa.Table.from_pylist(rows, schema=pa.schema(list(wanted))), wanted)
        shard = DocumentShard(
            f"{len(shards):05d}-000", str(folder), first, len(rows), sum(len(r["text"]) for r in rows)
        )
        for kind, columns, value in (
            ("documents", wanted, table),
            ("signatures", signature_schema(settings), sign(table, settings)),
        ):
            writer = Writer(shard.path(kind), columns)
            for start in range(0, len(value), 7):  # several row groups
                writer.write(value.slice(start, 7))
            writer.close()
        shards.append(shard)
    return shards


def deduplicate(
    folder: Path,
    documents: Sequence[Row],
    settings: Deduplicate = SMALL,
    size: int = 20,
    earlier: Sequence[Earlier] = (),
    seed: int = 0,
) -> Found:
    """Run the stages over some documents."""
    shards = write_shards(folder / "stages/ingest/made", documents, size, settings)
    ingested = Manifest(Stage("ingest", "made", str(folder)), (), {}, 0.0, 0.0)
    engine: Any = Inline(seed)
    with display(Console(quiet=True)) as shown:
        line = Line(Config(deduplicate=settings), str(folder), engine, shown)
        clustered, judged = clean.deduplicate(line, ingested, shards, earlier)
    found = Found(folder, judged, clustered, shards)
    for shard in shards:
        ids = read_table(shard.path("signatures"), ["id"])["id"].to_pylist()
        rows = read_table(sidecar_path(judged.stage.folder, shard)).to_pylist()
        found.verdicts.update({i: row for i, row in zip(ids, rows, strict=True) if row["rejected"]})
    return found


def corpus(seed: int = 3, originals: int = 30) -> list[Row]:
    """Return originals of 40 words, each with copies that differ in none to twelve of them, and a few odd texts."""
    draw = random.Random(seed)
    texts = []
    for _ in range(originals):
        words = [f"w{draw.randrange(900)}" for _ in range(40)]
        texts.append(" ".join(words))
        for changes in draw.sample((0, 1, 2, 4, 8, 12), 3):
            copy = list(words)
            for at in draw.sample(range(40), changes):
                copy[at] = f"x{draw.randrange(900)}"
            texts.append(" ".join(copy))
    texts += ["", "", "...", "!?", "one", "One!", "one two"]
    documents: list[Row] = [{"id": identity(f"{seed}-{n}"), "text": text} for n, text in enumerate(texts)]
    for document in documents:
        document["test.signal"] = draw.choice([None, float("nan"), 0.5, 1.5, 2.5])
        document["date"] = draw.choice(["", "2020-05-01", "2019-01-01T10:00:00Z", "Tue, 01 Jan 2019 10:00:00 GMT", "?"])
        document["url"] = draw.choice(["", f"http://a.example/{draw.randrange(60)}"])
    return documents


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return the pairs of words of a text."""
    words = ["".join(c for c in word.lower() if c.isalnum()) for word in text.split()]
    words = [word for word in words if word]
    return set(itertools.pairwise(words)) if len(words) > 1 else {(word,) for word in words}


def similarity(left: str, right: str) -> float:
    """Return the exact Jaccard similarity of two texts."""
    a, b = shingles(left), shingles(right)
    return len(a & b) / len(a | b) if a | b else float(left == right)


MODES = {
    "estimate": SMALL,
    "exact": replace(SMALL, verify="exact"),
    "all keys, longest": replace(SMALL, exact=("text", "normalised", "url"), keep="longest"),
    "earliest": replace(SMALL, keep="earliest", verify="exact"),
    "signal": replace(SMALL, keep="test.signal"),
    "one round": replace(SMALL, star_rounds=1, exact=()),
    "lines": replace(SMALL, lines="line"),
}


@pytest.mark.parametrize("name", MODES)
def test_order_and_shards_change_nothing(tmp_path: Path, name: str) -> None:
    """Every verdict, link and number is the same for any order of documents, shards, tasks and memory."""
    documents, settings = corpus(), MODES[name]
    expected = deduplicate(tmp_path / "first", documents, settings, size=200)
    assert len(expected.verdicts) > 30
    for seed, size in ((1, 5), (2, 37)):
        mixed = random.Random(seed).sample(documents, len(documents))
        more = replace(settings, memory_bytes=settings.memory_bytes * (1 + 99 * (seed - 1)))
        found = deduplicate(tmp_path / str(seed), mixed, more, size, seed=seed)
        assert found.verdicts == expected.verdicts
    assert expected.judged.summary["kept"]["documents"] == {"en": len(documents) - len(expected.verdicts)}


@pytest.mark.parametrize("name", ["estimate", "exact"])
def test_candidates_that_are_compared_together_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One by one, a few groups' or all at once: the same rows of edges, of what is unsure and of what failed."""
    found = []
    for at_once, held in ((1, 0), (7, 0.001), (10**9, 1)):
        monkeypatch.setattr(verifying, "AT_ONCE", at_once)
        monkeypatch.setattr(verifying, "HELD", held)
        run = deduplicate(tmp_path / str(at_once), corpus(), MODES[name], size=20)
        found.append({kind: rows_of(run.folder, kind) for kind in ("edges", "unsure", "failed")})
        assert len(list(run.folder.glob("stages/deduplicate.attach-1/*/candidates/*.rows"))) > 5
    assert found[0] == found[1] == found[2]
    assert all(found[0][kind] for kind in ("edges", "failed"))
    assert bool(found[0]["unsure"]) == (name == "exact")


def rows_of(folder: Path, kind: str) -> bytes:
    """Return the rows of a kind that verifying wrote, in the order of the files, whatever their slices."""
    paths = sorted(folder.glob(f"stages/deduplicate.verify-*/*/{kind}/*.rows"))
    parts = [part.tobytes() for path in paths for part in read_slices(str(path), KINDS_OF_ROWS[kind])]
    return b"".join(parts)


KINDS_OF_ROWS = {"edges": EDGE, "unsure": CANDIDATE, "failed": PAIR}


@pytest.mark.parametrize("name", ["estimate", "exact", "earliest", "all keys, longest"])
def test_every_link_is_what_it_says(tmp_path: Path, name: str) -> None:
    """A link's value is its similarity, at least the threshold, exactly so in exact mode; links lead to the keeper."""
    documents, settings = corpus(), MODES[name]
    text = {d["id"]: d["text"] for d in documents}
    verdicts = deduplicate(tmp_path, documents, settings).verdicts
    for identity_, row in verdicts.items():
        exact = similarity(text[identity_], text[row["linked_to"]])
        assert row["value"] >= row["threshold"]
        assert row["duplicate_of"] not in verdicts
        assert row["cluster"] == row["duplicate_of"]
        assert row["duplicate_in"] is None
        if row["reason"] == "near_duplicate":
            assert row["threshold"] == settings.threshold
            assert row["value"] == pytest.approx(exact, abs=1e-6 if settings.verify == "exact" else 0.25)
        if row["reason"] == "exact_duplicate":
            assert text[identity_] == text[row["linked_to"]]
        assert row["similarity"] == pytest.approx(similarity(text[identity_], text[row["duplicate_of"]]), abs=0.25)
        at = identity_
        for _ in range(len(documents)):
            at = verdicts[at]["linked_to"] if at in verdicts else at
        assert at == row["duplicate_of"]


def test_alike_documents_end_in_one_cluster(tmp_path: Path) -> None:
    """Pairs of similarity 0.9 and more are in one cluster, and in exact mode clusters are linked by true edges only."""
    documents = corpus()
    for settings in (SMALL, replace(SMALL, verify="exact")):
        verdicts = deduplicate(tmp_path / settings.verify, documents, settings).verdicts
        cluster = {d["id"]: verdicts.get(d["id"], {}).get("cluster", d["id"]) for d in documents}
        for one, other in itertools.combinations(documents, 2):
            if similarity(one["text"], other["text"]) >= 0.9:
                assert cluster[one["id"]] == cluster[other["id"]]


def test_the_precision_of_estimates_is_measured(tmp_path: Path) -> None:
    """Of the accepted links between near-duplicates the share that is true is counted, as the texts say it is."""
    documents = corpus()
    text = {d["id"]: d["text"] for d in documents}
    loose = replace(SMALL, threshold=0.6, values=8, bands=8, rows=1)
    verdicts = deduplicate(tmp_path, documents, loose).verdicts
    near = [(i, row["linked_to"]) for i, row in verdicts.items() if row["reason"] == "near_duplicate"]
    true = sum(similarity(text[one], text[other]) >= 0.6 for one, other in near)
    (manifest,) = tmp_path.glob("stages/deduplicate.precision/*/manifest.json")
    found = orjson.loads(manifest.read_bytes())["summary"]["precision"]
    assert found == {"edges": len(near), "true": true}
    assert 0 < true < len(near)


def test_a_failed_member_finds_another_centre(tmp_path: Path) -> None:
    """Members of a bucket that are not like its centre are compared with each other in the next round."""
    shared = [f"s{i}" for i in range(30)]
    texts = [" ".join([*shared, *(f"{kind}{i}" for i in range(40))]) for kind in "aabbcc"]
    documents = [{"id": identity(str(n)), "text": text + f" end{n}"} for n, text in enumerate(texts)]
    wide = replace(SMALL, bands=112, rows=1, exact=())
    rejected = {rounds: len(deduplicate(tmp_path / str(rounds), documents, replace(wide, star_rounds=rounds)).verdicts)
                for rounds in (1, 3)}  # fmt: skip
    assert rejected[3] == 3
    assert rejected[1] <= 3


def test_what_no_round_compared_is_counted(tmp_path: Path) -> None:
    """In each hash that all share four are left after one star, and would make three candidates; after three none."""
    shared = [f"s{i}" for i in range(30)]
    texts = [" ".join([*shared, *(f"{kind}{i}" for i in range(40))]) for kind in "aabbcc"]
    documents = [{"id": identity(str(n)), "text": text + f" end{n}"} for n, text in enumerate(texts)]
    for rounds in (1, 3):
        deduplicate(tmp_path / str(rounds), documents, replace(SMALL, bands=112, rows=1, exact=(), star_rounds=rounds))
    (manifest,) = tmp_path.glob("1/stages/deduplicate.left/*/manifest.json")
    left = orjson.loads(manifest.read_bytes())["summary"]["left"]["candidates"]
    assert left >= 3
    later = tmp_path.glob("3/stages/deduplicate.left/*/manifest.json")
    assert all(orjson.loads(one.read_bytes())["summary"]["left"]["candidates"] == 0 for one in later)


@pytest.mark.parametrize("keep", ["smallest_id", "longest", "earliest", "newest", "test.signal"])
def test_the_policy_chooses_the_keeper(tmp_path: Path, keep: str) -> None:
    """Of each cluster the first by policy, then by id, is kept; what has no value comes last."""
    documents = corpus()
    known = {d["id"]: d for d in documents}

    def rank(identity_: str) -> tuple[float, str]:
        d = known[identity_]
        value = d["test.signal"]
        missing = value is None or value != value  # noqa: PLR0124 - not a number
        order = {
            "smallest_id": 0.0,
            "longest": -len(d["text"].encode()),
            "earliest": seconds(d["date"]),
            "newest": -seconds(d["date"]) if seconds(d["date"]) < float("inf") else float("inf"),
            "test.signal": float("inf") if missing else -value,
        }
        return order[keep], identity_

    verdicts = deduplicate(tmp_path, documents, replace(SMALL, keep=keep)).verdicts
    clusters: dict[str, list[str]] = {}
    for identity_, row in verdicts.items():
        clusters.setdefault(row["duplicate_of"], [row["duplicate_of"]]).append(identity_)
    assert len(clusters) > 15
    for keeper, members in clusters.items():
        assert keeper == min(members, key=rank)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("1970-01-01", 0.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-02T00:00:00Z", 86400.0),
        ("Thu, 01 Jan 1970 00:00:05 GMT", 5.0),
        ("", float("inf")),
        ("yesterday", float("inf")),
        ("9999999999-01-01", float("inf")),
    ],
)
def test_dates_are_read_where_they_can_be(date: str, expected: float) -> None:
    """ISO 8601 and RFC 5322 dates are seconds since 1970; what is no date comes last."""
    assert seconds(date) == expected


def test_equal_urls_and_words_are_linked_where_that_is_asked_for(tmp_path: Path) -> None:
    """The three exact keys, each alone; texts without words and documents without a URL are alike in none."""
    rows = [
        ("The quick fox", "http://www.a.example/x/"),
        ("the QUICK fox!", "https://b.example"),
        ("another thing", "https://a.example/x#part"),
        ("...", ""),
        ("!!!", ""),
        ("The quick fox", ""),
    ]
    documents = [{"id": identity(str(n)), "text": text, "url": url} for n, (text, url) in enumerate(rows)]
    name = {d["id"]: n for n, d in enumerate(documents)}
    expected = {
        (): {},
        ("text",): {"exact_duplicate": {frozenset({0, 5})}},
        ("normalised",): {"same_words": {frozenset({0, 1, 5})}},
        ("url",): {"same_url": {frozenset({0, 2})}},
    }
    for keys, clusters in expected.items():
        strict = replace(SMALL, exact=keys, threshold=1.0, verify="exact", shingle_words=9)
        found: dict[str, set[int]] = {}
        for identity_, row in deduplicate(tmp_path / "-".join(("k", *keys)), documents, strict).verdicts.items():
            if row["reason"] != "near_duplicate":
                found.setdefault(row["reason"], set()).update({name[identity_], name[row["duplicate_of"]]})
        assert {reason: {frozenset(members)} for reason, members in found.items()} == clusters


def test_urls_are_compared_without_what_does_not_count() -> None:
    """Scheme, www., fragment and the slash at the end do not make two URLs differ."""
    assert normal_url("HTTP://www.a.example/b/#c") == normal_url("https://a.example/b") == "a.example/b"
    assert normal_url("http://a.example/b?c=1") != normal_url("http://a.example/b")
    assert normal_url("http://A.example/b?utm_source=x") == normal_url("http://a.example/b/?ref=y") == "a.example/b"
    assert normal_url("http://a.example/B") != normal_url("http://a.example/b")
    assert normal_url(None) == normal_url("") == ""


def finished(folder: Path) -> None:
    """Give a folder what makes it the output of a finished run."""
    (folder / "run.json").write_bytes(orjson.dumps({"fingerprints": {"ingest": "made"}}))
    (folder / "_SUCCESS").touch()


@pytest.mark.parametrize("keep", ["smallest_id", "longest"])
def test_a_new_crawl_is_compared_with_an_earlier_run(tmp_path: Path, keep: str) -> None:
    """What duplicates an earlier document names it and its run; what is new is judged as in a run of its own."""
    settings = replace(SMALL, keep=keep)
    old, fresh = corpus(1), corpus(2)
    copies = [{**d, "id": identity("copy" + d["id"]), "text": d["text"] + " more"} for d in old[:40:5]]
    deduplicate(tmp_path / "old", old, settings)
    finished(tmp_path / "old")
    for path in (tmp_path / "old/stages/ingest/made/documents").iterdir():
        path.unlink()  # no text is read again
    earlier = find_earlier([str(tmp_path / "old")], Config(deduplicate=settings))
    found = deduplicate(tmp_path / "new", [*fresh, *copies], settings, earlier=earlier).verdicts
    known = {d["id"] for d in old}
    odd = {d["id"] for d in fresh if len(d["text"]) < 10}
    for d in copies:
        assert found[d["id"]]["duplicate_of"] in known
        assert found[d["id"]]["duplicate_in"] == str(tmp_path / "old")
    alone = deduplicate(tmp_path / "alone", fresh, settings).verdicts
    own = {d["id"] for d in fresh} - odd
    assert {i: row for i, row in found.items() if i in own} == {i: row for i, row in alone.items() if i in own}
    assert all(found[i]["duplicate_in"] is not None for i in odd if i in found)
    mixed = deduplicate(tmp_path / "mixed", [*copies, *fresh[::-1]], settings, size=9, earlier=earlier).verdicts
    assert mixed == found


def test_every_earlier_member_of_a_bucket_is_tried(tmp_path: Path) -> None:
    """A new document unlike the first earlier one in its bucket is compared with the others."""
    shared = [f"s{i}" for i in range(30)]
    kinds = {kind: " ".join([*shared, *(f"{kind}{i}" for i in range(40))]) for kind in "abc"}
    wide = replace(SMALL, bands=112, rows=1, exact=())
    deduplicate(tmp_path / "old", [{"id": identity(k), "text": text} for k, text in kinds.items()], wide)
    finished(tmp_path / "old")
    earlier = find_earlier([str(tmp_path / "old")], Config(deduplicate=wide))
    fresh = [{"id": identity("new" + k), "text": text + " end"} for k, text in kinds.items()]
    found = deduplicate(tmp_path / "new", fresh, wide, earlier=earlier).verdicts
    assert {i: row["duplicate_of"] for i, row in found.items()} == {identity("new" + k): identity(k) for k in kinds}


def test_an_earlier_run_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """No run, no signatures, other settings and exact verification each say what is wrong."""
    config = Config(deduplicate=SMALL)
    with pytest.raises(ConfigError, match="is not the output folder of a finished run"):
        find_earlier([str(tmp_path / "nowhere")], config)
    deduplicate(tmp_path / "old", corpus()[:4])
    with pytest.raises(ConfigError, match="is not the output folder of a finished run"):
        find_earlier([str(tmp_path / "old")], config)
    finished(tmp_path / "old")
    assert len(find_earlier([str(tmp_path / "old") + "/"], config)) == 1
    other = Config(deduplicate=replace(SMALL, shingle_words=3, seed=9))
    with pytest.raises(ConfigError, match=r"other settings: seed 1 there, 9 here, shingle_words 2 there, 3 here"):
        find_earlier([str(tmp_path / "old")], other)
    with pytest.raises(ConfigError, match=r"other settings: exact \['text'\] there, \[\] here"):
        find_earlier([str(tmp_path / "old")], Config(deduplicate=replace(SMALL, exact=())))
    with pytest.raises(ConfigError, match="--against has signatures and no texts"):
        find_earlier([str(tmp_path / "old")], Config(deduplicate=replace(SMALL, verify="exact")))
    storage.remove(str(tmp_path / "old/stages/ingest/made/signatures"))
    with pytest.raises(ConfigError, match=r'kept no signatures; run it with \[output\] keep_stages = "signatures"'):
        find_earlier([str(tmp_path / "old")], config)


def pages(lines: str) -> list[Row]:
    """Return pages that share lines: a header, a footer, some with nothing of their own, one that repeats itself."""
    draw = random.Random(5)
    join = "\n" if lines == "line" else "\n\n"
    documents = []
    for n in range(40):
        own = [f"line {draw.randrange(60)} of {draw.randrange(2)}" for _ in range(draw.randrange(4))]
        parts = [" Header ", *own, "footer" if n % 2 else "FOOTER", *own[:1]]
        documents.append({"id": identity(str(n)), "text": join.join(parts) + draw.choice(["", "\n", "\n\n"])})
    return documents


@pytest.mark.parametrize("lines", ["line", "paragraph"])
@pytest.mark.parametrize("size", [3, 50])
def test_every_line_stays_once(tmp_path: Path, lines: str, size: int) -> None:
    """What is kept holds each line once, at its owner; kept and cut text make up the original; the rest is rejected."""
    documents = pages(lines)
    text = {d["id"]: d["text"] for d in documents}
    settings = replace(SMALL, lines=lines, threshold=1.0, exact=(), line_sentences=0)
    found = deduplicate(tmp_path, documents, settings, size)
    kept: dict[str, str] = {}
    for shard in found.shards:
        for _, table in read_kept(shard, (found.judged.stage.folder,), ("id", "text")):
            kept.update(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    keys = [key for t in kept.values() for key in (line.strip().lower() for line in t.split("\n")) if key]
    assert len(keys) == len(set(keys))
    judged = {i: row["reason"] for i, row in found.verdicts.items()}
    entered = [i for i in text if judged.get(i) != "near_duplicate"]
    assert set(keys) == {key for i in entered for key in (line.strip().lower() for line in text[i].split("\n")) if key}
    owners = {key: min(i for i in entered if key in _keys(text[i])) for key in keys}
    for i in entered:
        left = kept.get(i, "")
        assert _keys(left) == [key for key in dict.fromkeys(_keys(text[i])) if owners[key] == i]
        assert (i in kept) == (judged.get(i) != "lines_of_others")
    assert "lines_of_others" in judged.values()


def _keys(text: str) -> list[str]:
    return [key for key in (line.strip().lower() for line in text.split("\n")) if key]


def test_published_texts_lack_what_was_cut_and_say_so(tmp_path: Path) -> None:
    """The spans are those of the text before; the bytes that are gone are counted."""
    documents = pages("line")
    settings = replace(SMALL, lines="line", threshold=1.0, exact=(), line_sentences=0)
    found = deduplicate(tmp_path, documents, settings)
    text = {d["id"]: d["text"].encode() for d in documents}
    folder = found.judged.stage.folder
    for shard in found.shards:
        cuts = read_cuts(shard, (folder,))
        table = read_table(shard.path("documents"), ["id", "text"]).append_column("cut_spans", cuts)
        for row in _cut(table).to_pylist():
            whole = text[row["id"]]
            edges = [0, *row["cut_spans"], len(whole)]
            left = b"".join(whole[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))
            if row["cut_spans"] and row["cut_spans"][-1] == len(whole):
                left = left.rstrip(b"\n")
            assert row["text"].encode() == left
            assert row["cut_bytes"] == len(whole) - len(left)
    cut = found.judged.summary["cut"]
    assert cut["lines"] > 40
    total = sum(len(t) for t in text.values())
    sizes = found.judged.summary["kept"]["bytes"]["en"]
    assert 0 < sizes < total - 40 * len("footer")


TFDS_PAGES = (
    """This line comes twice.
This line comes once.
Here it is first and so it stays.
This comes again in this page.
There is a sentence between.
This comes again in this page.
this Comes AGAIN in this page. """,
    """This is a second line of its own.
It is not enough, though the other differs in capitals.
this line Comes twice. """,
    """This is a third line of its own.
This line comes twice.
That one goes from here. But the page stays, since there are three sentences left.""",
    """This is a fourth line of its own.
This line comes twice.
That one goes from here, and so does the page, since there are too few sentences left.""",
)


def cut_pages(folder: Path, texts: Sequence[str], languages: Sequence[str], fewest: int) -> tuple[list[str], list[Row]]:
    """Return the texts that stay and the verdicts on the others, of pages whose ids are in order."""
    names = [f"{i:032x}" for i in range(len(texts))]
    documents = [{"id": i, "text": t, "language": c} for i, t, c in zip(names, texts, languages, strict=True)]
    settings = replace(SMALL, lines="line", threshold=1.0, exact=(), line_sentences=fewest)
    found = deduplicate(folder, documents, settings)
    kept: list[str] = []
    for shard in found.shards:
        for _, table in read_kept(shard, (found.judged.stage.folder,), ("id", "text")):
            kept += table["text"].to_pylist()
    return kept, [{"id": i, **found.verdicts[i]} for i in names if i in found.verdicts]


def test_tfds_remove_duplicate_text(tmp_path: Path) -> None:
    """A line stays in the first page that has it, and there once; pages with fewer than three sentences left go."""
    kept, rejected = cut_pages(tmp_path, TFDS_PAGES, ["en"] * 4, 3)
    first = "\n".join(TFDS_PAGES[0].split("\n")[:5])
    assert kept == [first, TFDS_PAGES[2].replace("This line comes twice.\n", "")]
    said = [(row["id"][-1], row["reason"], row["value"], row["threshold"]) for row in rejected]
    assert said == [("1", "too_few_sentences_left", 2.0, 3.0), ("3", "too_few_sentences_left", 2.0, 3.0)]


def test_sentences_left_are_asked_of_pages_that_lose_lines(tmp_path: Path) -> None:
    """A short page that loses nothing stays, and a page in a script without marks; 0 asks for none."""
    texts = ["One line. Alone.", "Twice here.\nAnd more.", "Twice here.\nA last one.", "Twice here.\nไม่มีจุด"]
    languages = ["en", "en", "en", "th"]
    kept, rejected = cut_pages(tmp_path / "three", texts, languages, 3)
    assert kept == [texts[0], texts[1], "ไม่มีจุด"]
    assert [(row["id"][-1], row["value"]) for row in rejected] == [("2", 1.0)]
    kept, rejected = cut_pages(tmp_path / "any", texts, languages, 0)
    assert (len(kept), rejected) == (4, [])
