"""What a table of documents adds to a summary: counts, histograms, a few rejects a reason."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.summary import LOWEST, Summary, counts, histogram

SAMPLED_CHARACTERS = 300  # of a rejected text, for the report
_SHOWN = ("id", "source", "url", "language", "reason", "value", "threshold", "text")
_NUMBERS = frozenset({pa.float64(), pa.float32(), pa.int64()})


def text_bytes(table: pa.Table) -> int:
    """Return the UTF-8 bytes of a table's texts."""
    return int(pc.sum(pc.binary_length(table["text"])).as_py() or 0)


def kept_summary(kept: pa.Table, read: pa.Table) -> Summary:
    """Return counts by language and source, histograms of the signals, and bytes, as kept and as they were read."""
    same = read.select(["text"]).filter(pc.is_in(read["id"], kept["id"].combine_chunks()))
    return {
        "kept": counts(kept["language"].to_pylist()),
        "sources": {"kept": counts(kept["source"].to_pylist())},
        "signals": {"kept": signal_histograms(kept)},
        "bytes": {"kept": text_bytes(kept), "read": text_bytes(same)},
    }


def signal_histograms(table: pa.Table) -> dict[str, dict[str, int]]:
    """Return a histogram for each numeric signal column of a table."""
    names = [f.name for f in table.schema if "." in f.name and f.type in _NUMBERS]
    return {name: histogram(table[name].to_numpy()) for name in names}


def reject_summary(rejected: pa.Table) -> Summary:
    """Return counts by reason and language, histograms, and a few rejects a reason, chosen by the hash in their id."""
    reasons, languages = rejected["reason"].to_pylist(), rejected["language"].to_pylist()
    by_reason: dict[str, Any] = {}
    for reason, language in zip(reasons, languages, strict=True):
        counted = by_reason.setdefault(reason, {})
        counted[language or "und"] = counted.get(language or "und", 0) + 1
    return {
        "rejected": by_reason,
        "sources": {"rejected": counts(rejected["source"].to_pylist())},
        "signals": {"rejected": signal_histograms(rejected)},
        "samples": _samples(rejected),
    }


def _samples(rejected: pa.Table) -> Summary:
    """Return the rejects with the lowest ids a reason, as pairs of [id, what the report shows]."""
    samples: Summary = {}
    order = np.argsort(np.asarray(rejected["id"].to_pylist()))
    taken: dict[str, int] = {}
    reasons = rejected["reason"].to_pylist()
    for row in order.tolist():
        if taken.get(reasons[row], 0) < LOWEST:
            taken[reasons[row]] = taken.get(reasons[row], 0) + 1
            values = {name: rejected[name][row].as_py() for name in _SHOWN}
            values["text"] = values["text"][:SAMPLED_CHARACTERS]
            samples.setdefault(reasons[row], {"lowest": []})["lowest"].append([values["id"], values])
    return samples


def cut_texts(rejected: pa.Table, rule: str) -> pa.Table:
    """Return rejects with their text in full, its head, or none."""
    if rule == "full":
        return rejected
    at = rejected.schema.get_field_index("text")
    stop = 0 if rule == "none" else int(rule.removeprefix("head:"))
    return rejected.set_column(at, "text", pc.utf8_slice_codeunits(rejected["text"], 0, stop))
