"""The other side of language_id.py: fastText's own library, run by the Python that has it.

    PEERS_PYTHON tests/benchmarks/language_id_peers.py lid.176.ftz

Reads a JSON list of texts a line, answers with the likeliest label of each and the CPU seconds they took.
"""

import json
import sys
import time
from importlib import import_module

RANKS = 3


def main(path: str) -> None:
    """Answer until the input ends."""
    fasttext = import_module("fasttext")  # not among the packages that types are checked with
    fasttext.FastText.eprint = lambda *_: None
    model = fasttext.load_model(path)
    print("ready", flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        began = time.process_time()
        labels, _ = model.predict(texts, k=RANKS)
        seconds = time.process_time() - began
        named = [row[0].removeprefix("__label__") for row in labels]
        print(json.dumps({"labels": named, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
