"""A training whose folder is in a store goes on from its last checkpoint, wherever it is started again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model.config import TrainingConfig, TransNormerConfig
from model.train import train
from pipeline.self_clean.scratch import at_work
from tests.model.shards import EOS, VOCABULARY, documents, write_shards
from tests.pipeline.store.conftest import Store

MODEL = TransNormerConfig(vocab_size=VOCABULARY, eos=EOS, width=16, layers=2, heads=2, hidden=32)
TRAINING = TrainingConfig(tokens=12 * 4 * 32, batch=4, context_length=32, log_steps=1, threads=1, checkpoint_steps=4)


def test_a_killed_training_goes_on_from_the_store(store: Store, tmp_path: Path) -> None:
    """Its checkpoint outlives the machine; the weights are those of a training that nothing disturbed."""
    shards = write_shards(tmp_path / "shards", [("train", documents(60))])
    train(shards, tmp_path / "undisturbed", MODEL, TRAINING, say=lambda _: None)
    folder, said = store.url("trained"), list[str]()

    def until(step: int, follow: Callable[[str], None]) -> Callable[[str], None]:
        def say(line: str) -> None:
            said.append(line)
            follow(line)
            if line.startswith(f"step {step}/"):
                raise KeyboardInterrupt

        return say

    with pytest.raises(KeyboardInterrupt), at_work(folder) as (place, follow):
        train(shards, place, MODEL, TRAINING, say=until(10, follow))
    assert set(store.contents("trained")) == {"run.json", "log.jsonl", "checkpoint.safetensors"}
    assert not place.exists()
    with at_work(folder) as (elsewhere, follow):
        assert elsewhere != place
        train(shards, elsewhere, MODEL, TRAINING, say=until(0, follow))
    assert any(line.endswith("going on after step 8 of 12") for line in said)
    left = store.contents("trained")
    assert set(left) == {path.name for path in (tmp_path / "undisturbed").iterdir()}
    assert left["model.safetensors"] == (tmp_path / "undisturbed" / "model.safetensors").read_bytes()
