"""Measured anchors as a language with two judges has them, made up."""

import numpy as np

from pipeline.self_clean.anchors import CLEAN, Measured
from pipeline.self_clean.signals import SIGNALS

KINDS = {"loud": 0, "odd": 1, "flat": 2}  # kind of damage -> the signal that shows it


def measured(
    seed: int = 0,
    count: int = 240,
    *,
    agree: float = 0.9,
    harsher: float = 0.0,
    damage: float = 6.0,
    familiar: float = 0.0,
) -> Measured:
    """Return `count` anchors by each of two judges, which agree so far, the second saying so much more of everything.

    Every anchor is damaged once, for the judge of its fold, so that one signal rises by `damage` deviations. The other
    judge says `familiar` less of everything in undamaged ones: it was trained on what is like them.
    """
    draw = np.random.default_rng(seed)
    truth = draw.normal(0, 1, (count, len(SIGNALS)))
    sizes = draw.integers(300, 9_000, count)
    fold = np.arange(count) % 2
    names = np.array([f"{seed}-{number:04d}" for number in range(count)])
    parts = []
    for judge in range(2):
        noise = draw.normal(0, 1, truth.shape)
        seen = np.sqrt(agree) * truth + np.sqrt(1 - agree) * noise
        bad = np.flatnonzero(fold == judge)
        kinds = np.array(list(KINDS))[bad // 2 % len(KINDS)]
        hit = seen[bad].copy()
        hit[np.arange(len(bad)), [KINDS[kind] for kind in kinds.tolist()]] += damage
        clean = seen - familiar * (fold != judge)[:, None]
        parts.append((judge, names, np.full(count, CLEAN), np.full(count, -1), fold, sizes, clean))
        parts.append((judge, names[bad], kinds, bad // 6 % 3, fold[bad], sizes[bad], hit))
    judges = np.concatenate([np.full(len(part[1]), part[0]) for part in parts])
    ids, kind, severity, folds, size, signals = (np.concatenate([part[n] for part in parts]) for n in range(1, 7))
    signals = 5.0 + signals + harsher * judges[:, None]
    return Measured(ids.tolist(), kind, severity, folds, judges, size, size, signals)
