"""What a run left, as checksums to compare."""

from hashlib import sha256
from pathlib import Path

RESULTS = ("documents", "rejected", "unreadable", "tokenizer", "shards")


def digests(output: Path) -> dict[str, str]:
    """Return a checksum of every file that must not depend on how a run went."""
    wanted = [p for name in RESULTS for p in (output / name).rglob("*")]
    wanted += [*output.glob("stages/**/*.parquet"), *output.glob("stages/**/model.safetensors")]
    return {str(p.relative_to(output)): sha256(p.read_bytes()).hexdigest() for p in wanted if p.is_file()}


def results(output: Path) -> dict[str, str]:
    """Return the checksums of what is published."""
    return {name: digest for name, digest in digests(output).items() if name.split("/")[0] in RESULTS}


def assert_same(left: dict[str, str], right: dict[str, str]) -> None:
    """Compare checksums and name the first files that differ."""
    different = [name for name in sorted(left.keys() | right.keys()) if left.get(name) != right.get(name)]
    assert not different, different[:10]
