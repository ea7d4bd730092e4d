"""What other libraries need for the work of dedup_speed.py; run by the Python that has them, one job a process.

    PEERS_PYTHON tests/benchmarks/dedup_peers.py rensa texts.json | datasketch texts.json | text_dedup signatures.npy

Prints CPU seconds by variant as JSON; reading the input and importing do not count. Words are those of a regular
expression that cuts scripts without spaces into characters, as ours does, and 5 of them are a shingle for all.
"""

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VALUES, WORDS = 128, 5
SPACELESS = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(f"[{SPACELESS}]|[^\\W_{SPACELESS}]+")


def shingles(text: str) -> list[str]:
    """Return the distinct shingles of a text."""
    words = WORD.findall(text.lower())
    return list({" ".join(words[i : i + WORDS]) for i in range(max(1, len(words) - WORDS + 1))})


def timed(work: Callable[[], object]) -> float:
    """Return the CPU seconds of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def rensa(path: str) -> dict[str, float]:
    """Sign with RMinHash, one by one and as a matrix."""
    from rensa import RMinHash

    texts = json.loads(Path(path).read_text())

    def one_by_one() -> None:
        for text in texts:
            sketch = RMinHash(VALUES, 1)
            sketch.update(shingles(text))
            sketch.digest()

    def matrix() -> None:
        RMinHash.digest_matrix_from_token_sets([shingles(text) for text in texts], VALUES, 1)

    return {"rensa": timed(one_by_one), "rensa matrix": timed(matrix)}


def datasketch(path: str) -> dict[str, float]:
    """Sign with the scheme affine32 and a hash of 32 bits, permutations drawn once."""
    import xxhash
    from datasketch import MinHash

    texts = json.loads(Path(path).read_text())
    first = MinHash(num_perm=VALUES, scheme="affine32", hashfunc=xxhash.xxh32_intdigest)

    def batches() -> None:
        for text in texts:
            sketch = MinHash(
                num_perm=VALUES,
                scheme="affine32",
                hashfunc=xxhash.xxh32_intdigest,
                permutations=first.permutations,
            )
            sketch.update_batch([shingle.encode() for shingle in shingles(text)])

    def bulk() -> None:
        sets = ([shingle.encode() for shingle in shingles(text)] for text in texts)
        MinHash.bulk(sets, num_perm=VALUES, scheme="affine32", hashfunc=xxhash.xxh32_intdigest)

    return {"datasketch": timed(batches), "datasketch bulk": timed(bulk)}


def text_dedup(path: str) -> dict[str, float]:
    """Run text-dedup's command with the signatures given, and time its clustering."""
    os.environ["HF_DATASETS_OFFLINE"] = "1"
    import numpy as np
    import text_dedup.minhash as command
    from datasets import Dataset

    signatures = np.load(path)
    spent: dict[str, float] = {}

    class Timer:
        @contextmanager
        def __call__(self, name: str) -> Iterator[None]:
            began = time.process_time()
            yield
            spent[name] = time.process_time() - began

        def report(self, **_: Any) -> None:
            pass

    def load(**_: Any) -> tuple[Any, Any]:
        return Dataset.from_dict(
            {"text": ["a b"] * len(signatures), command.INDEX_COLUMN: range(len(signatures))}
        ), None

    def embed(_: str, index: int, *, hashranges: list[tuple[int, int]], **__: Any) -> dict[str, Any]:
        row = signatures[index]
        return {
            command.SIGNATURE_COLUMN: [row[start:end].tobytes() for start, end in hashranges],
            command.INDEX_COLUMN: index,
        }

    command.Timer, command.load_hf_dataset, command.embed_func = Timer, load, embed
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_HOME"] = folder
        shape = [
            "--b",
            "14",
            "--r",
            "8",
            "--num_perm",
            str(signatures.shape[1]),
            "--min_length",
            "1",
            "--num_proc",
            "1",
        ]
        where = ["--path", "given", "--column", "text", "--output", f"{folder}/out", "--batch_size", "10000"]
        command.main([*where, *shape], standalone_mode=False)
    return {"text-dedup": spent["Clustering"]}


if __name__ == "__main__":
    job = {"rensa": rensa, "datasketch": datasketch, "text_dedup": text_dedup}[sys.argv[1]]
    print(json.dumps(job(sys.argv[2])))
