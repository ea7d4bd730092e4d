"""A step of ingest: what it makes of a table of documents, and what must be known of it before any work."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.rules import Rule, judge


@dataclass(frozen=True, slots=True)
class Split:
    """What a step made of the documents it was given; together they are all of them."""

    kept: pa.Table
    rejected: pa.Table  # with reason, value and threshold


Step = Callable[[pa.Table], Split]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configured step."""

    apply: Step
    fields: tuple[pa.Field, ...]  # the columns it leaves
    rules: tuple[Rule, ...] = ()  # those that read its columns, by the columns' names
    decided_by: Callable[[], object] = dict  # JSON: what its answers follow from, settings and checksums of files
    edits: bool = False  # whether the text is another afterwards


def texts_of(documents: pa.Table) -> pa.Array:
    """Return the texts as one array."""
    return documents["text"].combine_chunks()


def with_columns(documents: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    """Return the table with columns added or replaced."""
    for name, values in columns.items():
        column = values if isinstance(values, pa.Array) else pa.array(values)
        at = documents.schema.get_field_index(name)
        if at < 0:
            documents = documents.append_column(name, column)
        else:
            documents = documents.set_column(at, name, column.cast(documents.schema.field(at).type))
    return documents


def split(
    documents: pa.Table,
    broken: npt.NDArray[np.bool_],
    reasons: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    bounds: npt.NDArray[np.float64],
) -> Split:
    """Split documents by a mask; the rejected ones carry reason, value and threshold."""
    rejected = documents.filter(pa.array(broken))
    columns = {
        "reason": pa.array(reasons[broken].tolist(), pa.string()),
        "value": pa.array(values[broken]),
        "threshold": pa.array(bounds[broken], from_pandas=True),  # NaN: no number was asked for
    }
    return Split(documents.filter(pa.array(~broken)), with_columns(rejected, columns))


def split_by_rules(
    documents: pa.Table,
    rules: Sequence[Rule],
    signals: Mapping[str, npt.NDArray[Any]],
    edited: pa.Array | None = None,
) -> Split:
    """Split documents by the first rule that each breaks; the rules name columns of `signals`.

    Edited texts (documents) take the place of those of what is kept.
    """
    languages = np.asarray(documents["language"].to_pylist(), dtype=np.str_)
    verdicts = judge(rules, signals, languages)
    reasons = np.array([*(rule.reason for rule in rules), ""], dtype=object)[verdicts.rule]
    found = split(documents, verdicts.rule >= 0, reasons, verdicts.value, verdicts.threshold)
    if edited is None:
        return found
    return Split(with_columns(found.kept, {"text": edited.filter(pa.array(verdicts.rule < 0))}), found.rejected)


def keep_all(documents: pa.Table) -> Split:
    """Reject no document; nothing is copied."""
    nothing = np.zeros(0)
    none = split(documents.slice(0, 0), nothing.astype(bool), nothing.astype(str), nothing, nothing)
    return Split(documents, none.rejected)
