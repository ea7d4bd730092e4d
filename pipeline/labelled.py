"""What labels say of self-cleaning: precision, recall, agreement, and where the cuts would better be.

A document of a stratum stands for documents / labelled documents of it, its inverse sampling probability where all that
was drawn is labelled; who is unsure of a document leaves it out, as if it had not been drawn. Thresholds are chosen on
one half of the labels, by hash of the document's id, and reported on the other.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from pipeline.config import Config, ConfigError, SelfClean
from pipeline.draw import hashes
from pipeline.estimates import Interval, Sampled, kappa, loss, offset_from_labels, precision, recall, share
from pipeline.labels import BAD, UNSURE, Labels
from pipeline.standing import read_judged

ENOUGH = 200  # good or bad labels; with fewer, thresholds from them are reported and not applied
FOLDS = 2  # of the labels: thresholds are chosen on the first
LABELS_DECIDE = "labels"  # [self_clean] thresholds

Table = dict[str, Any]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Decided:
    """Documents that people called good or bad, as they were drawn (documents)."""

    ids: list[str]
    bad: Bools
    language: npt.NDArray[np.str_]
    stratum: npt.NDArray[np.int64]
    rejected: Bools  # when the sample was drawn
    margin: npt.NDArray[np.float64]  # score - cut, when the sample was drawn; -inf where no cut rejects
    sizes: npt.NDArray[np.int64]  # documents of each stratum

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.ids)

    def fold(self) -> npt.NDArray[np.int64]:
        """Return each document's fold of the labels."""
        order = hashes(self.ids, 0, "fold of the labels") if self.ids else np.zeros(0, np.uint64)
        return (order % np.uint64(FOLDS)).astype(np.int64)

    def sampled(self, chosen: Bools, rejected: Bools, there: Bools | None = None) -> Sampled:
        """Return chosen documents with what they stand for, by verdicts; then only those that are still `there`."""
        labelled = np.bincount(self.stratum[chosen], minlength=len(self.sizes))
        weight = self.sizes / np.maximum(1, labelled)
        left = 1 - labelled / self.sizes
        at = self.stratum
        everything = Sampled(self.bad, rejected, weight[at], left[at])
        return everything.where(chosen if there is None else chosen & there)


def decide(labels: Labels) -> Decided:
    """Return the documents on which people have come to good or bad."""
    agreed, _ = labels.agreed()
    rows = [one for one in labels.sample["documents"] if agreed.get(one["id"], UNSURE) != UNSURE]
    return Decided(
        ids=[one["id"] for one in rows],
        bad=np.array([agreed[one["id"]] == BAD for one in rows], bool),
        language=np.array([one["language"] for one in rows], np.str_),
        stratum=np.array([one["stratum"] for one in rows], np.int64),
        rejected=np.array([one["rejected"] for one in rows], bool),
        margin=np.array([_margin(one) for one in rows], np.float64),
        sizes=np.array([one["documents"] for one in labels.sample["strata"]], np.int64),
    )


def _margin(one: Mapping[str, Any]) -> float:
    """Return how far above its cut a document lies; what nobody read has the surrogate's score, and stays."""
    return float(one["score"] - one["cut"]) if one.get("read", True) else -math.inf  # version 1 did not say


def threshold(labels: Labels) -> Table | None:
    """Return the offset of all cuts that one half of the labels asks for, and what the other half says of it.

    Only documents that were read speak, since no cut rejects the others; None where a half has no labels. `offset` is
    counted from the cuts that the drop budget chooses: the sample's run may have had one already.
    """
    decided = decide(labels)
    first = decided.fold() == 0
    read = np.isfinite(decided.margin[first])
    if not read.any() or first.all():
        return None
    chosen = decided.sampled(first, decided.rejected).where(read)
    step = offset_from_labels(chosen.bad, decided.margin[first][read], chosen.weight)
    return {
        "labels": len(decided),
        "needed": ENOUGH,
        "enough": len(decided) >= ENOUGH,
        "step": step,
        "offset": labels.sample["offset"] + step,
        "chosen_on": int(first.sum()),
        "reported_on": int((~first).sum()),
        "now": shares(decided.sampled(~first, decided.rejected)),
        "then": shares(decided.sampled(~first, decided.margin >= step)),
    }


def with_thresholds(config: Config, labels: Labels | None) -> Config:
    """Return the configuration with the offset that labels ask for, where they are to decide and are enough.

    Raises ConfigError where they are to decide and there are none.
    """
    settings = config.self_clean
    if settings.thresholds != LABELS_DECIDE:
        return config
    if labels is None:
        raise ConfigError('self_clean.thresholds = "labels" needs --labels')
    if settings.cut_offset:
        raise ConfigError('self_clean.cut_offset is what thresholds = "labels" chooses; give one of them')
    found = threshold(labels)
    if found is None or not found["enough"]:
        return config
    return replace(config, self_clean=replace(settings, cut_offset=found["offset"]))


def applied(labels: Labels, settings: SelfClean) -> bool:
    """Tell whether a run's cuts are those that these labels chose, by the run itself or as printed and copied.

    Cuts that lie where the sample's run had them were chosen only where the run was told to ask labels, and these are
    enough: labels often ask for no move.
    """
    found = threshold(labels)
    if found is None or not settings.rounds or _printed(found["offset"]) != _printed(settings.cut_offset):
        return False
    moved = _printed(settings.cut_offset) != _printed(labels.sample["offset"])
    return moved or (settings.thresholds == LABELS_DECIDE and found["enough"])


def _printed(offset: float) -> str:
    return f"{offset:.4g}"


def shares(sampled: Sampled) -> Table:
    """Return precision, recall and the share of good documents lost, each with its interval or None."""
    return {name: measure(sampled) for name, measure in MEASURES.items()}


MEASURES = {"precision": precision, "recall": recall, "loss": loss}


def measure(labels: Labels, output: str, *, applied: bool = False) -> Table:
    """Return what labels say of the verdicts in an output folder, as plain values.

    Where the cuts were chosen by these labels (`applied`), only those speak that did not choose them.
    """
    agreed, disputed = labels.agreed()
    decided = decide(labels)
    verdicts = _verdicts(output, set(decided.ids))
    there = np.array([name in verdicts for name in decided.ids], bool)
    rejected = np.array([verdicts.get(name, False) for name in decided.ids], bool)
    chosen = decided.fold() > 0 if applied else np.ones(len(decided), bool)
    sampled = decided.sampled(chosen, rejected, there)
    language = decided.language[chosen & there]
    return {
        "sample": labels.sample["digest"],
        "labellers": [{"name": name, **_counted(given.values())} for name, given in sorted(labels.given.items())],
        **_counted(agreed.values()),
        "decided": len(decided),
        "counted": len(sampled),
        "disputed": disputed,
        "repeated": labels.repeated,
        "contradicted": labels.contradicted,
        "gone": int((~there).sum()),
        "covered": _covered(decided, chosen),
        "applied": applied,
        **shares(sampled),
        "languages": [_language(name, sampled, language) for name in sorted(set(language.tolist()))],
        "strata": _strata(labels.sample["strata"], decided, chosen),
        "agreement": [_agreement(*pair) for pair in labels.pairs()],
        "thresholds": threshold(labels),
    }


def _counted(labels: Iterable[str]) -> Table:
    counted = Counter(labels)
    return {"labels": counted.total(), **{name: counted[name] for name in ("good", "bad", "unsure")}}


def _verdicts(output: str, wanted: set[str]) -> dict[str, bool]:
    """Return whether self-cleaning rejected a document, of those it judged."""
    found: dict[str, bool] = {}
    for _, table in read_judged(output):
        names = table["id"].to_pylist()
        found |= {name: said for name, said in zip(names, table["rejected"].to_pylist(), strict=True) if name in wanted}
    return found


def _covered(decided: Decided, chosen: Bools) -> float:
    """Return the share of the documents whose stratum has a label."""
    labelled = np.bincount(decided.stratum[chosen], minlength=len(decided.sizes)) > 0
    return float(decided.sizes[labelled].sum() / decided.sizes.sum())


def _language(name: str, sampled: Sampled, language: npt.NDArray[np.str_]) -> Table:
    own = sampled.where(language == name)
    return {"name": name, "labels": len(own), **shares(own)}


def _strata(strata: list[Mapping[str, Any]], decided: Decided, chosen: Bools) -> list[Table]:
    """Return the share of bad documents in each stratum of the sample, as drawn."""
    found = []
    for number, stratum in enumerate(strata):
        bad = decided.bad[chosen & (decided.stratum == number)]
        left = np.full(len(bad), 1 - len(bad) / stratum["documents"])
        found.append({**stratum, "labels": len(bad), "bad": share(bad, np.ones(len(bad)), left)})
    return found


def _agreement(one: str, other: str, counted: npt.NDArray[np.float64]) -> Table:
    raw, value = kappa(counted)
    defined = not math.isnan(value[0])
    return {"labellers": [one, other], "both": int(counted.sum()), "raw": raw, "kappa": value if defined else None}


def show(facts: Table, console: Console) -> None:
    """Print what labels say."""
    console.print(_overview(facts))
    for pair in facts["agreement"]:
        one, other = pair["labellers"]
        said = f"{one} and {other} agree on {estimated(pair['raw'])} of {pair['both']} documents, kappa "
        console.print(said + estimated(pair["kappa"], percent=False), highlight=False, markup=False)
    for line in remarks(facts):
        console.print(line, highlight=False, markup=False)


def _overview(facts: Table) -> Shown:
    table = Shown(title=f"What people say of self-cleaning: {facts['counted']} labels", title_justify="left")
    for title in ("language", "labels", "precision", "recall", "good documents lost"):
        table.add_column(title, justify="left" if title == "language" else "right")
    for row in facts["languages"]:
        table.add_row(Text(row["name"]), str(row["labels"]), *(estimated(row[name]) for name in MEASURES))
    table.add_row("all", str(facts["counted"]), *(estimated(facts[name]) for name in MEASURES), style="bold")
    return table


def remarks(facts: Table) -> list[str]:
    """Return in sentences what a reader of the figures must know."""
    said = []
    if facts["applied"]:
        said.append("The cuts were chosen by the other half of the labels; these did not choose them.")
    if facts["covered"] < 1:
        said.append(f"Strata with labels hold {facts['covered']:.1%} of the documents; of the others nothing is known.")
    said += [f"{facts[name]:,} {meaning}" for name, meaning in REMARKS.items() if facts[name]]
    return [*said, *_about_thresholds(facts["thresholds"], applied=facts["applied"])]


REMARKS = {
    "unsure": "of the labelled documents are left out, since people are unsure of them or do not agree.",
    "disputed": "are called good by as many people as call them bad.",
    "contradicted": "labels of one person contradict each other and count as unsure.",
    "repeated": "labels were given twice by one person.",
    "gone": "labelled documents are not judged by self-cleaning any more.",
}


def _about_thresholds(found: Table | None, *, applied: bool) -> list[str]:
    if found is None:
        return []
    now, then = (
        ", ".join(f"{name} {estimated(found[when][name])}" for name in ("precision", "recall"))
        for when in ("now", "then")
    )
    asked = f"{found['chosen_on']} labels ask for all cuts to move by {found['step']:+.4g}"
    told = f"on the other {found['reported_on']}: {now} as it was, {then} with it"
    lines = [f"{asked} (cut_offset = {_printed(found['offset'])}); {told}."]
    if not found["enough"]:
        lines.append(f"{found['labels']} labels are too few to set thresholds by: {found['needed']} are needed.")
    elif not applied:
        lines.append('To cut there: [self_clean] thresholds = "labels" and --labels.')
    return lines


def estimated(found: Interval | None, *, percent: bool = True) -> str:
    """Return an estimate with its interval."""
    if found is None:
        return "–"
    value, low, high = found
    return f"{value:.1%} ({100 * low:.1f} – {100 * high:.1f})" if percent else f"{value:.2f} ({low:.2f} – {high:.2f})"
