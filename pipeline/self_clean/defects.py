"""Defects: known damage done to good text, so that what a judge finds can be counted.

Every defect keeps about the length of the text it damages, so that no judge finds it by its length, and comes in three
severities. Words are those of filters/words.py together with what follows them (a space, a line feed, nothing), so that
texts without spaces are damaged like others and lines stay lines.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from filters.words import split_words

Draw = random.Random
Units = tuple[str, ...]  # words, each with what follows it


@dataclass(frozen=True)
class Pool:
    """Material that damage is made of; none of it is the document itself."""

    mixed: tuple[str, ...]  # texts of the document's language, from many sources
    source: tuple[str, ...]  # texts of the document's own source
    foreign: tuple[str, ...]  # texts of other languages

    @cached_property
    def mixed_units(self) -> tuple[Units, ...]:
        """Words of the mixed texts."""
        return tuple(units(text) for text in self.mixed)

    @cached_property
    def source_units(self) -> tuple[Units, ...]:
        """Words of the source's texts."""
        return tuple(units(text) for text in self.source)

    @cached_property
    def menus(self) -> tuple[str, ...]:
        """Short lines that end no sentence, as menus and footers have them."""
        lines = (line.strip() for text in (*self.mixed, *self.source) for line in text.split("\n"))
        short = tuple(line for line in lines if 0 < len(line) <= MENU_CHARACTERS and line[-1] not in ".!?。！？।؟。")
        return short or tuple("".join(words[:3]).strip() for words in self.mixed_units)


MENU_CHARACTERS = 40
FRAGMENT_SPREAD = 0.5  # of a fragment's length, both ways


def units(text: str) -> Units:
    """Return the words of a text, each with what follows it; joined, they are the text from its first word on."""
    words = split_words(pa.array([text], pa.large_string()))
    starts = words.start.tolist()
    if not starts:
        return ()
    data = text.encode()
    return tuple(data[a:b].decode() for a, b in zip(starts, [*starts[1:], len(data)], strict=True))


def misread(text: str, share: float, draw: Draw, _: Pool) -> str:
    """Damage a share of the characters as optical recognition does: look-alikes, losses, splits."""
    letters = [c for c in text if c.isalpha()] or [" "]
    out = []
    for character in text:
        if character.isspace() or draw.random() >= share:
            out.append(character)
            continue
        kind = draw.random()
        if kind < 0.7:
            out.append(
                draw.choice(_LOOK_ALIKES.get(character, ())) if character in _LOOK_ALIKES else draw.choice(letters)
            )
        elif kind < 0.85:
            out.append(character + draw.choice(" .,-'"))
    return "".join(out)


_LOOK_ALIKES: dict[str, Sequence[str]] = {  # pairs that print alike
    a: tuple(b.split())
    for a, b in {
        "m": "rn nn", "n": "u ri", "u": "n ii", "l": "1 I i", "i": "l 1 j", "I": "l 1", "1": "l I", "0": "O o",
        "O": "0 Q", "o": "0 c", "e": "c o", "c": "e o", "a": "o u", "s": "5 z", "S": "5 8", "5": "S", "8": "B",
        "B": "8 R", "b": "h 6", "h": "b li", "d": "cl a", "g": "q 9", "q": "g", "t": "f r", "f": "t r", "r": "f n",
        "w": "vv", "v": "y u", "y": "v", "z": "2 s", "k": "lc h", "p": "n q", "E": "F L", "F": "P E", "T": "I J",
        "H": "N K", "N": "H M", "M": "N", "D": "O",
    }.items()
}  # fmt: skip


def mojibake(text: str, share: float, draw: Draw, _: Pool) -> str:
    """Decode a share of the lines, at least one, with the wrong character set, typographic marks included."""
    lines = [part for line in text.splitlines(keepends=True) for part in _chunks(line)]
    filled = [n for n, line in enumerate(lines) if line.strip()]
    chosen = set(draw.sample(filled, max(1, round(share * len(filled))))) if filled else set()
    return "".join(_decoded_wrongly(line, draw) if n in chosen else line for n, line in enumerate(lines))


def _decoded_wrongly(line: str, draw: Draw) -> str:
    typeset = line.replace("'", "\u2019").replace(" - ", " \u2013 ").replace('"', "\u201d")
    typeset = "".join("\u00a0" if c == " " and draw.random() < 0.1 else c for c in typeset)
    return typeset.encode().decode("cp1252", errors="replace")


def shuffle(text: str, window: float, draw: Draw, _: Pool) -> str:
    """Shuffle the words within windows of so many words, within sentences (0), or within the document (-1)."""
    words = [unit[: len(unit.rstrip())] for unit in units(text)]
    gaps = [unit[len(unit.rstrip()) :] for unit in units(text)]
    out: list[str] = []
    for part in _parts(words, window):
        draw.shuffle(part)
        out += part
    return "".join(word + gap for word, gap in zip(out, gaps, strict=True))


def _parts(words: list[str], window: float) -> list[list[str]]:
    if window < 0:
        return [list(words)]
    if window:
        return [words[i : i + int(window)] for i in range(0, len(words), int(window))]
    parts: list[list[str]] = [[]]
    for word in words:
        parts[-1].append(word)
        if word[-1:] in ".!?。！？।؟":
            parts.append([])
    return parts


def babble(texts: Sequence[Units], order: int, length: int, draw: Draw) -> str:
    """Return about `length` characters drawn from the chain in which the next word depends on the last `order`."""
    followers: dict[Units, list[str]] = {}
    starts = []
    for words in texts:
        if len(words) <= order:
            continue
        starts.append(words[:order])
        for i in range(len(words) - order):
            followers.setdefault(words[i : i + order], []).append(words[i + order])
    if not starts:
        return ""
    state = draw.choice(starts)
    out, size = list(state), sum(map(len, state))
    while size < length:
        nexts = followers.get(state)
        if nexts is None:
            state = draw.choice(starts)
            continue
        word = draw.choice(nexts)
        out.append(word)
        size += len(word)
        state = (*state[1:], word)
    return "".join(out)


def babble_mixed(text: str, order: float, draw: Draw, pool: Pool) -> str:
    """Replace the text by babble from many sources."""
    return babble(pool.mixed_units, int(order), len(text), draw)


def babble_source(text: str, order: float, draw: Draw, pool: Pool) -> str:
    """Replace the text by babble from its own source."""
    return babble(pool.source_units, int(order), len(text), draw)


def repeat(text: str, share: float, draw: Draw, _: Pool) -> str:
    """Replace a share of the text by copies of one of its paragraphs."""
    paragraphs = [p for p in text.split("\n") if p.strip()] or [text]
    one = draw.choice(paragraphs)
    kept, size = [], 0
    for paragraph in paragraphs:
        if size >= len(text) * (1 - share):
            break
        kept.append(paragraph)
        size += len(paragraph) + 1
    while size < len(text):
        kept.append(one)
        size += len(one) + 1
    return "\n".join(kept)


def boilerplate(text: str, share: float, draw: Draw, pool: Pool) -> str:
    """Replace a share of the text by menu lines."""
    return _interleaved(text, share, lambda: draw.choice(pool.menus))


def mix_languages(text: str, share: float, draw: Draw, pool: Pool) -> str:
    """Replace a share of the text by lines of other languages."""
    lines = [line for other in pool.foreign for line in other.split("\n") if line.strip()]
    foreign = [line for line in lines if len(line) > MENU_CHARACTERS] or lines or [""]
    return _interleaved(text, share, lambda: draw.choice(foreign)[:300])


def _interleaved(text: str, share: float, other: Callable[[], str]) -> str:
    """Put other lines between those of the text until they are a share of its length."""
    lines = [part for line in text.split("\n") for part in _chunks(line)]
    out, own, strange = [], 0, 0
    at = 0
    while own + strange < len(text):
        if strange < share * (own + strange + 1) or at == len(lines):
            line = other()
            strange += len(line) + 1
        else:
            line = lines[at]
            at += 1
            own += len(line) + 1
        out.append(line)
    return "\n".join(out)


def _chunks(line: str) -> list[str]:
    return [line[i : i + 300] for i in range(0, len(line), 300)]


def fragments(text: str, size: float, draw: Draw, pool: Pool) -> str:
    """Replace the text by fragments of about `size` characters, cut out of other texts wherever it falls.

    This is truncation with the length kept: one text cut off would be found by being short.
    """
    out, length = [], 0
    while length < len(text):
        other = draw.choice(pool.mixed)
        wanted = max(10, int(size * (1 + FRAGMENT_SPREAD * (2 * draw.random() - 1))))
        at = draw.randrange(max(1, len(other) - wanted))
        out.append(other[at : at + wanted])
        length += len(out[-1]) + 1
    return "\n".join(out)


@dataclass(frozen=True, slots=True)
class Defect:
    """A kind of damage and its severities: mild, middle, severe."""

    name: str
    severities: tuple[float, float, float]
    damage: Callable[[str, float, Draw, Pool], str]
    material: str = ""  # the texts of the pool that it is made of
    least: int = 1  # of them; what is drawn from the chain of one text is nearly that text
    family: str = ""  # of kinds that are one damage of other material: who knows one of them knows all


DEFECTS = (
    Defect("ocr", (0.02, 0.05, 0.10), misread),  # share of characters
    Defect("mojibake", (0.1, 0.5, 1.0), mojibake),  # share of lines
    Defect("shuffled_words", (5, 0, -1), shuffle),  # windows of 5, sentences, the document
    Defect("babble_mixed", (3, 2, 1), babble_mixed, "mixed", 2, "babble"),  # order of the chain
    Defect("babble_source", (3, 2, 1), babble_source, "source", 2, "babble"),
    Defect("repeated_paragraphs", (0.3, 0.6, 0.9), repeat),  # share of the text
    Defect("boilerplate", (0.25, 0.5, 0.9), boilerplate, "mixed"),
    Defect("mixed_languages", (0.25, 0.5, 0.75), mix_languages, "foreign"),
    Defect("fragments", (400, 150, 50), fragments, "mixed"),  # characters of a fragment
)


def family(kind: str) -> list[str]:
    """Return the kinds that are left out where one is: itself, and those of its family."""
    of = {defect.name: defect.family for defect in DEFECTS if defect.family}
    return sorted({kind, *(name for name, own in of.items() if own == of.get(kind))})


def inject(text: str, defect: Defect, severity: int, draw: Draw, pool: Pool) -> str:
    """Return the text damaged, cut to its own length; as it is where there is too little to make the damage of."""
    if defect.material and len(getattr(pool, defect.material)) < defect.least:
        return text
    return defect.damage(text, defect.severities[severity], draw, pool)[: len(text)]
