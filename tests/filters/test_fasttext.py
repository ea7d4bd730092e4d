"""Our reader and our compiled network against the fastText library, for every kind of classifier."""

import random
import struct
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters.arrow_text import text_buffers
from filters.fasttext_file import read_classifier
from filters.fasttext_network import Classifier, predict, predict_label
from pipeline.fasttext_training import train

WORDS = (
    "the river winter story harbour buy cheap pills casino free click 漢字 été слово now and then letter bridge".split()
)
KINDS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "softmax of words and bigrams": {"wordNgrams": 2, "bucket": 5000},
    "softmax of trigrams and characters": {"wordNgrams": 3, "minn": 2, "maxn": 4, "bucket": 5000},
    "tree": {"loss": "hs", "minn": 1, "maxn": 3, "bucket": 3000},
    "sigmoids": {"loss": "ova", "wordNgrams": 2, "bucket": 5000},
    "negative sampling": {"loss": "ns"},
    "rare words unknown": {"minCount": 30, "wordNgrams": 2, "bucket": 1000},
}
TABLED = 0.01  # fastText reads sigmoids of ova and ns from a table of 512 values over 16


def training_file(folder: Path) -> str:
    """Write lines of three labels."""
    draw = random.Random(3)
    lines = []
    for number in range(600):
        label = number % 3
        words = draw.choices(WORDS[5 * label : 5 * label + 8], k=draw.randint(1, 20)) + draw.choices(WORDS, k=2)
        lines.append(f"__label__{'good bad ugly'.split()[label]} {' '.join(words)}")
    (folder / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / "train.txt")


@pytest.fixture(scope="module", params=[*KINDS, "quantised", "quantised and cut"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Any, float]:
    """Return a model in our code and in the library, and how far apart they may be."""
    folder = tmp_path_factory.mktemp("fasttext")
    options = KINDS.get(request.param, {"wordNgrams": 2, "minn": 2, "maxn": 3, "bucket": 5000})
    path = str(folder / "model.bin")
    train(training_file(folder), path, {"dim": 12, "epoch": 8, "lr": 0.5, **options})
    if request.param.startswith("quantised"):
        model, path = fasttext.load_model(path), str(folder / "model.ftz")
        cut = {"cutoff": 300, "retrain": False} if request.param.endswith("cut") else {}
        model.quantize(input=training_file(folder), qnorm=bool(cut), verbose=0, **cut)
        model.save_model(path)
    return read_classifier(path), fasttext.load_model(path), TABLED if options.get("loss") in {"ova", "ns"} else 1e-4


TEXTS = st.lists(st.sampled_from([*WORDS, "unknown", "__label__good", "x" * 40, "\n"]), max_size=20).map(
    " ".join
) | st.text(st.characters(exclude_characters="\0"), max_size=60)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_answers_are_the_library_s(both: tuple[Classifier, Any, float], texts: list[str]) -> None:
    """The probability of every label, by whatever loss, with or without n-grams, quantised or not."""
    ours, library, apart = both
    offsets, data = text_buffers(pa.array(texts))
    expected = np.zeros((len(texts), 3))
    for row, text in enumerate(texts):
        labels, values = library.predict(text.replace("\n", " "), k=3)
        for label, value in zip(labels, values, strict=True):
            expected[row, ours.labels.index(label.removeprefix("__label__"))] = min(value, 1)
    for label in range(3):
        np.testing.assert_allclose(predict_label(ours.network, offsets, data, label), expected[:, label], atol=apart)
    best, probabilities = np.zeros((len(texts), 2), np.int64), np.zeros((len(texts), 2), np.float32)
    predict(ours.network, offsets, data, best, probabilities)
    np.testing.assert_allclose(probabilities, -np.sort(-expected, axis=1)[:, :2], atol=apart)


def test_every_beginning_of_a_model_is_refused(tmp_path: Path) -> None:
    """A file that was cut off anywhere is a ValueError that names it, never another error."""
    train(training_file(tmp_path), str(tmp_path / "whole.bin"), {"dim": 4, "epoch": 1, "wordNgrams": 2, "bucket": 1000})
    content = (tmp_path / "whole.bin").read_bytes()
    for length in [*range(0, len(content), 61), len(content) - 1]:
        (tmp_path / "cut.bin").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut\.bin is not a fastText classifier"):
            read_classifier(str(tmp_path / "cut.bin"))


def test_an_n_gram_without_a_vector_is_refused(tmp_path: Path) -> None:
    """A pruned model whose table points beyond its vectors would have the kernels read elsewhere."""
    path, lines = str(tmp_path / "m.ftz"), training_file(tmp_path)
    train(lines, str(tmp_path / "m.bin"), {"dim": 4, "epoch": 1, "wordNgrams": 2, "bucket": 1000})
    model = fasttext.load_model(str(tmp_path / "m.bin"))
    model.quantize(input=lines, cutoff=300, retrain=False, verbose=0)
    model.save_model(path)
    content = Path(path).read_bytes()
    n_words, n_labels, n_kept = (struct.unpack_from("<3i2q", content, 64)[at] for at in (1, 2, 4))
    table = 64 + 28
    for _ in range(n_words + n_labels):
        table = content.index(b"\0", table) + 10  # a count and a byte after every name
    assert n_kept > 0
    for place, value in ((table, 1000), (table, -1), (table + 4, n_kept), (table + 4, -1)):
        wrong = bytearray(content)
        struct.pack_into("<i", wrong, place, value)
        Path(path).write_bytes(wrong)
        with pytest.raises(ValueError, match="its n-grams have no vectors"):
            read_classifier(path)


def test_word_vectors_are_no_classifier(tmp_path: Path) -> None:
    """An unsupervised model is refused."""
    path = tmp_path / "vectors.bin"
    train(training_file(tmp_path), str(path), {"dim": 4, "epoch": 1, "wordNgrams": 2, "bucket": 1000})
    content = bytearray(path.read_bytes())
    assert content[8 + 7 * 4] == 3  # the header's eighth number
    content[8 + 7 * 4] = 2  # fastText, model_name::sg
    path.write_bytes(content)
    with pytest.raises(ValueError, match="it must be supervised"):
        read_classifier(str(path))


def test_training_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """In processes of their own, whatever their memory held."""
    options = {"dim": 8, "epoch": 3, "wordNgrams": 2, "bucket": 1000}
    for name in ("one", "two"):
        train(training_file(tmp_path), str(tmp_path / name), options)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
