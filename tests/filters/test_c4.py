"""C4's line and page rules against a slow reference, and TFDS's published cases, with prose of ours.

| tensorflow_datasets/text/c4_utils_test.py | here |
|---|---|
| T1 test_clean_page | test_tfds_clean_page |
| T2 test_clean_page_toofewsentences | test_tfds_clean_page_toofewsentences |
| T3 test_clean_page_squigglybracket | test_tfds_clean_page_squigglybracket |
| T4 test_clean_page_loremipsum | test_tfds_clean_page_loremipsum |
| T5 test_clean_page_citations | test_tfds_clean_page_citations |
| T6 test_clean_page_policy | test_tfds_clean_page_policy |
| T9 test_badwords_filter | test_bad_words.py, test_tfds_badwords_filter |
| test_soft_badwords_filter | tests/pipeline/test_judge_bad_words.py, test_tfds_soft_badwords_filter |
| test_remove_duplicate_text | tests/pipeline/test_deduplicate.py, test_tfds_remove_duplicate_text |
| test_paragraph_filter | test_mc4.py, test_tfds_paragraph_filter |
| test_split_wet_file | tests/pipeline/formats/test_warc.py, on files of our own |
"""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.c4 import FAMILY, measure, measure_as_tfds
from filters.c4_lines import ABBREVIATIONS
from filters.characters import CLOSER, LETTER, LOWER, TERMINAL, UNMARKED, UPPER, WORD_SPACE, character_classes
from filters.families import find_family
from filters.passage import Passage, read_passage
from filters.policy_phrases import POLICY_PHRASES
from filters.rules import Measured, judge
from filters.stop_words import STOP_WORDS
from filters.words import split_words

PIECES = [
    "a",
    "B",
    "one two three four five",
    ".",
    "...",
    "?",
    '"',
    "。",
    "”",
    "」",
    " ",
    "\n",
    "\r\n",
    "\u2028",
    "ไทย ไท ย",
    "文字",
    "ነው",
    "፡",
    "፡፡",
]
PIECES += [
    "[3]",
    "[edit]",
    "[citation needed]",
    "[",
    "lorem ipsum",
    "JavaScript",
    "{",
    "Terms of Use",
    "use cookies",
    "J. ",
    "Mr. ",
    "[۱]",
    "é",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=40)
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def passage_of(texts: Sequence[str], language: str = "en") -> Passage:
    """Make a passage in one language."""
    return read_passage(pa.array(texts, pa.string()), np.array([language] * len(texts), dtype=str))


def edited_texts(measured: Measured) -> list[str]:
    """Return the edited texts."""
    assert measured.texts is not None
    return list(measured.texts.to_pylist())


def has(character: str, bit: int) -> bool:
    """Tell whether a character has a bit."""
    return bool(character_classes()[ord(character)] & bit)


def lower(text: str) -> str:
    """Put ASCII in lower case."""
    return re.sub("[A-Z]+", lambda match: match.group().lower(), text)


def words_in(text: str) -> list[str]:
    """Return the words of one text."""
    words = split_words(pa.array([text]))
    return [words.data[a:b].tobytes().decode() for a, b in zip(words.start, words.end, strict=True)]


def ends_sentence(line: str) -> bool:
    """Tell whether a line ends in a mark (or needs none) and not in an ellipsis."""
    bare = line.rstrip("”’»」』）》〉】〕")
    if not bare:
        return False
    if bare.endswith("፡፡"):
        return True
    if has(bare[-1], TERMINAL) or line.endswith('"'):
        return not bare.endswith("...")
    letters = [character for character in line if has(character, LETTER)]
    return bool(letters) and has(letters[-1], UNMARKED)


def caseless(character: str) -> bool:
    """Tell whether a letter is of a script without upper case."""
    return has(character, LETTER) and not has(character, LOWER | UPPER)


def pieces_of(line: str) -> list[tuple[str, bool | None]]:
    """Cut a line into sentences with a cursor over characters; each ends in a mark, or not, or is nothing (None)."""
    pieces: list[tuple[str, bool | None]] = []
    begin, unended, letters, i = 0, False, 0, 0
    while i < len(line):
        if not has(line[i], TERMINAL) and line[i : i + 2] != "፡፡":
            unended |= not line[i].isspace()
            letters = letters + 1 if has(line[i], LETTER) else 0
            i += 1
            continue
        run = i + 1
        while run < len(line) and (has(line[run], TERMINAL | CLOSER | WORD_SPACE) or line[run] in "\"')"):
            run += 1
        strong = line[i] == "፡" or any(has(c, TERMINAL) and not c.isascii() for c in line[i:run])
        rest = line[run:]
        strong |= bool(rest) and caseless(line[max(0, i - 1)]) and caseless(rest[0])
        ends = strong or not rest.strip() or (rest != rest.lstrip() and not has(rest.lstrip()[0], LOWER))
        short = line[i] == "." and (letters == 1 or line[i - letters : i] in ABBREVIATIONS)
        if unended and ends and not short:
            pieces.append((line[begin:run], True))
            begin, unended = run, False
        letters, i = 0, run
    return [*pieces, (line[begin:], False if unended else None)]


def sentences_in(line: str) -> int:
    """Count sentences, at least one."""
    return max(1, sum(ended is not None for _, ended in pieces_of(line)))


def cause_of(line: str, fewest: int, *, ended: bool) -> str:
    """Return what becomes of a line, or of a sentence known to be ended, without its citations."""
    if not ended and not ends_sentence(line):
        return "lines_without_end_mark"
    if len(words_in(line)) < fewest:
        return "short_lines"
    small = lower(line)
    phrases = {"lorem ipsum": "lorem_ipsum", "javascript": "lines_with_javascript", "{": "curly_brackets"}
    phrases |= dict.fromkeys(POLICY, "lines_with_policy")
    return next((cause for phrase, cause in phrases.items() if phrase in small), "kept_lines")


def reference(text: str) -> tuple[str, dict[str, int]]:
    """Clean one text line by line, by sentences where a line has three of them; return it and the counts."""
    counts = dict.fromkeys((signal.name for signal in FAMILY.signals), 0) | {"characters": len(text)}
    kept = []
    for line in text.splitlines():
        pieces = pieces_of(line)
        if sum(ended is True for _, ended in pieces) >= 3 and len(words_in(line)) >= 5:
            before = counts["kept_lines"]
            cleaned = cleaned_sentences(pieces, counts)
            counts["kept_lines"] = before + bool(cleaned)
        else:
            cleaned = cleaned_line(line, counts, 5)
        kept += [cleaned] if cleaned else []
    return "\n".join(kept), counts


def cleaned_sentences(pieces: list[tuple[str, bool | None]], counts: dict[str, int]) -> str:
    """Clean a line's sentences; those that stay are joined as they were, or by one space over a gap."""
    joined, adjacent = "", False
    for piece, ended in pieces:
        cleaned = cleaned_line(piece, counts, 0, ended=ended is True)
        gap = piece[: len(piece) - len(piece.lstrip())]
        joined += (gap if adjacent else " " * bool(joined and gap)) + cleaned if cleaned else ""
        adjacent = bool(cleaned)
    return joined


def cleaned_line(line: str, counts: dict[str, int], fewest: int, *, ended: bool = False) -> str:
    """Clean one line or sentence and count what became of it."""
    line = line.strip()
    if not line:
        return ""
    bare = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", line)
    long = max(map(len, words_in(line)), default=0) > 1000
    cause = "lines_with_long_word" if long else cause_of(bare, fewest, ended=ended)
    counts[cause] += 1
    if cause != "kept_lines":
        return ""
    counts["sentences"] += sentences_in(bare)
    return bare


@given(st.lists(TEXT, max_size=4))
@settings(deadline=None)
def test_cleaning_equals_the_reference(texts: list[str]) -> None:
    """Texts and all ten counts of every string, by our rules and by TFDS's."""
    passage = passage_of(texts)
    for expected, measured in ((reference, measure(passage)), (tfds_page, measure_as_tfds(passage))):
        signals, edited = measured.signals, edited_texts(measured)
        for document, text in enumerate(texts):
            counts = {name: int(values[document]) for name, values in signals.items()}
            assert (edited[document], counts) == expected(text)


def tfds_page(text: str) -> tuple[str, dict[str, int]]:
    """Clean one text line by line as TFDS's clean_page does (text/c4_utils.py); return it and the counts."""
    counts = dict.fromkeys((signal.name for signal in FAMILY.signals), 0) | {"characters": len(text)}
    kept = []
    for line in map(str.strip, text.splitlines()):
        bare = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", line)
        cause = tfds_cause(line, bare)
        counts[cause] += bool(line)
        if line and cause == "kept_lines":
            kept.append(bare)
            counts["sentences"] += sentences_in(bare)
    return "\n".join(kept).strip(), counts


def tfds_cause(line: str, bare: str) -> str:
    """Return what becomes of a line, with citations and without."""
    if any(len(word) > 1000 for word in line.split()):
        return "lines_with_long_word"
    if not bare.endswith((".", "?", "!", '"')) or bare.endswith("..."):
        return "lines_without_end_mark"
    if len(bare.split()) < 5:
        return "short_lines"
    small = lower(bare)
    phrases = {"lorem ipsum": "lorem_ipsum", "javascript": "lines_with_javascript", "{": "curly_brackets"}
    phrases |= dict.fromkeys(POLICY, "lines_with_policy")
    return next((cause for phrase, cause in phrases.items() if phrase in small), "kept_lines")


def test_whole_lines_are_what_tfds_judges() -> None:
    """A line of three sentences before "Read more" goes whole, and stays without it where it is cut by sentences."""
    line = "It is a long enough line. Here is another of them. And this is the third. Read more"
    cut, whole = (edited_texts(how(passage_of([line]))) for how in (measure, measure_as_tfds))
    assert cut == ["It is a long enough line. Here is another of them. And this is the third."]
    assert whole == [""]


@pytest.mark.parametrize("line", ["Buy! Now! Cheap!", "Home. About. Contact."])
def test_a_line_of_too_few_words_goes_whatever_it_ends_in(line: str) -> None:
    """Three marks do not make a sentence page of a menu."""
    assert clean(line) == ("", {"short_lines": 1}, "too_few_sentences")


@pytest.mark.parametrize("variant", ["c4@tfds", "c4@datatrove", "c4@fineweb"])
def test_a_page_ends_without_white_space(variant: str) -> None:
    """Which citations at the ends of its first and last line would leave."""
    lines = ["[1] This is the first good line here.", "And this is its last, with a note. [3]"]
    text = clean("\n".join(lines), variant=variant)[0]
    assert text == text.strip()
    assert text.startswith("This is the first")


def test_tfds_reads_english() -> None:
    """Its marks are ASCII's, its words stand between spaces, its phrases are read in every language."""
    assert clean("你们好吗？", variant="c4@tfds")[1] == {"lines_without_end_mark": 1}
    assert clean("我们今天去公园玩.", variant="c4@tfds")[1] == {"short_lines": 1}
    assert clean("Diese Seite hat eine Privacy Policy.", "de", "c4@tfds")[1] == {"lines_with_policy": 1}
    assert clean("Here are five good 'words'", variant="c4@tfds")[1] == {"lines_without_end_mark": 1}


def clean(text: str, language: str = "en", variant: str = "c4") -> tuple[str, dict[str, int], str | None]:
    """Return the edited text, its non-zero counts but that of characters, and the reason of the family's own rules."""
    family, passage = find_family(variant), passage_of([text], language)
    measured = family.measure(passage)
    rule = judge(family.rules, measured.signals, passage.languages).rule[0]
    counts = {name: int(values[0]) for name, values in measured.signals.items() if values[0] and name != "characters"}
    return edited_texts(measured)[0], counts, None if rule < 0 else family.rules[rule].reason


either = pytest.mark.parametrize("variant", ["c4", "c4@tfds"])


GOOD = "The first of these lines is long enough to stay. It even has two sentences."
FINE = 'Another one asks whether it may stay, too, and "yes" is the answer?'


@either
def test_tfds_clean_page(variant: str) -> None:
    """T1: of ten lines two stay, and each other one is counted under what cut it."""
    lines = [
        GOOD,
        "Too few words.",
        FINE,
        "This line has no mark at its end",
        "This line ends in a doubtful way...",
    ]
    lines += ["Please switch on JavaScript to see this.", "Your browser's javascript is off, it seems."]
    lines += ["By reading on you accept our Terms of Use.", "We wrote a Privacy Policy for all of you."]
    lines += ["This site uses cookies for no good reason."]
    text, counts, reason = clean("\n".join(lines), variant=variant)
    assert text == f"{GOOD}\n{FINE}"
    expected = {"kept_lines": 2, "short_lines": 1, "lines_without_end_mark": 2, "lines_with_javascript": 2}
    assert counts == {**expected, "lines_with_policy": 3, "sentences": 3}
    assert reason is None


@either
def test_tfds_clean_page_toofewsentences(variant: str) -> None:
    """T2: what looks like three sentences is two."""
    text = "This is the first line of the page.\nIt claims to have three sentences...but it's actually just 1."
    _, counts, reason = clean(text, variant=variant)
    assert (counts, reason) == ({"kept_lines": 2, "sentences": 2}, "too_few_sentences")


@either
def test_tfds_clean_page_squigglybracket(variant: str) -> None:
    """T3: three lines pass, then a curly bracket comes."""
    _, counts, reason = clean(f"{GOOD}\n{FINE}\n{GOOD}\nfn foo(a) {{ bar = a + 10; }}.", variant=variant)
    assert (counts["kept_lines"], counts["curly_brackets"], reason) == (3, 1, "curly_bracket")


@either
def test_tfds_clean_page_loremipsum(variant: str) -> None:
    """T4: lorem ipsum in whatever case, and no line passes."""
    _, counts, reason = clean("Lorem Ipsum dolor sit amet, consectetur.\n" * 4, variant=variant)
    assert (counts, reason) == ({"lorem_ipsum": 4}, "lorem_ipsum")


@either
def test_tfds_clean_page_citations(variant: str) -> None:
    """T5: three of four lines stay, without their citations; what has no mark before its citation goes."""
    lines = ["There is some text here.", "A line may lack its full stop", "Many a line ends in citations.[3]"]
    lines += ["Others ask for one[citation needed]. Or may be changed by all.[edit]"]
    text, counts, reason = clean("\n".join(lines), variant=variant)
    stays = "There is some text here.\nMany a line ends in citations.\nOthers ask for one. Or may be changed by all."
    assert (text, counts, reason) == (stays, {"kept_lines": 3, "lines_without_end_mark": 1, "sentences": 4}, None)


def test_citations_are_cut_wherever_they_stand() -> None:
    """Within a line, with a number or without, and where nothing but a citation ends it."""
    lines = ["This claim[3] has a number in it.", "History", "The [edit] button of old stood here."]
    text, counts, _ = clean("\n".join([*lines, "It ended like this, said one[]"]))
    assert text == "This claim has a number in it.\nThe  button of old stood here."
    assert counts["lines_without_end_mark"] == 2


@pytest.mark.parametrize(("characters", "reason"), [(190_000, None), (190_001, "page_too_long")])
def test_a_page_has_at_most_190_000_characters(characters: int, reason: str | None) -> None:
    """TFDS is_valid_length: the whole page, in characters and not bytes, before a line of it is cut."""
    page = f"{GOOD}\n{FINE}\n"
    assert clean(page + "é" * (characters - len(page)))[2] == reason


@pytest.mark.parametrize(
    ("line", "kept"),
    [("three words stay", True), ("two words", False), ("it goes on...", True), ("javascript is on", False)],
)
def test_fineweb_keeps_lines_without_an_end_mark(line: str, kept: bool) -> None:
    """The other rules are datatrove's: three words, five sentences, no JavaScript, and no longest page."""
    family = find_family("c4@fineweb")
    measured = family.measure(passage_of(["\n".join([line, *["And so does this"] * 4])]))
    assert measured.signals["kept_lines"].tolist() == [4 + kept]
    rule = judge(family.rules, measured.signals, np.array(["en"])).rule[0]
    assert (None if rule < 0 else family.rules[rule].reason) == (None if kept else "too_few_sentences")
    assert not [rule for rule in family.rules if rule.reason == "page_too_long"]


@either
def test_tfds_clean_page_policy(variant: str) -> None:
    """T6: three lines name a policy, three do not."""
    lines = [GOOD, "Click to accept the Terms of Use now.", FINE, "We value privacy policy more than you do."]
    lines += ["You have read the Cookie Policy, haven't you?", GOOD]
    text, counts, reason = clean("\n".join(lines), variant=variant)
    assert text == f"{GOOD}\n{FINE}\n{GOOD}"
    assert (counts["lines_with_policy"], reason) == (3, None)


@pytest.mark.parametrize("phrase", ["Lorem ipsum dolor", "a { b"])
def test_page_rules_read_only_lines_that_got_so_far(phrase: str) -> None:
    """In a line that goes anyway, filler and brackets harm nothing."""
    assert clean(f"{GOOD}\n{FINE}\n{phrase}")[2] is None


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("one two three four five.", True),
        ("one two three four.", False),
        ("one two three four [5]", False),
        ("one two three[5] four.", False),
        ("one two three four five", False),
        ('one two three four "five"', True),
        ("one two three four five!”", True),
        ("one two three four five”", False),
        ("one two three four five...", False),
        ("one two three four five....", False),
        ("one two three four five…", False),
        ("a" * 1000 + " two three four five.", True),
        ("a" * 1001 + " two three four five.", False),
        ("漢" * 2000 + "。", True),
        ("你好吗？", False),
        ("你们好吗？", True),
        ("他说：“你们好吗？”", True),
        ("आज मौसम बहुत अच्छा है।", True),
        ("هل هذا هو الكتاب الجديد؟", True),
        ("یہ ایک بہت اچھی کتاب ہے۔", True),
        ("ዛሬ የአየሩ ሁኔታ በጣም ጥሩ ነው።", True),
        ("Սա շատ լավ գիրք է։", True),
        ("វាជាសៀវភៅល្អ។", True),
        ("ဒါကောင်းတဲ့စာအုပ်ပါ။", True),
        ("วันนี้อากาศดีมาก", True),
    ],
)
def test_lines_at_their_bounds(line: str, kept: bool) -> None:
    """Five words, a thousand characters a word, and the end marks of many scripts."""
    assert clean(f"{line}\n-")[1].get("kept_lines", 0) == kept


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("It is one sentence that stays one.", 1),
        ("It is one. Here is another! And a third?", 3),
        ("Mr. J. R. Smith et al. came to the U.S. office.", 1),
        ("Mr. and Mrs. Brown live on St. James Street in London.", 1),
        ("Prof. Dr. Weber wohnt in Bonn, bzw. Köln. Hr. Maier nicht.", 2),
        ("La Sra. García y el Sr. López llegaron. Mme. Petit aussi.", 2),
        ("They sell nails, screws etc. We buy them.", 2),
        ("He never said No. She did.", 2),
        ("Version 3.14 of it, e.g. this one, works.", 1),
        ('He said "Stop it!" Then he left the room.', 2),
        ("今天天气很好。我们去公园吧！好吗？", 3),
        ("他说：“今天天气很好。”我们走了。", 2),
        ("आज मौसम अच्छा है। हम पार्क गए थे।", 2),
        ("هذا كتاب جيد.وقالت المجلة ذلك.نعم.", 3),
        ("See node.js or example.com for it.", 1),
    ],
)
def test_sentences_are_counted(line: str, sentences: int) -> None:
    """Marks, titles, single letters and quotes as next_sentence says."""
    assert clean(line)[1]["sentences"] == sentences


@pytest.mark.parametrize(("sentences", "reason"), [(2, "too_few_sentences"), (3, None), (4, None)])
def test_three_sentences_make_a_page(sentences: int, reason: str | None) -> None:
    """The bound itself is kept, and scripts without end marks are not judged."""
    text = "\n".join(["Here are five good words."] * sentences)
    assert clean(text)[2] == reason
    assert clean(text, "th")[2] is None


@pytest.mark.parametrize(
    ("text", "kept", "causes"),
    [
        (f"{GOOD} {FINE} Read more", f"{GOOD} {FINE}", {"lines_without_end_mark": 1}),
        (f"{GOOD} This site uses cookies. {FINE}", f"{GOOD} {FINE}", {"lines_with_policy": 1}),
        (f"{GOOD} Why? Switch on JavaScript now. {FINE}", f"{GOOD} Why? {FINE}", {"lines_with_javascript": 1}),
        ("今天天气很好。我们去公园吧！好吗？更多", "今天天气很好。我们去公园吧！好吗？", {"lines_without_end_mark": 1}),
        (
            "आज मौसम अच्छा है। हम पार्क गए थे। वह घर है। और",
            "आज मौसम अच्छा है। हम पार्क गए थे। वह घर है।",
            {"lines_without_end_mark": 1},
        ),
        (
            "هذا كتاب جيد. هل قرأت الكتاب؟ نعم. المزيد",
            "هذا كتاب جيد. هل قرأت الكتاب؟ نعم.",
            {"lines_without_end_mark": 1},
        ),
    ],
)
def test_a_line_of_three_sentences_is_cut_by_sentences(text: str, kept: str, causes: dict[str, int]) -> None:
    """Short sentences stay, what follows the last mark goes, and the page is judged by what is left."""
    cleaned, counts, reason = clean(text)
    assert (cleaned, reason) == (kept, None)
    assert {cause: counts.get(cause) for cause in causes} == causes


@pytest.mark.parametrize(
    ("language", "phrase"),
    [(language, phrase) for language, phrases in POLICY_PHRASES.items() for phrase in phrases],
)
def test_policy_phrases_are_read_in_their_own_language(language: str, phrase: str) -> None:
    """In whatever case; in a language without a list the line stays, and so does one that another list would cut."""
    lines = [f"One two three four {spelling} five." for spelling in (phrase, phrase.upper(), phrase.title())]
    passage = passage_of(lines, language)
    assert measure(passage).signals["lines_with_policy"].tolist() == [1, 1, 1]
    assert measure(passage_of(lines, "fi")).signals["lines_with_policy"].tolist() == [0, 0, 0]


def test_policy_phrases_have_the_languages_of_stop_words() -> None:
    """One set of languages has lists, whichever rule asks."""
    assert set(POLICY_PHRASES) == set(STOP_WORDS)


def test_nothing_has_no_sentences() -> None:
    """An empty text is rejected, not an error."""
    assert clean("") == ("", {}, "too_few_sentences")


def test_signals_are_those_declared() -> None:
    """Names, order and kinds."""
    signals = measure(passage_of([GOOD])).signals
    assert list(signals) == [signal.name for signal in FAMILY.signals]
    assert all(values.dtype == np.int64 for values in signals.values())


def test_slices_are_cleaned_like_whole_arrays() -> None:
    """Rows before and after a slice change nothing, and a second pass over what is kept changes nothing."""
    texts = pa.array(["before", GOOD + "\nMenu", "漢字漢字。\n\n漢", "after"])
    part = edited_texts(measure(read_passage(texts.slice(1, 2), np.array(["en"] * 2))))
    assert part == [GOOD, "漢字漢字。"]
    assert edited_texts(measure(passage_of(part))) == part


@pytest.mark.parametrize("word", ["word ", "漢", ".\n", "[", "[3]", "{", "“”"])
def test_two_megabytes_of_one_word_are_cleaned(word: str) -> None:
    """Long uniform texts take linear time and nothing of them stays."""
    assert clean(word * (2_000_000 // len(word.encode())))[0] == ""
