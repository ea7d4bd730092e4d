"""What judges are trained on, and weights that are given."""

import random
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from pipeline.config import Evaluator
from pipeline.document import write_table
from pipeline.self_clean.evaluators import (
    KEY,
    WEIGHTS,
    Corpus,
    SampleShard,
    TrainEvaluator,
    TrainingKey,
    TrainTask,
    checksums,
    copy_weights,
    training_note,
)
from pipeline.self_clean.folds import fold_path
from pipeline.shards import DocumentShard
from tokenizer.train import train


def test_a_training_says_how_long_it_takes_yet(tmp_path: Path) -> None:
    """By its seconds a step so far; at its end it says nothing of it, and a line that is not whole is passed over."""
    logs = {
        "fold-0": b'{"step":30,"steps":120,"loss":6.5,"seconds":20.0}\n',
        "fold-1": b'{"step":9,"steps":9,"loss":5.0,"seconds":4.0}\n',
        "fold-2": b'{"step":9,"st',
    }
    for name, content in logs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_bytes(content)
    said = "fold-0: step 30 of 120, loss 6.50, about 60 s left · fold-1: step 9 of 9, loss 5.00"
    assert training_note(str(tmp_path)) == said


def test_given_weights_are_all_their_files(tmp_path: Path) -> None:
    """A changed configuration or key is another evaluator, as changed weights are."""
    for name in WEIGHTS:
        (tmp_path / name).write_bytes(b"1")
    found = [checksums(str(tmp_path))]
    for name in (*WEIGHTS, KEY):
        (tmp_path / name).write_bytes(b"{}" if name in WEIGHTS else b'{"seed": 2}')
        found.append(checksums(str(tmp_path)))
    assert len({tuple(one) for one in found}) == 4


def test_given_weights_tell_what_they_saw(tmp_path: Path) -> None:
    """Those with a key say how many tokens of each language trained them; of others nobody knows."""
    given = tmp_path / "given"
    given.mkdir()
    for name in WEIGHTS:
        (given / name).write_bytes(b"1")
    assert copy_weights(str(given), str(tmp_path / "plain"))["languages"] is None
    (given / KEY).write_bytes(orjson.dumps({"tokens_by_language": {"en": 7}}))
    assert copy_weights(str(given), str(tmp_path / "keyed"))["languages"] == {"en": 7}
    assert {path.name for path in (tmp_path / "keyed").iterdir()} == {*WEIGHTS, KEY}


def sampled(folder: Path, rates: tuple[dict[str, float], ...]) -> tuple[dict[str, Any], list[dict[str, set[str]]]]:
    """Sample 300 documents of two languages and folds; return the record, and by judge the ids that train or count."""
    texts = [f"document number {number} tells of the river and of the mountain" for number in range(300)]
    tokenizer = folder / "small.model"
    tokenizer.write_bytes(train(texts, 300))
    shard = DocumentShard("a", str(folder), 0, len(texts), 0)
    languages = ["en" if number % 3 else "fi" for number in range(len(texts))]
    ids = [f"{random.Random(number).getrandbits(128):032x}" for number in range(len(texts))]
    columns = {"id": ids, "source": ["x"] * len(texts), "language": languages}
    write_table(shard.path("documents"), pa.table({**columns, "text": pa.array(texts, pa.large_string())}))
    fold = [number // 3 % 2 for number in range(len(texts))]
    write_table(fold_path(str(folder), shard), pa.table({"fold": pa.array(fold, pa.int8())}))
    corpus = Corpus((), str(folder), str(tokenizer), {}, 1)
    every = ({"en": 1.0, "fi": 1.0},) * 2
    record = SampleShard(str(folder / "out"), corpus, (), rates, every, 10_000, 1)(shard)
    found = []
    for judge in range(2):
        parts = {}
        for kind in ("fold", "more"):
            with pa.ipc.open_file(str(folder / "out" / f"{kind}-{judge}" / "a.arrow")) as file:
                parts[kind] = set(file.read_all()["id"].to_pylist())
        found.append(parts)
        assert parts["fold"] | parts["more"] == {name for name, own in zip(ids, fold, strict=True) if own != judge}
        assert not parts["fold"] & parts["more"]
    return record, found


def test_a_judge_sees_documents_of_other_folds_at_rates_of_its_own(tmp_path: Path) -> None:
    """All others are counted, those below the judge's rate of their language train it too; the record says of which."""
    record, found = sampled(tmp_path, ({"en": 0.5, "fi": 1.0}, {"en": 1.0}))
    assert [set(part["languages"]) for part in record["shards"]] == [{"en", "fi"}, {"en"}]
    assert [set(part["languages"]) for part in record["more"]] == [{"en"}, {"fi"}]
    assert 30 < len(found[0]["more"]) < 70  # half of a hundred
    assert (len(found[1]["fold"]), len(found[1]["more"])) == (100, 50)
    assert record["documents"] == 300


def test_a_judge_is_trained_where_and_how_it_is_asked() -> None:
    """By default on a CPU, exactly; a node with a GPU may be asked for."""
    key = TrainingKey("f", 2, 1, 800)
    for asked, wanted in (
        (Evaluator(), ("cpu", "fp32")),
        (Evaluator(device="cuda", precision="bf16"), ("cuda", "bf16")),
    ):
        task = TrainTask("fold-0", ('{"tokens": 100000}',), "")
        training = TrainEvaluator("", "", "", asked, 1, key).training(task)
        assert (training.device, training.precision) == wanted
