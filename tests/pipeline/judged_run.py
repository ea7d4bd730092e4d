"""A finished run as self-cleaning leaves it, written without running anything: scores, cuts, texts in four scripts."""

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.document import Writer, schema

TEXTS = {
    "en": 'The river and the mountain. <script>window.hacked = 1</script> & "quotes" </script><!-- number {0}',
    "zh": "我们今天学习中国历史，城市经济发展得很快。第{0}号文件。",
    "ar": "مرحبا بالعالم، هذا نص قصير عن المدينة رقم {0}.",
    "he": "שלום עולם, זה טקסט קצר על העיר מספר {0}.",
}
CUT = 4.0  # of every language
READ = 0.5  # nearer to the cut all are read, below that every other one


def identity(name: str) -> str:
    """Return an id for a name."""
    return blake2b(name.encode(), digest_size=16).hexdigest()


def rows(language: str, count: int, draw: np.random.Generator) -> list[dict[str, Any]]:
    """Return documents of a language, one in twenty above the cut; what is bad is more often above it."""
    bad = draw.random(count) < 0.08
    score = np.round(draw.normal(3.0 + 1.2 * bad, 0.4), 4)
    return [
        {
            "id": identity(f"{language} {n}"),
            "language": language,
            "text": TEXTS[language].format(n),
            "score": float(value),
            "cut_score": CUT,
            "bits_per_byte": 1.0 if value >= CUT - READ or n % 2 else None,
            "bad": bool(is_bad),
        }
        for n, (value, is_bad) in enumerate(zip(score, bad, strict=True))
    ]


def written(folder: Path, counts: Mapping[str, int], *, groups: int = 5) -> dict[str, dict[str, Any]]:
    """Write the run, and return its documents by id; also some that were not judged and some that rules rejected."""
    draw = np.random.default_rng(3)
    found = [row for language, count in counts.items() for row in rows(language, count, draw)]
    other = [{"id": identity(f"other {n}"), "language": "und", "text": "not judged"} for n in range(9)]
    rules = [{"id": identity(f"rule {n}"), "language": "en", "text": "x", "stage": "ingest"} for n in range(9)]
    rejected = [{**row, "stage": "self_clean"} for row in found if row["score"] >= CUT]
    kept = [row for row in found if row["score"] < CUT]
    _write(folder / "documents/00000.parquet", [*kept, *other], groups, rejects=False)
    _write(folder / "rejected/00000.parquet", [*rejected, *rules], groups, rejects=True)
    (folder / "report.json").write_bytes(orjson.dumps({"rounds": []}))
    (folder / "run.json").write_bytes(orjson.dumps({"config": {"self_clean": {}}}))
    (folder / "_SUCCESS").touch()
    return {row["id"]: {**row, "rejected": row["score"] >= CUT} for row in found}


def _write(path: Path, found: list[dict[str, Any]], groups: int, *, rejects: bool) -> None:
    wanted = schema([], rejected=rejects)
    writer = Writer(str(path), wanted)
    for start in range(0, len(found), -(-len(found) // groups)):
        part = found[start : start + -(-len(found) // groups)]
        writer.write(pa.Table.from_pylist([{name: row.get(name) for name in wanted.names} for row in part], wanted))
    writer.close()
