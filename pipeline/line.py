"""Line: what every stage of a run shares, and the one way to run a stage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config import Config
from pipeline.earlier import Earlier
from pipeline.execute import Engine, Rank
from pipeline.labels import Labels
from pipeline.progress import Display
from pipeline.stage import Manifest, Stage, make_stage, read_manifest


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for beside the configuration."""

    until: str
    evaluator: str  # --evaluator; empty: train
    earlier: tuple[Earlier, ...]  # --against
    external: bool = False  # --evaluator-is-external
    only: str = ""  # "sample", "train" or "score": --sample-only, --train-only, --score-only
    labels: Labels | None = None  # --labels


class Paused(Exception):  # noqa: N818 - what was asked for, not an error
    """The run did what it was asked to do and goes on another time; the message says so."""


@dataclass(frozen=True, slots=True)
class Line:
    """A run: its configuration, its output folder, how it runs and what it shows; `manifests` in the order of work."""

    config: Config
    output: str
    engine: Engine | Rank
    display: Display
    manifests: list[Manifest] = field(default_factory=list)
    only: str = ""  # "sample": pause before a training; "train": before a TransNormer reads; "score": read, pause then

    def stage(self, name: str, version: int, settings: object, upstream: Sequence[Stage | str]) -> Stage:
        """Return a stage of this run."""
        return make_stage(self.output, name, version, settings, upstream)

    def each(self, stage: Stage, work: Any, tasks: Sequence[Any], inside: Callable[[], str] = str) -> Manifest:
        """Do a work once for each task; `inside` says what goes on in tasks that take long."""
        manifest = read_manifest(stage)
        if manifest is None:
            with self.display.stage(stage.name) as watch:
                manifest = self.engine.run(stage, work, tasks, watch, inside)
        else:
            self.display.passed(manifest)
        self.manifests.append(manifest)
        return manifest
