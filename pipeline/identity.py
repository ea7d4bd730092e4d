"""Identity: what the bytes of a result follow from, beside configuration and input: this code, and versions."""

import platform
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("dedup", "filters", "kernels", "model", "pipeline", "tokenizer")
DECIDING = (
    "apache-beam",
    "fastwarc",
    "numba",
    "numpy",
    "orjson",
    "pyarrow",
    "resiliparse",
    "sentencepiece",
    "torch",
    "warcio",
)


def checksum(root: Path) -> str:
    """Return a checksum of the sources: a version number stays the same while somebody works on them."""
    digest = blake2b(digest_size=6)
    for name in PACKAGES:
        for path in sorted((root / name).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


SOURCES = checksum(Path(__file__).parent.parent)  # as they were imported; files may change while a pool runs


def identity() -> dict[str, str]:
    """Return versions, and a checksum of the package's own files."""
    versions = {name: version(name) for name in DECIDING}
    return {"Python": platform.python_version(), **versions, "lustrate": f"{version('lustrate')} ({SOURCES})"}
