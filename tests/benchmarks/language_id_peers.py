"""The other side of language_id.py and steps.py: fastText's own library, run by the Python that has it.

    PEERS_PYTHON tests/benchmarks/language_id_peers.py lid.176.ftz

Reads a JSON list of texts a line, answers with the likeliest label of each, the three likeliest with their
probabilities, and the CPU seconds they took.
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
        labels, values = model.predict(texts, k=RANKS)
        seconds = time.process_time() - began
        named = [[label.removeprefix("__label__") for label in row] for row in labels]
        pairs = [[*zip(row, map(float, some), strict=True)] for row, some in zip(named, values, strict=True)]
        answer = {"labels": [row[0] for row in named], "probabilities": pairs, "seconds": seconds}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
