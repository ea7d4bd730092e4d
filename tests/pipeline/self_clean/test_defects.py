"""Damage that is done on purpose: in every language, at every severity, as long as the text."""

import random
from collections.abc import Callable
from difflib import SequenceMatcher

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.self_clean.defects import DEFECTS, Defect, Pool, inject, units

ENGLISH = "the river and a mountain that we found near old towns were not to be sold in early winter".split()
CHINESE = "我们 今天 学习 中国 历史 城市 经济 发展 技术 生活 问题 社会 文化 教育 世界 人民 国家 研究 时间 工作".split()
ARABIC = "النهر والجبل الذي وجدنا قرب المدينة القديمة لم يكن للبيع في الشتاء المبكر بعد الحرب الطويلة".split()
BY_NAME = {defect.name: defect for defect in DEFECTS}


def write(words: list[str], gap: str, end: str) -> Callable[[int], str]:
    """Return a function that writes a text for each seed: eight lines of three sentences."""

    def text(seed: int) -> str:
        draw = random.Random(seed)
        sentences = [gap.join(draw.choices(words, k=draw.randint(6, 14))) + end for _ in range(24)]
        return "\n".join(gap.join(sentences[at : at + 3]) for at in range(0, 24, 3))

    return text


WRITERS = {"en": write(ENGLISH, " ", "."), "zh": write(CHINESE, "", "。"), "ar": write(ARABIC, " ", "؟")}


def pool_for(language: str) -> Pool:
    """Return material in a language and in the others."""
    own = WRITERS[language]
    foreign = tuple(WRITERS[name](seed) for name in WRITERS if name != language for seed in (500, 501))
    menus = ("Home", "About us")
    return Pool(
        tuple(own(seed) for seed in range(100, 115)), (*(own(seed) for seed in range(200, 205)), *menus), foreign
    )


POOLS = {language: pool_for(language) for language in WRITERS}


def damaged(language: str, defect: Defect, severity: int, seed: int = 1) -> str:
    """Return a text of a language, damaged."""
    return inject(WRITERS[language](seed), defect, severity, random.Random(f"{seed} {defect.name}"), POOLS[language])


@pytest.mark.parametrize("language", WRITERS)
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
@pytest.mark.parametrize("severity", range(3))
def test_damage_is_done_and_keeps_the_length(language: str, defect: Defect, severity: int) -> None:
    """What comes out is another text, no longer than it was and hardly shorter, and the same for the same draw."""
    for seed in range(5):
        text, found = WRITERS[language](seed), damaged(language, defect, severity, seed)
        assert found != text
        assert 0.93 * len(text) <= len(found) <= len(text)
        assert found == damaged(language, defect, severity, seed)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_another_draw_does_other_damage(defect: Defect) -> None:
    """Damage follows the draw, which is keyed by the document's id."""
    text = WRITERS["en"](1)
    found = {inject(text, defect, 1, random.Random(seed), POOLS["en"]) for seed in range(6)}
    assert len(found) > 1


def alike(a: str, b: str) -> float:
    """Return how much of a text is left in its order."""
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


def followed(words: tuple[str, ...], known: set[tuple[str, ...]], length: int) -> float:
    """Return the share of a text's runs of so many words that others have."""
    runs = [words[at : at + length] for at in range(len(words) - length + 1)]
    return sum(run in known for run in runs) / len(runs)


@pytest.mark.parametrize("language", WRITERS)
@pytest.mark.parametrize(
    "name", ["ocr", "mojibake", "shuffled_words", "repeated_paragraphs", "boilerplate", "mixed_languages"]
)
def test_a_severer_defect_leaves_less_of_the_text(language: str, name: str) -> None:
    """Over some texts, each severity leaves less than the one before."""
    left = [
        sum(alike(WRITERS[language](seed), damaged(language, BY_NAME[name], severity, seed)) for seed in range(4)) / 4
        for severity in range(3)
    ]
    assert 1 > left[0] > left[1] > left[2], left


@pytest.mark.parametrize("language", WRITERS)
@pytest.mark.parametrize("name", ["babble_mixed", "babble_source"])
def test_babble_of_a_lower_order_keeps_less_of_the_order(language: str, name: str) -> None:
    """Runs of four words are the material's own ever more rarely from order 3 to order 1; nearly all its words are."""
    pool = POOLS[language]
    material = pool.mixed_units if name == "babble_mixed" else pool.source_units
    known = {words[at : at + n] for words in material for n in (1, 4) for at in range(len(words) - n + 1)}
    found = [
        [units(damaged(language, BY_NAME[name], severity, seed))[:-1] for seed in range(4)] for severity in range(3)
    ]
    left = [sum(followed(words, known, 4) for words in texts) / 4 for texts in found]
    assert left[0] > left[1] > left[2]
    assert all(followed(words, known, 1) > 0.97 for texts in found for words in texts)  # ends of texts are glued


@pytest.mark.parametrize("language", WRITERS)
def test_fragments_get_shorter(language: str) -> None:
    """Each severity cuts other texts into shorter pieces, which are theirs, not the document's."""
    counts = []
    for severity in range(3):
        lines = damaged(language, BY_NAME["fragments"], severity).split("\n")
        counts.append(len(lines))
        assert all(any(line in other for other in POOLS[language].mixed) for line in lines)
    assert counts[0] < counts[2]


@pytest.mark.parametrize("severity", range(3))
def test_ocr_damages_the_share_it_says(severity: int) -> None:
    """About so many characters are others, gone or followed by a mark; spaces stay."""
    text = "".join(chr(0x4E00 + number) + " " * (number % 5 == 0) for number in range(5_000))  # no character twice
    found = damaged_by("ocr", text, severity)
    hit = len(set(text) - set(found)) + sum(found.count(mark) for mark in ".,-'") + found.count(" ") - text.count(" ")
    assert hit / 5_000 == pytest.approx(BY_NAME["ocr"].severities[severity], rel=0.2)
    assert found.count(" ") >= text.count(" ")


def damaged_by(name: str, text: str, severity: int) -> str:
    """Return a text damaged, not cut to its length."""
    defect = BY_NAME[name]
    return defect.damage(text, defect.severities[severity], random.Random(4), POOLS["en"])


def test_mojibake_leaves_the_other_lines_alone() -> None:
    """A line is decoded wrongly as a whole or not at all: blank and long lines stay what they are."""
    text = "\n\n".join(WRITERS["zh"](seed).replace("\n", "") for seed in range(10))
    for seed in range(20):
        found = BY_NAME["mojibake"].damage(text, 0.1, random.Random(seed), POOLS["zh"])
        assert found.count("\n") == text.count("\n")
        assert 1 <= sum(a != b for a, b in zip(text.split("\n"), found.split("\n"), strict=True)) <= 5
        assert "æ" in found or "å" in found or "ç" in found


@pytest.mark.parametrize("language", WRITERS)
def test_shuffling_keeps_words_and_lines(language: str) -> None:
    """The same words in another order, within windows of five no farther than four places."""
    text = WRITERS[language](2)
    for severity in range(3):
        found = damaged(language, BY_NAME["shuffled_words"], severity, 2)
        assert sorted(found) == sorted(text)
        assert found.count("\n") == text.count("\n")
        if language != "zh":
            assert sorted(found.split()) == sorted(text.split())
    if language != "zh":
        before, after = text.split(), damaged(language, BY_NAME["shuffled_words"], 0, 2).split()
        assert all(sorted(before[at : at + 5]) == sorted(after[at : at + 5]) for at in range(0, len(before), 5))


@pytest.mark.parametrize("language", WRITERS)
def test_units_are_the_text(language: str) -> None:
    """Joined, the words with what follows them are the text, in languages without spaces too."""
    text = WRITERS[language](1)
    assert "".join(units(text)) == text
    assert len(units(text)) > 100


@given(st.text(max_size=300), st.sampled_from(DEFECTS), st.integers(0, 2), st.integers(0, 5))
@example("", BY_NAME["mixed_languages"], 0, 0)
@example("word", BY_NAME["mixed_languages"], 0, 0)
@example("。。。", BY_NAME["boilerplate"], 0, 1)
@example(" ", BY_NAME["babble_source"], 0, 1)
def test_no_text_and_no_material_raises(text: str, defect: Defect, severity: int, which: int) -> None:
    """Whatever the text and the material, short lines, symbols or nothing, damage ends within the text's length."""
    lines = ("short\nlines", "短い行")
    pools = [
        Pool(("",), ("",), ("",)),
        Pool((text,), (text,), (text,)),
        Pool(("...", "。"), ("- -",), ("\n\n",)),
        Pool(lines, lines, lines),
        Pool(lines, lines, ()),
        POOLS["zh"],
    ]
    found = inject(text, defect, severity, random.Random(1), pools[which])
    assert len(found) <= len(text)
    found.encode()
