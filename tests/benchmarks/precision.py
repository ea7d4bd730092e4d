"""How far bf16 moves scores: bits per byte against fp32, under a model that has learnt something.

    python -m tests.benchmarks.precision --steps 60 --documents 100

Documents are sources of Python's standard library, a byte a token, so nothing else is needed. The model is trained on
every second one and scores others.
"""

import argparse
import sysconfig
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from model.config import TransNormerConfig
from model.loss import mean_loss
from model.score import Scoring, prepare, score
from model.transnormer import TransNormer

EOS = 256
LONGEST = 1000  # bytes of a document
MOST_DIFFERENCE, LEAST_AGREEMENT = 0.005, 0.999  # targets: median difference of bits per byte, Spearman
CONFIG = TransNormerConfig(vocab_size=257, eos=EOS, width=128, layers=8, heads=4, hidden=384, initial_std=0.057)


def main() -> None:
    """Train, score in both precisions, print how they differ."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--steps", type=int, default=60)
    line.add_argument("--documents", type=int, default=100)
    asked = line.parse_args()
    torch.set_num_threads(1)
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts = [np.frombuffer(path.read_bytes(), np.uint8).astype(np.int64) for path in sources]
    model, loss = _trained(np.concatenate([np.append(text, EOS) for text in texts[::2]]), asked.steps)
    parts = (text[start : start + LONGEST - start % 797] for text in texts[1::2] for start in range(0, len(text), 7919))
    documents = list(islice((part for part in parts if len(part) > 50), asked.documents))
    print(f"{asked.steps} steps, loss {loss:.2f} nats a byte; {len(documents)} documents of {LONGEST:,} bytes at most")
    found = []
    for precision in ("fp32", "bf16"):
        began = time.monotonic()
        scores = score(prepare(model, Scoring(precision)), documents, [len(part) for part in documents])
        found.append(scores.bits_per_byte)
        print(f"{precision}: {time.monotonic() - began:.0f} s, median {np.median(found[-1]):.4f} bits per byte")
    wide, narrow = found
    ranks = [each.argsort().argsort() for each in found]
    difference, agreement = np.abs(narrow / wide - 1), np.corrcoef(ranks[0], ranks[1])[0, 1]
    met = np.median(difference) <= MOST_DIFFERENCE, agreement >= LEAST_AGREEMENT
    print(f"median difference {np.median(difference):.4%}, largest {difference.max():.4%}", end="")
    print(f"; target, median at most {MOST_DIFFERENCE:.1%}: {'met' if met[0] else 'missed'}")
    print(f"Spearman {agreement:.5f}; target, at least {LEAST_AGREEMENT:g}: {'met' if met[1] else 'missed'}")
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    print(f"this CPU has {'' if native else 'no '}instructions for bf16")


def _trained(stream: np.ndarray, steps: int) -> tuple[TransNormer, float]:
    model = TransNormer(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    draws, loss = np.random.default_rng(0), torch.zeros(())
    for _ in range(steps):
        starts = draws.integers(0, len(stream) - 513, 4)
        rows = torch.from_numpy(np.stack([stream[start : start + 513] for start in starts]))
        hidden, _ = model.hidden(rows[:, :-1])
        loss = mean_loss(hidden.flatten(0, 1), model.head.weight, rows[:, 1:].flatten())
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    return model, loss.item()


if __name__ == "__main__":
    main()
