"""The whole line on s3://: what a folder would hold, with a store that fails, and all that reads a finished run."""

import gzip
import io
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import object_store, retune, review
from pipeline.run import main
from tests.pipeline.conftest import SETTINGS, document
from tests.pipeline.formats.archives import conversions, members, parquet
from tests.pipeline.store.conftest import Store

FAULTS = {"fail": 0.025, "busy": 0.025, "reset": 0.02, "slow": 0.01, "seconds": 0.3, "seed": 1}
STAGE = re.compile(r"^([\w.-]+): \d+ of \d+(?: ·|$)", re.MULTILINE)  # begins the line of a stage that worked
EXACT = ("shards/", "tokenizer/", "model.safetensors", "ngrams.arrow", "score.json")


@dataclass(frozen=True)
class Runs:
    """The same corpus cleaned in a folder and in a store."""

    folder: Path
    config: Path
    arguments: list[str]  # of the run in the store
    said: str


def lines(seed: int, count: int) -> bytes:
    """Return documents as JSONL."""
    draw, before = random.Random(seed), list[str]()
    for _ in range(count):
        before.append(document(draw, before))
    return b"".join(orjson.dumps({"text": text}) + b"\n" for text in before)


def published(contents: dict[str, bytes]) -> dict[str, object]:
    """Return what must not depend on where a run was: bytes, and tables without the paths of their files."""
    tables = {
        name: sorted(pq.read_table(io.BytesIO(content)).drop_columns("path").to_pylist(), key=repr)
        for name, content in contents.items()
        if re.match(r"(documents|rejected|unreadable)/", name)
    }
    return {name: repr(rows) for name, rows in tables.items()} | {
        name: content for name, content in contents.items() if any(part in name for part in EXACT)
    }


def local(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def alone(arguments: list[str]) -> str:
    """Run in a process of its own, since one that has trained cannot fork others that do; return what it printed."""
    code = "import sys; from pipeline import object_store as o, run; o.FIRST_WAIT_SECONDS = 0.02; sys.exit(run.main())"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def runs(server: Store, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Clean a corpus in a folder, and in a store of which one request in twelve goes wrong."""
    return cleaned(server, tmp_path_factory.mktemp("line"), FAULTS)


def cleaned(server: Store, home: Path, faults: dict[str, float]) -> Runs:
    """Clean a corpus in a folder, and in a store with these faults."""
    contents = {f"part-{seed}.jsonl.gz": gzip.compress(lines(seed, 60), mtime=0) for seed in range(4)}
    (home / "in").mkdir()
    for name, content in contents.items():
        (home / "in" / name).write_bytes(content)
    server.fill("crawl", contents)
    config = home / "c.toml"
    config.write_text(SETTINGS.replace("rounds = 2", "rounds = 1"))
    fixed = ["--config", str(config), "--direct_num_workers=1"]
    alone([*fixed, "--input", f"{home}/in/*.jsonl.gz", "--output", str(home / "out")])
    arguments = [*fixed, "--input", server.url("crawl", "*.jsonl.gz"), "--output", server.url("out")]
    server.faults(**faults)
    said = alone(arguments)
    told = server.faults()
    assert min(told[kind] for kind in ("fail", "busy", "reset", "slow") if kind in faults) > 3
    return Runs(home / "out", config, arguments, said)


def test_a_store_holds_what_a_folder_holds(runs: Runs, store: Store) -> None:
    """Every published file is there, bytes and rows are the same."""
    there, here = store.contents("out"), local(runs.folder)
    names = [{name for name in held if not name.startswith(("stages/", "log/", "run.log"))} for held in (there, here)]
    assert names[0] == names[1]
    assert [name for name in there if name.startswith("log/")]
    assert sum(name.endswith("model.safetensors") for name in names[0]) == 2
    there, here = ({name: held[name] for name in names[0]} for held in (there, here))
    assert published(there) == published(here)


def test_requests_that_failed_are_counted(runs: Runs, store: Store) -> None:
    """The run says how many it made again, as its run.json does."""
    counted = int(re.findall(r"requests to the store that failed and were made again: (\d+)", runs.said)[0])
    assert counted == orjson.loads(store.contents("out")["run.json"])["asked_again"] > 10


def test_a_second_run_finds_all_finished(runs: Runs) -> None:
    """Records and manifests in the store count, for the same command in another process."""
    command = [sys.executable, "-m", "pipeline.run", *runs.arguments]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    stages = set(STAGE.findall(runs.said))
    assert {"ingest", "self_clean.round-1.train", "publish.merge"} <= stages
    assert STAGE.findall(said) == []
    rows = re.findall(r"(?: … [\w.-]+: (\d+) stages|:) finished before", said)
    assert sum(int(count or 1) for count in rows) == len(stages)


@pytest.mark.parametrize(
    "ask",
    [
        lambda where: retune.main(["--output", where, "--set", "gopher_quality.words.min=80", "--json"]),
        lambda where: review.main(["--output", where, "--size", "20"]),
    ],
    ids=["retune", "review"],
)
def test_what_reads_a_finished_run_reads_it_in_a_store(
    runs: Runs, store: Store, capsys: pytest.CaptureFixture[str], ask: Callable[[str], int]
) -> None:
    """The answer is that of the folder."""
    said = []
    for where in (str(runs.folder), store.url("out")):
        assert ask(where) == 0, capsys.readouterr().err
        said.append(capsys.readouterr().out.replace(where, "OUT"))
    assert said[0] == said[1]


def test_a_finished_run_serves_the_next(runs: Runs, store: Store, tmp_path: Path) -> None:
    """Its tokenizer, its evaluators and its signatures are taken from the store."""
    config = tmp_path / "c.toml"
    model = f'[tokenizer]\nmodel = "{store.url("out", "tokenizer", "tokenizer.model")}"\n'
    config.write_text(runs.config.read_text().replace("[tokenizer]\n", model).replace("vocab_size = 600\n", ""))
    store.fill("more", {"a.jsonl": lines(1, 40) + lines(9, 200)})
    where = ["--config", str(config), "--input", store.url("more", "*"), "--output", store.url("next")]
    given = ["--evaluator", store.url("out", "evaluator"), "--evaluator-is-external", "--against", store.url("out")]
    assert main([*where, *given, "--until", "self_clean", "--direct_num_workers=1"]) == 0
    there, before = store.contents("next"), store.contents("out")
    for name in ("model.safetensors", "config.json"):
        weights = [
            {content for path, content in held.items() if path.endswith(f"/fold-0/{name}")} for held in (there, before)
        ]
        assert weights[0] == weights[1]
    verdicts = [content for path, content in there.items() if re.match(r"stages/deduplicate/.*\.parquet", path)]
    duplicates = pa.concat_tables(pq.read_table(io.BytesIO(content)) for content in verdicts)["duplicate_in"]
    assert duplicates.to_pylist().count(store.url("out")) > 20


def test_every_format_is_read_from_a_store(store: Store, story: Callable[[int], str], tmp_path: Path) -> None:
    """WARC, Parquet in row groups and lines in nested folders give the documents, with the ids, of a folder."""
    table = pa.table({"text": [story(seed) for seed in range(600)]})
    wet = [story(100 + seed).encode() for seed in range(20)]
    contents = {
        "a/one.warc.wet.gz": b"".join(members([r.replace(b"text 0", t) for t in wet for r in [wet_record(t)]])),
        "a/b/two.parquet": parquet(table, rows=100),
        "c/three.jsonl": lines(3, 20),
        "c/README": b"not asked for",
    }
    config = tmp_path / "c.toml"
    config.write_text("[ingest]\nshard_bytes = 100000\n")
    for name, content in contents.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    store.fill("formats", contents)
    found = []
    for source, output in ((str(tmp_path / "in"), str(tmp_path / "out")), (store.url("formats"), store.url("read"))):
        where = ["--config", str(config), "--input", f"{source}/**/*.*", "--output", output, "--until", "ingest"]
        assert main([*where, "--direct_num_workers=1"]) == 0
        held = local(tmp_path / "out") if source.startswith("/") else store.contents("read")
        rows = [
            row
            for name, content in sorted(held.items())
            if re.search(r"/(documents|rejected)/", name)
            for row in pq.read_table(io.BytesIO(content)).select(["id", "text", "language"]).to_pylist()
        ]
        found.append(sorted(rows, key=lambda row: row["id"]))
    assert found[0] == found[1]
    assert len(found[0]) == 640


def wet_record(text: bytes) -> bytes:
    """Return a record that holds a text."""
    (record,) = conversions(1)
    return record.replace(b"Content-Length: 6", b"Content-Length: %d" % len(text)).replace(b"text 0", text)


@pytest.mark.parametrize(
    ("source", "output", "code", "line"),
    [
        ("s3://no-bucket/*", "s3://corpus/x", 2, "error: --input s3://no-bucket/*: .*bucket does not exist"),
        ("s3://corpus/crawl/none.gz", "s3://corpus/x", 2, "error: --input .*none.gz: not there"),
        ("s3://corpus/crawl/*.warc", "s3://corpus/x", 2, "error: input 'input': nothing matches"),
        ("s3://corpus/crawl/*", "s3://no-bucket/x", 2, "error: --output .*bucket does not exist"),
        ("s3://corpus/crawl/*", "s4://corpus/x", 2, "error: --output s4://corpus/x: Protocol not known: s4"),
        ("s3://corpus/crawl/*", "s3://corpus/crawl", 2, "error: --output s3://corpus/crawl holds the input"),
    ],
)
def test_a_mistake_is_one_line(
    runs: Runs, store: Store, capsys: pytest.CaptureFixture[str], source: str, output: str, code: int, line: str
) -> None:
    """Nothing is written anywhere."""
    arguments = ["--config", str(runs.config), "--input", source, "--output", output]
    assert main(arguments) == code
    said = capsys.readouterr().err
    assert re.fullmatch(line.replace("*:", r"\*:") + ".*\n", said), said
    assert store.contents("x") == {}


def test_wrong_keys_and_a_dead_store_are_one_line(runs: Runs, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """So is a store that fails for good in the middle of a stage: then the run has failed, and can go on."""
    arguments = [*runs.arguments[:-1], store.url("dead")]
    store.open_to(0)
    try:
        assert main(arguments) == 2
    finally:
        store.open_to(float("inf"))
    assert re.fullmatch(r"error: --input s3://corpus/crawl/\*.jsonl.gz: .*\n", capsys.readouterr().err)
    store.faults(fail=1, only="dead/stages/ingest", least=12)
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(rf"failed: .*s3://corpus/dead/stages/ingest/.* \(at {object_store.ATTEMPTS} tries\).*\n", said)
    told = store.faults(fail=1, only="dead/stages/ingest")
    assert told["fitting"] - told["fail"] == 12
    assert main([*arguments, "--s3_endpoint_url=http://a"]) == 2
    assert "set AWS_ENDPOINT_URL" in capsys.readouterr().err
    assert retune.main(["--output", store.url("dead"), "--set", "gopher_quality.words.min=80"]) == 2
    assert "is not the output folder of a finished run" in capsys.readouterr().err
