"""Language identification against fastText itself."""

from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.arrow_text import text_buffers
from filters.fasttext_network import Classifier, predict
from filters.language import Languages, default_model_path, identify, load, trusted_codes
from filters.language_segments import predict_with_segments

SENTENCES = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "zh": "人人生而自由，在尊严和权利上一律平等。",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "ar": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "am": "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው።",
}


@pytest.fixture(scope="module")
def model() -> Classifier:
    """Load the default model into compiled code, once."""
    return load(default_model_path())


@pytest.fixture(scope="module")
def oracle() -> Any:
    """Load the same model into the library."""
    return fasttext.load_model(default_model_path())


def library_answers(oracle: Any, texts: list[str]) -> list[tuple[list[str], np.ndarray]]:
    """Return the library's codes and probabilities by rank; a text without two letters has no language."""
    ranks: list[tuple[list[str], list[float]]] = [([], []) for _ in range(3)]
    for text in texts:
        codes, values = oracle.predict(text.replace("\n", " "), k=3)
        for (some, probabilities), code, value in zip(ranks, [*codes, *"  "], [*values, 0, 0], strict=False):
            known = sum(character.isalpha() for character in text) >= 2
            some.append(code.removeprefix("__label__") if known else "und")
            probabilities.append(min(float(value), 1.0) if known else 0.0)
    return [(codes, np.array(values)) for codes, values in ranks]


def columns(found: Languages) -> list[tuple[list[str], np.ndarray]]:
    """Return codes and probabilities by rank."""
    return [
        (found.language.to_pylist(), found.probability),
        (found.second.to_pylist(), found.second_probability),
        (found.third.to_pylist(), found.third_probability),
    ]


def test_languages_are_found(model: Classifier) -> None:
    """One article of human rights in ten languages and seven scripts."""
    found = identify(model, pa.array(SENTENCES.values()))
    assert found.language.to_pylist() == list(SENTENCES)
    assert found.language.type == pa.string()
    assert found.probability.dtype == np.float32
    assert (found.probability > 0.5).all()


WORDS = [
    *" ".join(SENTENCES.values()).split(),
    "\n",
    "\t",
    "__label__en",
    "x" * 40,
    "1.5",
    "Zürich",
    "漢字" * 30,
    "😀",
]
TEXT = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join) | st.text(
    st.characters(exclude_characters="\0"), max_size=60
)


@given(texts=st.lists(TEXT, min_size=1, max_size=4))
@settings(deadline=None)
def test_answers_are_the_library_s(model: Classifier, oracle: Any, texts: list[str]) -> None:
    """Equal probabilities by rank within 1e-4, and equal languages where no two are that close."""
    ours, theirs = columns(identify(model, pa.array(texts))), library_answers(oracle, texts)
    for (codes, probabilities), (expected, values) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(probabilities, values, atol=1e-4)
        clear = [abs(ours[rank][1] - probabilities) > 2e-4 for rank in range(3) if ours[rank][1] is not probabilities]
        for row in np.flatnonzero(np.all(clear, axis=0) & (codes is not None)):
            assert codes[row] == expected[row] or probabilities[row] < 2e-4 or codes is ours[2][0]


@pytest.mark.parametrize("text", ["", " \n", "a", "12.5 !?", "😀😀", "漢"])
def test_fewer_than_two_letters_are_no_language(model: Classifier, text: str) -> None:
    """It is "und" with probability 0."""
    found = columns(identify(model, pa.array([text])))
    assert [(codes, values.tolist()) for codes, values in found] == [(["und"], [0])] * 3


def test_line_feeds_are_white_space(model: Classifier) -> None:
    """A text on two lines is read whole."""
    one, two = (columns(identify(model, pa.array([SENTENCES["de"].replace(" ", space)]))) for space in " \n")
    assert one[0][0] == two[0][0]
    assert one[0][1] == two[0][1]


def test_answers_do_not_depend_on_the_batch(model: Classifier) -> None:
    """Remembered word vectors and neighbours change no bit; slices work."""
    texts = pa.array([*SENTENCES.values()] * 3)
    whole, part = identify(model, texts), identify(model, texts.slice(12, 5))
    assert whole.probability[12:17].tolist() == part.probability.tolist()
    assert whole.language.to_pylist()[12:17] == part.language.to_pylist()


@pytest.mark.parametrize("word", ["word ", "漢", "a"])
def test_two_megabytes_of_one_word_are_read(model: Classifier, word: str) -> None:
    """Long texts and long words are read to their end."""
    found = identify(model, pa.array([word * (2_000_000 // len(word.encode()))]))
    assert found.language.to_pylist() != ["und"]


def test_no_rows_have_no_languages(model: Classifier) -> None:
    """An empty column gives empty columns."""
    assert len(identify(model, pa.array([], pa.string())).language) == 0


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    """The message says which path, and that another can be configured."""
    with pytest.raises(FileNotFoundError, match=r"nowhere\.ftz; configure a path"):
        load(str(tmp_path / "nowhere.ftz"))


@pytest.mark.parametrize("content", [b"", b"not a model at all, but long enough", b"\xba\x16\x4f\x2f\x0c\0\0\0"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is no classifier is named in the error."""
    path = tmp_path / "model.ftz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.ftz is not a fastText classifier"):
        load(str(path))


def test_doubtful_languages_are_not_trusted() -> None:
    """Below the bound is "und", the bound itself is trusted, and an empty column has no codes."""
    codes, values = pa.array(["en", "en", "fr"]), np.array([0.49, 0.5, 0.9], np.float32)
    wide = values.astype(np.float64)
    assert trusted_codes(Languages(codes, values, codes, values, codes, values, wide, wide)).tolist() == [
        "und",
        "en",
        "fr",
    ]
    assert trusted_codes(Languages(codes, values, codes, values, codes, values, wide, wide), 0.6).tolist() == [
        "und",
        "und",
        "fr",
    ]
    no_codes, no_values = codes.slice(3), values[3:]
    none = Languages(no_codes, no_values, no_codes, no_values, no_codes, no_values, wide[3:], wide[3:])
    assert trusted_codes(none).tolist() == []


@pytest.mark.parametrize(("text", "code"), [("Shona haizivikanwi nemuenzaniso uyu", "und"), (SENTENCES["en"], "en")])
def test_a_language_unknown_to_the_model_is_not_trusted(model: Classifier, text: str, code: str) -> None:
    """Shona has no label in lid.176; English has."""
    assert trusted_codes(identify(model, pa.array([text]))).tolist() == [code]


def shares(model: Classifier, *texts: str) -> list[tuple[float, float]]:
    """Return share and number of languages, rounded."""
    found = identify(model, pa.array(texts))
    return [(round(float(s), 2), n) for s, n in zip(found.share, found.languages, strict=True)]


def test_a_mixed_text_has_the_share_of_its_language(model: Classifier) -> None:
    """By code points of segments of a few lines; one long line is cut at white space."""
    german, english = (SENTENCES["de"] + "\n") * 12, (SENTENCES["en"] + "\n") * 4
    (mixed, languages), (pure, one) = shares(model, german + english, german)
    assert 0.65 < mixed < 0.85
    assert (languages, pure, one) == (2, 1, 1)
    long = (SENTENCES["de"] + " ") * 60 + (SENTENCES["en"] + " ") * 20
    assert 0.6 < shares(model, long)[0][0] < 0.9


def test_what_has_no_certain_part_has_no_share(model: Classifier) -> None:
    """An empty text, one without letters, one of a language that the model does not know."""
    found = identify(model, pa.array(["", "12 34\n", "Shona haizivikanwi nemuenzaniso uyu"]))
    assert np.isnan(found.share).all()
    assert np.isnan(found.languages).all()


@given(texts=st.lists(TEXT, min_size=1, max_size=4), joins=st.integers(1, 30))
@settings(deadline=None)
def test_reading_by_segments_changes_no_answer(model: Classifier, texts: list[str], joins: int) -> None:
    """The whole text's probabilities are those of one reading, and shares lie between 0 and 1."""
    column = pa.array([(text + "\n") * joins for text in texts])
    offsets, data = text_buffers(column)
    best, probabilities = np.zeros((len(texts), 3), np.int64), np.zeros((len(texts), 3), np.float32)
    predict(model.network, offsets, data, best, probabilities)
    again = np.zeros_like(best), np.zeros_like(probabilities)
    found, languages = predict_with_segments(model.network, offsets, data, *again)
    np.testing.assert_allclose(again[1], probabilities, atol=2e-5)
    assert ((found >= 0) & (found <= 1) | np.isnan(found)).all()
    assert ((languages >= 1) | np.isnan(languages)).all()
