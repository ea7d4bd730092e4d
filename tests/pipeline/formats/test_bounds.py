"""No kernel that reads markup reads or writes outside its arrays."""

import os
import subprocess
import sys
from pathlib import Path


def test_kernels_stay_within_their_arrays(tmp_path: Path) -> None:
    """With Numba's bounds checking on, a page cut at any place raises nothing."""
    root = Path(__file__).parents[3]
    checking = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(root)}
    script = [sys.executable, str(Path(__file__).with_name("bounds_checked.py"))]
    done = subprocess.run(script, env=os.environ | checking, capture_output=True, text=True, timeout=1200, check=False)
    assert done.stdout.split() == ["checked", "done"], done.stderr
