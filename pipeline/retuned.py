"""The answer to other bounds: every stored document judged again by its signals, and what that leaves unknown."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from filters.rules import judge
from pipeline import storage
from pipeline.asked_bounds import Asked, read_asked
from pipeline.judging import Group, judging_groups
from pipeline.lost_keepers import LostKeepers
from pipeline.own_filters import refused_by

REFUSED = refused_by("")
EXCERPT = 200  # characters of a sampled text
LANGUAGES = 20  # in the table on the screen
# What would become of a document.
LOST = "lost"  # kept now, rejected by the rules then
WON = "won"  # rejected by the rules now, passes all of them then
UNKNOWN = "unknown"  # rejected by the rules now, passes then as far as it was measured
LOST_LATER = "lost_later"  # rejected by a later stage now, by the rules then
OTHER = "other_reason"  # rejected now and then, for another reason
SAMPLED = (LOST, WON, UNKNOWN)
TITLES = {
    LOST: "kept now, would be rejected",
    WON: "rejected now, would pass the rules",
    UNKNOWN: "rejected now, would pass as far as it was measured",
    LOST_LATER: "rejected by a later stage now, would be by the rules",
    OTHER: "rejected now and then, for another reason",
}
COLUMNS = ("lost", "won", "unknown", "lost later", "otherwise")


@dataclass(frozen=True, slots=True)
class Bench:
    """The rules of a run, old and new, group by group, and the group of each old reason."""

    old: tuple[Group, ...]
    new: tuple[Group, ...]
    group_of: dict[str, int]


@dataclass(slots=True)
class Tally:
    """What was counted."""

    documents: Counter[str] = field(default_factory=Counter)  # by language
    kept: Counter[str] = field(default_factory=Counter)
    changes: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in TITLES})
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in TITLES})
    unmeasured: Counter[str] = field(default_factory=Counter)  # steps that never saw an unknown document
    disagreeing: int = 0  # documents whose stored reason is not what the stored signals give
    sampled: dict[str, list[tuple[str, Any]]] = field(default_factory=lambda: {name: [] for name in SAMPLED})
    lost_keepers: int = 0  # lost documents that are kept for duplicates
    their_duplicates: int = 0


def ask(output: str, changes: dict[str, Any], samples: int) -> dict[str, Any]:
    """Return what changed bounds would do to a finished run; raises ConfigError as a configuration with them would."""
    asked = read_asked(output, changes)
    old, new = judging_groups(asked.now), judging_groups(asked.then)
    bench = Bench(tuple(old), tuple(new), {rule.reason: n for n, group in enumerate(old) for rule in group.rules})
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        keepers = LostKeepers(folder)
        for kind in ("documents", "rejected"):
            for path, group, rows in _read(output, kind, bench):
                keepers.lose(_count(tally, bench, rows, (path, group), samples))
                if kind == "rejected":
                    keepers.name(rows["duplicate_of"].drop_null().to_pylist())
        tally.lost_keepers, tally.their_duplicates = keepers.count()
    return _answer(tally, asked, changes)


def _read(output: str, kind: str, bench: Bench) -> Iterator[tuple[str, int, pa.Table]]:
    """Yield the row groups of published documents or rejects, without their texts."""
    signals = {rule.signal for group in (*bench.old, *bench.new) for rule in group.rules}
    codes = {group.codes for group in bench.old}
    wanted = {"id", "language", "stage", "reason", "duplicate_of", *signals, *codes}
    folder = storage.join(output, kind)
    for name in storage.names(folder):
        if not name.endswith(".parquet"):
            continue
        path = storage.join(folder, name)
        with storage.open_input(path) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False)
            columns = [column for column in parquet.schema_arrow.names if column in wanted]
            for group in range(parquet.num_row_groups):
                yield path, group, parquet.read_row_group(group, columns=columns)


def _count(tally: Tally, bench: Bench, rows: pa.Table, place: tuple[str, int], samples: int) -> list[str]:
    """Judge a row group again, add what changes, and return the ids of the lost."""
    then, now = _first_broken(bench.new, rows), _first_broken(bench.old, rows)
    rejected = "reason" in rows.column_names
    reasons = rows["reason"].to_pylist() if rejected else [None] * len(rows)
    stages = rows["stage"].to_pylist() if rejected else [None] * len(rows)
    ids = rows["id"].to_pylist()
    lost: list[str] = []
    for row, (reason, stage, language) in enumerate(zip(reasons, stages, _codes(rows, "language"), strict=True)):
        tally.documents[language] += 1
        tally.kept[language] += reason is None
        by_rules = stage == "ingest" and reason in bench.group_of
        tally.disagreeing += (now[row] != reason) if by_rules or stage is None else False
        new_reason = then[row]
        change = _change(reason, new_reason, stage, bench) if by_rules or stage != "ingest" else None
        if change is None:
            continue
        tally.changes[change][language] += 1
        tally.reasons[change][str(new_reason if change in {LOST, LOST_LATER} else reason)] += 1
        if change == LOST:
            lost.append(ids[row])
        if change == UNKNOWN:
            tally.unmeasured.update(_unmeasured(bench, str(reason)))
        if change in SAMPLED:
            said = new_reason if change == LOST else reason
            _sample(tally.sampled[change], (ids[row], (*place, row, language, said)), samples)
    return lost


def _change(reason: str | None, new_reason: str | None, stage: str | None, bench: Bench) -> str | None:
    """Return what changes for a document, None where nothing does."""
    if stage is None:
        return LOST if new_reason else None
    if stage != "ingest":
        return LOST_LATER if new_reason else None
    if new_reason is None:
        return UNKNOWN if _unmeasured(bench, str(reason)) else WON
    return OTHER if new_reason != reason else None


def _unmeasured(bench: Bench, reason: str) -> list[str]:
    """Return the steps that would judge what this reason rejected and never saw it."""
    return [name for group in bench.new[bench.group_of[reason] + 1 :] if group.rules for name in group.names]


def _first_broken(groups: Sequence[Group], rows: pa.Table) -> list[str | None]:
    """Return the reason of the first rule that each row breaks."""
    reasons: list[str | None] = [None] * len(rows)
    for group in groups:
        signals = {rule.signal: _numbers(rows, rule.signal) for rule in group.rules}
        broken = judge(group.rules, signals, np.array(_codes(rows, group.codes), np.str_)).rule.tolist()
        names = [*(rule.reason for rule in group.rules), None]
        reasons = [reason or names[rule] for reason, rule in zip(reasons, broken, strict=True)]
    return reasons


def _codes(rows: pa.Table, name: str) -> list[str]:
    """Return a column of languages."""
    return [code or "" for code in rows[name].to_pylist()]


def _numbers(rows: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """Return a column of signals, NaN where nothing was measured.

    One that has a reason's name is 0 where that is the reason: what a function refused is told by nothing else.
    """
    if name.startswith(REFUSED) and "reason" in rows.column_names:
        return np.where(pc.fill_null(pc.equal(rows["reason"], name), False).to_numpy(), 0, np.nan)
    if name not in rows.column_names:
        return np.full(len(rows), np.nan)
    values: npt.NDArray[np.float64] = pc.cast(rows[name], pa.float64()).to_numpy()
    return values


def _sample(sampled: list[tuple[str, Any]], found: tuple[str, Any], samples: int) -> None:
    """Keep the documents of least id, which is a hash."""
    if len(sampled) < samples or (samples and found[0] < sampled[-1][0]):
        sampled.append(found)
        sampled.sort(key=lambda pair: pair[0])
        del sampled[samples:]


def _answer(tally: Tally, asked: Asked, changes: dict[str, Any]) -> dict[str, Any]:
    """Return what was counted as plain values."""
    languages = [
        {
            "language": language,
            "documents": count,
            "kept": tally.kept[language],
            **{name: tally.changes[name][language] for name in TITLES},
        }
        for language, count in sorted(tally.documents.items(), key=lambda item: (-item[1], item[0]))
    ]
    return {
        "asked": changes,
        "documents": tally.documents.total(),
        "kept": tally.kept.total(),
        "changes": {name: tally.changes[name].total() for name in TITLES},
        "reasons": {name: dict(tally.reasons[name].most_common()) for name in TITLES},
        "languages": languages,
        "samples": {name: [_excerpt(*found) for found in tally.sampled[name]] for name in SAMPLED},
        "unmeasured": dict(tally.unmeasured.most_common()),
        "lost_keepers": tally.lost_keepers,
        "their_duplicates": tally.their_duplicates,
        "disagreeing": tally.disagreeing,
        "unknown": caveats(tally, judged=asked.judged),
        "toml": asked.toml,
    }


def caveats(tally: Tally, *, judged: bool) -> list[str]:
    """Return what stored signals cannot say about this question."""
    said = [
        "No later stage ran: what passes the rules may be a duplicate, and what goes may let a duplicate of it stay."
    ]
    if tally.changes[UNKNOWN].total():
        named = ", ".join(f"{name} ({count:,} documents)" for name, count in tally.unmeasured.most_common())
        said.append(f"Rejected before they were measured by {named}: these may reject them still.")
    if tally.lost_keepers:
        kept_for = f"{tally.lost_keepers:,} of those lost are kept for {tally.their_duplicates:,} duplicates"
        said.append(f"{kept_for}, which would be judged instead.")
    if judged and any(tally.changes[name].total() for name in (LOST, WON, UNKNOWN)):
        said.append("Self-cleaning would train its judges on another corpus and cut elsewhere.")
    if tally.disagreeing:
        said.append(
            f"Of {tally.disagreeing:,} documents the stored reason is not what their signals give under the run's "
            "bounds: the rules of this version are not those of the run."
        )
    return said


def _excerpt(identity: str, found: tuple[str, int, int, str, str]) -> dict[str, Any]:
    """Return a sampled document with the beginning of its text, read from its row group."""
    path, group, row, language, reason = found
    with storage.open_input(path) as file:
        text = pq.ParquetFile(file, pre_buffer=False).read_row_group(group, columns=["text"])["text"][row].as_py()
    return {"id": identity, "language": language, "reason": reason, "text": (text or "")[:EXCERPT]}


def show(answer: dict[str, Any], console: Console) -> None:
    """Print the answer."""
    table = Table(title=f"{answer['documents']:,} documents, {answer['kept']:,} kept now", title_justify="left")
    table.add_column("language")
    for title in ("documents", "kept now", *COLUMNS):
        table.add_column(title, justify="right")
    for row in answer["languages"][:LANGUAGES]:
        numbers = (row[name] for name in ("documents", "kept", *TITLES))
        table.add_row(escape(row["language"] or "none"), *(f"{number:,}" for number in numbers))
    totals = (answer["documents"], answer["kept"], *answer["changes"].values())
    table.add_row("all", *(f"{number:,}" for number in totals), style="bold")
    console.print(table)
    for title, meaning in zip(COLUMNS, TITLES.values(), strict=True):
        console.print(f"{title}: {meaning}", highlight=False)
    for name, found in answer["samples"].items():
        if found:
            console.print(f"\n{TITLES[name]}, for example", style="bold")
        for sample in found:
            said = f"{sample['language']} · {sample['reason']} · {' '.join(sample['text'].split())}"
            cut = "…" if len(sample["text"]) == EXCERPT else ""
            console.print(escape(said + cut), highlight=False)
    console.print("\nWhat the stored numbers cannot say", style="bold")
    for caveat in answer["unknown"]:
        console.print(f"- {caveat}", highlight=False)
    console.print("\nTo adopt it", style="bold")
    console.print(escape(answer["toml"]), highlight=False)
