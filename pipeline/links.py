"""Links: which documents are alike, as edges between dense numbers; what one task holds is bounded by a budget.

Signatures become (hash, key, number) rows, spread over partitions of hashes; each partition becomes stars; a star's
candidates meet the two signatures they need by the group of one end, then of the other; a member that fails against
its star's centre forms the next star with the rest. Between the steps the rows lie on disk (exchange.py), so no step
holds more than one partition, or the signatures of one group of document shards and of another. What shares one hash
is not spread: a partition is as large as its commonest hash makes it, 72 bytes a document.

Documents of earlier runs come after this run's: they are centres, never members, and are not compared with each other.
"""

from collections.abc import Sequence

from pipeline.line import Line
from pipeline.linking import Linking, Partition, named_files
from pipeline.stage import Manifest, Stage
from pipeline.starring import CountLeft, FormStars, HashGroup
from pipeline.verifying import AttachSignatures, AttachTexts, Verify, VerifyTexts

VERSION = 3

Paths = tuple[str, ...]


def tasks(linking: Linking) -> list[Partition]:
    """Return one task for each partition."""
    return [Partition(number) for number in range(linking.partitions)]


def link(line: Line, name: str, linking: Linking, settings: object, upstream: Sequence[Stage | str]) -> list[Manifest]:
    """Run the stages that link documents; return the manifests whose records name files of edges."""
    firsts = [group.first for group in linking.groups]  # files are cut by group, and exact mode has smaller groups
    stage = line.stage(f"{name}.hashes", VERSION, [settings, linking.memory_bytes, firsts], upstream)
    hashed = line.each(stage, HashGroup(linking, stage.folder), linking.groups)
    pairs = named_files([hashed], "pairs")
    edges: list[Manifest] = []
    rest: tuple[str, ...] = ()
    before = hashed.stage
    for number in range(1, linking.star_rounds + 1):
        stage = line.stage(f"{name}.stars-{number}", VERSION, linking.threshold is None, [before])
        work = FormStars(linking, stage.folder, pairs, rest)
        starred = line.each(stage, work, tasks(linking))
        if linking.threshold is None:
            return [starred]
        found = _verified(line, f"{name}.{{}}-{number}", linking, starred)
        edges += found
        before = found[-1].stage
        pairs = named_files(found, "failed")
        rest = named_files([starred], "rest")
        if not pairs:
            return edges
    report_left(line, name, linking, edges[-1], (pairs, rest))
    return edges


def report_left(line: Line, name: str, linking: Linking, last: Manifest, waiting: tuple[Paths, Paths]) -> None:
    """Count the candidates that the next star would have had, and print how many there are."""
    stage = line.stage(f"{name}.left", VERSION, [], [last.stage])
    counted = line.each(stage, CountLeft(linking, *waiting), tasks(linking))
    if left := counted.summary["left"]["candidates"]:
        line.display.say(
            f"{name}: {left:,} candidates were not compared any more after {linking.star_rounds} rounds of stars "
            "(deduplicate.star_rounds); some may be duplicates"
        )


def _verified(line: Line, name: str, linking: Linking, starred: Manifest) -> list[Manifest]:
    """Compare the ends of candidates: their signatures, then, where that is asked for, their texts."""
    stage = line.stage(name.format("attach"), VERSION, [], [starred.stage])
    candidates = named_files([starred], "candidates")
    attached = line.each(stage, AttachSignatures(linking, stage.folder, candidates), linking.groups)
    keys = [linking.threshold, linking.texts]
    stage = line.stage(name.format("verify"), VERSION, keys, [attached.stage])
    verified = line.each(stage, Verify(linking, stage.folder, attached.stage.folder), linking.groups)
    if not linking.texts:
        return [verified]
    stage = line.stage(name.format("attach_texts"), VERSION, [], [verified.stage])
    attached = line.each(stage, AttachTexts(linking, stage.folder, verified.stage.folder), linking.groups)
    stage = line.stage(name.format("verify_texts"), VERSION, keys, [attached.stage])
    return [verified, line.each(stage, VerifyTexts(linking, stage.folder, attached.stage.folder), linking.groups)]
