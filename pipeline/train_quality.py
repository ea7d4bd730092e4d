"""Train a fastText classifier on good and bad texts: `python -m pipeline.train_quality --good A --bad B --output M`.

Any inputs that the pipeline reads. A share of the texts, chosen by their hash, is held out: precision, recall and
AUC on it are printed, by language too, with the lines that use the model. Equal texts fall on the same side; one that
is both good and bad is left out. Meanwhile two copies of the texts lie in a temporary folder ($TMPDIR). The same
inputs and options give the same model on one machine type.

Exit codes: 0 done, 1 the training failed, 2 a mistake in what was asked.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from pipeline.config import ConfigError
from pipeline.fasttext_training import TrainingError, train
from pipeline.quality_samples import Sample, Samples, Source, collect, line_of

SHOWN = 20  # documents of a language, of each kind, for numbers of its own
BATCH = 1000  # texts measured at once


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    line = argparse.ArgumentParser(
        prog="python -m pipeline.train_quality",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("good", "bad"):
        line.add_argument(f"--{name}", metavar="GLOB", nargs="+", action="extend", required=True,
                          help=f"files of {name} texts: JSONL, Parquet, WARC, WET, ARC or text")  # fmt: skip
    line.add_argument("--output", metavar="FILE", required=True, help="where to write the model (.bin)")
    line.add_argument("--text", metavar="FIELD", default="text", help="field that holds the text (default: text)")
    line.add_argument("--bad-text", metavar="FIELD", help="that of the bad texts, where it is another")
    line.add_argument("--held-out", metavar="SHARE", type=float, default=0.1, help="share to measure on (default: 0.1)")
    line.add_argument("--epochs", type=int, default=5, help="passes over the texts (default: 5)")
    line.add_argument("--rate", type=float, default=0.1, help="learning rate (default: 0.1, fastText's)")
    line.add_argument("--width", type=int, default=16, help="numbers in a vector (default: 16)")
    line.add_argument("--words", type=int, default=2, help="most words in an n-gram (default: 2, DCLM's)")
    line.add_argument("--buckets", type=int, default=1_000_000, help="n-grams kept apart (default: 1,000,000)")
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line and return the exit code."""
    asked = parser().parse_args(arguments)
    try:
        check(asked)
        good = Source("good", tuple(asked.good), asked.text)
        bad = Source("bad", tuple(asked.bad), asked.bad_text or asked.text)
        with tempfile.TemporaryDirectory() as folder:
            samples = collect(good, bad, asked.held_out, Path(folder))
            train_model(samples, asked)
            report(Console(soft_wrap=True), samples, asked.output)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except TrainingError as error:
        print(f"failed: fastText: {error}", file=sys.stderr)
        return 1
    return 0


def check(asked: argparse.Namespace) -> None:
    """Raise ConfigError for a number out of its range, or a folder that is not there."""
    for name, low, high in (("held_out", 0.001, 0.9), ("epochs", 1, 1000), ("rate", 1e-4, 10.0), ("width", 1, 1000),
                            ("words", 1, 10), ("buckets", 1, 100_000_000)):  # fmt: skip
        if not low <= getattr(asked, name) <= high:
            raise ConfigError(
                f"--{name.replace('_', '-')} must be from {low:g} to {high:g}, got {getattr(asked, name):g}"
            )
    folder = Path(asked.output).absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"--output {asked.output}: there is no folder {folder}")


def train_model(samples: Samples, asked: argparse.Namespace) -> None:
    """Train on what is not held out, and write the model."""
    options = {
        "epoch": asked.epochs,
        "lr": asked.rate,
        "dim": asked.width,
        "wordNgrams": asked.words,
        "bucket": asked.buckets,
    }
    lines = samples.folder / "lines.txt"
    with lines.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line_of(sample) for sample in samples if not sample.held_out)
    train(str(lines), asked.output, options)


def report(console: Console, samples: Samples, output: str) -> None:
    """Print how well the model tells the held-out texts apart, and how to use it."""
    good, probabilities, languages = measure_all(output, (sample for sample in samples if sample.held_out))
    shown = Table(title="Held-out texts: good where its probability is at least 0.5", title_justify="left")
    for name in ("", "good", "bad", "precision", "recall", "AUC"):
        shown.add_column(name, justify="right" if name else "left")
    shown.add_row("all", *_row(good, probabilities))
    for code in sorted(set(languages.tolist())):
        there = languages == code
        if min(good[there].sum(), (~good[there]).sum()) >= SHOWN:
            shown.add_row(code, *_row(good[there], probabilities[there]))
    trained = sum(count for (_, held), count in samples.counts.items() if not held)
    console.print(f"trained on {trained:,} texts, measured on {len(good):,}", highlight=False)
    console.print(shown)
    console.print(_settings(output), highlight=False, markup=False)


def measure_all(
    model: str, samples: Iterable[Sample]
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.str_]]:
    """Return which samples are good, the probability that the model gives to it, and their languages."""
    rest, found = iter(samples), []
    while batch := list(islice(rest, BATCH)):
        texts = pa.array([sample.text for sample in batch], pa.large_string())
        found.append((np.array([sample.good for sample in batch]), *measure(model, texts)))
    good, probabilities, languages = (np.concatenate(column) for column in zip(*found, strict=True))
    return good, probabilities, languages


def measure(model: str, texts: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Return the probability of "good" and the language of every text, as a run of the pipeline finds them."""
    from filters.arrow_text import text_buffers
    from filters.fasttext_file import read_classifier
    from filters.fasttext_network import predict_label
    from filters.language import default_model_path, identify, load, trusted_codes

    classifier = read_classifier(model)
    found = predict_label(classifier.network, *text_buffers(texts), classifier.labels.index("good"))
    return found.astype(np.float64), trusted_codes(identify(load(default_model_path()), texts))


def precision_and_recall(good: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> tuple[float, float]:
    """Return which share of what is called good is good (NaN: nothing is), and which of the good is called so."""
    called = probabilities >= 0.5
    right = float((called & good).sum())
    return right / called.sum() if called.any() else float("nan"), right / good.sum()


def area_under_curve(good: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """Return the probability that a good text has the higher value of a good and a bad one; equal values count half."""
    _, places, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places.reshape(-1)]  # mean ranks, from 1
    n_good, n_bad = int(good.sum()), int((~good).sum())
    return float((ranks[good].sum() - n_good * (n_good + 1) / 2) / (n_good * n_bad))


def _row(good: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> list[str]:
    precision, recall = precision_and_recall(good, probabilities)
    numbers = (precision, recall, area_under_curve(good, probabilities))
    return [f"{good.sum():,}", f"{(~good).sum():,}", *(f"{number:.3f}" for number in numbers)]


def _settings(output: str) -> str:
    return f"""To use it:

    [ingest]
    steps = ["language", "classifier.quality"]     # and the others

    [classifier.quality]
    model = "{Path(output).absolute()}"
    label = "good"
    min = 0.5                                      # leave it out to annotate only"""


if __name__ == "__main__":
    sys.exit(main())
