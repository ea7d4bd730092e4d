"""Learning is real: one arm of the ablation on English, and context that only attention can use."""

import ast
import math
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from model.config import TrainingConfig, TransNormerConfig
from model.train import train
from tests.benchmarks.ablate_model import BASE, RATES, SIZES, Arm, Setup, trained, unigram_bits_per_byte
from tests.benchmarks.clean_text import tokenised
from tests.model.shards import EOS, VOCABULARY, write_shards


def installed_english() -> Iterator[str]:
    """Yield Python's language reference and the docstrings of the standard library's modules, 1.3 MB or so."""
    yield from topics.values()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef
        found = [ast.get_docstring(node) for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, kinds)]
        yield "\n\n".join(text for text in found if text)


def test_an_arm_learns_english(tmp_path: Path) -> None:
    """After 0.3 million tokens, held-out English takes at least 15 % fewer bits than token counts alone give it."""
    corpus = tokenised(list(installed_english()), tmp_path, 1024)
    small = SIZES | {"width": 96, "layers": 3, "heads": 3, "hidden": 192}
    run = trained(Arm(BASE, RATES[BASE][1], 0), Setup(corpus, tokens=307_200, sizes=small))
    for split in ("validation", "test"):
        assert run[split] < 0.85 * unigram_bits_per_byte(corpus, split)


def interleaved(count: int, seed: int) -> list[np.ndarray]:
    """Draw documents of two walks through the vocabulary by turns: a token tells nothing of the next one."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, VOCABULARY - 3, (count, 2))
    return [np.append(3 + (start + np.arange(15)[:, None]).ravel() % (VOCABULARY - 3), EOS) for start in starts]


def test_attention_learns_what_the_last_token_does_not_tell(tmp_path: Path) -> None:
    """The token before the last one decides the next: the loss falls far below what the last token alone allows."""
    shards = write_shards(tmp_path, [("train", interleaved(500, 0)), ("validation", interleaved(20, 1))])
    model = TransNormerConfig(vocab_size=VOCABULARY, eos=EOS, width=32, layers=2, heads=2, hidden=64, initial_std=0.1)
    training = TrainingConfig(tokens=60_000, context_length=64, batch=8, learning_rate=1e-2, threads=1, log_steps=100)
    result = train(shards, tmp_path / "run", model, training, lambda _: None)
    assert result["validation_loss"] < 0.75 * math.log(VOCABULARY - 3)
