"""Labels: what people said of a sample's documents, read from the files that the review page saves.

A file that is no such file, that is of another sample, or that speaks of documents the sample does not hold is an
error. What people contradict themselves or each other in is counted and decides nothing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.config import ConfigError
from pipeline.sample_file import read_sample

KIND = "lustrate labels"
GOOD, BAD, UNSURE = LABELS = ("good", "bad", "unsure")
FOLDER = "review"  # in OUT

Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Labels:
    """What each person said of which document, and the sample that it belongs to."""

    sample: Table  # what review_sample wrote beside the page
    given: dict[str, dict[str, str]]  # labeller -> id -> label; unsure where they said different things
    repeated: int  # labels that a person gave twice
    contradicted: int  # documents that a person labelled differently in two places

    def agreed(self) -> tuple[dict[str, str], int]:
        """Return one label a document, and of how many good and bad are as often: these are unsure.

        The more frequent of good and bad counts; who is unsure leaves it to the others.
        """
        votes: dict[str, Counter[str]] = {}
        for labels in self.given.values():
            for name, label in labels.items():
                votes.setdefault(name, Counter())[label] += 1
        found, disputed = {}, 0
        for name, counted in votes.items():
            found[name] = UNSURE if counted[GOOD] == counted[BAD] else GOOD if counted[GOOD] > counted[BAD] else BAD
            disputed += bool(counted[GOOD] and counted[GOOD] == counted[BAD])
        return found, disputed

    def pairs(self) -> list[tuple[str, str, npt.NDArray[np.float64]]]:
        """Return for each two people how often they gave which labels to one document (labels, labels)."""
        found = []
        for one, other in combinations(sorted(self.given), 2):
            counted = np.zeros((len(LABELS), len(LABELS)))
            for name in self.given[one].keys() & self.given[other].keys():
                counted[LABELS.index(self.given[one][name]), LABELS.index(self.given[other][name])] += 1
            if counted.any():
                found.append((one, other, counted))
        return found


def read_labels(paths: Sequence[str], output: str) -> Labels:
    """Read files of labels and find the sample they are of: in OUT/review, or beside the files.

    Raises ConfigError for what cannot be read or does not belong together.
    """
    files = [_read(path) for path in paths]
    digests = {file["sample"] for file in files}
    if len(digests) != 1:
        raise ConfigError(
            f"--labels: the files are of {len(digests)} samples, {', '.join(sorted(digests))}; give one's"
        )
    sample = _find_sample(digests.pop(), paths, output)
    known = {one["id"] for one in sample["documents"]}
    given: dict[str, dict[str, str]] = {}
    repeated, contradicted = 0, set()
    for path, file in zip(paths, files, strict=True):
        person = given.setdefault(file["labeller"], {})
        for name, label in file["labels"]:
            if name not in known:
                raise ConfigError(f"--labels {path}: document {name!r} is not in the sample {file['sample']}")
            if name in person:
                repeated += 1
                contradicted |= {(file["labeller"], name)} if person[name] != label else set()
            person[name] = label
    for labeller, name in contradicted:
        given[labeller][name] = UNSURE
    return Labels(sample, given, repeated, len(contradicted))


def _read(path: str) -> Table:
    """Return a file's sample, labeller and pairs of id and label."""
    try:
        found = storage.read_json(path)
        labels = [(row["id"], row["label"]) for row in found["labels"]]
        kind, sample, labeller = (found[name] for name in ("kind", "sample", "labeller"))
    except OSError as error:
        raise ConfigError(f"--labels {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--labels {path} is no file of labels that the review page saved: {error!r}") from error
    if kind != KIND:
        raise ConfigError(f"--labels {path} is no file of labels that the review page saved: its kind is {kind!r}")
    if not all(isinstance(value, str) for value in (sample, labeller, *(value for row in labels for value in row))):
        raise ConfigError(f"--labels {path}: sample, labeller, ids and labels must be strings")
    if not labeller.strip():
        raise ConfigError(f"--labels {path} does not say whose labels they are: its labeller is {labeller!r}")
    strange = next((label for _, label in labels if label not in LABELS), None)
    if strange is not None:
        raise ConfigError(f"--labels {path}: a label must be one of {', '.join(LABELS)}, got {strange!r}")
    return {"sample": sample, "labeller": labeller, "labels": labels}


def _find_sample(digest: str, paths: Sequence[str], output: str) -> Table:
    """Return what was written beside the page of a sample."""
    name = f"sample-{digest}.json"
    folders = [storage.join(output, FOLDER), *(storage.folder_and_name(path)[0] for path in paths)]
    for folder in folders:
        path = storage.join(folder, name)
        if digest.isalnum() and storage.exists(path):
            return read_sample(path, digest)
    raise ConfigError(
        f"--labels: they are of the sample {digest}, whose probabilities ({name}) are neither in "
        f"{storage.join(output, FOLDER)} nor beside the labels; it is another run's, or was removed"
    )
