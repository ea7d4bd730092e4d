"""The page of what the session cluster's tests measured: KILLS.md, where `make flink-test PAGE=…` asks for it."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from pipeline.identity import identity
from tests.pipeline.outputs import RESULTS

ROOT = Path(__file__).parents[3]
HEAD = """\
# Killed on Flink

What `make flink-test PAGE=tests/pipeline/flink/KILLS.md` measured, on {cores} cores (load {load}), {system}:
the small corpus of the tests on a job manager, two task managers of one slot and a pool of workers, Flink 1.19,
lustrate {version}.
README (On Flink) says how a kill comes in the middle of work. The page is written only where every test passed.
"""


@dataclass
class Page:
    """What is shown, in order; all of it is printed, too."""

    parts: list[str] = field(default_factory=list)

    def show(self, title: str, text: str) -> None:
        """Add a section."""
        self.parts.append(f"## {title}\n\n" + text.strip("\n") + "\n")
        print(f"\n{self.parts[-1]}")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table."""
        lines = [columns, ["---"] * len(columns), *rows]
        self.show(title, "\n".join(f"| {' | '.join(line)} |" for line in lines))

    def write(self, path: Path) -> None:
        """Write the page."""
        load = f"{os.getloadavg()[1]:.0f}"
        head = HEAD.format(
            cores=len(os.sched_getaffinity(0)),
            load=load,
            system=f"{platform.system()} {platform.machine()}",
            version=identity()["lustrate"],
        )
        path.write_text("\n".join([head, *self.parts]))


def typed(line: Sequence[str]) -> str:
    """Return a command as it was typed, indented, without where the tests keep their files."""
    return shortened("    $ " + " ".join(line).replace(" --", " \\\n        --"))


def shortened(text: str) -> str:
    """Return a text without where the tests keep their files: the folder of each is its own."""
    return re.sub(r"/\S*?/pytest-of-\w+/pytest-\d+/|/\S*/\.venv/bin/", "", text).replace(f"{ROOT}/", "")


def sums(results: dict[str, str]) -> dict[str, str]:
    """Return one sha256 over the names and checksums of the files of each of a run's results."""
    lines = dict.fromkeys(RESULTS, "")
    for name, digest in sorted(results.items()):
        lines[name.partition("/")[0]] += f"{name} {digest}\n"
    return {folder: sha256(text.encode()).hexdigest() for folder, text in lines.items()}
