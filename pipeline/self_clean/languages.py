"""Languages: which of them judges can be trained for, and on how many tokens of each.

A judge's tokens go to languages that may be judged in the end, the largest first where there are too many for its
budget: what it learns of the others, nobody asks.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline.config import SelfClean
from pipeline.self_clean.scoring import UNKNOWN

VERSION = 1
SPARE = 1.1  # sampled beyond what is wanted, since a sample by hash is not exact
MAX_ANCHOR_SHARE = 0.3  # of a language's documents
MARGIN = 1.2  # beyond the tokens that it takes to be judged: documents are drawn, and some are long
FEWEST_ANCHORS = 8  # of a fold, whatever is asked for
STEPS = 60  # halvings in which a share is found


@dataclass(frozen=True, slots=True)
class Size:
    """How much of a language entered stage 4."""

    documents: int
    bytes: tuple[float, ...]  # by fold, at most `longest` of each document
    bytes_per_token: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """The languages that may be judged."""

    available: tuple[dict[str, float], ...]  # by judge: tokens of each that it may be trained on
    reasons: dict[str, str]  # of every other language, why not

    @property
    def names(self) -> tuple[str, ...]:
        """The languages, in order."""
        return tuple(sorted(self.available[0]))


def anchor_rates(documents: Mapping[str, int], settings: SelfClean) -> dict[str, float]:
    """Return the share of each language's documents that all judges score and none is trained on."""
    return {name: min(MAX_ANCHOR_SHARE, settings.anchor_documents / max(1, n)) for name, n in documents.items()}


def choose(sizes: Mapping[str, Size], settings: SelfClean, budget: int | None) -> Chosen:
    """Return the languages that judges with so many training tokens may judge, and why not the others.

    Without a budget, where the judges are given, it is not asked for.
    """
    rates = anchor_rates({name: size.documents for name, size in sizes.items()}, settings)
    available = {
        name: [(sum(one.bytes) - own) / one.bytes_per_token * (1 - rates[name]) for own in one.bytes]
        for name, one in sizes.items()
    }
    least = {name: min(tokens) for name, tokens in available.items()}
    reasons = {
        name: too_little(name, least[name], rates[name] * one.documents, settings, "can see about")
        for name, one in sizes.items()
    }
    fit = sorted((name for name in sizes if not reasons[name]), key=lambda name: (-least[name], name))
    wanted = least_tokens(settings)
    most = int(budget / wanted) if budget and wanted else len(fit)
    for name in fit[most:]:
        reasons[name] = (
            f"[evaluator] train_tokens = {budget:,} are enough for {most} languages of {wanted:,.0f} tokens, and "
            "larger ones come first"
        )
    taken = tuple({name: available[name][judge] for name in fit[:most]} for judge in range(settings.folds))
    return Chosen(taken, {name: said for name, said in reasons.items() if said})


def too_little(name: str, tokens: float, anchors: float, settings: SelfClean, sees: str = "saw") -> str:
    """Say why no judge may judge a language; empty when they may, if they agree."""
    if name == UNKNOWN:
        return "the language of these documents was a guess"
    if tokens < settings.min_language_tokens:
        least = f"self_clean.min_language_tokens = {settings.min_language_tokens:,}"
        return f"its judges {sees} {tokens:,.0f} tokens of it, fewer than {least}"
    if anchors < settings.min_anchor_documents:
        least = f"self_clean.min_anchor_documents = {settings.min_anchor_documents}"
        return f"the anchor sample holds {anchors:.0f} documents of it, fewer than {least}"
    return ""


def too_few_anchors(by_fold: Mapping[int, int], settings: SelfClean) -> str:
    """Say why the anchors of a language, by fold, are too few for the judge of one; empty when they are not."""
    least, wanted = min(by_fold.get(fold, 0) for fold in range(settings.folds)), settings.min_anchor_documents
    if least < max(FEWEST_ANCHORS, wanted / settings.folds / 2):
        return f"the anchor sample holds {least} documents of it in one fold, of {wanted:,} wanted in all"
    return ""


def unasked(
    chosen: Chosen,
    seen: Mapping[str, int],
    anchors: Mapping[str, Mapping[int, int]],
    settled: Collection[str],
    settings: SelfClean,
) -> dict[str, str]:
    """Return by language why its judges, who saw so many tokens, cannot be asked; empty where they can.

    `anchors` are its anchors by fold. A language that the round before judged is settled: it lacks what that round
    rejected, which would come back where it were too little now.
    """
    reasons = dict(chosen.reasons)
    for name in chosen.names:
        total = sum(anchors[name].values())
        said = too_little(name, seen.get(name, 0), total, settings) or too_few_anchors(anchors[name], settings)
        reasons[name] = "" if name in settled else said
    return reasons


def least_tokens(settings: SelfClean) -> float:
    """Return how many tokens are wanted at least of a language that is judged."""
    return settings.min_language_tokens * MARGIN


def sampling_rates(available: Mapping[str, float], wanted: int, settings: SelfClean) -> dict[str, float]:
    """Return the share of each language's documents that a judge is trained on, for so many tokens in all.

    A language's part is in proportion to its tokens^language_power (multilingual BERT's smoothing, 0.7 there), but no
    less than what it takes to be judged; what a small language cannot fill goes to the others.
    """
    least = least_tokens(settings)

    def parts(scale: float) -> dict[str, float]:
        return {name: min(size, max(least, scale * size**settings.language_power)) for name, size in available.items()}

    low, high = 0.0, max((size ** (1 - settings.language_power) for size in available.values()), default=0.0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(parts(middle).values()) <= wanted else (low, middle)
    return {name: min(1.0, SPARE * part / max(available[name], 1)) for name, part in parts(high).items()}
