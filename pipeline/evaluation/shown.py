"""What an evaluation prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.evaluation.methods import EITHER_SIDE, METHODS, SCORE, SURROGATE
from pipeline.evaluation.remarks import about_corpus, about_text

EVEN = 0.5  # of the records: where fewer tell as much as all, a few hold most of the text


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print the tables, what became of the good text, what the corpus holds of it, and the cost."""
    for language in found["languages"]:
        rows = [row for row in found["rows"] if row["language"] == language]
        console.print(_main_table(language, rows, found["loss"]))
        console.print(_all_methods(language, rows, found["methods"]))
    for language, cell in found["languages"].items():
        console.print(escape(f"{language}: {lost(cell)}"), highlight=False)
    about_good = (*about_text(found["read"]), *about_corpus(found["corpus"]))
    for line in (*about_good, about_weights(found), about_cost(found["cost"])):
        console.print(escape(line), highlight=False)


def _main_table(language: str, rows: Sequence[Mapping[str, Any]], loss: float) -> Table:
    table = Table(title=f"{language}: damage found by the score", title_justify="left")
    for name in ("damage", "severity"):
        table.add_column(name)
    for name in ("texts", "AUC", "by length", f"recall at {loss:.0%}", "loss", "best baseline", "better by"):
        table.add_column(name, justify="right", no_wrap=name != "best baseline")
    for row in rows:
        score, best = row["methods"][SCORE], row["best"]
        table.add_row(
            row["kind"].replace("_", " "),
            row["severity"],
            f"{row['documents']:,}",
            interval(score["auc"]),
            three(score["auc_by_length"]),
            interval(score["recall"]),
            three(score["loss"][0]),
            f"{best} {three(row['methods'][best]['auc'][0])}",
            interval(row["difference"], "+"),
        )
    return table


def _all_methods(language: str, rows: Sequence[Mapping[str, Any]], methods: Mapping[str, str]) -> Table:
    title = f"{language}: AUC of every method; after a stroke{EITHER_SIDE} of the middle counted as bad"
    table = Table(title=title, title_justify="left")
    for name in ("damage", "severity"):
        table.add_column(name)
    plain = [name for name in methods if not name.endswith(EITHER_SIDE)]
    forms = [[form for form in (name, name + EITHER_SIDE) if form in methods] for name in plain]
    for name, *_ in forms:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells = [" / ".join(three(row["methods"][form]["auc"][0]) for form in own) for own in forms]
        table.add_row(row["kind"].replace("_", " "), row["severity"], *cells)
    return table


def three(value: float | None, sign: str = "") -> str:
    """Return a share with three digits, without the zero before the point."""
    return "–" if value is None else f"{value:{sign}.3f}".replace("0.", ".", 1)


def interval(values: Sequence[float | None], sign: str = "") -> str:
    """Return a figure and its interval."""
    value, low, high = values
    return three(value, sign) if low is None else f"{three(value, sign)} ({three(low, sign)} to {three(high, sign)})"


def lost(cell: Mapping[str, Any]) -> str:
    """Say what the run's own cuts would lose of a language's good text."""
    value, low, high = cell["loss"]
    range_ = "" if low is None else f" ({low:.1%} to {high:.1%})"
    none = f"; {cell['without_cut']:,} lie in length classes without a cut" if cell["without_cut"] else ""
    of = f"{cell['documents']:,} good documents of {cell['records']:,} records"
    if cell["effective_records"] < EVEN * cell["records"]:
        of += f", which by their sizes tell as much as {cell['effective_records']:,.0f} of one size"
    return f"the run's own cuts would lose at most {value:.1%}{range_} of {of}{none}"


def about_weights(found: Mapping[str, Any]) -> str:
    """Say which weights judged."""
    if found["left_out"]:
        return f"{SCORE}: {METHODS[SCORE]}, and {SURROGATE}: for each kind of damage with weights that never saw it"
    return f"{SCORE}: the run's own weights, which saw all kinds of damage: OUT/stages no longer holds the anchors"


def about_cost(cost: Mapping[str, float]) -> str:
    """Say what the evaluation cost."""
    return "cost: " + ", ".join(f"{value:,.0f} {name}" for name, value in cost.items())
