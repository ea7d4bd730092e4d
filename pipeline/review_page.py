"""The page on which a person labels a sample: one file, no requests, nothing that tells what the pipeline decided.

Texts travel as JSON in a block that no parser of markup looks into (every `<` is written as an escape) and are put on
the page as text. The page's own policy allows its one script and its one style by their hashes, and nothing else.
"""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import jinja2
import orjson

from pipeline.review_sample import Sample

HERE = Path(__file__).parent


def render(sample: Sample, reviewer: str) -> str:
    """Return the page; the same for the same sample and reviewer."""
    style, script = (_read(f"review.{kind}") for kind in ("css", "js"))
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # noqa: S701 - no value is markup
    return environment.from_string(_read("review.html")).render(
        count=len(sample.documents),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=_data(sample, reviewer),
    )


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return what a policy calls an inline script or style by."""
    return b64encode(sha256(text.encode()).digest()).decode()


def _data(sample: Sample, reviewer: str) -> str:
    """Return what the page knows as JSON: of a document its id, language and text, never its stratum or verdict."""
    documents = [
        {"id": one.id, "language": one.language, "text": one.text, "characters": one.characters}
        for one in sample.documents
    ]
    data = {"digest": sample.digest, "reviewer": reviewer, "documents": documents}
    return orjson.dumps(data).decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
