"""Language identification against the fastText library compiled on the same machine: equal labels, and time.

    make bench-language PEERS=~/peers/bin/python
    LUSTRATE_DATA=../data python -m tests.benchmarks.language_id --peers ~/peers/bin/python

fastText 0.9.3 runs in another process, in the environment of --peers, best compiled there for this processor:
`CFLAGS=-march=native pip install --no-binary fasttext fasttext==0.9.3`. Both read the same model (lid.176.ftz) and the
whole text of every document of demo_corpus, line feeds as spaces, three labels each. They take turns on the same core,
batch by batch, so that other work on the machine slows down both; only the ratio of their CPU seconds means anything.
"""

import argparse
import gzip
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pyarrow as pa

from filters.language import Languages, default_model_path, identify, load

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
PEER = Path(__file__).with_name("language_id_peers.py")
BATCH = 1000  # documents
TIE = 1e-6  # of probability; the labels of two that are nearer may be either


def main() -> None:
    """Identify, compare and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--input", default=str(DATA / "demo_corpus"), help="folder of .jsonl.gz files with text")
    line.add_argument("--model", default=default_model_path())
    line.add_argument("--peers", default=sys.executable, help="interpreter that has fasttext")
    line.add_argument("--rounds", type=int, default=3)
    asked = line.parse_args()
    batches = list(read_batches(Path(asked.input)))
    if not batches:
        sys.exit(f"no documents in {asked.input}; set LUSTRATE_DATA or --input to a folder of .jsonl.gz files")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the peer inherits it
    documents, size = sum(map(len, batches)), sum(len(text.encode()) for batch in batches for text in batch) / 1e6
    print(f"{documents:,} documents, {size:.1f} MB; load {os.getloadavg()[0]:.1f}")
    with start_peer(asked.peers, asked.model) as peer:
        for number in range(1, asked.rounds + 1):
            ours, theirs, different = one_round(batches, asked.model, peer)
            if number == 1:
                print(f"another label where the first two differ by {TIE:g} or more: {different:,}")
            print(
                f"round {number}: {ours:.2f} CPU s here ({documents / ours:,.0f} documents/s, {size / ours:.1f} MB/s), "
                f"{theirs:.2f} there ({documents / theirs:,.0f}/s, {size / theirs:.1f} MB/s): {theirs / ours:.2f} times"
            )
        assert peer.stdin is not None
        peer.stdin.close()


def read_batches(folder: Path) -> Iterator[list[str]]:
    """Yield the texts, line feeds as spaces."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path) as lines:
            texts = [orjson.loads(line)["text"].replace("\n", " ") for line in lines]
        yield from (texts[at : at + BATCH] for at in range(0, len(texts), BATCH))


def start_peer(python: str, model: str) -> "subprocess.Popen[bytes]":
    """Start fastText; exit with what is missing where it cannot start."""
    peer = subprocess.Popen([python, str(PEER), model], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert peer.stdout is not None
    if peer.stdout.readline() != b"ready\n":
        sys.exit(f"{python} has no fasttext 0.9.3; name an interpreter that has it with --peers")
    return peer


def one_round(batches: Sequence[list[str]], path: str, peer: "subprocess.Popen[bytes]") -> tuple[float, float, int]:
    """Return the CPU seconds of both, and on how many documents they differ that are no tie."""
    model = load(path)
    identify(model, pa.array(batches[0][:10], pa.large_string()))  # compiles
    seconds, theirs, different = 0.0, 0.0, 0
    assert peer.stdin is not None
    assert peer.stdout is not None
    for batch in batches:
        texts = pa.array(batch, pa.large_string())
        began = time.process_time()
        found = identify(model, texts)
        seconds += time.process_time() - began
        peer.stdin.write(orjson.dumps(batch) + b"\n")
        peer.stdin.flush()
        answer = orjson.loads(peer.stdout.readline())
        theirs += answer["seconds"]
        different += count_different(found, answer["labels"])
    return seconds, theirs, different


def count_different(found: Languages, labels: Sequence[str]) -> int:
    """Count the documents with another label there, but for ties and for those that we leave undetermined."""
    first, second = found.probability, found.second_probability
    pairs = zip(found.language.to_pylist(), labels, first - second, strict=True)
    return sum(ours not in {theirs, "und"} and gap >= TIE for ours, theirs, gap in pairs)


if __name__ == "__main__":
    main()
