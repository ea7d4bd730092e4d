"""The entrance of stage 4: what all rounds share, folds and anchors and the languages that may be judged."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import links
from pipeline.config import Evaluator
from pipeline.line import Line
from pipeline.linking import named_files
from pipeline.self_clean import folds
from pipeline.self_clean.evaluators import LONGEST_SHARE, Corpus
from pipeline.self_clean.folds import AssignFolds
from pipeline.self_clean.languages import Chosen, Size, anchor_rates, choose
from pipeline.shards import DocumentShard
from pipeline.stage import Manifest
from pipeline.summary import Summary


@dataclass(frozen=True, slots=True)
class Entrance:
    """What stage 4 starts from."""

    shards: tuple[DocumentShard, ...]
    deduplicated: Manifest
    tokenizer: Manifest  # of the evaluators
    kept: Summary  # documents, bytes and sizes that entered
    given: str  # --evaluator
    external: bool  # --evaluator-is-external

    @property
    def bytes_per_token(self) -> float:
        """Bytes of a token of all languages together."""
        return float(self.tokenizer.records[0]["bytes_per_token"])


def fold(line: Line, entrance: Entrance) -> Manifest:
    """Assign documents to folds."""
    settings, deduplicate = line.config.self_clean, line.config.deduplicate
    verdicts = (entrance.deduplicated.stage.folder,)
    how = folds.make_linking(settings, deduplicate, entrance.shards, verdicts)
    keys = {"bands": settings.loose_bands, "rows": settings.loose_rows}
    linked = links.link(line, "self_clean.links", how, keys, [entrance.deduplicated.stage])
    stage = line.stage("self_clean.folds", folds.VERSION, [settings.folds, settings.seed], [m.stage for m in linked])
    work = AssignFolds(stage.folder, entrance.shards, verdicts, settings.folds, settings.seed)
    return line.each(stage, work, [folds.FoldTask("folds", named_files(linked, "edges"))])


def corpus(line: Line, entrance: Entrance, folded: Manifest) -> Corpus:
    """Return what every round reads."""
    settings = line.config.self_clean
    return Corpus(
        verdicts=(entrance.deduplicated.stage.folder,),
        folds=folded.stage.folder,
        tokenizer=entrance.tokenizer.stage.path("evaluator.model"),
        anchor_rate=anchor_rates(entrance.kept["documents"], settings),
        seed=settings.seed,
    )


def longest_document(evaluator: Evaluator, entrance: Entrance) -> int:
    """Return the characters of a document that are trained on, at most."""
    return max(1, round(evaluator.train_tokens * LONGEST_SHARE * entrance.bytes_per_token))


def languages(line: Line, entrance: Entrance, folded: Manifest) -> Chosen:
    """Return the languages that may be judged; weights that were given have no budget that could run out.

    Of a language's bytes the folds hold the parts that they hold before lines are cut.
    """
    settings, evaluator = line.config.self_clean, line.config.evaluator
    per_token, longest = entrance.tokenizer.records[0]["languages"], longest_document(evaluator, entrance)
    held = folded.summary["language_bytes"]
    sizes = {
        name: Size(
            documents,
            _by_fold(
                [held.get(f"{name} {k}", 0) for k in range(settings.folds)],
                min(entrance.kept["bytes"].get(name, 0), documents * longest),
            ),
            per_token.get(name) or entrance.bytes_per_token,
        )
        for name, documents in entrance.kept["documents"].items()
    }
    return choose(sizes, settings, None if entrance.given else evaluator.train_tokens)


def _by_fold(held: Sequence[int], size: float) -> tuple[float, ...]:
    """Return a size, parted as the folds hold it."""
    return tuple(part / max(1, sum(held)) * size for part in held)
