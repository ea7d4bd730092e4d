"""The whole text path against datatrove's on the same cores: wall time, and the same documents kept by the rules.

    make peers bench-line
    python -m tests.benchmarks.whole_line --peers .venv-peers/bin/python --rounds 3

JSON lines in, language ID (English above 0.65), Gopher repetition and quality and FineWeb in datatrove's variants,
exact and MinHash deduplication (14 x 8, 5-word shingles), the same SentencePiece model, tokens out, `rounds = 0`; two
workers on both sides, start-up included, kernels compiled. datatrove 0.10.1 runs in the environment of --peers, with
words split at white space as ours are in these variants, or with spaCy's as it comes (--words spacy: other verdicts).

Ours and theirs take turns; each round prints its ratio. The near-duplicates that are removed are not the same:
datatrove hashes other words and verifies nothing.
"""

import argparse
import gzip
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from filters.language import default_model_path
from tests.measured import Cost, measured

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
PEER = Path(__file__).with_name("datatrove_line.py")
WORKERS = 2
SETTINGS = """
[ingest]
steps = ["language", "gopher_repetition@datatrove", "gopher_quality@datatrove", "fineweb@datatrove"]
[language]
model = "{language}"
allow = ["en"]
minimum = 0.65
[self_clean]
rounds = 0
[tokenizer]
model = "{tokenizer}"
"""


def main() -> None:
    """Run both in turn and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument(
        "--input", default=str(DATA / "demo_corpus"), help="folder of .jsonl.gz files with id, text, lang"
    )
    line.add_argument("--language", default="", help="only the documents that declare it")
    line.add_argument("--model", default=default_model_path(), help="the language model (default: our lid.176.ftz)")
    line.add_argument("--tokenizer", default="", help="a SentencePiece model (default: trained on what the rules keep)")
    line.add_argument("--peers", required=True, help="interpreter that has datatrove, sentencepiece and spacy")
    line.add_argument("--words", choices=("spaces", "spacy"), default="spaces")
    line.add_argument("--rounds", type=int, default=1)
    asked = line.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        documents = sum(
            copy(path, corpus / path.name, asked.language) for path in sorted(Path(asked.input).glob("*.gz"))
        )
        if not documents:
            sys.exit(f"no documents in {asked.input}; set LUSTRATE_DATA or --input to a folder of .jsonl.gz files")
        run_ours(corpus, Path(folder) / "warm", asked)  # compiles
        asked.tokenizer = asked.tokenizer or str(Path(folder) / "warm/tokenizer/tokenizer.model")
        for number in range(1, asked.rounds + 1):
            ours, theirs = Path(folder) / f"ours-{number}", Path(folder) / f"theirs-{number}"
            load = os.getloadavg()[0]
            costs = run_ours(corpus, ours, asked), run_theirs(corpus, theirs, asked)
            if number == 1:
                print_verdicts(documents, set(kept_by_ours(ours)), set(kept_by_theirs(theirs)))
            print_costs(number, load, *costs)


def copy(source: Path, target: Path, language: str) -> int:
    """Copy the documents of a language, or all, with what both sides read; return how many there are."""
    count = 0
    with gzip.open(source) as lines, gzip.open(target, "wb", compresslevel=1) as out:
        for record in map(orjson.loads, lines):
            if not language or record["lang"] == language:
                out.write(orjson.dumps({"id": record["id"], "text": record["text"]}) + b"\n")
                count += 1
    return count


def run_ours(corpus: Path, output: Path, asked: argparse.Namespace) -> Cost:
    """Run our line."""
    settings = output.with_suffix(".toml")
    settings.write_text(SETTINGS.format(language=asked.model, tokenizer=asked.tokenizer))
    inputs = ["--input", f"{corpus}/*.jsonl.gz", "--output", str(output), "--config", str(settings)]
    return _checked(measured([sys.executable, "-m", "pipeline.run", *inputs, f"--direct_num_workers={WORKERS}"]))


def run_theirs(corpus: Path, output: Path, asked: argparse.Namespace) -> Cost:
    """Run datatrove's."""
    output.mkdir()
    given = {"input": corpus, "output": output, "language-model": asked.model, "tokenizer": asked.tokenizer}
    flags = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    return _checked(measured([asked.peers, str(PEER), *flags, "--words", asked.words, "--workers", str(WORKERS)]))


def _checked(cost: Cost) -> Cost:
    if cost.returncode:
        sys.exit(cost.stderr[-2000:])
    return cost


def kept_by_ours(output: Path) -> Iterator[str]:
    """Yield the ids of the documents that our rules kept: published, or rejected by a later stage."""
    for path in sorted((output / "documents").glob("*.parquet")):
        yield from pq.read_table(path, columns=["source_id"])["source_id"].to_pylist()
    for path in sorted((output / "rejected").glob("*.parquet")):
        rows = pq.read_table(path, columns=["source_id", "stage"]).to_pylist()
        yield from (row["source_id"] for row in rows if row["stage"] != "ingest")


def kept_by_theirs(output: Path) -> Iterator[str]:
    """Yield the ids of the documents that datatrove's rules kept."""
    for path in sorted((output / "kept").glob("*.gz")):
        with gzip.open(path) as lines:
            yield from (orjson.loads(line)["id"] for line in lines)


def print_verdicts(documents: int, ours: set[str], theirs: set[str]) -> None:
    """Print on how many documents the rules agree."""
    kept = f"the rules keep {len(ours):,} here, {len(theirs):,} there"
    print(f"{documents:,} documents: {kept}, {len(ours ^ theirs):,} of them on one side only", flush=True)


def print_costs(number: int, load: float, ours: Cost, theirs: Cost) -> None:
    """Print what a round took."""
    print(f"round {number}, load {load:.1f} before it: {ours.wall:.1f} s here ({ours.cpu:.1f} CPU s),", end=" ")
    print(f"{theirs.wall:.1f} s there ({theirs.cpu:.1f} CPU s):", end=" ")
    print(f"{theirs.wall / ours.wall:.1f} times by wall, {theirs.cpu / ours.cpu:.1f} by CPU", flush=True)


if __name__ == "__main__":
    main()
