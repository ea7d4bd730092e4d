"""The report: facts as one self-contained HTML page.

What comes from the corpus is hostile. Every string goes into the page through Jinja's or markupsafe's
escaping, as text or as a quoted title, never as a link or a style; and the page's own policy forbids scripts
and requests.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from pipeline import charts
from pipeline.axis import between, number, percent
from pipeline.evaluation.remarks import about_corpus
from pipeline.labelled import estimated, remarks
from pipeline.tally import SAMPLED_CHARACTERS

Table = dict[str, Any]

ENOUGH = 30  # documents of a language, for a share of it to mean something
TAKES_MOST = 0.5  # of a language: a rule that takes more is pointed out
COLUMNS = 12  # languages beside the rules; the others share a column
OPEN_ROWS = 20  # languages or sources before the rest is folded
MOST_ROWS = 400  # sources on the page; report.json has them all
CUT_LANGUAGES = 8  # in the drawing of a round; all are in its table
STAGE_NAMES = {
    "ingest": "rules",
    "deduplicate": "deduplication",
    "self_clean": "self-cleaning",
    "later": "later stages",
}


def render(facts: dict[str, Any]) -> str:
    """Return the page."""
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": number,
        "bytes": show_bytes,
        "seconds": show_seconds,
        "gathered": gathered,
        "tiny": show_tiny,
    }
    environment.globals |= {
        "percent": percent,
        "stage_name": stage_name,
        "sign": sign,
        "between": between,
        "estimated": estimated,
        "enough": ENOUGH,
    }
    return environment.from_string(template).render(view(facts))


def view(facts: Table) -> Table:
    """Return what the template shows, section by section."""
    return {
        "facts": facts,
        "head": headline(facts),
        "funnel": charts.funnel([(s["name"], s["count"]) for s in facts["funnel"]], sum(facts["tokens"].values())),
        "matrix": matrix(facts),
        "samples": samples(facts),
        "alerts": alerts(facts),
        "languages": folded([_with_leader(row, facts) for row in facts["languages"]]),
        "sources": folded(facts["sources"]),
        "signals": [signal_chart(signal) for signal in facts["signals"]],
        "rounds": [round_view(one) for one in facts["rounds"]],
        "not_judged": facts.get("not_judged", {}),
        "evaluation": evaluation_view(facts.get("evaluation", {})),
        "experiments": [experiment_view(one) for one in facts.get("experiments", [])],
        "people": remarks(facts["labels"]) if "labels" in facts else [],
        "clusters": clusters(facts["duplicates"]),
        "cost": cost(facts["stages"]),
    }


def headline(facts: Table) -> Table:
    """Return the figures at the top, and whether every document is accounted for."""
    steps = facts["funnel"]
    documents = steps[1]["count"] if len(steps) > 1 else 0
    kept = steps[-1]["count"] if steps else 0
    lost = sum(row["count"] for row in facts["rejected"])
    tokens = sum(facts["tokens"].values())
    return {
        "documents": documents,
        "kept": kept,
        "rejected": lost,
        "tokens": tokens,
        "adds_up": documents == kept + lost,
    }


def stage_name(stage: str) -> str:
    """Return a stage's name for people."""
    return STAGE_NAMES.get(stage, stage)


def matrix(facts: Table) -> Table:
    """Return the table of reasons by stage, with a cell for each large language and one for the rest."""
    totals = {row["name"]: row["documents"] for row in facts["languages"]}
    shown = list(totals)[:COLUMNS]
    others = len(totals) - len(shown)
    rest = sum(totals.values()) - sum(totals[name] for name in shown)
    stages: dict[str, list[Table]] = {}
    for row in sorted(facts["rejected"], key=_place):
        cells = [_cell(row["languages"].get(name, 0), totals[name]) for name in shown]
        if others:
            cells.append(_cell(sum(n for name, n in row["languages"].items() if name not in shown), rest))
        stages.setdefault(row["stage"], []).append({**row, "cells": cells})
    return {"languages": [(name, totals[name]) for name in shown], "others": (others, rest), "stages": stages}


def _place(row: Table) -> tuple[int, int]:
    """Return where a reason stands: stages in the order of the line, then the commonest first."""
    order = list(STAGE_NAMES)
    return order.index(row["stage"]) if row["stage"] in order else len(order), -row["count"]


def samples(facts: Table) -> list[Table]:
    """Return the sampled rejects of each reason, in the order of the table of reasons."""
    counted = [(row["reason"], row["count"]) for row in sorted(facts["rejected"], key=_place)]
    known = dict(counted)
    counted += [(reason, 0) for reason in facts["samples"] if reason not in known]
    found = facts["samples"]
    return [{"reason": r, "count": count, "rows": found[r]} for r, count in counted if found.get(r)]


def _cell(count: int, total: int) -> Table:
    share = count / total if total else 0.0
    return {
        "count": count,
        "total": total,
        "share": share,
        "heat": share**0.6,
        "most": share > TAKES_MOST and total >= ENOUGH,
    }


def alerts(facts: Table) -> list[Table]:
    """Return each reason that takes most of a language, the largest language first."""
    totals = {row["name"]: row["documents"] for row in facts["languages"]}
    found = [
        {"reason": row["reason"], "language": name, **_cell(count, totals.get(name, 0))}
        for row in facts["rejected"]
        for name, count in row["languages"].items()
    ]
    return sorted((cell for cell in found if cell["most"]), key=lambda cell: (-cell["total"], cell["language"]))


def _with_leader(row: Table, facts: Table) -> Table:
    """Return a language's row with the reason that takes most of it."""
    counted = [(reject["languages"].get(row["name"], 0), reject["reason"]) for reject in facts["rejected"]]
    count, reason = max(counted, default=(0, ""), key=lambda pair: pair[0])
    lost = {stage: row["rejected"][stage] for stage in STAGE_NAMES if stage in row["rejected"]}
    return {
        **row,
        "rejected": lost,
        "leader": {"reason": reason if count else "", **_cell(count, row["documents"])},
    }


def folded(rows: Sequence[Table]) -> Table:
    """Return rows split into those shown at once, those folded, and how many are left out."""
    return {"open": rows[:OPEN_ROWS], "folded": rows[OPEN_ROWS:MOST_ROWS], "left_out": len(rows[MOST_ROWS:])}


def signal_chart(signal: Table) -> Table:
    """Return a signal's chart and what stands over it."""
    family, _, name = signal["name"].rpartition(".")
    sizes = {group: int(sum(count for _, count in signal[group])) for group in ("kept", "rejected")}
    chart = charts.histogram(signal["kept"], signal["rejected"], signal["thresholds"])
    bound = bool(signal["thresholds"])
    empty = not any(edge for group in ("kept", "rejected") for edge, _ in signal[group])
    name = name.replace("_", " ")
    return {"family": family, "name": name, "chart": chart, "bound": bound, "empty": empty, **sizes}


def round_view(one: Table) -> Table:
    """Return a round's figures with its drawing and its cuts as a table."""
    by_size = {name: cell["documents"] for name, cell in one.get("language", {}).items()}
    cuts = sorted(_cuts(one["cuts"]), key=lambda cut: (-by_size.get(cut[0], 0), cut[0], cut[1]))
    shown = list(dict.fromkeys(language for language, *_ in cuts))[:CUT_LANGUAGES]
    drawing = charts.scores(one["score"], [cut for cut in cuts if cut[0] in shown])
    languages = sorted(one.get("language", {}).items(), key=lambda item: (-item[1]["documents"], item[0]))
    cut_by: Table = {}
    for language, size, cut in cuts:
        cut_by.setdefault(language, []).append((size, cut))
    mainly = sorted(one.get("mainly", {}).items(), key=lambda item: (-item[1], item[0]))
    kinds: Table = {}
    for row in one.get("found", []):
        kinds.setdefault(row["kind"], {})[row["severity"]] = row
    drawn = {"drawing": drawing, "cut_by": cut_by, "drawn": shown}
    names = ("seen", "agreement_of_judges", "max_vocabulary_shift", "weights")
    later = {name: one.get(name, {}) for name in names}  # than some finished runs
    return {**one, **later, **drawn, "languages": languages, "mainly": mainly, "kinds": kinds}


def _cuts(cuts: Mapping[str, float]) -> Iterator[charts.Cut]:
    """Yield the cuts of each stratum, whose key is its language and its length class."""
    for stratum, cut in cuts.items():
        language, _, size = stratum.rpartition(" ")
        yield language, size, cut


def evaluation_view(found: Table) -> Table:
    """Return an evaluation by language: what its cuts lose, a drawing, rows; and what the corpus holds."""
    languages = []
    for language, cell in found.get("languages", {}).items():
        rows = [row for row in found["rows"] if row["language"] == language]
        middle = [row for row in rows if row["severity"] == "middle"]
        dots = [
            (row["kind"].replace("_", " "), row["methods"]["score"]["auc"], row["methods"][row["best"]]["auc"][0])
            for row in middle
        ]
        languages.append({"name": language, "rows": rows, "drawing": charts.found(dots), **cell})
    return {**found, "languages": languages, "said": about_corpus(found["corpus"]) if "corpus" in found else []}


def experiment_view(found: Table) -> Table:
    """Return an experiment with its drawings."""
    tables = [{**one, "drawing": charts.intervals(one["drawn"], one["mark"])} for one in found["tables"]]
    return {**found, "tables": tables}


def clusters(duplicates: Table) -> Table:
    """Return clusters counted by ranges of sizes, and their drawing by similarity."""
    counted: Counter[int] = Counter()
    for size, count in duplicates.get("sizes", []):
        counted[_range(size)] += count
    sizes = [{"low": low, "high": _high(low), "count": count} for low, count in sorted(counted.items())]
    similarity = duplicates.get("similarity", [])
    return {
        "count": sum(counted.values()),
        "members": sum(size * count for size, count in duplicates.get("sizes", [])),
        "sizes": sizes,
        "most": max(counted.values(), default=0),
        "largest": duplicates.get("largest", []),
        "compared": int(sum(count for _, count in similarity)),
        "similarity": charts.histogram([], similarity, [], 480.0),
        "precision": duplicates.get("precision"),
        "left": duplicates.get("left"),
        "cut": duplicates.get("cut"),
    }


def _range(size: int) -> int:
    """Return the first size of the range a size falls into: 2, 3, 4, then a power of two and what follows."""
    return size if size < 4 else 1 << (size.bit_length() - 1)


def _high(low: int) -> int:
    return low if low < 4 else 2 * low - 1


def cost(stages: Sequence[Table]) -> Table:
    """Return what each stage cost, beside the total."""
    names = ("seconds", "cpu_seconds", "tasks")
    return {"stages": stages, "total": {name: sum(stage[name] for stage in stages) for name in names}}


def sign(value: float | None, threshold: float | None) -> str:
    """Return how a value lies to its threshold."""
    if value is None or threshold is None or not (math.isfinite(value) and math.isfinite(threshold)):
        return ""
    return "<" if value < threshold else ">" if value > threshold else "="


def show_bytes(count: float) -> str:
    """Return bytes for people."""
    power = min(4, int(math.log10(count) / 3)) if count >= 1 else 0
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def show_seconds(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 100:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def show_tiny(value: float) -> str:
    """Return a value of five digits after the point for people; it says 0 only where that is exact."""
    return "< 0.00001" if 0 < value < 1e-5 else f"{value:.5f}" if value else "0"


def gathered(text: str) -> str:
    """Return a text with runs of blank lines drawn together, so that a card shows more; with "…" where it was cut."""
    return re.sub(r"\n\s*\n", "\n\n", text).strip() + ("…" if len(text) == SAMPLED_CHARACTERS else "")
