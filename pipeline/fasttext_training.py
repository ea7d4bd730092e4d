"""Trains one fastText classifier, in a process of its own: `train` starts it.

With several threads fastText is not reproducible; with one, what it trains depends on what the memory held before,
and is often NaN (measured with small models of fasttext-numpy2 0.10.4). Under MALLOC_PERTURB_=255 (glibc's mallopt: new
memory is filled with the byte's complement) that is zeros, from which vectors learn as well.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping


class TrainingError(Exception):
    """fastText could not train; the message says why."""


def train(lines: str, output: str, options: Mapping[str, object]) -> None:
    """Train on a file of labelled lines and write the model; raises TrainingError.

    The same lines and options give the same bytes on one machine type.
    """
    command = [sys.executable, "-m", "pipeline.fasttext_training", lines, output, json.dumps(dict(options))]
    environment = os.environ | {"MALLOC_PERTURB_": "255"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise TrainingError((done.stderr.strip().splitlines() or ["fastText ended without a word"])[-1])


def main() -> None:
    """Train as the arguments say."""
    import fasttext

    lines, output, options = sys.argv[1:]
    model = fasttext.train_supervised(lines, thread=1, verbose=0, **json.loads(options))
    model.save_model(output)


if __name__ == "__main__":
    main()
