"""Inputs: whether the files are what they were, while they are read and from one start to the next.

A file is known by its size and the time of its change, as the store or the disk has them: DECISIONS.md says why.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.document import read_table
from pipeline.failure import InputChanged
from pipeline.lease import plain_time
from pipeline.plan import Piece, Plan

SEEN = "inputs.parquet"  # in OUT/stages: what the last start's plan was made of


def check_unchanged(pieces: Iterable[Piece]) -> None:
    """Raise InputChanged for a file that is no longer what it was when the plan was made."""
    for piece in pieces:
        if piece.error:
            continue
        try:
            size, changed = storage.looked_at(piece.path)
        except FileNotFoundError:
            raise InputChanged(f"input {piece.path} is gone: it was there when the run was planned") from None
        # A store's list may know parts of a second, and its answer about one object not.
        if size != piece.stored or abs(changed - piece.changed) >= (1 if "://" in piece.path else 1e-9):
            raise InputChanged(
                f"input {piece.path} was changed while the run was at work: {piece.stored:,} bytes of "
                f"{_time(piece.changed)} when it was planned, {size:,} bytes of {_time(changed)} now; when the file is "
                "at rest, the same command reads it again"
            )


def _time(seconds: float) -> str:
    return plain_time(datetime.fromtimestamp(seconds, UTC).isoformat())


def changes(output: str, plan: Plan) -> str:
    """Return what is not as the last start saw it, in one line; empty where all is, and before a first start."""
    path = storage.join(output, "stages", SEEN)
    if not storage.exists(path):
        return ""
    table = read_table(path)
    rows = zip(*(table[name].to_pylist() for name in ("path", "size", "changed")), strict=True)
    before, after = {name: (size, changed) for name, size, changed in rows}, _files(plan)
    kinds = {"changed": [name for name in after.keys() & before.keys() if after[name] != before[name]]}
    if plan.chosen == plan.files and table.schema.metadata[b"whole"] == b"1":  # else a sample chose
        kinds |= {"new": [*(after.keys() - before.keys())], "gone": [*(before.keys() - after.keys())]}
    said = [f"{len(found):,} {kind} ({min(found)}{', …' * (len(found) > 1)})" for kind, found in kinds.items() if found]
    return "inputs are not what the last start saw: " + ", ".join(said) if said else ""


def remember(output: str, plan: Plan) -> None:
    """Write down what this start's plan was made of."""
    files = _files(plan)
    sizes, times = [size for size, _ in files.values()], [changed for _, changed in files.values()]
    table = pa.table({"path": pa.array(files, pa.string()), "size": sizes, "changed": times})
    table = table.replace_schema_metadata({"whole": str(int(plan.chosen == plan.files))})
    path = storage.join(output, "stages", SEEN)
    if storage.exists(path) and read_table(path).equals(table, check_metadata=True):
        return
    with storage.create(path) as file:
        pq.write_table(table, file, compression="zstd")


def _files(plan: Plan) -> dict[str, tuple[int, float]]:
    return {piece.path: (piece.stored, piece.changed) for shard in plan.shards for piece in shard.pieces}
