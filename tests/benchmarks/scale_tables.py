"""The tables of tests/benchmarks/scale.py, in Markdown, and what they come to for much larger corpora."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pipeline.config import Deduplicate, Publish, SelfClean
from pipeline.exchange import EDGE_BYTES, STORE_END_BYTES
from pipeline.linking import document_bytes
from pipeline.sign import HASH_WORDS

# Stages whose work is bounded by settings and not by the corpus, by the end of their names.
BOUNDED = ("tokenizer", ".train", ".count", ".damage", ".fit", ".precision")
FOLDS = "self_clean.folds"
DRIVER = "start, plan and waiting"  # what a run takes beside its stages' tasks, in one process
BESIDE = "1 beside 1"  # two runs of one process at once
SMALL_SECONDS = 0.5  # what is faster tells nothing: records are timed to 4 ms, tasks to whole ones
TARGETS = {"6 TB": 6e3, "700 TB": 7e5}  # gigabytes
DAY = 86_400
C4_DAYS_PER_TB = 341 / 7  # CPU-days: C4 from 7 TB of Common Crawl's text, README of text-to-text-transfer-transformer
MOST_MORE = 0.25  # that a slope, or a peak, may be above that before it
CORES = 1000  # that the hours are for
# Seconds that a job takes beside its tasks. Flink: a stage of a tiny corpus, KILLS.md of its tests. Dataflow, whose
# workers start and end with each job: assumed, by the "little bit over 3 minutes" of a report of 2023-01-20,
# https://eternalwind.github.io/tech/2023/01/20/A-journey-on-requests-downsampling.html.
JOB_SECONDS = {"Flink": 5, "Dataflow, assumed": 200}
PUBLISHED_SECONDS = 0.015  # a file, of a store: SCALE.md, Measured apart
# S3 answers so many GETs a second for a prefix,
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html; a slice takes two, and one more
# where its place is not in the end that is read first.
ANSWERS, REQUESTS = 5500, 2
VERIFIED = 2  # slices of each pair of groups: candidates, and signatures
SMALLER = 16  # times, are document shards than by default: BOUNDS in scale.py
SHARD_FILES = 4  # that are published for each document shard: pipeline/clean.py, published_files
LEAST_SECONDS = 1.0  # of CPU, at the largest size, from which a stage has a verdict of its own
CLUSTER_BYTES, FOLD_BYTES = 8, 80  # of memory for a document: pipeline/deduplicate.py, pipeline/self_clean/folds.py
Table = Mapping[str, Any]
TOGETHER = (("sizes", "scoring"), ("judged",), ("speedup",))  # kinds of runs whose figures meet in a table
SETTINGS = (
    ("default", Deduplicate(), Publish()),
    ("large", Deduplicate(memory_bytes=1_500_000_000), Publish(group_bytes=1_000_000_000, shard_tokens=150_000_000)),
)  # 4 GB a process hold what the large ones take: tests/pipeline/dataflow/test_jobs.py


def tables(results: Table) -> str:
    """Return every table that the results are enough for; raises SystemExit where one would be of several versions."""
    for kinds in TOGETHER:
        require_one_version(every_run(results, kinds))
    runs, judged = (
        [results[kind][name] for name in sorted(results.get(kind, {}), key=float)] for kind in ("sizes", "judged")
    )
    scored = list(results.get("scoring", {}).values())
    lines = [_headline(run) for run in runs]
    lines += growth(runs) if runs else []
    lines += verdicts(runs) if len(runs) > 1 else []
    lines += rounds(judged) if len(judged) > 1 else []
    if {"1", "2"} <= results.get("speedup", {}).keys():
        lines += speedup(results["speedup"]["1"], results["speedup"]["2"], results["speedup"].get(BESIDE))
    lines += [line for run in scored for line in scoring(run)]
    lines += extrapolated(runs, scored) if len(runs) > 1 else []
    return "\n".join(lines)


def every_run(results: Table, kinds: Sequence[str]) -> list[Table]:
    """Return all runs of some kinds."""
    return [run for kind in kinds for run in results.get(kind, {}).values()]


def require_one_version(runs: Sequence[Table]) -> None:
    """Raise SystemExit unless runs are of the same sources and packages: else their costs are not of one line."""
    found = [run.get("identity", {}) for run in runs]
    if not all(found):
        raise SystemExit("the results do not say what they were measured with: measure into other --results")
    if differ := sorted({name for one in found for name in one if one[name] != found[0].get(name)}):
        raise SystemExit(
            f"the results are of several versions of {', '.join(differ)}: measure all into other --results"
        )


def _headline(run: Table) -> str:
    crawl, alike = run["crawl"], run["alike"]
    found = 1 - alike["left"] / max(1, alike["surplus"])
    processes = f"{run['workers']} process" + ("" if run["workers"] == 1 else "es")
    return (
        f"{_size(run):.3f} GB ({crawl['stored'] / 1e9:.3f} stored), {run['funnel'][1]['count']:,} documents, "
        f"lustrate {run['identity']['lustrate']}, {processes} on {run['machine']}, "
        f"load {run['load'][0]} before: {run['wall']:,.0f} s, {run['cpu']:,.0f} CPU s. "
        f"Planned duplicates found: {found:.4f} of {alike['surplus']:,}; "
        f"{alike['rejected_alone']:,} of {alike['rejected']:,} rejects were not planned.\n"
    )


def _size(run: Table) -> float:
    """Return a run's gigabytes, uncompressed."""
    return float(run["crawl"]["bytes"]) / 1e9


def bounded(name: str) -> bool:
    """Tell whether a stage's work does not grow with the corpus."""
    return name.endswith(BOUNDED)


def growing(run: Table) -> list[str]:
    """Return the stages of a run whose work grows with the corpus."""
    return [stage["name"] for stage in run["stages"] if not bounded(stage["name"])]


def growth(runs: Sequence[Table]) -> list[str]:
    """Return the table of stages by size, those that grow first."""
    sizes = [_size(run) for run in runs]
    order = [stage["name"] for stage in runs[-1]["stages"]]
    grow, rest = growing(runs[-1]), [n for n in order if bounded(n)]
    lines = _head(sizes)
    lines += [_row([name, *_cells(sizes, [_stage(run, name) for run in runs])]) for name in grow]
    lines.append(_row([DRIVER, *_cells(sizes, [_driver(run) for run in runs])]))
    lines.append(_row(["**all that grow**", *_cells(sizes, [_all_that_grow(run) for run in runs])]))
    lines += [_row([f"*{name}*", *_cells(sizes, [_stage(run, name) for run in runs])]) for name in rest]
    lines.append(_row(["**the whole command**", *_cells(sizes, [_whole(run) for run in runs])]))
    return [*lines, "", "In italics: what settings bound, not the corpus.", ""]


def _head(sizes: Sequence[float]) -> list[str]:
    """Return the first two lines of a table of stages by size."""
    names = [f"{size:.2g} GB" for size in sizes]
    pairs = [f"{a:.2g}–{b:.2g} GB" for a, b in pairwise(sizes)]
    head = ["stage", *(f"CPU s, {name}" for name in names), *(["fixed s"] if pairs else [])]
    head += [f"s/GB, {pair}" for pair in pairs] + (["ratio"] if len(pairs) > 1 else [])
    for what in ("peak MB", "MB shuffled", "MB on disk"):
        head += [f"{what}, {name}" for name in names]
    return [_row(head), _row(["---", *["--:"] * (len(head) - 1)])]


def rounds(runs: Sequence[Table]) -> list[str]:
    """Return the table of self-cleaning's stages by size, of runs whose round trains briefly, and its verdicts."""
    sizes = [_size(run) for run in runs]
    names = [stage["name"] for stage in runs[-1]["stages"] if stage["name"].startswith("self_clean")]
    grow = [name for name in names if not bounded(name)]
    lines = [f"A round whose trainings are short, lustrate {runs[-1]['identity']['lustrate']}:", "", *_head(sizes)]
    lines += [_row([name, *_cells(sizes, [_stage(run, name) for run in runs])]) for name in grow]
    lines.append(_row(["**all that grow**", *_cells(sizes, [_sum(run, grow) for run in runs])]))
    lines += [_row([f"*{n}*", *_cells(sizes, [_stage(run, n) for run in runs])]) for n in names if bounded(n)]
    costs = {name: [_stage(run, name) for run in runs] for name in names}
    costs = {name: of for name, of in costs.items() if of[-1]["cpu"] > LEAST_SECONDS}
    return [*lines, "", *_verdicts(sizes, costs | {"all that grow": [_sum(run, grow) for run in runs]})]


def verdicts(runs: Sequence[Table]) -> list[str]:
    """Return whether the last sizes hold to the rules: a GB costs what it did, and no process grows.

    Of each stage of more than LEAST_SECONDS at the largest size, of the driver, and of all that grows.
    """
    costs = {s["name"]: [_stage(run, s["name"]) for run in runs] for s in runs[-1]["stages"]}
    costs = {name: of for name, of in costs.items() if of[-1]["cpu"] > LEAST_SECONDS}
    costs |= {DRIVER: [_driver(run) for run in runs], "all that grow": [_all_that_grow(run) for run in runs]}
    return _verdicts([_size(run) for run in runs], costs)


def _verdicts(sizes: Sequence[float], costs: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """Return a sentence on what rises and one on what is held, by the costs of each stage at each size."""
    pairs = [f"{a:.2g}→{b:.2g} GB" for a, b in pairwise(sizes)]
    lines = []
    if len(sizes) > 2:
        rises = {n: _last_two(sizes, [cost["cpu"] for cost in of]) for n, of in costs.items() if not bounded(n)}
        title = f"CPU seconds a GB, {pairs[-1]} at most {MOST_MORE:.0%} above {pairs[-2]}"
        lines.append(_verdict(title, rises, " s/GB") + "\n")
    peaks = {name: (of[-2]["peak"], of[-1]["peak"]) for name, of in costs.items()}
    lines.append(_verdict(f"Peak memory, {pairs[-1]}, at most {MOST_MORE:.0%} more", peaks, " MB"))
    return [*lines, ""]


def _verdict(what: str, measured: Mapping[str, tuple[float, float]], unit: str) -> str:
    """Return a sentence: whether the second value of each, of two values, is at most MOST_MORE above the first."""
    failed = [
        f"{name} ({before:,.{digits}f} to {after:,.{digits}f}{unit})"
        for name, (before, after) in measured.items()
        for digits in [0 if max(before, after) >= 10 else 2]
        if after > before * (1 + MOST_MORE)
    ]
    judged = f"{what}, of {len(measured)}: "
    return judged + (f"holds but for {', '.join(failed)}." if failed else "holds for all.")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _stage(run: Table, name: str) -> dict[str, float]:
    """Return what a stage cost, nothing where the run had no such stage."""
    stage: Table = next((stage for stage in run["stages"] if stage["name"] == name), {})
    return {
        "cpu": stage.get("cpu_seconds", 0.0),
        "peak": stage.get("peak_bytes", 0) / 1e6,
        "shuffled": stage.get("shuffled", 0) / 1e6,
        "disk": stage.get("disk", 0) / 1e6,
    }


def _sum(run: Table, names: Sequence[str]) -> dict[str, float]:
    parts = [_stage(run, name) for name in names]
    sums = {what: sum(part[what] for part in parts) for what in ("cpu", "shuffled", "disk")}
    return {**sums, "peak": max((part["peak"] for part in parts), default=0.0)}


def _driver(run: Table) -> dict[str, float]:
    tasks = sum(stage["cpu_seconds"] for stage in run["stages"])
    return {"cpu": run["cpu"] - tasks, "peak": run["peak_mb"]["driver"], "shuffled": 0.0, "disk": 0.0}


def _all_that_grow(run: Table) -> dict[str, float]:
    """Return what the stages that grow cost, and the driver, which reads the records of all their tasks."""
    stages, driver = _sum(run, growing(run)), _driver(run)
    return {**stages, "cpu": stages["cpu"] + driver["cpu"], "peak": max(stages["peak"], driver["peak"])}


def _whole(run: Table) -> dict[str, float]:
    every = _sum(run, [stage["name"] for stage in run["stages"]])
    return {**every, "cpu": run["cpu"], "peak": max(*run["peak_mb"].values(), every["peak"])}


def slopes(sizes: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return the rise between each size and the next."""
    return [(b - a) / (y - x) for (x, y), (a, b) in zip(pairwise(sizes), pairwise(values), strict=True)]


def _last_two(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return the last two rises."""
    *_, before, last = slopes(sizes, values)
    return before, last


def _cells(sizes: Sequence[float], costs: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """Yield the cells of a row."""
    seconds = [cost["cpu"] for cost in costs]
    rises = slopes(sizes, seconds)
    yield from (_figure(value) for value in seconds)
    if rises:
        yield _figure(seconds[0] - rises[0] * sizes[0])
        yield from (_figure(rise) for rise in rises)
    if len(rises) > 1:
        yield f"{rises[-1] / rises[0]:.2f}" if rises[0] > 0 and seconds[-1] >= 1 else "–"
    for what in ("peak", "shuffled", "disk"):
        yield from (f"{cost[what]:,.0f}" if cost[what] else "" for cost in costs)


def speedup(one: Table, two: Table, beside: Table | None = None) -> list[str]:
    """Return the table of one process beside two, by the time from a stage's first task to its last record.

    What tasks load is in it; how long a stage takes to begin and end is not, but in the last column and the last row.
    What the machine gives is twice what one process takes by the time that it takes beside another run of one. At work
    is the share of that time that the two processes spend in tasks: what is left they wait, for each other or the disk.
    """
    head = ["stage", "tasks", "s, one", "s, two", "times", "the machine gives", "at work, two", "CPU s, one",
            "CPU s, two", "documents/s, one", "two", "share of the wall, two"]  # fmt: skip
    lines = [_row(head), _row(["---", *["--:"] * (len(head) - 1)])]
    total = sum(stage["seconds"] for stage in two["stages"])
    others = {stage["name"]: stage["span"] for stage in beside["stages"]} if beside else {}
    for a, b in zip(one["stages"], two["stages"], strict=True):
        assert a["name"] == b["name"]
        told = a["span"] >= SMALL_SECONDS and a["tasks"] > 1
        times = f"{a['span'] / b['span']:.2f}" if told else "one task" if a["tasks"] == 1 else "–"
        gives = f"{2 * a['span'] / others[a['name']]:.2f}" if told and others else ""
        busy = f"{b['work'] / (two['workers'] * b['span']):.0%}" if told else ""
        rates = [f"{s['documents'] / s['span']:,.0f}" if s["documents"] and told else "" for s in (a, b)]
        spent = [f"{s['cpu_seconds']:.1f}" for s in (a, b)]
        cells = [f"{a['tasks']:,}", f"{a['span']:.2f}", f"{b['span']:.2f}", times, gives, busy, *spent, *rates]
        lines.append(_row([a["name"], *cells, f"{b['seconds'] / total:.1%}"]))
    gives = f"{2 * _wall(one) / _wall(beside):.2f}" if beside else ""
    whole = [f"{_wall(one):.1f}", f"{total:.1f}", f"{_wall(one) / total:.2f}", gives]
    lines.append(_row(["**all**", "", *whole, *[""] * 6]))
    runs = [run for run in (one, two, beside) if run]
    loads = ", ".join(f"{run['load'][0]}" for run in runs)
    turns = [run.get("turns", 1) for run in runs]
    least = f", each stage the least of {', '.join(map(str, turns))} turns" if max(turns) > 1 else ""
    version = f"lustrate {one['identity']['lustrate']}"
    return [
        f"One process beside two, {_size(one):.2f} GB, {version}, load before (the last) {loads}{least}:",
        "",
        *lines,
        "",
    ]


def _wall(run: Table) -> float:
    return float(sum(stage["seconds"] for stage in run["stages"]))


def scoring(run: Table) -> list[str]:
    """Return what self-cleaning cost, and what of it grows."""
    stages = [stage for stage in run["stages"] if stage["name"].startswith("self_clean")]
    read = next((stage["bytes"] for stage in stages if stage["name"].endswith("measure")), 0) / 1e9
    lines = [_row(["stage of self-cleaning", "CPU s", "GB of text read", "peak MB", "grows"]), "|---|--:|--:|--:|---|"]
    for stage in stages:
        grows = "no" if bounded(stage["name"]) else "yes"
        cells = [f"{stage['cpu_seconds']:.1f}", f"{stage['bytes'] / 1e9:.3f}", f"{stage['peak_bytes'] / 1e6:,.0f}"]
        lines.append(_row([stage["name"], *cells, grows]))
    return [f"The default run, {_size(run):.3f} GB of crawl, {read:.3f} GB of text judged:", "", *lines, ""]


def grown(run: Table) -> float:
    """Return the CPU seconds that self-cleaning takes for each GB of crawl, by the stages that grow but `score`.

    What `score` reads of a small corpus is `score_tokens`, and not its share.
    """
    stages = [stage for stage in run["stages"] if stage["name"].startswith("self_clean")]
    spent = sum(s["cpu_seconds"] for s in stages if not bounded(s["name"]) and not s["name"].endswith("score"))
    return float(spent) / _size(run)


def whole_reading(run: Table) -> float:
    """Return the CPU seconds that TransNormers would take to read all, as full scoring does, for each GB of crawl."""
    by_name = {stage["name"].rpartition(".")[2]: stage for stage in run["stages"] if "round-1" in stage["name"]}
    read, every = by_name["score"], by_name["measure"]
    return float(read["cpu_seconds"] / max(read["bytes"], 1) * every["bytes"] / _size(run))


def _target_row(name: str, values: Sequence[float], source: str) -> str:
    return _row([name, *map(_figure, values), source])


def _round(run: Table, cpu: float) -> list[str]:
    """Return what a round adds for TARGETS, by what the default run cost, to so many CPU seconds a GB without one."""
    share, reads = SelfClean().score_share, whole_reading(run)
    each = grown(run) + share * reads  # CPU seconds a GB
    folds = _stage(run, FOLDS)["cpu"] / _size(run)
    jobs = sum(stage["name"].startswith("self_clean") for stage in run["stages"])
    sizes = list(TARGETS.values())
    other = (
        f"{grown(run):.1f} CPU s/GB on {_size(run):.2g} GB, the other stages that grow, and {share:g} of the next line"
    )
    bound = f"on {CORES:,} cores, and the hours of {FOLDS}; {jobs} jobs more; not what is bounded"
    added = [((each - folds) / CORES + folds) / 3600 * size for size in sizes]
    whole = f"{reads:,.0f} CPU s/GB: `score` on {_size(run):.2g} GB by the bytes of what it read"
    alone = f"{folds:.2f} CPU s/GB on {_size(run):.2g} GB"
    return [
        _target_row("CPU-days that a round adds, cascade", [each / DAY * size for size in sizes], other),
        _target_row("CPU-days to read all", [reads / DAY * size for size in sizes], whole),
        _target_row("**CPU-days, with a round**", [(cpu + each) / DAY * s for s in sizes], "not what is bounded"),
        _target_row(f"hours of {FOLDS}, one process", [folds / 3600 * size for size in sizes], alone),
        *(
            _target_row(f"hours that a round adds, {name}", [one + jobs * seconds / 3600 for one in added], bound)
            for name, seconds in JOB_SECONDS.items()
        ),
    ]


def extrapolated(runs: Sequence[Table], scored: Sequence[Table]) -> list[str]:
    """Return what the last slopes come to for TARGETS."""
    small, large = runs[-2], runs[-1]
    sizes = [_size(small), _size(large)]
    costs = [_all_that_grow(run) for run in (small, large)]
    rise = {what: slopes(sizes, [cost[what] for cost in costs])[0] for what in ("cpu", "shuffled", "disk")}
    documents = large["funnel"][2]["count"] / sizes[1]  # that pass the rules, a GB
    alone = {
        "deduplicate.clusters": [_stage(run, "deduplicate.clusters") for run in (small, large)],
        DRIVER: [_driver(run) for run in (small, large)],
    }
    single = {name: slopes(sizes, [cost["cpu"] for cost in of])[0] for name, of in alone.items()}
    kept = large["published"] / 1e9 / sizes[1]
    lines = [_row(["", *TARGETS, "from"]), "|---|--:|--:|---|"]

    def line(name: str, value: float, source: str) -> None:
        lines.append(_target_row(name, [value * gigabytes for gigabytes in TARGETS.values()], source))

    source = f"{{}} between {sizes[0]:.2g} and {sizes[1]:.2g} GB"
    line("CPU-days, without scoring", rise["cpu"] / DAY, source.format(f"{rise['cpu']:.1f} CPU s/GB"))
    line("the same by C4's figure", C4_DAYS_PER_TB / 1e3, "341 CPU-days for 7 TB")
    lines += [_target_row(name, *row) for name, row in _hours(rise["cpu"], single, large).items()]
    lines += [each for run in scored for each in _round(run, rise["cpu"])]
    line("TB shuffled, by disk", rise["shuffled"] / 1e6, source.format(f"{rise['shuffled']:.0f} MB/GB"))
    line("TB on disk, stages", rise["disk"] / 1e6, source.format(f"{rise['disk']:.0f} MB/GB"))
    line("TB published", kept / 1e3, f"{kept:.2f} GB/GB at {sizes[1]:.2g} GB")
    line("documents in dedup, billions", documents / 1e9, f"{documents:,.0f} a GB at {sizes[1]:.2g} GB")
    line("GB of memory, clusters", documents * CLUSTER_BYTES / 1e9, f"{CLUSTER_BYTES} bytes a document")
    line("GB of memory, folds", documents * FOLD_BYTES / 1e9, f"{FOLD_BYTES} bytes a document; with rounds")
    for title, deduplicate, publish in SETTINGS:
        groups = _groups(deduplicate, documents)
        verified = [VERIFIED * count for count in groups]
        lines += _read_slices(f"deduplicate.verify-1, {title}", verified, groups, f"groups x groups, {VERIFIED} each")
        merged = _runs_and_shards(publish, large, sizes[1])
        lines += _read_slices(f"publish.merge, {title}", *merged, "sorted runs x token shards")
    return ["Extrapolated:", "", *lines, ""]


def _read_slices(of: str, files: Sequence[float], readers: Sequence[float], source: str) -> list[str]:
    """Return the rows of the slices that so many readers take of so many files, and of what a store has to answer."""
    slices = [count * each for count, each in zip(files, readers, strict=True)]
    asked = [REQUESTS + (each + 2 > STORE_END_BYTES / EDGE_BYTES) for each in readers]
    hours = [count * each / ANSWERS / 3600 for count, each in zip(slices, asked, strict=True)]
    gets = " and ".join(str(each) for each in dict.fromkeys(asked))
    return [
        _target_row(f"million slices of {of}", [count / 1e6 for count in slices], source),
        _target_row(f"hours of S3's answers to {of}", hours, f"{gets} GETs a slice, {ANSWERS:,} a second"),
    ]


def _hours(cpu: float, single: Mapping[str, float], run: Table) -> dict[str, tuple[list[float], str]]:
    """Return hours for TARGETS, and where they come from: of the cores, of one process after the other, and of both."""
    parts = {f"hours on {CORES:,} cores": (cpu - sum(single.values())) / 3600 / CORES}
    parts |= {f"hours of {name}, one process": seconds / 3600 for name, seconds in single.items()}
    source = {name: f"{seconds:.2f} CPU s/GB" for name, seconds in zip(list(parts)[1:], single.values(), strict=True)}
    found = {
        name: ([each * size for size in TARGETS.values()], source.get(name, "the first line without the next ones"))
        for name, each in parts.items()
    }
    files = [SHARD_FILES * _document_shards(run, gigabytes) for gigabytes in TARGETS.values()]
    text = f"{SHARD_FILES} files a document shard, {PUBLISHED_SECONDS * 1e3:.0f} ms each"
    found["hours of publication in a store, one process"] = (
        [count * PUBLISHED_SECONDS / 3600 for count in files],
        text,
    )
    sums = [sum(values) for values in zip(*(values for values, _ in found.values()), strict=True)]
    jobs = len(run["stages"])  # one a stage
    for name, seconds in JOB_SECONDS.items():
        started = jobs * seconds / 3600
        found[f"hours of starting jobs, {name}"] = ([started] * len(sums), f"{jobs} jobs, {seconds} s each")
        whole = "the hours above, of one runner; its answers are below"
        found[f"**hours in all but S3's answers**, {name}"] = ([each + started for each in sums], whole)
    return found


def _document_shards(run: Table, gigabytes: float) -> float:
    """Return the document shards of so many gigabytes by default: those of a run are SMALLER, by size."""
    (tasks,) = (stage["tasks"] for stage in run["stages"] if stage["name"] == "deduplicate")
    return float(tasks / SMALLER * gigabytes / _size(run))


def _groups(settings: Deduplicate, documents: float) -> list[float]:
    """Return how many groups dedup has, for so many documents a GB."""
    width = settings.count + HASH_WORDS * len(settings.exact)
    held = settings.memory_bytes // document_bytes(width, settings.bands + len(settings.exact))
    return [documents * gigabytes / held for gigabytes in TARGETS.values()]


def _runs_and_shards(settings: Publish, run: Table, size: float) -> tuple[list[float], list[float]]:
    """Return how many sorted runs and token shards there are."""
    text = next(stage for stage in run["stages"] if stage["name"] == "publish.encode")["bytes"] / size
    tokens = sum(run["tokens"].values()) / size
    runs, shards = text / settings.group_bytes, tokens / settings.shard_tokens
    return [runs * each for each in TARGETS.values()], [shards * each for each in TARGETS.values()]


def _figure(value: float) -> str:
    """Return a number with three digits that count at least, and a hundredth at most."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 2
    return f"{value:,.{min(digits, 2)}f}"
