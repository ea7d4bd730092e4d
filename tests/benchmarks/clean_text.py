"""Clean English for experiments: books by chapter and wikitext-2 by article, split, tokenised, as token shards.

wikitext-2 is given back its spelling (no spaces around marks, no `@-@`), and sentences with `<unk>` are left out:
6.3 % of its words are that.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import ipc

from tokenizer.encode import Tokenizer
from tokenizer.train import train

SPLITS = ("train", "validation", "test")
HELD_OUT = 4  # percent of the documents in validation, and as many in test
SHORTEST = 200  # characters of a document


@dataclass(frozen=True, slots=True)
class Corpus:
    """Token shards of a text and what they stand for."""

    folder: Path
    vocab_size: int
    eos: int
    text_bytes: dict[str, int]  # UTF-8 bytes of each split
    tokens: dict[str, int]  # of each split, an end-of-document token in each document


def read_clean(folder: Path) -> Iterator[str]:
    """Yield the chapters of the books and the articles of wikitext-2 in a folder of clean text."""
    with gzip.open(folder / "en_public_domain_books.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield from re.split(r"\n(?=## )", json.loads(line)["text"])
    for name in ("valid", "test"):
        yield from articles((folder / f"wikitext-2.{name}.txt").read_text(encoding="utf-8"))


def articles(text: str) -> Iterator[str]:
    """Yield the articles of a wikitext file, spelt as they were."""
    for article in re.split(r"(?m)^(?= = [^=])", text):
        kept = [line for line in (detokenised(line) for line in article.splitlines()) if line]
        yield "\n".join(kept)


def detokenised(line: str) -> str:
    """Return a wikitext line without its sentences that hold `<unk>`, and as it was spelt before it was tokenised."""
    sentences = re.split(r"(?<= [.?!]) ", line.strip())
    line = " ".join(_quoted(sentence) for sentence in sentences if "<unk>" not in sentence)
    line = re.sub(r" @([-,.])@ ", r"\1", line)
    line = re.sub(r" ([,.;:?!%)\]]|n't\b|'(?:s|re|ve|ll|d|m|t)?\b)", r"\1", line)
    return re.sub(r"([(\[$£]) ", r"\1", line).strip()


def _quoted(sentence: str) -> str:
    """Put the quotation marks of a sentence, which stand alone, by turns before and behind what they hold."""
    for around in (r'" ([^"]*) "', r"(?<= )' ([^']*) '(?= )"):
        sentence = re.sub(around, lambda m: m.group()[0] + m.group(1) + m.group()[0], sentence)
    return sentence


def tokenised(texts: Sequence[str], folder: Path, vocab_size: int) -> Corpus:
    """Split texts by their hashes, train a tokenizer on the training part and write the shards; found again if there.

    The tokenizer is SentencePiece's BPE; it knows nothing of what is held out.
    """
    path = folder / "corpus.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        splits: dict[str, list[str]] = {name: [] for name in SPLITS}
        for text in dict.fromkeys(text for text in texts if len(text) >= SHORTEST):
            splits[split_of(text)].append(text)
        path.write_bytes(orjson.dumps(_write(splits, folder, vocab_size)))
    found = orjson.loads(path.read_bytes())
    return Corpus(folder, **found)


def split_of(text: str) -> str:
    """Return the split of a text, the same on every machine."""
    percent = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % 100
    return "test" if percent < HELD_OUT else "validation" if percent < 2 * HELD_OUT else "train"


def _write(splits: dict[str, list[str]], folder: Path, vocab_size: int) -> dict[str, object]:
    tokenizer = Tokenizer(train(splits["train"], vocab_size))
    entries, tokens = [], {}
    for name, texts in splits.items():
        documents = [np.append(ids, tokenizer.end_of_document) for ids in tokenizer.encode(texts)]
        tokens[name] = sum(map(len, documents))
        column = pa.array([ids.tolist() for ids in documents], pa.list_(pa.uint16()))
        with ipc.new_file(folder / f"{name}.arrow", pa.schema({"tokens": column.type})) as writer:
            writer.write_table(pa.table({"tokens": column}))
        entry = {"path": f"{name}.arrow", "split": name, "documents": len(texts), "tokens": tokens[name]}
        entries.append({**entry, "sha256": hashlib.sha256((folder / f"{name}.arrow").read_bytes()).hexdigest()})
    facts = {"vocab_size": tokenizer.vocab_size, "eos": tokenizer.end_of_document}
    (folder / "index.json").write_bytes(orjson.dumps({"dtype": "uint16", "shards": entries, **facts}))
    sizes = {name: sum(len(text.encode()) for text in texts) for name, texts in splits.items()}
    return {**facts, "text_bytes": sizes, "tokens": tokens}
