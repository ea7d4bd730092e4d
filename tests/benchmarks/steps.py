"""What the steps url, pii and classifier cost, and a classifier against the fastText library on the same machine.

    make bench-steps PEERS=~/peers/bin/python
    LUSTRATE_DATA=../data python -m tests.benchmarks.steps --peers ~/peers/bin/python

CPU seconds of one core over demo_corpus as documents, a thousand at a time, as ingest hands them over. The step url has
lists made for the purpose: 100,000 domains, 400 words and 400 parts, of which none is found. The classifier is of words
and pairs of them, trained here on the messages of junk/ (ham and spam). The library, fastText 0.9.3 in the
environment of --peers, reads the same texts, line feeds as spaces, in turn with us on the same core.
"""

import argparse
import gzip
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from pipeline import classify, judge_urls
from pipeline.config import Classifier, Pii, Url
from pipeline.document import DOCUMENT
from pipeline.fasttext_training import train
from pipeline.mask_pii import HidePii
from pipeline.quality_samples import Sample, line_of
from pipeline.step import Step
from tests.benchmarks.language_id import start_peer

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
BATCH = 1000  # documents
DOMAINS, WORDS = 100_000, 400
REGIONS = ("US", "GB", "DE", "CN")
OPTIONS = {"epoch": 5, "dim": 16, "wordNgrams": 2, "bucket": 1_000_000}  # those of train_quality


def main() -> None:
    """Time every step, then the classifier in turn with the library."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--input", default=str(DATA / "demo_corpus"), help="folder of .jsonl.gz files with text and url")
    line.add_argument(
        "--messages", default=str(DATA / "junk/sms_spam.jsonl.gz"), help="texts with a label, ham or spam"
    )
    line.add_argument("--peers", help="interpreter that has fasttext")
    line.add_argument("--rounds", type=int, default=2)
    asked = line.parse_args()
    batches = list(read_batches(Path(asked.input)))
    if not batches:
        sys.exit(f"no documents in {asked.input}; set LUSTRATE_DATA or --input to a folder of .jsonl.gz files")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the peer inherits it
    documents, size = sum(map(len, batches)), sum(batch["text"].nbytes for batch in batches) / 1e6
    addresses = sum(url != "" for batch in batches for url in batch["url"].to_pylist())
    load = os.getloadavg()[0]
    print(f"{documents:,} documents, {addresses:,} of them with an address, {size:.1f} MB; load {load:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        model = train_classifier(Path(asked.messages), folder)
        for name, step in steps_of(folder, model).items():
            seconds = [time_step(step, batches) for _ in range(asked.rounds)]
            rates = f"{documents / min(seconds):,.0f} documents/s, {size / min(seconds):.0f} MB/s"
            print(f"{name}: {min(seconds):.2f} to {max(seconds):.2f} CPU s ({rates})")
        if asked.peers:
            compare(model, asked.peers, batches, asked.rounds)


def read_batches(folder: Path) -> Iterator[pa.Table]:
    """Yield documents."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path) as lines:
            records = [orjson.loads(line) for line in lines]
        rows = [
            {**dict.fromkeys(DOCUMENT.names, ""), "position": n, "url": r["url"] or "", "text": r["text"]}
            for n, r in enumerate(records)
        ]
        for at in range(0, len(rows), BATCH):
            yield pa.Table.from_pylist(rows[at : at + BATCH], schema=DOCUMENT)


def train_classifier(messages: Path, folder: str) -> str:
    """Train on messages, and return the path of the model."""
    with gzip.open(messages) as lines:
        samples = [
            Sample(record["text"], good=record["label"] == "ham", held_out=False) for record in map(orjson.loads, lines)
        ]
    Path(folder, "lines.txt").write_text("".join(map(line_of, samples)), encoding="utf-8")
    train(f"{folder}/lines.txt", f"{folder}/model.bin", OPTIONS)
    return f"{folder}/model.bin"


def steps_of(folder: str, model: str) -> dict[str, Step]:
    """Return the steps by what is printed of them."""
    for name, entries in (
        ("domains", [f"site-{n}.invalid" for n in range(DOMAINS)]),
        ("words", [f"word{n}" for n in range(WORDS)]),
        ("parts", [f"qx{n}zj" for n in range(WORDS)]),
    ):
        Path(folder, name).write_text("\n".join(entries), encoding="utf-8")
    domains, words, parts = ((f"{folder}/{name}",) for name in ("domains", "words", "parts"))
    listed = Url(blocked_words=words, blocked_parts=parts)
    return {
        f"url, {DOMAINS:,} domains": judge_urls.prepare(Url(blocked_domains=domains)).apply,
        f"url, {WORDS} words and {WORDS} parts": judge_urls.prepare(listed).apply,
        "pii, tagged": HidePii(Pii(mode="tag")),
        "pii, masked": HidePii(Pii()),
        f"pii, masked, telephone numbers of {', '.join(REGIONS)}": HidePii(Pii(phone_regions=REGIONS)),
        "classifier": classify.prepare("classifier.quality", Classifier(model=model, label="good")).apply,
    }


def time_step(step: Step, batches: Sequence[pa.Table]) -> float:
    """Return the CPU seconds of a step over all documents; what it loads and compiles comes before."""
    step(batches[0].slice(0, 10))
    return measured(lambda: [step(batch) for batch in batches])


def measured(work: Callable[[], object]) -> float:
    """Return the CPU seconds of this process for some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(model: str, python: str, batches: Sequence[pa.Table], rounds: int) -> None:
    """Let both classify every batch in turn; print how far apart they are at most, and the ratio of each round."""
    step = classify.prepare("classifier.quality", Classifier(model=model, label="good")).apply
    step(batches[0].slice(0, 10))  # loads and compiles
    with start_peer(python, model) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        for number in range(1, rounds + 1):
            ours, theirs, apart = 0.0, 0.0, 0.0
            for batch in batches:
                texts = [text.replace("\n", " ") for text in batch["text"].to_pylist()]
                same = batch.set_column(
                    batch.schema.get_field_index("text"), "text", pa.array(texts, pa.large_string())
                )
                began = time.process_time()
                kept = step(same).kept
                ours += time.process_time() - began
                peer.stdin.write(orjson.dumps(texts) + b"\n")
                peer.stdin.flush()
                answer = orjson.loads(peer.stdout.readline())
                theirs += answer["seconds"]
                expected = np.array([dict(row)["good"] for row in answer["probabilities"]])
                apart = max(apart, float(np.abs(kept["classifier.quality"].to_numpy() - expected).max()))
            print(f"round {number}: {ours:.2f} CPU s here, {theirs:.2f} there: {theirs / ours:.2f} times; "
                  f"probabilities at most {apart:.0e} apart")  # fmt: skip
        peer.stdin.close()


if __name__ == "__main__":
    main()
