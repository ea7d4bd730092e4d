"""What a run costs as the corpus grows, by stage: CPU seconds, memory, bytes shuffled and written, on generated crawls.

    make bench-scale                                                    0.1 and 1 GB and all of the below, printed
    make bench-scale SIZES="0.1 1 10" PAGE=tests/benchmarks/SCALE.md    what that page shows
    python -m tests.benchmarks.scale --sizes 10 --workers 1 --results out/scale.json   a size at a time; tables of all
    python -m tests.benchmarks.scale --speedup 1 --times 2 --results out/scale.json     one process beside two, by turns
    python -m tests.benchmarks.scale --judged 0.1 0.3 1 --workers 1 --results out/scale.json     a round by size
    python -m tests.benchmarks.scale --scoring 0.1 --results out/scale.json   the default run, self-cleaning included
    python -m tests.benchmarks.scale --results out/scale.json                 the tables again

A crawl (tests/benchmarks/crawl.py) and a run lie in `--folder` and are removed afterwards: about 3 GB for each GB of
crawl. --sizes are run with `rounds = 0`, --speedup and --judged with a round of briefly trained judges (JUDGED), and
tasks are smaller than by default (BOUNDS; --speedup has more token shards, SHARED). What two processes could reach on
this machine, whose cores share caches and memory, is what two runs of one process reach at the same time that do not
wait for each other: begun together, but one may be a stage ahead, and each has a driver. The mean of their seconds is
taken; of several `--times` the least of each stage's, since what else a machine does only adds to them. A size that the
results hold is not measured again; results of two versions make no table. Shuffled is what tasks leave for tasks of the
next stage: files of rows (pipeline/exchange.py), and the sorted runs of the token shards.
"""

import argparse
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import orjson
import psutil  # type: ignore[import-untyped]  # no stubs are locked
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.identity import SOURCES, checksum, identity
from tests.benchmarks.crawl import write_crawl
from tests.benchmarks.scale_tables import BESIDE, TOGETHER, every_run, require_one_version, tables
from tests.measured import measured

ROOT = Path(__file__).parents[2]
WARM_GIGABYTES = 0.02  # that are gone through first, so that kernels are compiled
SECONDS = 0.2  # between two looks at the sizes of processes
ALIKE = 0.9  # similarity to their base at which members of a cluster are looked for
BEGIN, END = "<!-- measured -->", "<!-- reckoned -->"  # of the tables on a page
# What bounds a task's memory, at an eighth to a sixteenth of the defaults: a GB is then cut into as many tasks as 10 by
# default, and what holds for a large corpus, that no task grows with it, holds from there on.
BOUNDS = """
[ingest]
shard_bytes = 16_000_000
part_bytes = 16_000_000
[deduplicate]
memory_bytes = 32_000_000
[publish]
group_bytes = 16_000_000
shard_tokens = 20_000_000
"""
WARM = f"""{BOUNDS}
[evaluator]
train_tokens = 20_000
[self_clean]
count_tokens = 100_000
score_tokens = 60_000
min_language_tokens = 1000
anchor_documents = 60
min_anchor_documents = 10
min_agreement = -1
"""
WITHOUT = f"{BOUNDS}[self_clean]\nrounds = 0\n"
# A round whose trainings are short: what is asked of it is how its map stages share their work.
JUDGED = f"""{BOUNDS}
[evaluator]
train_tokens = 100_000
[self_clean]
min_language_tokens = 20_000
anchor_documents = 60
min_anchor_documents = 20
min_agreement = -1
"""
# The least of a merge is a token shard: of a GB there would be seven, of which two processes do four and three.
SHARED = JUDGED.replace("shard_tokens = 20_000_000", "shard_tokens = 4_000_000")
SPEEDUP = {"1": 1, "2": 2, BESIDE: 1}  # processes of each run
Table = dict[str, Any]


def main() -> None:
    """Measure what is asked for and print the tables of all that was measured."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--sizes", nargs="*", default=[], help="gigabytes")
    line.add_argument("--judged", nargs="*", default=[], help="gigabytes, with a round")
    line.add_argument("--speedup", help="gigabytes that one and two processes go through")
    line.add_argument("--times", type=int, default=1, help="that --speedup measures each, by turns")
    line.add_argument("--scoring", help="gigabytes that the default run goes through")
    line.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    line.add_argument("--folder", default=tempfile.gettempdir())
    line.add_argument("--results", default="out/scale.json")
    line.add_argument("--page", help="a file whose tables are replaced: tests/benchmarks/SCALE.md")
    asked = line.parse_args()
    path = Path(asked.results)
    results: Table = orjson.loads(path.read_bytes()) if path.exists() else {}
    wanted = [("sizes", size, size, asked.workers, WITHOUT) for size in asked.sizes]
    wanted += [("judged", size, size, asked.workers, JUDGED) for size in asked.judged]
    if asked.speedup:
        wanted += [("speedup", name, asked.speedup, count, SHARED) for name, count in SPEEDUP.items()] * asked.times
    if asked.scoring:
        wanted.append(("scoring", asked.scoring, asked.scoring, asked.workers, BOUNDS))
    left = missing(wanted, results)
    if left:
        for kinds in TOGETHER:
            if any(one[0] in kinds for one in left):
                require_one_version([*every_run(results, kinds), {"identity": identity()}])
        _require_alike(left, results)
        for config in (WARM, WITHOUT):  # a worker that compiles keeps 125 MB of the compiler
            with tempfile.TemporaryDirectory(dir=asked.folder, prefix="scale-") as folder:
                run(Path(folder), WARM_GIGABYTES, 1, config)
    for kind, name, size, workers, config in left:
        with tempfile.TemporaryDirectory(dir=asked.folder, prefix="scale-") as folder:
            found = run(Path(folder), float(size), workers, config, copies=2 if name == BESIDE else 1)
        runs = results.setdefault(kind, {})
        runs[name] = fastest(runs[name], found) if name in runs else found
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    print(tables(results))
    if asked.page:
        _fill(Path(asked.page), tables(results))


def missing(wanted: Sequence[tuple[Any, ...]], results: Table) -> list[tuple[Any, ...]]:
    """Return what was not measured as often as it is wanted: kind, name, and how."""
    there = {(kind, name): run.get("turns", 1) for kind, runs in results.items() for name, run in runs.items()}
    left = []
    for one in wanted:
        there[one[:2]] = there.get(one[:2], 0) - 1
        if there[one[:2]] < 0:
            left.append(one)
    return left


def _require_alike(left: Sequence[tuple[Any, ...]], results: Table) -> None:
    """Raise SystemExit where a turn would be of another size or machine than those it is set beside."""
    wanted = {(float(size), _machine()) for kind, _, size, *_ in left if kind == "speedup"}
    there = {(run["gigabytes"], run["machine"]) for run in results.get("speedup", {}).values()}
    if wanted and len(wanted | there) > 1:
        raise SystemExit("the results have one process beside two of another size or machine: use other --results")


def fastest(before: Table, found: Table) -> Table:
    """Return the later of two runs with each stage as the one of them did it that took less time."""
    assert [stage["name"] for stage in before["stages"]] == [stage["name"] for stage in found["stages"]]
    pairs = zip(before["stages"], found["stages"], strict=True)
    stages = [min(pair, key=lambda stage: stage["span"]) for pair in pairs]
    return {**found, "stages": stages, "turns": before.get("turns", 1) + 1}


def _fill(page: Path, tables_: str) -> None:
    """Put the tables where a page has them."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{tables_}{END}{rest.partition(END)[2]}")


def run(folder: Path, gigabytes: float, workers: int, config: str, copies: int = 1) -> Table:
    """Write a crawl, run the line over it, and return what it cost; of `copies` at once a stage's mean seconds."""
    began = time.monotonic()
    crawl = write_crawl(folder / "crawl", gigabytes)
    print(f"{crawl['bytes'] / 1e9:.2f} GB written in {time.monotonic() - began:.0f} s", file=sys.stderr)
    (folder / "config.toml").write_text(config)
    outs = [folder / f"out-{number}" for number in range(copies)]
    load = os.getloadavg()[0]
    with watched() as sizes, ThreadPoolExecutor(copies) as pool:
        costs = list(pool.map(measured, [_command(folder, out, workers) for out in outs]))
    for cost in costs:
        if cost.returncode:
            raise SystemExit(cost.stderr)
    if checksum(ROOT) != SOURCES:
        raise SystemExit("the sources have changed while they were measured")
    cost, out = costs[0], outs[0]
    facts = orjson.loads((out / "report.json").read_bytes())
    took = [orjson.loads((one / "run.json").read_bytes())["seconds"] for one in outs]
    stages = [
        {
            **stage,
            **_disk(_folder(out, stage["name"])),
            "seconds": mean(seconds[stage["name"]] for seconds in took),
            **_means([span(_folder(one, stage["name"])) for one in outs]),
        }
        for stage in facts["stages"]
    ]
    return {
        "identity": identity(),
        "crawl": crawl,
        "workers": workers,
        "gigabytes": gigabytes,
        "machine": _machine(),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "wall": cost.wall,
        "cpu": cost.cpu,
        "peak_mb": sizes,
        "published": _size(out) - _size(out / "stages"),
        "funnel": facts["funnel"],
        "tokens": facts["tokens"],
        "stages": stages,
        "alike": compare(folder / "crawl", out),
    }


def _command(folder: Path, out: Path, workers: int) -> list[str]:
    """Return the command that runs the line over a crawl."""
    places = ["--config", f"{folder}/config.toml", "--input", f"{folder}/crawl/*.gz", "--output", str(out)]
    return [sys.executable, "-m", "pipeline.run", *places, f"--direct_num_workers={workers}"]


def _machine() -> str:
    return f"{os.cpu_count()} cores of {_processor()}, {psutil.virtual_memory().total / 1e9:.0f} GB"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


@contextmanager
def watched() -> Any:
    """Yield the largest resident sizes (MB) of the driver and of a worker, filled in while the block runs."""
    sizes = {"driver": 0.0, "worker": 0.0}
    over = threading.Event()

    def look() -> None:
        while not over.wait(SECONDS):
            for process in psutil.Process().children(recursive=True):
                try:
                    command, parent = process.cmdline(), process.parent()
                    kind = "worker" if parent is not None and "pipeline.run" in parent.cmdline()[2:3] else "driver"
                    if "pipeline.run" in command[2:3]:
                        sizes[kind] = max(sizes[kind], process.memory_info().rss / 1e6)
                except psutil.Error:
                    continue  # it has ended

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


def _folder(out: Path, stage: str) -> Path:
    """Return the folder of a finished run's stage."""
    prints = orjson.loads((out / "run.json").read_bytes())["fingerprints"]
    return out / "stages" / stage / str(prints[stage])


def span(folder: Path) -> dict[str, float]:
    """Return the seconds from the beginning of a stage's first task to its last record, without its start-up.

    With them `work`, the seconds of its tasks, of which two processes do two a second as long as none waits.
    """
    records = [(path.stat().st_mtime, orjson.loads(path.read_bytes())) for path in folder.glob("done/*.json")]
    began = min(end - record["seconds"] for end, record in records)
    return {"span": max(end for end, _ in records) - began, "work": sum(record["seconds"] for _, record in records)}


def _means(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: mean(one[name] for one in found) for name in found[0]}


def _disk(folder: Path) -> Table:
    """Return the bytes of a stage's files, and those of them that are for tasks of the next."""
    shuffled = sum(p.stat().st_size for p in folder.rglob("*") if p.suffix == ".rows")
    return {"disk": _size(folder), "shuffled": shuffled}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def compare(crawl: Path, out: Path) -> Table:
    """Compare what deduplication rejected with the planned clusters, among the documents that passed the rules."""
    members = pa.concat_tables(pq.read_table(path) for path in sorted((crawl / "truth").glob("*.parquet")))
    kept = _ids(out / "documents")
    lost = _ids(out / "rejected", stage="deduplicate")
    near = members.filter(pc.greater_equal(members["similarity"], ALIKE))
    clusters: dict[int, list[int]] = {}
    for name, cluster in zip(near["id"].to_pylist(), near["cluster"].to_pylist(), strict=True):
        if name in kept or name in lost:
            clusters.setdefault(cluster, []).append(name in kept)
    surplus = sum(len(some) - 1 for some in clusters.values())
    left = sum(max(0, sum(some) - 1) for some in clusters.values())
    alone = set(members.filter(pc.less(members["cluster"], 0))["id"].to_pylist())
    return {"surplus": surplus, "left": left, "rejected": len(lost), "rejected_alone": len(lost & alone)}


def _ids(folder: Path, stage: str = "") -> set[str]:
    """Return the ids, as the crawl gave them, of published documents, or of those that a stage rejected."""
    found: set[str] = set()
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path, columns=["source_id", *(["stage"] if stage else [])])
        found.update((table.filter(pc.equal(table["stage"], stage)) if stage else table)["source_id"].to_pylist())
    return found


if __name__ == "__main__":
    main()
