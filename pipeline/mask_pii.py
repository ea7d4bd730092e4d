"""The step pii: mask personal data in the text, or tag where it is."""

from dataclasses import asdict, dataclass
from importlib.metadata import version

import pyarrow as pa

from filters.pii import Span, count, find_spans, mask
from filters.pii_numbers import known_regions
from pipeline.config import PII_KINDS, ConfigError, Pii
from pipeline.step import Prepared, Split, keep_all, texts_of, with_columns

VERSION = 3  # of what is found
SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("kind", pa.string())]))  # UTF-8 bytes


def prepare(settings: Pii) -> Prepared:
    """Return the step; raises ConfigError for an unknown kind or region."""
    if not settings.kinds or not set(settings.kinds) <= set(PII_KINDS):
        raise ConfigError(f"pii.kinds must be a list of {', '.join(PII_KINDS)}, got {', '.join(settings.kinds)}")
    unknown = sorted(set(settings.phone_regions) - known_regions())
    if unknown:
        raise ConfigError(f"pii.phone_regions must be countries as US or DE, got {', '.join(unknown)}")
    fields = tuple(pa.field(f"pii.{kind}", pa.int64()) for kind in settings.kinds)
    tags = settings.mode == "tag"
    if tags:
        fields = (*fields, pa.field("pii.spans", SPANS))
    decided_by = {**asdict(settings), "version": VERSION, "phonenumbers": version("phonenumbers")}
    return Prepared(HidePii(settings), fields, decided_by=lambda: decided_by, edits=not tags)


@dataclass(frozen=True, slots=True)
class HidePii:
    """Mask or tag what is found; nothing is rejected."""

    settings: Pii

    def __call__(self, documents: pa.Table) -> Split:
        """Add how many there are of each kind, and the masked text or the spans."""
        kinds, regions = self.settings.kinds, self.settings.phone_regions
        if self.settings.mode == "mask":
            texts, counts = mask(texts_of(documents), kinds, regions)
            columns = {"text": texts}
        else:
            spans = find_spans(texts_of(documents), kinds, regions)
            counts = count(spans, kinds)
            columns = {"pii.spans": pa.array([[_row(span) for span in some] for some in spans], SPANS)}
        return keep_all(with_columns(documents, {**columns, **{f"pii.{kind}": n for kind, n in counts.items()}}))


def _row(span: Span) -> dict[str, object]:
    return {"start": span.start, "end": span.end, "kind": span.kind}
