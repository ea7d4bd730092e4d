"""The other side of filters.py: datatrove's three filters with words split at white space.

Reads a JSON list of texts a line, answers with the verdicts and the CPU seconds they took. Runs in an environment that
has datatrove and need not have lustrate.
"""

import json
import sys
import time
from importlib import import_module  # datatrove is not among the packages that types are checked with

FILTERS = {
    "gopher_repetition_filter": "GopherRepetitionFilter",
    "gopher_quality_filter": "GopherQualityFilter",
    "fineweb_quality_filter": "FineWebQualityFilter",
}


def split(text: str, _: str) -> list[str]:
    """Stand in for datatrove's word tokenizer."""
    return text.split()


def main() -> None:
    """Answer until the input ends."""
    filters = []
    for name, filter_name in FILTERS.items():
        module = import_module(f"datatrove.pipeline.filters.{name}")
        module.split_into_words = split  # type: ignore[attr-defined]
        filters.append(getattr(module, filter_name)())
    document = import_module("datatrove.data").Document
    print("ready", flush=True)
    for line in sys.stdin:
        documents = [document(text=text, id="") for text in json.loads(line)]
        began = time.process_time()
        results = [[each.filter(given) for each in filters] for given in documents]
        seconds = time.process_time() - began
        verdicts = [["" if result is True else result[1] for result in row] for row in results]
        print(json.dumps({"verdicts": verdicts, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
