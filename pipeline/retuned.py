"""The answer to other bounds: every stored document judged again by its signals, and what that leaves unknown."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from filters.rules import Rule, judge
from pipeline import storage
from pipeline.config import Bounds, Config, ConfigError, Ingest
from pipeline.retune import merged
from pipeline.steps import Judges, families_together

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
    """The rules of a run, old and new, and how far each of their reasons lets a document go."""

    old: tuple[Rule, ...]  # their signals as columns: family.signal
    new: tuple[Rule, ...]
    groups: tuple[tuple[str, ...], ...]  # families measured together, in order
    group_of: dict[str, int]  # of each reason


@dataclass(slots=True)
class Tally:
    """What was counted."""

    documents: Counter[str] = field(default_factory=Counter)  # by language
    kept: Counter[str] = field(default_factory=Counter)
    changes: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in TITLES})
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in TITLES})
    unmeasured: Counter[str] = field(default_factory=Counter)  # families that never saw an unknown document
    disagreeing: int = 0  # documents whose stored reason is not what the stored signals give
    sampled: dict[str, list[tuple[str, Any]]] = field(default_factory=lambda: {name: [] for name in SAMPLED})
    lost_ids: set[str] = field(default_factory=set)
    keepers: Counter[str] = field(default_factory=Counter)  # how many duplicates point at a document


def ask(output: str, changes: dict[str, Bounds], samples: int) -> dict[str, Any]:
    """Return what changed bounds would do to a finished run; raises ConfigError as a configuration with them would."""
    config = _config(output)
    bench = make_bench(config, changes)
    tally = Tally()
    for kind in ("documents", "rejected"):
        for path, group, rows in _read(output, kind, bench):
            _count(tally, bench, rows, (path, group), samples)
    return _answer(tally, merged_bounds(config, changes), changes)


def _config(output: str) -> Config:
    """Return what a finished run says of its steps and bounds."""
    try:
        table = storage.read_json(storage.join(output, "run.json"))["config"]
        finished = storage.exists(storage.join(output, "_SUCCESS"))
        steps, families = tuple(table["ingest"]["steps"]), table["families"]
    except (OSError, ValueError, KeyError, TypeError):
        finished = False
    if not finished:
        raise ConfigError(f"{output} is not the output folder of a finished run")
    return Config(ingest=Ingest(steps=steps), families=families)


def merged_bounds(config: Config, changes: dict[str, Bounds]) -> dict[str, Bounds]:
    """Return the bounds of the changed signals, those in force now and those asked for together."""
    return {
        family: {name: merged(config.families.get(family, {}).get(name, {}), bounds) for name, bounds in table.items()}
        for family, table in changes.items()
    }


def make_bench(config: Config, changes: dict[str, Bounds]) -> Bench:
    """Return the rules before and after; raises ConfigError for an unknown family, signal or key and a wrong bound."""
    old = families_together(config)
    known = [family.name for judges in old for family in judges.families]
    for family in changes:
        if family not in known:
            raise ConfigError(
                f"{family} is no family of filters of this run; there are {', '.join(known)} "
                "(bounds of other steps are not answered for)"
            )
    new = families_together(replace(config, families=merged(config.families, changes)))
    group_of = {rule.reason: number for number, judges in enumerate(old) for f in judges.families for rule in f.rules}
    groups = tuple(tuple(family.name for family in judges.families) for judges in old)
    return Bench(_rules(old), _rules(new), groups, group_of)


def _rules(judges: Sequence[Judges]) -> tuple[Rule, ...]:
    """Return the rules in judging order, over flat columns."""
    families = [family for step in judges for family in step.families]
    return tuple(replace(rule, signal=f"{f.name}.{rule.signal}") for f in families for rule in f.rules)


def _read(output: str, kind: str, bench: Bench) -> Iterator[tuple[str, int, pa.Table]]:
    """Yield the row groups of published documents or rejects, without their texts."""
    signals = {rule.signal for rule in (*bench.old, *bench.new)}
    wanted = {"id", "language", "stage", "reason", "duplicate_of", *signals}
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


def _count(tally: Tally, bench: Bench, rows: pa.Table, place: tuple[str, int], samples: int) -> None:
    """Judge a row group again and add what changes."""
    languages = np.array([code or "" for code in rows["language"].to_pylist()], np.str_)
    signals = {rule.signal: _numbers(rows, rule.signal) for rule in (*bench.old, *bench.new)}
    then, now = judge(bench.new, signals, languages).rule, judge(bench.old, signals, languages).rule
    rejected = "reason" in rows.column_names
    reasons = rows["reason"].to_pylist() if rejected else [None] * len(rows)
    stages = rows["stage"].to_pylist() if rejected else [None] * len(rows)
    if rejected:
        tally.keepers.update(name for name in rows["duplicate_of"].to_pylist() if name)
    ids = rows["id"].to_pylist()
    for row, (reason, stage, language) in enumerate(zip(reasons, stages, languages.tolist(), strict=True)):
        tally.documents[language] += 1
        tally.kept[language] += reason is None
        by_rules = stage == "ingest" and reason in bench.group_of
        recounted = bench.old[now[row]].reason if now[row] >= 0 else None
        tally.disagreeing += (recounted != reason) if by_rules or stage is None else False
        new_reason = bench.new[then[row]].reason if then[row] >= 0 else None
        change = _change(reason, new_reason, stage, bench) if by_rules or stage != "ingest" else None
        if change is None:
            continue
        tally.changes[change][language] += 1
        tally.reasons[change][str(new_reason if change in {LOST, LOST_LATER} else reason)] += 1
        if change == LOST:
            tally.lost_ids.add(ids[row])
        if change == UNKNOWN:
            tally.unmeasured.update(_unmeasured(bench, str(reason)))
        if change in SAMPLED:
            said = new_reason if change == LOST else reason
            _sample(tally.sampled[change], (ids[row], (*place, row, language, said)), samples)


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
    """Return the families that never saw what this reason rejected."""
    return [name for group in bench.groups[bench.group_of[reason] + 1 :] for name in group]


def _numbers(rows: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """Return a column of signals, NaN where nothing was measured."""
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


def _answer(tally: Tally, bounds: dict[str, Bounds], changes: dict[str, Bounds]) -> dict[str, Any]:
    """Return what was counted as plain values."""
    replaced = sorted(tally.lost_ids & tally.keepers.keys())
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
        "lost_keepers": len(replaced),
        "their_duplicates": sum(tally.keepers[name] for name in replaced),
        "disagreeing": tally.disagreeing,
        "unknown": caveats(tally, len(replaced)),
        "toml": as_toml(bounds),
    }


def caveats(tally: Tally, lost_keepers: int) -> list[str]:
    """Return what stored signals cannot say about this question."""
    said = [
        "No later stage ran: what passes the rules may be a duplicate, and what goes may let a duplicate of it stay."
    ]
    if tally.changes[UNKNOWN].total():
        named = ", ".join(f"{name} ({count:,} documents)" for name, count in tally.unmeasured.most_common())
        said.append(f"Rejected before they were measured by {named}: these may reject them still.")
    if lost_keepers:
        count = sum(tally.keepers[name] for name in tally.lost_ids)
        said.append(f"{lost_keepers:,} of those lost are kept for {count:,} duplicates, which would be judged instead.")
    if tally.changes[LOST].total() + tally.changes[WON].total() + tally.changes[UNKNOWN].total():
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


def as_toml(bounds: dict[str, Bounds]) -> str:
    """Return bounds as the configuration writes them."""
    lines: list[str] = []
    for family, table in bounds.items():
        for signal, given in table.items():
            lines.append(f"[{family}.{signal}]")
            lines += [f"{key} = {_value(value)}" for key, value in given.items() if key != "by_language"]
            if own := given.get("by_language"):
                lines.append(f"[{family}.{signal}.by_language]")
                lines += [f"{code} = {{ {_pairs(pairs)} }}" for code, pairs in own.items()]
    return "\n".join(lines)


def _pairs(table: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {_value(value)}" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f"{value!r}"


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
            console.print(escape(said), highlight=False)
    console.print("\nWhat the stored numbers cannot say", style="bold")
    for caveat in answer["unknown"]:
        console.print(f"- {caveat}", highlight=False)
    console.print("\nTo adopt it", style="bold")
    console.print(escape(answer["toml"]), highlight=False)
