"""The datatrove variants of Gopher's and FineWeb's rules against datatrove itself: equal verdicts, and time.

    make bench-filters
    LUSTRATE_DATA=../data python -m tests.benchmarks.filters --peer-python ~/peers/bin/python

datatrove 0.10.1 runs in another process, in the environment of --peer-python (by default this one, where
`pip install 'lustrate[bench]'` puts it). Both judge the English documents of demo_corpus with words split at white
space (str.split), where datatrove by itself runs spaCy. The two take turns on the same core, batch by batch, so that
other work on the machine slows down both; only the ratio of their CPU seconds means anything.
"""

import argparse
import gzip
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from filters.families import find_family
from filters.passage import read_passage
from filters.rules import judge

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
PEER = Path(__file__).with_name("datatrove_filters.py")
FAMILIES = ("gopher_repetition@datatrove", "gopher_quality@datatrove", "fineweb@datatrove")
BATCH = 1000  # documents
REASONS = {  # ours, and what datatrove calls them
    "no_characters": "empty",
    "duplicate_paragraphs": "dup_para_frac",
    "duplicate_paragraph_characters": "dup_para_char_frac",
    "duplicate_lines": "dup_line_frac",
    "duplicate_line_characters": "dup_line_char_frac",
    **{f"top_{n}_gram": f"top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicate_{n}_grams": f"duplicated_{n}_n_grams" for n in range(5, 11)},
    "too_few_words": "gopher_short_doc",
    "too_many_words": "gopher_long_doc",
    "words_too_short": "gopher_below_avg_threshold",
    "words_too_long": "gopher_above_avg_threshold",
    "too_many_hashes": "gopher_too_many_hashes",
    "too_many_ellipses": "gopher_too_many_ellipsis",
    "too_many_bullets": "gopher_too_many_bullets",
    "too_many_lines_end_in_ellipsis": "gopher_too_many_end_ellipsis",
    "too_few_alphabetic_words": "gopher_below_alpha_threshold",
    "too_few_stop_words": "gopher_enough_stop_words",
    "no_lines": "empty",
    "too_few_ended_lines": "line_punct_ratio",
    "too_many_short_lines": "short_line_ratio",
    "too_many_duplicate_characters": "char_dup_ratio",
    "too_many_line_feeds": "list_ratio",
}
Verdicts = list[list[str]]  # a row a document: datatrove's reason or "" from each family


def main() -> None:
    """Judge, compare and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--input", default=str(DATA / "demo_corpus"), help="folder of .jsonl.gz files with text and lang")
    line.add_argument("--language", default="en", help="which documents, by their field lang")
    line.add_argument("--peer-python", default=sys.executable, help="interpreter that has datatrove")
    line.add_argument("--rounds", type=int, default=3)
    asked = line.parse_args()
    texts = list(read_texts(Path(asked.input), asked.language))
    if not texts:
        sys.exit(f"no documents in {asked.input}; set LUSTRATE_DATA or --input to a folder of .jsonl.gz files")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the peer inherits it
    report(texts, asked.language, asked.peer_python, asked.rounds)


def read_texts(folder: Path, language: str) -> Iterator[str]:
    """Yield the texts that declare a language."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path) as lines:
            yield from (record["text"] for record in map(orjson.loads, lines) if record["lang"] == language)


def report(texts: Sequence[str], language: str, python: str, rounds: int) -> None:
    """Let both judge every batch in turn, several times; print equality and the ratio of each round."""
    batches = [list(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
    judge_batch(batches[0][:10], language)  # compiles
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} documents, {size:.1f} MB")
    with start_peer(python) as peer:
        for number in range(1, rounds + 1):
            ours, theirs, seconds = judge_in_turns(batches, language, peer)
            if number == 1:
                print_equality(ours, theirs)
            print_speed(number, len(texts), size, seconds)
        assert peer.stdin is not None
        peer.stdin.close()


def start_peer(python: str) -> "subprocess.Popen[bytes]":
    """Start datatrove; exit with what is missing where it cannot start."""
    peer = subprocess.Popen([python, str(PEER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert peer.stdout is not None
    if peer.stdout.readline() != b"ready\n":
        sys.exit(
            f"{python} has no datatrove 0.10.1: pip install 'lustrate[bench]', or name an interpreter that has it "
            "with --peer-python"
        )
    return peer


def judge_in_turns(
    batches: Sequence[list[str]], language: str, peer: "subprocess.Popen[bytes]"
) -> tuple[Verdicts, Verdicts, tuple[float, float]]:
    """Return both verdicts on every document, and the CPU seconds of both."""
    ours, theirs, seconds = Verdicts(), Verdicts(), [0.0, 0.0]
    assert peer.stdin is not None
    assert peer.stdout is not None
    for batch in batches:
        began = time.process_time()
        ours += judge_batch(batch, language)
        seconds[0] += time.process_time() - began
        peer.stdin.write(orjson.dumps(batch) + b"\n")
        peer.stdin.flush()
        answer = orjson.loads(peer.stdout.readline())
        theirs += answer["verdicts"]
        seconds[1] += answer["seconds"]
    return ours, theirs, (seconds[0], seconds[1])


def judge_batch(texts: Sequence[str], language: str) -> Verdicts:
    """Return our verdicts from texts as Python strings, in datatrove's words."""
    languages = np.full(len(texts), language)
    passage = read_passage(pa.array(texts, pa.large_string()), languages)
    columns = []
    for name in FAMILIES:
        family = find_family(name)
        rules = judge(family.rules, family.measure(passage).signals, languages).rule
        reasons = [*(REASONS[rule.reason] for rule in family.rules), ""]
        columns.append([reasons[rule] for rule in rules])
    return [list(row) for row in zip(*columns, strict=True)]


def print_equality(ours: Verdicts, theirs: Verdicts) -> None:
    """Print how many verdicts and reasons are equal, family by family, and what differs."""
    for column, name in enumerate(FAMILIES):
        pairs = [(a[column], b[column]) for a, b in zip(ours, theirs, strict=True)]
        equal = sum(a == b for a, b in pairs)
        kept = sum(not b for _, b in pairs)
        print(f"{name}: same verdict and reason {equal:,} of {len(pairs):,} ({kept:,} kept)")
        for (a, b), count in Counter(pair for pair in pairs if pair[0] != pair[1]).most_common(5):
            print(f"  {count}: {a or 'kept'} here, {b or 'kept'} there")
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"all three: {equal:,} of {len(ours):,}")


def print_speed(number: int, documents: int, size: float, seconds: tuple[float, float]) -> None:
    """Print what a round took."""
    ours, theirs = seconds
    print(
        f"round {number}: {ours:.2f} CPU s here ({documents / ours:,.0f} documents/s, {size / ours:.1f} MB/s), "
        f"{theirs:.2f} there ({documents / theirs:,.0f}/s, {size / theirs:.1f} MB/s): {theirs / ours:.1f} times"
    )


if __name__ == "__main__":
    main()
