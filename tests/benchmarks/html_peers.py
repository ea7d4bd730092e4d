"""The other side of html_pages.py: trafilatura, run by the Python that has it.

    PEERS_PYTHON tests/benchmarks/html_peers.py default | fast | precision

Reads pages as a JSON list; prints the texts, the CPU seconds they took and trafilatura's version.
"""

import json
import sys
import time
from importlib import import_module
from importlib.metadata import version

SETTINGS = {"default": {}, "fast": {"fast": True}, "precision": {"favor_precision": True}}


def main(name: str) -> None:
    """Extract and print."""
    extract = import_module("trafilatura").extract  # not among the packages that types are checked with
    extract("<html><body><p>Loads what it needs.</p></body></html>")
    pages = json.load(sys.stdin)
    began = time.process_time()
    texts = [extract(page, include_comments=False, **SETTINGS[name]) or "" for page in pages]
    seconds = time.process_time() - began
    print(json.dumps({"texts": texts, "seconds": seconds, "version": version("trafilatura")}))


if __name__ == "__main__":
    main(sys.argv[1])
