"""The loop: folds once, then rounds until it stops paying.

Every round judges all documents that entered this stage, so a verdict replaces the one before it and a poor first
judge does no lasting harm. The drop budget is total.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.line import Line, Paused
from pipeline.self_clean import entrance, scoring, training
from pipeline.self_clean.entrance import Entrance
from pipeline.self_clean.round import Round, judge
from pipeline.self_clean.training import Begun
from pipeline.stage import Stage

TOLD = 2  # languages of which it is said why they cannot be judged


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What stage 4 leaves: the rounds, of which the last accepted one decides."""

    rounds: tuple[Round, ...]
    decision: str
    stages: tuple[Stage, ...]
    tokenizer: str  # path of the evaluators'
    not_judged: dict[str, str] = field(default_factory=dict)  # language -> why no judge was trained for it

    @property
    def last(self) -> Round | None:
        """The round whose verdicts count."""
        accepted = [r for r in self.rounds if r.accepted]
        return accepted[-1] if accepted else None


def self_clean(line: Line, entered: Entrance) -> Cleaned:
    """Run the rounds. Raises Paused as asked."""
    folded = entrance.fold(line, entered)
    corpus, chosen = entrance.corpus(line, entered, folded), entrance.languages(line, entered, folded)
    rounds: list[Round] = []
    if chosen.names:
        rejected = training.sample_rejects(line, entered, corpus.tokenizer)
        rounds, decision = _loop(Begun(line, entered, corpus, chosen, rejected, number=1))
    else:
        decision = f"no language can be judged; {_largest(entered, chosen.reasons)}"
        if line.only:
            raise Paused(decision)
    line.display.say(f"self_clean: {decision}")
    if line.only == "score":
        raise Paused("nothing is left to read; without --score-only the run goes on")
    stages = tuple(m.stage for m in line.manifests if m.stage.name.startswith("self_clean"))
    return Cleaned(tuple(rounds), decision, stages, corpus.tokenizer, chosen.reasons)


def _loop(begun: Begun) -> tuple[list[Round], str]:
    """Return the rounds from a first one on, and why they ended."""
    settings = begun.line.config.self_clean
    rounds: list[Round] = []
    first = training.sample(begun)
    sampled = first
    while True:
        empty = training.empty_fold(sampled, settings.folds)
        if empty:
            return rounds, f"round {begun.number} judged nothing: {empty} has no documents to train on"
        rounds.append(judge(begun, training.train(begun, sampled), first))
        stop = _stop(rounds, settings.rounds)
        if stop:
            return rounds, stop
        begun = _next(begun, rounds[-1])
        sampled = training.sample(begun)


def _next(begun: Begun, before: Round) -> Begun:
    """Return the round after one, as it begins."""
    return replace(begun, number=before.number + 1, before=before.verdicts, settled=tuple(before.facts["judged"]))


def _largest(entered: Entrance, reasons: Mapping[str, str]) -> str:
    """Say of the largest languages why they cannot be judged."""
    sizes = {name: size for name, size in entered.kept["bytes"].items() if name != scoring.UNKNOWN}
    ranked = sorted(sizes, key=lambda name: (-sizes[name], name)) or [scoring.UNKNOWN]
    said = [f"{name}: {reasons.get(name, 'there are no documents')}" for name in ranked[:TOLD]]
    return "; ".join([*said, *([f"{len(ranked) - TOLD} more in the report"] if len(ranked) > TOLD else [])])


def overlap(facts: Mapping[str, Any]) -> float:
    """Return the Jaccard overlap of a round's rejected set with the one before; 1 when both are empty."""
    both, either = facts["overlap"]["both"], facts["overlap"]["either"]
    return both / either if either else 1.0


def _stop(rounds: Sequence[Round], most: int) -> str:
    """Say why the rounds end here; empty when they go on."""
    last = rounds[-1]
    if not last.facts["judged"]:
        return f"round {last.number} judged no language, so its verdicts do not count"
    if not last.accepted:
        return f"round {last.number} tripped a guard and its verdicts were put aside: {last.facts['guards'][0]}"
    if not last.facts["rejected"]:
        return f"round {last.number} rejected nothing"
    if last.number > 1 and overlap(last.facts) >= last.facts["judges_overlap"]:
        return (
            f"rounds {last.number - 1} and {last.number} agree as well as two judges of one round: their rejected sets "
            f"overlap by {overlap(last.facts):.2f}, those of the judges by {last.facts['judges_overlap']:.2f}"
        )
    if last.number == most:
        return f"all {most} rounds were run" if most > 1 else "one round was run, as asked"
    return ""
