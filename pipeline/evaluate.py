"""Measure how well a finished run finds damage: `python -m pipeline.evaluate --output OUT --good 'books/*.jsonl'`.

Give good text whose whole source, a book, a site, a collection, was not in the run's input. It passes the run's rules
and edits. What the run kept or rejected is read through: good documents that are found there are left out, hosts and
sources that both have are named. Without --good, what the run's rules and deduplication left is presumed good, each
document read by the judge of its fold, which saw neither it nor, as a rule, its host. Half of the good text, by
records, sets a cut that costs 2 % of it, the other half is damaged in known ways and judged. The score of a kind of
damage is that of weights that never saw the kind, where OUT/stages still holds the anchors. Beside it stand length,
n-grams, token priors, the TransNormer's bits per byte, the run's rules, fastText and chance; bits once where high is
worse, once where far from the middle is. Intervals are 95 %, from a bootstrap over records. Prints tables, writes
OUT/evaluate.json and a section of OUT/report.html.

Exit codes: 0 done, 1 fastText failed, 2 a mistake in what was asked.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipeline.config import ConfigError, Input
from pipeline.object_store import StoreFailed

if TYPE_CHECKING:  # what a line that is refused need not wait for
    from pipeline.evaluation.finished import Finished
    from pipeline.evaluation.good_text import Gathered, Halves
    from pipeline.evaluation.methods import Observed
    from pipeline.evaluation.trials import Trial
    from pipeline.progress import Display
    from pipeline.self_clean.signals import Floats

SEED = 1
WIDE = 150  # columns of a table that goes to a file


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    line = argparse.ArgumentParser(
        prog="python -m pipeline.evaluate",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    line.add_argument("--output", metavar="OUT", required=True, help="output folder of a finished run")
    line.add_argument("--good", metavar="GLOB", nargs="+", action="extend", default=[],
                      help="files of good texts, of any format; default: the run's own")  # fmt: skip
    line.add_argument("--text", metavar="FIELD", default="text", help="field that holds the text (default: text)")
    line.add_argument("--source", metavar="FIELD", default="",
                      help="field that holds the source: those that the corpus has, too, are named")  # fmt: skip
    line.add_argument("--documents", metavar="N", type=int, default=2000,
                      help="most documents of a language, pieces counted (default: 2000)")  # fmt: skip
    line.add_argument("--copies", metavar="N", type=int, default=9,
                      help="damaged copies of a measured document, no two alike (default: 9)")  # fmt: skip
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate from the command line and return the exit code."""
    asked = parser().parse_args(arguments)
    try:
        check(asked)
        from pipeline.fasttext_training import TrainingError

        try:
            evaluate(asked, Console(width=None if sys.stdout.isatty() else WIDE))
        except TrainingError as error:
            print(f"failed: fastText: {error}", file=sys.stderr)
            return 1
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StoreFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


def check(asked: argparse.Namespace) -> None:
    """Raise ConfigError for a number out of its range, and for fields of files that are not given."""
    from pipeline.evaluation.trials import MOST_COPIES

    if not asked.good and (asked.source or asked.text != "text"):
        raise ConfigError("--text and --source name fields of --good, which is not given")
    for name, low, high in (("documents", 40, 1_000_000), ("copies", 1, MOST_COPIES)):
        if not low <= getattr(asked, name) <= high:
            raise ConfigError(f"--{name} must be from {low:,} to {high:,}, got {getattr(asked, name):,}")


def evaluate(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Evaluate, print, store and return what was found."""
    from pipeline import storage
    from pipeline.evaluation.finished import EVALUATION, read_finished
    from pipeline.evaluation.shown import show
    from pipeline.output_folder import amend_report

    began, clock = time.monotonic(), time.process_time()
    run = read_finished(asked.output.rstrip("/"))
    found = measure(asked, run, console)
    found["cost"] |= {"seconds": time.monotonic() - began, "CPU seconds": time.process_time() - clock}
    storage.write_json(storage.join(run.output, EVALUATION), found)
    amend_report(run.output, "evaluation", found)
    show(found, console)
    return found


def measure(asked: argparse.Namespace, run: "Finished", console: Console) -> dict[str, Any]:
    """Return what was found, as evaluate.json has it."""
    from pipeline.evaluation import methods, tables
    from pipeline.evaluation.trials import make_trials
    from pipeline.progress import display

    with display(console) as shown:
        good, halves, corpus = given_text(asked, run, shown) if asked.good else own_text(asked, run, shown)
        trials = make_trials(halves.documents, halves.foreign, run.config.self_clean.folds, asked.copies)
        seen, score, names, rows = compare(trials, run, shown)
    spent = {f"CPU seconds of {name}": seconds for name, seconds in seen.seconds.items()}
    return {
        "digest": run.digest,
        "round": run.round,
        "left_out": bool(run.measured),
        "loss": tables.LOSS,
        "methods": {name: said for name, said in methods.METHODS.items() if name in names},
        "read": {
            "read": good.read,
            "rejected": good.rejected,
            "not_judged": {name: count for name, count in good.kept.items() if name not in run.score.languages},
            "too_few": halves.too_few,
            "unreadable": good.unreadable,
        },
        "corpus": corpus,
        "languages": tables.clean_loss(trials, seen.whole, score, run.lowest_cuts, SEED),
        "rows": rows,
        "cost": {"texts": len(trials), "TransNormer tokens": seen.tokens, **spent},
    }


def given_text(
    asked: argparse.Namespace, run: "Finished", shown: "Display"
) -> "tuple[Gathered, Halves, dict[str, Any]]":
    """Return the good text of files, its halves without what the corpus holds, and what the corpus holds of it."""
    from pipeline.evaluation.good_text import gather, halve
    from pipeline.evaluation.overlap import facts_of, look

    given = Input(name="good", paths=tuple(asked.good), text=asked.text, source=asked.source)
    good = gather(given, run.config, [*run.score.languages], asked.documents)
    halve(good, (), asked.documents)  # too little is said before the corpus is read
    if asked.source and not any(one.source for one in good.documents):
        raise ConfigError(f"--source {asked.source}: no record of the good text has that field")
    with shown.stage("evaluate.corpus") as watch:
        corpus = look(good.documents, run.output, watch)
    halves = halve(good, corpus.held, asked.documents)
    return good, halves, facts_of(corpus, good.documents, chain(*halves.documents.values()))


def own_text(asked: argparse.Namespace, run: "Finished", shown: "Display") -> "tuple[Gathered, Halves, dict[str, Any]]":
    """Return what the run's rules left, presumed good, its halves, and that it is the corpus's own."""
    from pipeline.evaluation.good_text import halve
    from pipeline.evaluation.own_text import gather_own

    with shown.stage("evaluate.corpus") as watch:
        good, read = gather_own(run, asked.documents, watch)
    return good, halve(good, (), asked.documents), {"own": read}


def compare(
    trials: "Sequence[Trial]", run: "Finished", shown: "Display"
) -> "tuple[Observed, Floats, set[str], list[dict[str, Any]]]":
    """Return what the judges saw, the run's own score (trials), the names of the methods and their figures."""
    from pipeline.evaluation import methods, tables
    from pipeline.self_clean.anchors import CLEAN

    kinds = sorted({trial.kind for trial in trials} - {CLEAN})
    batches = -(-len(trials) // methods.BATCH) + len(run.judges.weights) - 1  # at most
    with shown.stage("evaluate.judge") as watch:
        seen = methods.observe(trials, run, lambda n, size: watch(batches, [{"documents": n, "bytes": size}], ""))
    with shown.stage("evaluate.compare") as watch:
        plain = methods.plain_values(trials, seen, run, SEED)
        own = methods.learnt_values(trials, seen, run, kinds)
        other = methods.fasttext_values(trials, run, kinds)
        values = {kind: {**own[kind], **plain, **other[kind]} for kind in kinds}
        rows = tables.rows_of(trials, seen.whole, values, SEED)
        watch(1, [{"documents": len(trials)}], "")
    return seen, own[""][methods.SCORE], set(values[kinds[0]]), rows


if __name__ == "__main__":
    sys.exit(main())
