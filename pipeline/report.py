"""The report: facts as one self-contained HTML page."""

from pathlib import Path
from typing import Any

import jinja2


def render(facts: dict[str, Any]) -> str:
    """Return the page."""
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(facts=facts)
