"""What every method says of a text: the score and its surrogate, and what they are compared with. Higher is worse."""

import os
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.config import Config
from pipeline.document import DOCUMENT, read_batches
from pipeline.evaluation.finished import Finished
from pipeline.evaluation.trials import Trial
from pipeline.self_clean import combine
from pipeline.self_clean.anchors import CLEAN, LEAST_BYTES, damage
from pipeline.self_clean.combine import Scale, Weights
from pipeline.self_clean.defects import family, units
from pipeline.self_clean.excerpt import MOST_CHARACTERS, excerpts
from pipeline.self_clean.fitting import fit_surrogates, fit_weights, make_taught
from pipeline.self_clean.judges import by_ngrams, by_transnormer
from pipeline.self_clean.scoring import Language, sides
from pipeline.self_clean.signals import CHEAP, SIGNALS, Floats, Ints, trigram_bits
from pipeline.steps import apply, make_steps

Bools = npt.NDArray[np.bool_]
Values = dict[str, Floats]  # method -> (trials)
SCORE, SURROGATE, RANDOM = "score", "surrogate", "random"
EITHER_SIDE = ", either side"
METHODS = {
    SCORE: "the final score",
    SURROGATE: "the cheap surrogate, n-grams alone",
    "length": "short is worse",
    "unigrams": "unigram bits per byte, high is worse",
    "unigrams" + EITHER_SIDE: "how far unigram bits per byte lie from the median",
    "trigrams": "trigram bits per byte, with backoff, high is worse",
    "trigrams" + EITHER_SIDE: "how far trigram bits per byte lie from the median",
    "priors": "how far mean or deviation of the tokens' priors lies from the median (arXiv:2509.18577)",
    "transnormer": "TransNormer bits per byte, high is worse",
    "transnormer" + EITHER_SIDE: "how far TransNormer bits per byte lie from the median",
    "rules": "rejected by the run's rules",
    "fasttext": "fastText, trained on the corpus's documents, undamaged and damaged",
    RANDOM: "random",
}
BASELINES = tuple(name for name in METHODS if name not in {SCORE, SURROGATE, RANDOM})  # chance is best at nothing
BATCH = 64
TRAINED_ON = 800  # documents of a language that fastText learns from, each as it is and damaged: as many as anchors
FASTTEXT = {
    "epoch": 10,
    "lr": 0.5,
    "dim": 16,
    "wordNgrams": 2,
    "minn": 3,
    "maxn": 6,
    "bucket": 200_000,
}  # fastText's own advice for few texts, with the pieces of words that it has for rare ones


@dataclass(frozen=True, slots=True)
class Observed:
    """What the judges found in trials."""

    signals: Floats  # (trials, SIGNALS)
    size: Ints  # (trials): bytes of the excerpt
    whole: Ints  # (trials): bytes of the text
    tokens: int  # that went through a TransNormer
    seconds: dict[str, float]  # CPU time of the n-grams and of the TransNormers


def observe(trials: Sequence[Trial], run: Finished, watch: Callable[[int, int], None]) -> Observed:
    """Return what each trial's judge finds; `watch` hears of documents and bytes done."""
    signals = np.zeros((len(trials), len(SIGNALS)))
    size, whole = np.zeros((2, len(trials)), np.int64)
    tokens, spent = 0, {"n-grams": 0.0, "TransNormer": 0.0}
    for judge in range(len(run.judges.weights)):
        mine = [number for number, trial in enumerate(trials) if trial.judge == judge]
        for start in range(0, len(mine), BATCH):
            rows = mine[start : start + BATCH]
            clock = time.process_time()
            found = excerpts([trials[row].text for row in rows], run.judges.load_tokenizer())
            cheap = by_ngrams(run.judges, judge, found, [trials[row].good.language for row in rows])
            spent["n-grams"] += time.process_time() - clock
            clock = time.process_time()
            reading = by_transnormer(run.judges, judge, found, cheap)
            spent["TransNormer"] += time.process_time() - clock
            signals[rows] = np.concatenate([cheap, reading.signals], axis=1)
            size[rows], whole[rows] = found.size, found.whole
            tokens += int(reading.tokens.sum())
            watch(len(rows), int(found.size.sum()))
    return Observed(signals, size, whole, tokens, spent)


def plain_values(trials: Sequence[Trial], seen: Observed, run: Finished, seed: int) -> Values:
    """Return what the methods say that learn nothing of damage."""
    cheap = seen.signals[:, : len(CHEAP)]
    unigrams = cheap[:, CHEAP.index("unigram_bits")]
    bits = {
        "unigrams": unigrams,
        "trigrams": trigram_bits(cheap),
        "transnormer": seen.signals[:, SIGNALS.index("bits_per_byte")],
    }
    priors = (unigrams / cheap[:, CHEAP.index("tokens_per_byte")], cheap[:, CHEAP.index("prior_deviation")])
    return {
        "length": -seen.whole.astype(np.float64),
        **bits,
        **{name + EITHER_SIDE: far(trials, values) for name, values in bits.items()},
        "priors": far(trials, *priors),
        "rules": rejected_by_rules(trials, run.config).astype(np.float64),
        RANDOM: np.random.default_rng(seed).random(len(trials)),
    }


def far(trials: Sequence[Trial], *values: Floats) -> Floats:
    """Return the largest distance of a text's values from their medians, in median absolute deviations (trials).

    Both are of the language's good texts that set the cut.
    """
    every = np.stack(values, axis=1)
    language = np.array([trial.good.language for trial in trials])
    known = np.array([trial.kind == CLEAN and not trial.good.measured for trial in trials])
    out = np.zeros(len(trials))
    for name in np.unique(language):
        own = language == name
        middle = np.nanmedian(every[own & known], axis=0)
        spread = np.nanmedian(np.abs(every[own & known] - middle), axis=0)
        out[own] = (np.abs(every[own] - middle) / np.maximum(spread, 1e-9)).max(1)
    return out


def rejected_by_rules(trials: Sequence[Trial], config: Config) -> Bools:
    """Tell which texts the run's rules reject (trials)."""
    steps = make_steps(config)
    kept: set[str] = set()
    for start in range(0, len(trials), 1000):
        rows = [
            {**dict.fromkeys(DOCUMENT.names, ""), "id": str(number), "position": 0, "text": trial.text}
            for number, trial in enumerate(trials[start : start + 1000], start)
        ]
        table, _ = apply(pa.Table.from_pylist(rows, schema=DOCUMENT), steps)
        kept |= set(table["id"].to_pylist())
    return np.array([str(number) not in kept for number in range(len(trials))])


def learnt_values(trials: Sequence[Trial], seen: Observed, run: Finished, kinds: Sequence[str]) -> dict[str, Values]:
    """Return score and surrogate (trials) by kind of damage: of weights that never saw it, where anchors are stored.

    Where none are, every kind has those that the run had; "" has them in any case.
    """
    every = _features(trials, seen.signals, seen, run, lambda language: language.every)
    cheap = _features(trials, seen.signals[:, : len(CHEAP)], seen, run, lambda language: language.cheap)
    judge = np.array([trial.judge for trial in trials])
    return {
        kind: {SCORE: combine.score(every, weights), SURROGATE: _by_judge(cheap, judge, surrogates)}
        for kind, (weights, surrogates) in weights_without(run, kinds).items()
    }


def _by_judge(features: Floats, judge: Ints, weights: Sequence[Weights]) -> Floats:
    """Return the scores (trials) of features (trials, features), each by the weights of its judge."""
    every = np.stack([combine.score(features, one) for one in weights])
    return np.asarray(every[judge, np.arange(len(judge))])


def weights_without(run: Finished, kinds: Sequence[str]) -> dict[str, tuple[Weights, tuple[Weights, ...]]]:
    """Return by kind the weights of the score and of each judge's surrogate that saw no damage of its family."""
    found = dict.fromkeys(["", *kinds], (run.score.every, run.score.surrogate))
    if run.measured:
        taught = make_taught(run.measured)
        for kind in kinds:
            weights = fit_weights(taught, kind)
            found[kind] = weights, fit_surrogates(taught, weights, len(run.judges.weights), kind)
    return found


def _features(
    trials: Sequence[Trial],
    signals: Floats,
    seen: Observed,
    run: Finished,
    scales: Callable[[Language], tuple[Scale, ...]],
) -> Floats:
    """Return the features (trials, 4 x signals), each trial by its language and judge."""
    out = np.zeros((len(trials), 4 * signals.shape[1]))
    for name, language in run.score.languages.items():
        for judge, scale in enumerate(scales(language)):
            rows = [n for n, trial in enumerate(trials) if trial.good.language == name and trial.judge == judge]
            out[rows] = sides(signals[rows], seen.size[rows], seen.whole[rows], scale)
    return out


def fasttext_values(trials: Sequence[Trial], run: Finished, kinds: Sequence[str]) -> dict[str, Values]:
    """Return how likely fastText finds damage (trials), by kind: trained on damage of every other family.

    Each language has models of its own. Where the run's documents of one are gone there is none.
    """
    asked_of = {trial.good.id for trial in trials}
    samples = {name: labelled(rows) for name, rows in corpus_texts(run, asked_of).items()}
    language = np.array([trial.good.language for trial in trials])
    asked = np.unique(language).tolist()
    if not all(samples[name] for name in asked):
        return {kind: {} for kind in kinds}
    texts = pa.array([spaced(trial.text) for trial in trials], pa.large_string())
    found = {kind: np.zeros(len(trials)) for kind in kinds}
    for name in asked:
        own = np.flatnonzero(language == name)
        for kind in kinds:
            learns = [(text, good) for text, good, damaged in samples[name] if damaged not in family(kind)]
            found[kind][own] = _fasttext(learns, texts.take(pa.array(own)))
    return {kind: {"fasttext": values} for kind, values in found.items()}


def corpus_texts(run: Finished, without: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """Return documents of each judged language that the run kept: those of least id at the begin of every file.

    None of those whose ids are in `without`.
    """
    folder = storage.join(run.output, "documents")
    files = [name for name in storage.names(folder) if name.endswith(".parquet")]
    share = -(-TRAINED_ON // max(1, len(files)))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in run.score.languages}
    for file in files:
        rows = _first_rows(storage.join(folder, file))
        for name in found:
            own = (row for row in rows if row["language"] == name and row["id"] not in without)
            fitting = (row for row in own if len(row["text"].encode()) >= LEAST_BYTES)
            found[name] += sorted(fitting, key=lambda row: row["id"])[: 4 * share]
    return {name: sorted(own, key=lambda row: row["id"])[:TRAINED_ON] for name, own in found.items()}


def _first_rows(path: str) -> list[dict[str, Any]]:
    columns = ["id", "language", "source", "host", "text"]
    batch = next(read_batches(path, columns), None)
    rows = batch.to_pylist() if batch is not None else []
    return [{**row, "text": row["text"][:MOST_CHARACTERS]} for row in rows]


def labelled(rows: Sequence[dict[str, Any]]) -> list[tuple[str, bool, str]]:
    """Return a language's texts as they are and damaged: the text in spaced words, whether it is good, the damage."""
    bad = [(spaced(one.text), False, one.kind) for one in damage([{**row, "fold": 0} for row in rows], [])]
    return [*((spaced(row["text"]), True, CLEAN) for row in rows), *bad]


def spaced(text: str) -> str:
    """Return a text whose words stand apart, those of a script without spaces, too: fastText splits at spaces."""
    return " ".join(" ".join(unit.split()) for unit in units(text))


def _fasttext(samples: Sequence[tuple[str, bool]], texts: pa.Array) -> Floats:
    from filters.arrow_text import text_buffers
    from filters.fasttext_file import read_classifier
    from filters.fasttext_network import predict_label
    from pipeline.fasttext_training import train
    from pipeline.quality_samples import Sample, line_of

    with tempfile.TemporaryDirectory() as folder:
        lines, model = Path(folder, "lines.txt"), os.path.join(folder, "model.bin")  # noqa: PTH118 - fastText takes a string
        with lines.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(line_of(Sample(text, good, False)) for text, good in samples)
        train(str(lines), model, FASTTEXT)
        classifier = read_classifier(model)
        found = predict_label(classifier.network, *text_buffers(texts), classifier.labels.index("good"))
    return 1 - found.astype(np.float64)
