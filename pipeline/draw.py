"""Random draws keyed by document id and seed, so that no order and no worker shows in them."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt


def hashes(ids: Sequence[str], seed: int, purpose: str) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each id (32 hex digits, themselves a hash) for a seed and a purpose (documents)."""
    key = np.frombuffer(blake2b(f"{seed} {purpose}".encode(), digest_size=8).digest(), np.uint64)[0]
    values = np.frombuffer(bytes.fromhex("".join(ids)), np.uint64).reshape(-1, 2)
    mixed = values[:, 0] ^ key
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):  # MurmurHash3, fmix64
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(multiplier)
    mixed = mixed ^ values[:, 1]
    mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    result: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(33))
    return result


def uniform(ids: Sequence[str], seed: int, purpose: str) -> npt.NDArray[np.float64]:
    """Return a draw from [0, 1) for each id (documents)."""
    return (hashes(ids, seed, purpose) >> np.uint64(11)).astype(np.float64) / 2.0**53
