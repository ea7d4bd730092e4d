"""What is said of the good text: what became of it, and what the corpus holds of it."""

from collections.abc import Mapping
from typing import Any

from pipeline.counted import counted

MOST_NAMED = 5  # reasons, hosts and sources


def about_text(read: Mapping[str, Any]) -> list[str]:
    """Say what became of the good text that was not judged."""
    reasons: dict[str, int] = {}
    for cell in read["rejected"].values():
        for reason, count in cell.items():
            reasons[reason] = reasons.get(reason, 0) + count
    commonest = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:MOST_NAMED]
    named = ", ".join(f"{reason} {count:,}" for reason, count in commonest)
    said = [f"{read['read']:,} good documents read, pieces of long records counted one by one"]
    if reasons:
        said.append(f"the run's rules reject {sum(reasons.values()):,} of them: {named}")
    if read["not_judged"]:
        others = ", ".join(f"{name} {count:,}" for name, count in sorted(read["not_judged"].items()))
        said.append(f"in languages that the run did not judge: {others}")
    said += [f"{name} is left out, too few for two halves: {why}" for name, why in sorted(read["too_few"].items())]
    said += [f"{counted(count, 'record')} not read: {error}" for error, count in sorted(read["unreadable"].items())]
    return said


def about_own(read: Mapping[str, int]) -> list[str]:
    """Say what good text is where the run's own is presumed so."""
    kept, rejected = read["documents"], read["rejected"]
    left = f"{kept:,} documents that self-cleaning kept, {rejected:,} that it rejected"
    said = [
        f"the good text is drawn from what the run's rules and deduplication left, presumed good: {left}",
        "the judge of a document's fold reads it, which saw neither it nor its host, but where folds split a large one",
        "text that a person vouches for says more (--good)",
    ]
    if not rejected:
        said.append("no reject of self-cleaning is there in whole: what is called good here it calls good itself")
    return said


def about_corpus(corpus: Mapping[str, Any]) -> list[str]:
    """Say how much of the good text the corpus holds, where that was looked for, and what both have documents of."""
    if corpus.get("own"):
        return about_own(corpus["own"])
    looked, out = corpus["looked"], corpus["left_out"]
    said = []
    if not looked["documents"]:
        said.append("OUT/documents is gone: nobody looked whether the run kept documents of the good text, and "
                    "fastText had nothing to learn from")  # fmt: skip
    if not looked["rejected"]:
        said.append("OUT/rejected has no texts: nobody looked whether the run rejected documents of the good text")
    if out:
        languages = ", ".join(f"{name} {count:,}" for name, count in sorted(out.items()))
        said.append(f"{sum(out.values()):,} good documents left out: found in the corpus ({languages}), "
                    f"of {corpus['records']:,} records")  # fmt: skip
    elif any(looked.values()):
        said.append(f"no good document was found in the corpus's {sum(looked.values()):,} texts, kept or rejected")
    if corpus["names"]:
        ranked = sorted(corpus["names"].items(), key=lambda item: (-item[1][0], item[0]))
        named = [f"{name} ({good:,} good documents, {theirs:,} of the corpus)" for name, (good, theirs) in ranked]
        more = f", and {len(named) - MOST_NAMED:,} more" if len(named) > MOST_NAMED else ""
        said.append("the corpus has other documents of hosts or sources of the good text, which judges may know: "
                    f"{', '.join(named[:MOST_NAMED])}{more}")  # fmt: skip
    return said
