"""Tables of documents to pass through steps."""

from collections.abc import Sequence

import pyarrow as pa

from pipeline.document import DOCUMENT

SENTENCE = "The river and the mountain that we found were to be seen in the early morning of the long winter."


def with_texts(texts: Sequence[str]) -> pa.Table:
    """Return documents with these texts and no address."""
    return _table([{"text": text} for text in texts])


def with_urls(urls: Sequence[str]) -> pa.Table:
    """Return documents with these addresses and one English text."""
    return _table([{"url": url, "text": SENTENCE} for url in urls])


def _table(rows: Sequence[dict[str, str]]) -> pa.Table:
    empty = dict.fromkeys(DOCUMENT.names, "")
    full = [{**empty, "id": f"{i:032x}", "position": i, **row} for i, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=DOCUMENT)
