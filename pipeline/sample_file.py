"""The file beside a review page: a sample's strata and documents, checked before anything is estimated from them."""

from collections.abc import Mapping
from typing import Any

from pipeline import storage
from pipeline.config import ConfigError
from pipeline.object_store import StoreFailed
from pipeline.review_sample import KIND, VERSION

Table = dict[str, Any]

NUMBER = (int, float)
SAMPLE = {"offset": NUMBER, "strata": (list,), "documents": (list,)}
STRATUM = {"language": (str,), "zone": (str,), "documents": (int,), "drawn": (int,)}
DOCUMENT = {"id": (str,), "language": (str,), "stratum": (int,), "rejected": (bool,), "score": NUMBER, "cut": NUMBER}


def read_sample(path: str, digest: str) -> Table:
    """Return what was written beside the page of a sample. Raises ConfigError where it is not that, or is broken."""
    try:
        return _checked(storage.read_json(path), digest)
    except StoreFailed:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        said = f"{path} is not what pipeline.review wrote of the sample {digest}: {error}"
        raise ConfigError(said) from error


def _checked(found: Any, digest: str) -> Table:
    """Return a sample; raises ValueError for what estimates cannot be made of."""
    _require(found, {"kind": (str,), "digest": (str,), "version": (int,)}, "it")
    if (found["kind"], found["digest"]) != (KIND, digest):
        raise ValueError(f"it says that it is the {found['kind']} {found['digest']}")
    if not 1 <= found["version"] <= VERSION:
        raise ValueError(f"its version is {found['version']}, and this lustrate knows those up to {VERSION}")
    _require(found, SAMPLE, "it")
    if not found["documents"]:
        raise ValueError("it holds no documents")
    for number, stratum in enumerate(found["strata"]):
        _require(stratum, STRATUM, f"strata[{number}]")
        if stratum["documents"] < 1 or not 0 <= stratum["drawn"] <= stratum["documents"]:
            raise ValueError(f"strata[{number}] has {stratum['drawn']} of {stratum['documents']} documents drawn")
    read = {"read": (bool,)} if found["version"] > 1 else {}  # version 1 did not say
    for number, one in enumerate(found["documents"]):
        _require(one, DOCUMENT | read, f"documents[{number}]")
        if not 0 <= one["stratum"] < len(found["strata"]):
            said = f"documents[{number}] is of stratum {one['stratum']}"
            raise ValueError(f"{said}, and there are {len(found['strata'])}")
    return dict(found)


def _require(table: Any, kinds: Mapping[str, tuple[type, ...]], where: str) -> None:
    """Raise ValueError for what is no table, or lacks a value of one of these kinds."""
    if not isinstance(table, dict):
        raise ValueError(f"{where} is no JSON object")  # noqa: TRY004 - what the file says, not what we do
    for name, kind in kinds.items():
        if type(table.get(name)) not in kind:
            said = f"holds {table[name]!r:.40} as" if name in table else "has no"
            raise ValueError(f"{where} {said} {name}")
