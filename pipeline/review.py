"""Let people judge what self-cleaning did, and count what they said.

    python -m pipeline.review --output out/web
    python -m pipeline.review --output out/web --labels labels-ana.json labels-ben.json

The first writes OUT/review/review.html, a page to label a blind, stratified sample in a browser, and beside it
sample-DIGEST.json with the probability of each draw. The second prints the precision and recall of self-cleaning and
how far two people agree, and puts it into OUT/report.html. Exit codes: 0 done, 2 a mistake in what was asked.
"""

import argparse
import math
import sys
from collections.abc import Sequence

from rich.console import Console

from pipeline.config import ConfigError
from pipeline.counted import counted
from pipeline.object_store import StoreFailed

PAGE = "review.html"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    line = argparse.ArgumentParser(
        prog="python -m pipeline.review",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    line.add_argument("--output", metavar="OUT", required=True, help="output folder of a finished run")
    line.add_argument("--size", metavar="N", type=int, default=300, help="documents to label (default 300)")
    line.add_argument("--shares", metavar="KEPT,NEAR,REJECTED", default="0.4,0.3,0.3",
                      help="shares of the sample: clearly kept, borderline, clearly rejected")  # fmt: skip
    line.add_argument("--near", metavar="SHARE", type=float, default=0.02,
                      help="share of the documents of a cut that are borderline (default 0.02)")  # fmt: skip
    line.add_argument("--seed", type=int, default=1, help="another seed draws another sample")
    line.add_argument("--language", metavar="CODE", nargs="+", action="extend", default=[], help="only these")
    line.add_argument("--reviewer", metavar="NAME", default="", help="whose page it is")
    line.add_argument("--labels", metavar="FILE", nargs="+", action="extend", default=[],
                      help="count labels instead: files that the page saved")  # fmt: skip
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page or count labels, and return the exit code."""
    asked = parser().parse_args(arguments)
    output = asked.output.rstrip("/")
    try:
        act = count if asked.labels else write_page
        act(output, asked, Console(soft_wrap=True, markup=False))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StoreFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


def write_page(output: str, asked: argparse.Namespace, console: Console) -> None:
    """Draw a sample and write its page and its probabilities."""
    from pipeline import storage
    from pipeline.labels import FOLDER
    from pipeline.review_page import render
    from pipeline.review_sample import Design, draw

    shares = _shares(asked.shares)
    if not 1 <= asked.size <= 100_000 or not 0 <= asked.near <= 1 or not 0 <= asked.seed < 2**63:
        raise ConfigError("--size must be from 1 to 100,000, --near from 0 to 1, --seed from 0 to 2^63 - 1")
    sample = draw(output, Design(asked.size, shares, asked.near, asked.seed, tuple(sorted(set(asked.language)))))
    page = storage.join(output, FOLDER, PAGE)
    with storage.create(page) as file:
        file.write(render(sample, asked.reviewer).encode())
    beside = storage.join(output, FOLDER, f"sample-{sample.digest}.json")
    storage.write_json(beside, {**sample.facts(), "digest": sample.digest})
    languages = len({one.language for one in sample.documents})
    console.print(
        f"{counted(len(sample.documents), 'document')} in {counted(languages, 'language')} to label: {page}",
        highlight=False,
    )
    console.print(f"their probabilities, which labellers need not see: {beside}", highlight=False)


def count(output: str, asked: argparse.Namespace, console: Console) -> None:
    """Print what labels say of a finished run and put it into its report."""
    from pipeline import storage
    from pipeline.finished_run import check_finished, read_run, read_self_clean
    from pipeline.labelled import applied, measure, show
    from pipeline.labels import read_labels
    from pipeline.output_folder import write_report

    check_finished(output)
    labels = read_labels(asked.labels, output)
    facts = measure(labels, output, applied=applied(labels, read_self_clean(output)))
    show(facts, console)
    if storage.exists(storage.join(output, "report.json")):
        report = read_run(output, lambda found: {**found, "labels": facts}, "report.json")
        write_report(output, report, lambda: None)  # a finished run is nobody's
        console.print(f"also in {storage.join(output, 'report.html')}", highlight=False)


def _shares(given: str) -> tuple[float, float, float]:
    """Return the shares of a sample, which add up to 1."""
    try:
        shares = [float(part) for part in given.split(",")]
    except ValueError:
        shares = []
    if len(shares) != 3 or min(shares) < 0 or not 0 < sum(shares) < math.inf:
        raise ConfigError(f"--shares must be three numbers like 0.4,0.3,0.3, got {given!r}")
    kept, near, rejected = (share / sum(shares) for share in shares)
    return kept, near, rejected


if __name__ == "__main__":
    sys.exit(main())
