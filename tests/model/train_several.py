"""Train one run after the other in the processes that torchrun started, which import torch only once.

torchrun --nproc-per-node N -m tests.model.train_several SHARDS FOLDER: FOLDER/NAME.toml is trained to
FOLDER/NAME.
"""

import sys
from pathlib import Path

from torch import distributed

from model.train import main

shards, folder = sys.argv[1:]
distributed.init_process_group("gloo")
for config in sorted(Path(folder).glob("*.toml")):
    found = main(["--shards", shards, "--output", str(config.with_suffix("")), "--config", str(config)])
    if found:
        sys.exit(found)
distributed.destroy_process_group()
