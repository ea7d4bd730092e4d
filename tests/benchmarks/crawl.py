"""A crawl that never was, of any size: gz JSONL and WARC files with boilerplate, junk, broken records and known truth.

    python -m tests.benchmarks.crawl --gigabytes 1 --folder /tmp/crawl

Three of four files are JSONL, texts as a crawler extracts them, with the boilerplate of their host; the fourth is a
WARC of HTML pages and the requests for them. Gigabytes are those of the JSON lines and pages, uncompressed. A file
follows from seed, number and how many there are; one is held at a time. Beside the files lies truth/NNNNN.parquet: each
record's id, kind, cluster and the Jaccard similarity (five words a shingle) to what its cluster's members were made of;
and truth.json sums them up.
"""

import argparse
import gzip
import html
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from isal import igzip

from pipeline.demo import gather
from tests.benchmarks.crawl_texts import Ints, Keys, Pieces, cut_pieces, draw_texts, keys, similarities, unit
from tests.benchmarks.synthetic import mix

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
DEMO, SENTENCES = "demo_corpus/*.jsonl.gz", "lid/lingua_leipzig_sentences.jsonl.gz"
TRUSTED = frozenset("en zh fr fi sw am de el it pt es so yo ca".split())  # languages that the corpus declares rightly
DOCUMENTS = 2000  # of a file
FILE_BYTES = 9_000_000  # of it uncompressed, about
WARC_EVERY = 4  # files
TEXT, JUNK, BROKEN = range(3)
KINDS = ("text", "junk", "broken")
ENDS = (0.004, 0.1)  # draws below the first are broken records, below the second junk
HOST_DOCUMENTS = 50  # of a host, on average; large hosts have many more
LEAST_SENTENCES = 12  # of a text that has boilerplate: of a shorter one it would be most
COLUMNS = pa.schema(
    [("id", pa.string()), ("kind", pa.string()), ("cluster", pa.int64()), ("similarity", pa.float64()),
     ("bytes", pa.int64())]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Crawl:
    """What decides about every byte."""

    pieces: Pieces
    seed: int
    files: int

    @property
    def documents(self) -> int:
        """Records that are documents, broken ones included."""
        return self.files * DOCUMENTS


def main() -> None:
    """Write a crawl and print what it holds."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--gigabytes", type=float, default=0.1)
    line.add_argument("--folder", required=True)
    line.add_argument("--seed", type=int, default=1)
    asked = line.parse_args()
    began = time.monotonic()
    facts = write_crawl(Path(asked.folder), asked.gigabytes, asked.seed)
    print(orjson.dumps({**facts, "seconds": round(time.monotonic() - began, 1)}, option=orjson.OPT_INDENT_2).decode())


def write_crawl(folder: Path, gigabytes: float, seed: int = 1) -> dict[str, Any]:
    """Write a crawl of about so many gigabytes into a folder; return what truth.json says."""
    crawl = Crawl(cut_pieces(real_texts(folder)), seed, max(1, round(gigabytes * 1e9 / FILE_BYTES)))
    return write_files(folder, crawl)


def real_texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (language, text) of $LUSTRATE_DATA, or in English of what this Python environment carries."""
    if not (DATA / SENTENCES).exists():
        gather(folder / "demo")
        for path in sorted((folder / "demo").glob("*.jsonl")):
            yield from (("en", orjson.loads(line)["text"]) for line in path.read_bytes().splitlines())
        return
    for path in (DATA / SENTENCES, *sorted(DATA.glob(DEMO))):
        with gzip.open(path) as file:
            for record in map(orjson.loads, file):
                name = record.get("iso639_1") or record.get("lang")
                if "iso639_1" in record or name in TRUSTED:
                    yield name, record["text"]


def write_files(folder: Path, crawl: Crawl) -> dict[str, Any]:
    """Write the files of a crawl and its truth; return the sums."""
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    sums: dict[str, Any] = {"files": crawl.files, "seed": crawl.seed, "bytes": 0, "stored": 0}
    clusters: dict[int, int] = {}
    for number in range(crawl.files):
        name = f"{number:05d}.{'warc' if is_warc(number) else 'jsonl'}.gz"
        truth = write_file(folder / name, crawl, number)
        pq.write_table(truth, folder / "truth" / f"{number:05d}.parquet")
        sums["bytes"] += int(truth["bytes"].to_numpy().sum())
        sums["stored"] += (folder / name).stat().st_size
        for kind in truth["kind"].to_pylist():
            sums[kind] = sums.get(kind, 0) + 1
        for cluster in truth["cluster"].to_numpy()[truth["cluster"].to_numpy() >= 0].tolist():
            clusters[cluster] = clusters.get(cluster, 0) + 1
    sums["clusters"] = len(clusters)
    sums["members"] = sum(clusters.values())
    sums["largest_cluster"] = max(clusters.values(), default=0)
    (folder / "truth.json").write_bytes(orjson.dumps(sums))
    return sums


def is_warc(number: int) -> bool:
    """Tell which format a file has."""
    return number % WARC_EVERY == WARC_EVERY - 1


def write_file(path: Path, crawl: Crawl, number: int) -> pa.Table:
    """Write one file; return the truth of its records (COLUMNS)."""
    numbers = number * DOCUMENTS + np.arange(DOCUMENTS)
    drawn = draw_texts(crawl.pieces, crawl.seed, numbers, crawl.documents)
    own = keys(crawl.seed, numbers, "record")
    kind = np.searchsorted(ENDS, unit(own, 1), side="right")
    kind = np.where(kind == 0, BROKEN, np.where(kind == 1, JUNK, TEXT))
    kind = np.where((drawn.cluster >= 0) & (kind == JUNK), TEXT, kind)
    pages = Pages(crawl, own, numbers, drawn.language, drawn.sentences, drawn.texts, kind)
    size = write_warc(path, pages) if is_warc(number) else write_lines(path, pages)
    planned = np.flatnonzero(drawn.cluster >= 0)
    similarity = np.full(DOCUMENTS, np.nan)
    similarity[planned] = similarities([drawn.texts[i] for i in planned.tolist()], drawn.bases)
    cluster = np.where(kind == TEXT, drawn.cluster, -1)
    similarity[kind != TEXT] = np.nan
    return pa.table([pages.ids, [KINDS[k] for k in kind.tolist()], cluster, similarity, size], schema=COLUMNS)


@dataclass(frozen=True)
class Pages:
    """The records of one file."""

    crawl: Crawl
    own: Keys
    numbers: Ints
    language: Ints
    sentences: Ints
    texts: list[bytes]
    kind: Ints

    @property
    def ids(self) -> list[str]:
        """The ids, which look like those of a web archive's records."""
        digits = [f"{high:016x}{low:016x}" for high, low in zip(self.own.tolist(), mix(self.own).tolist(), strict=True)]
        return [f"<urn:uuid:{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}>" for d in digits]

    def hosts(self) -> list[int]:
        """Return the number of each page's host; low numbers have many pages."""
        every = max(1, self.crawl.documents // HOST_DOCUMENTS)
        return (unit(self.own, 2) ** 2 * every).astype(np.int64).tolist()

    def rows(self) -> Iterator[tuple[str, str, int, bytes, tuple[bytes, ...]]]:
        """Yield id, address, kind, text and the host's boilerplate of each page."""
        columns = (self.ids, self.hosts(), self.numbers.tolist(), self.kind.tolist(), self.language.tolist())
        for i, (name, host, number, kind, language) in enumerate(zip(*columns, strict=True)):
            text = junk(self.crawl.pieces, int(self.own[i]), language) if kind == JUNK else self.texts[i]
            address = f"https://www.site-{host}.example/{number % 7}/{number}.html"
            yield name, address, kind, text, boilerplate(self.crawl, host, language)


@lru_cache(maxsize=4096)
def boilerplate(crawl: Crawl, host: int, language: int) -> tuple[bytes, ...]:
    """Return the lines that a host puts around its pages: a menu, an invitation and who owns it."""
    key = keys(crawl.seed, np.array([host * 64 + language]), "host")
    lines = [some_head(crawl.pieces, key, which, language)[:24] for which in range(20, 26)]
    menu = b" | ".join(line.decode(errors="ignore").strip().encode() for line in lines)
    return menu, some_head(crawl.pieces, key, 26, language).strip(), b"\xc2\xa9 site-%d.example" % host


def some_head(pieces: Pieces, key: Keys, which: int, language: int) -> bytes:
    """Return the head of a sentence of a language."""
    first, last = pieces.first[language], pieces.first[language + 1]
    return pieces.halves[int(first + unit(key, which)[0] * (last - first))]


def junk(pieces: Pieces, own: int, language: int) -> bytes:
    """Return a text that no one wants: keywords, a list of links, a repeated line, digits, or next to nothing."""
    key = np.array([own], np.uint64)
    heads = [some_head(pieces, key, which, language).strip() for which in range(30, 36)]
    match int(unit(key, 36)[0] * 5):
        case 0:
            return b", ".join(heads[:3] * 25)
        case 1:
            return b"\n".join(
                b"%b %d" % (head[:20].decode(errors="ignore").encode(), i) for i, head in enumerate(heads * 6)
            )
        case 2:
            return b"\n".join([heads[0] + b" " + heads[1]] * 20)
        case 3:
            return mix(np.arange(60).astype(np.uint64) + key).tobytes().hex().encode()
    return heads[0] + b" %d" % (own % 10_000)


def write_lines(path: Path, pages: Pages) -> list[int]:
    """Write JSON lines, some cut off; return the bytes of each."""
    sizes = []
    with path.open("wb") as plain, igzip.IGzipFile("", "wb", 1, plain, 0) as file:
        for (name, address, kind, text, around), count in zip(pages.rows(), pages.sentences.tolist(), strict=True):
            whole = b"\n".join([around[0], text, *around[1:]]) if count >= LEAST_SENTENCES and kind == TEXT else text
            line = orjson.dumps({"id": name, "url": address, "text": whole.decode()})
            line = (line[: len(line) // 2] if kind == BROKEN else line) + b"\n"
            file.write(line)
            sizes.append(len(line))
    return sizes


STYLE = b"<style>" + b"".join(b".box-%d{margin:%dpx;color:#%06x}\n" % (i, i, i * 7919) for i in range(60)) + b"</style>"
SCRIPT = (
    b"<script>" + b"".join(b"function f%d(a){return a.map(b=>b+%d)}\n" % (i, i * 31) for i in range(60)) + b"</script>"
)
DATE = b"2026-11-01T00:00:00Z"


def write_warc(path: Path, pages: Pages) -> list[int]:
    """Write requests and responses, a member each, some with damaged bytes; return the bytes of each page."""
    sizes = []
    with path.open("wb") as file:
        file.write(_packed(_record(b"warcinfo", "", "", b"software: none\r\n")))
        for name, address, kind, text, around in pages.rows():
            body = _page(text, around)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(
                body
            )
            request = _record(b"request", address, "", b"GET / HTTP/1.1\r\n\r\n")
            response = bytearray(_packed(_record(b"response", address, name, head + body)))
            if kind == BROKEN:
                middle = len(response) // 2
                response[middle : middle + 16] = bytes(16)
            file.write(_packed(request) + response)
            sizes.append(len(body))
    return sizes


def _packed(data: bytes) -> bytes:
    """Return a gzip member that does not say when it was made."""
    return igzip.compress(data, 1, mtime=0)


def _record(kind: bytes, address: str, name: str, block: bytes) -> bytes:
    """Return a WARC record."""
    fields = [b"WARC/1.0", b"WARC-Type: " + kind, b"WARC-Date: " + DATE, b"Content-Length: %d" % len(block)]
    fields += [b"WARC-Target-URI: " + address.encode()] if address else []
    fields += [b"WARC-Record-ID: " + name.encode()] if name else []
    return b"\r\n".join(fields) + b"\r\n\r\n" + block + b"\r\n\r\n"


def _page(text: bytes, around: tuple[bytes, ...]) -> bytes:
    """Return a page of HTML."""
    title, *paragraphs = html.escape(text.decode(), quote=False).split("\n")
    menu, invitation, owner = (html.escape(line.decode(), quote=False) for line in around)
    links = "".join(f'<li><a href="/{i}">{item}</a></li>' for i, item in enumerate(menu.split(" | ")))
    article = "".join(f"<p>{paragraph}</p>\n" for paragraph in (title, *paragraphs))
    return (
        b'<!DOCTYPE html><html><head><meta charset="utf-8"><title>%b</title>' % title[:60].encode()
        + STYLE
        + SCRIPT
        + f"</head><body><nav><ul>{links}</ul></nav><main><article>\n{article}</article></main>".encode()
        + f'<footer><a href="/more">{invitation}</a><p>{owner}</p></footer></body></html>'.encode()
    )


if __name__ == "__main__":
    main()
