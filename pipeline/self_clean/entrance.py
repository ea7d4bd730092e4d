"""The entrance of stage 4: what all rounds share, folds and anchors and the languages that may be judged."""

from dataclasses import dataclass

from pipeline import links
from pipeline.line import Line
from pipeline.linking import named_files
from pipeline.self_clean import folds
from pipeline.self_clean.evaluators import Corpus
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


def languages(line: Line, entrance: Entrance, folded: Manifest) -> Chosen:
    """Return the languages that may be judged: weights that were given have no budget that could run out."""
    settings, per_token = line.config.self_clean, entrance.tokenizer.records[0]["languages"]
    held = folded.summary["language_bytes"]
    sizes = {
        name: Size(
            documents,
            tuple(held.get(f"{name} {k}", 0) for k in range(settings.folds)),
            per_token.get(name) or entrance.bytes_per_token,
        )
        for name, documents in entrance.kept["documents"].items()
    }
    budget = line.config.evaluator.train_tokens
    return choose(sizes, settings, max(budget, settings.count_tokens) if entrance.given else budget)
