"""Ingest: kinds of errors."""

import pytest

from pipeline.ingest import _kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("no field 'text'; the record has a, b", "no field 'text'; the record has a, b"),
        ("no column 'text'; the file has a, b", "no column 'text'; the file has a, b"),
        ("the field 'text' holds int, not a string", "the field 'text' holds int, not a string"),
        ("cut off after 12 of 345 bytes", "cut off after N of N bytes"),
        ("invalid UTF-8: invalid start byte", "invalid UTF-8: invalid start byte"),
        (
            "the archive is damaged here or after: Content-Length is '9x'",
            "the archive is damaged here or after: Content-Length is …",
        ),
    ],
)
def test_errors_of_a_kind_count_together(error: str, kind: str) -> None:
    """A record's own values and numbers are not in the name under which its error counts."""
    assert _kind(error) == kind
