"""A finished run as an evaluation needs it: its rules, its judges, its score and its cuts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.config import Config, ConfigError, from_tables
from pipeline.finished_run import read_run
from pipeline.self_clean.anchors import Measured, measured_path, read_measured
from pipeline.self_clean.judges import Judges, published
from pipeline.self_clean.scoring import Score, load_score, score_path

HIDDEN = ("families", "sample")  # of run.json's configuration: no tables of a file
EVALUATION = "evaluate.json"


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run left."""

    output: str
    config: Config
    round: int  # whose verdicts count
    score: Score
    digest: str  # of the score
    judges: Judges
    cuts: dict[str, float]  # stratum -> the lowest score that is rejected
    measured: dict[str, Measured]  # damaged and undamaged anchors by language; empty where no stages were kept

    @property
    def lowest_cuts(self) -> dict[str, float]:
        """The cuts of a source that moves them down as far as the run lets one."""
        most = self.config.self_clean.source_shift
        deviation = {name: language.deviation for name, language in self.score.languages.items()}
        return {place: cut - most * deviation[place.rpartition(" ")[0]] for place, cut in self.cuts.items()}


def read_finished(output: str) -> Finished:
    """Read what a run left; raises ConfigError where it did not finish, or judged nothing."""
    told, families, fingerprints = read_run(
        output, lambda run: (dict(run["config"]), dict(run["config"]["families"]), dict(run["fingerprints"]))
    )
    rounds, decision = read_run(output, lambda report: (report["rounds"], report.get("decision", "")), "report.json")
    counted = [one for one in rounds if one["accepted"]]
    if not counted:
        said = decision or "it had no rounds"
        raise ConfigError(f"{output} has no score to evaluate: {said}")
    last = counted[-1]
    folder = storage.join(output, "evaluator", f"round-{last['number']}")
    if not storage.exists(score_path(folder)):
        raise ConfigError(f"{folder} holds no score: the run is of a version that published none")
    config = from_tables({name: table for name, table in told.items() if name not in HIDDEN}, families)
    score = _score(folder)
    judges = published(storage.join(output, "evaluator"), last["number"], config.self_clean.folds)
    if not all(map(storage.exists, judges.counts)):
        raise ConfigError(f"{folder} holds no n-grams: the run is of another version, run this version over it first")
    return Finished(
        output=output,
        config=config,
        round=last["number"],
        score=score,
        digest=storage.checksum(score_path(folder)),
        judges=judges,
        cuts=last["cuts"],
        measured=_measured(output, fingerprints, last["number"], score),
    )


def _score(folder: str) -> Score:
    try:
        return load_score(folder)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{score_path(folder)} is not a score that a run wrote: {error!r}") from error


def _measured(output: str, fingerprints: Mapping[str, str], number: int, score: Score) -> dict[str, Measured]:
    """Return the measured anchors of the judged languages; none where one is missing."""
    name = f"self_clean.round-{number}.damage"
    folder = storage.join(output, "stages", name, fingerprints.get(name, ""))
    if not all(storage.exists(measured_path(folder, language)) for language in score.languages):
        return {}
    return {language: read_measured(folder, language) for language in score.languages}


def read_evaluation(output: str) -> dict[str, Any]:
    """Return the evaluation of the score that is in an output folder; nothing where there is none of this score."""
    path = storage.join(output, EVALUATION)
    if not storage.exists(path):
        return {}
    found = storage.read_json(path)
    score = score_path(storage.join(output, "evaluator", f"round-{found['round']}"))
    return dict(found) if storage.exists(score) and storage.checksum(score) == found["digest"] else {}
