"""What a reader yields: every record of an input is exactly one of these four.

`position` names the record inside its file for good (it goes into the document's id): the record's number in web
archives and Parquet, the byte offset of the line in line formats, so that splitting a file changes no id.
`offset` is where to look: bytes in the file as stored, or in the decompressed stream for line formats.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record that holds a text."""

    position: int
    offset: int
    text: str
    source_id: str = ""
    url: str = ""
    date: str = ""
    source: str = ""
    meta: str = "{}"  # the record's other fields, a JSON object


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record whose bytes are wrong, or several that one fault takes with it."""

    position: int
    offset: int
    error: str
    records: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """A record over the limit, never held; a compressed body has at least `size` bytes, and is read no further."""

    position: int
    offset: int
    size: int
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """What is no document by its kind: requests, revisits, images, a file that is empty."""

    position: int
    offset: int
    kind: str


Event = Record | Unreadable | TooLarge | Skipped


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader stopped: the last record it yielded."""

    position: int
    offset: int
