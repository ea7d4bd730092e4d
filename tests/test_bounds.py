"""No kernel that reads Arrow's buffers reads or writes outside its arrays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("folder", ["filters", "dedup", "tokenizer", "pipeline", "pipeline/formats"])
def test_kernels_stay_within_their_arrays(tmp_path: Path, folder: str) -> None:
    """With Numba's bounds checking on, texts that end with their buffer, and pages cut anywhere, raise nothing."""
    checking = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    script = [sys.executable, str(ROOT / "tests" / folder / "bounds_checked.py")]
    done = subprocess.run(script, env=os.environ | checking, capture_output=True, text=True, timeout=1200, check=False)
    assert done.stdout.split() == ["checked", "done"], done.stderr
