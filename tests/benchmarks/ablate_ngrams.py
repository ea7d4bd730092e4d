"""What each stage does for word-order counts: trigrams of all tokens of every variant, judged on clean text.

    python -m tests.benchmarks.ablate_ngrams --corpus OUT

The variants and their equal shares of tokens from each language and source are those of variants.py, the clean text is
that of ablate.py, but nearly all of the corpus is counted, not a million tokens of it, and nothing is trained: what is
left of chance is which documents fill a share, and which the random drop takes. Both are drawn anew for each of twenty
seeds, in pairs. The counts are those of the judges (model/ngram.py). Some ten seconds a variant and seed.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from model.ngram import add, empty, finish, measure
from tests.benchmarks.ablate import DATA, Material, Setup, material
from tests.benchmarks.ablate_model import shown
from tests.benchmarks.ablate_tables import by_language, differences, table_of
from tests.benchmarks.variants import RANDOM, choose

CELLS = 24  # bits
SEEDS = range(20)
ALL = 10**12  # tokens: whatever the scarcest variant holds


def bits_of(rows: list[int], given: Material) -> dict[str, dict[str, float]]:
    """Return bits per byte by language and clean set, of trigrams that counted these documents."""
    numbers = {name: number for number, name in enumerate(sorted(set(given.documents.languages)))}
    model = empty(len(numbers), given.tokenizer.vocab_size, bits=CELLS)
    for row in rows:
        add(model, given.tokens[row], numbers[given.documents.languages[row]])
    finished = finish(model)
    found: dict[str, dict[str, float]] = {}
    for language, own in given.clean.items():
        for name, texts in own.items():
            owners, languages = np.arange(len(texts)), np.full(len(texts), numbers[language])
            bits = measure(finished, given.tokenizer.encode(texts), owners, languages).trigram
            found.setdefault(language, {})[name] = float(bits.sum() / sum(len(text.encode()) for text in texts))
    return found


def counted(variant: str, seed: int, given: Material, lengths: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Count a variant; return a run as ablate.py's tables want it."""
    rows = choose(given.documents, variant, "matched", lengths, seed, ALL)
    bits = bits_of(rows, given)
    macro = statistics.mean(statistics.mean(own.values()) for own in bits.values())
    facts = {"variant": variant, "table": "matched", "seed": seed, "tokens": int(lengths[rows].sum())}
    return {**facts, "bits": bits, "macro": macro, "probe": 0.0}


def main() -> None:
    """Count every variant for every seed and print the tables."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--corpus", type=Path, required=True, help="output folder of a finished run that kept its stages")
    line.add_argument("--data", type=Path, default=DATA / "clean", help="folder of clean text")
    asked = line.parse_args()
    given = material(Setup(asked.corpus.absolute(), asked.data, Path()))
    lengths = np.array([len(ids) for ids in given.tokens])
    variants = [*given.documents.variants, RANDOM]
    done = [counted(variant, seed, given, lengths) for seed in SEEDS for variant in variants]
    console = Console()
    console.print(shown("equal tokens", [row[:6] for row in table_of(done, "matched", variants)]))
    console.print(shown("each language", differences(done, "matched", variants)))
    console.print(shown("each clean set", by_language(done, "matched", variants)))


if __name__ == "__main__":
    main()
