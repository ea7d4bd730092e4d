"""The command line: what is refused, how it says so, and what bad input leaves."""

import contextlib
import fcntl
import gzip
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.beam_runner import check_options
from pipeline.checks import check_inputs, check_judges
from pipeline.config import Config, ConfigError, Input
from pipeline.job import EXAMPLE
from pipeline.plan import find_all
from pipeline.run import configure, main, parser
from tests.measured import measured

LIMIT = 16_000_000  # ingest.max_document_bytes
TEXT = "The river and the mountain that we found were to be seen in the early morning of the long winter. " * 8


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    line = [sys.executable, "-m", "pipeline.run", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=600, check=False)


def test_flags_are_what_the_readme_says() -> None:
    """A flag that comes or goes is a decision."""
    flags = {option for action in parser()._actions for option in action.option_strings}
    assert flags == {
        "-h", "--help", "--config", "--input", "--output", "--until", "--sample", "--evaluator",
        "--evaluator-is-external", "--train-only", "--score-only", "--against", "--labels", "--force",
        "--dry-run", "--direct_num_workers", "--sample-only",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "x.jsonl"], "--output is needed"),
        (["--input", "x.jsonl", "--output", "s3://"], "--output s3:// names no folder"),
        (["--output", "/"], "--output / names no folder"),
        (["--input", "x.jsonl", "--output", "o", "--sample", "2"], "--sample must be above 0 and at most 1"),
        (["--config", "missing.toml", "--output", "o"], "cannot read the configuration missing.toml"),
    ],
)
def test_mistakes_are_named(arguments: list[str], message: str) -> None:
    """What is asked wrongly is refused before anything is read."""
    with pytest.raises(ConfigError, match=message):
        configure(parser().parse_args(arguments))


def test_unknown_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt option does not go to Beam, which would pass over it, and is what is named where it leaves a gap."""
    check_options(["--direct_num_workers=2", "--runner=DirectRunner"])
    with pytest.raises(ConfigError, match="unknown option --outptu"):
        check_options(["--outptu=x"])
    assert main(["--input", "x.jsonl", "--outptu", "y"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown option --outptu")


def test_an_accelerator_has_its_machine() -> None:
    """An L4 is in machines of the series G2 alone, whatever --machine_type says; of other GPUs nothing is asked."""
    check_options([f"--score_accelerator={EXAMPLE}"])
    check_options(["--score_accelerator=type:nvidia-tesla-t4;count:1;install-nvidia-driver"])
    for machine in ("", ";machine_type:n2d-standard-4"):
        with pytest.raises(ConfigError, match="an L4 needs a machine of the series G2"):
            check_options([f"--score_accelerator=type:nvidia-l4;count:1{machine}", "--machine_type=n2d-standard-4"])


def test_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """A mistake gives one line on standard error and leaves no folder."""
    done = start("--input", f"{tmp_path}/none-*.jsonl", "--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nothing matches" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "x/**.jsonl"], "--input x/**.jsonl: Invalid pattern"),
        (["--input", "nowhere://a/b"], "--input nowhere://a/b: Protocol not known"),
        (["--output", "nowhere://a/b"], "--output nowhere://a/b: Protocol not known"),
        (["--runner=Nonsense"], "--runner=Nonsense: "),
        (["--runner=PortableRunner"], "--runner=PortableRunner: name the runner behind it"),
        (["--runner=PortableRunner", "--job_endpoint=localhost:8099"], "--job_endpoint needs --runner=FlinkRunner and"),
        (["--runner=FlinkRunner", "--job_endpoint=localhost:8099"], "--job_endpoint needs --runner=FlinkRunner and"),
        (["--runner=PrismRunner", "--direct_num_workers=2"], "--direct_num_workers is for runs on this machine"),
        (["--direct_running_mode=multi_threading"], "--direct_running_mode=multi_threading loses data"),
        (["--score_accelerator=type:nvidia-l4;count:1"], "an L4 needs a machine of the series G2"),
        (["--experiments"], "argument --experiment/--experiments: expected one argument"),
        (["--evaluator", "nowhere"], "--evaluator nowhere holds no tokenizer.model"),
    ],
)
def test_what_was_asked_wrongly_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """No traceback, exit code 2, and no folder."""
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps({"text": TEXT}))
    given = {"--input": f"{tmp_path}/a.jsonl", "--output": f"{tmp_path}/out"}
    line = [part for name, value in given.items() if name not in options for part in (name, value)]
    assert main([*line, *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert not (tmp_path / "out").exists()


def test_an_output_does_not_replace_its_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Documents of a run are no input for a run into the same folder."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents/a.jsonl").write_bytes(orjson.dumps({"text": TEXT}))
    assert main(["--input", f"{tmp_path}/documents/*", "--output", str(tmp_path)]) == 2
    assert "holds the input" in capsys.readouterr().err


def test_threads_are_refused(tmp_path: Path) -> None:
    """Beam's multi_threading loses data, so it is refused with the reason."""
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps({"text": TEXT}))
    done = start(
        "--input", f"{tmp_path}/a.jsonl", "--output", f"{tmp_path}/out", "--direct_running_mode=multi_threading"
    )
    assert done.returncode == 2
    assert "loses data" in done.stderr


@pytest.mark.parametrize(
    ("name", "named", "message"),
    [
        ("a.jsonl", "", "no field 'text'; the record has content, doc, n: [[input]] says which field is which"),
        ("a.jsonl", "text = 'content'\nid = 'key'", "no field 'key'; the record has content, doc, n: [[input]] says"),
        ("a.jsonl", "text = 'n'", "the field 'n' holds int, not a string: [[input]] says"),
        ("a.parquet", "", "no column 'text'; the file has content, n, doc: [[input]] says"),
        (
            "a.parquet",
            "text = 'content'\ndate = 'when'",
            "no column 'when'; the file has content, n, doc: [[input]] says",
        ),
    ],
)
def test_a_wrong_field_is_said_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, named: str, message: str
) -> None:
    """With the fields there are; nothing is written."""
    rows = [{"content": TEXT, "n": i, "doc": str(i)} for i in range(50)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    config = tmp_path / "one.toml"
    config.write_text(f"[[input]]\npaths = ['{tmp_path}/{name}']\n{named}\n")
    assert main(["--config", str(config), "--output", f"{tmp_path}/out"]) == 2
    assert f"error: input 'input': {tmp_path}/{name}: {message}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_beside_the_data_refuses_nothing(tmp_path: Path) -> None:
    """One that has other fields, or whose first records lack one, may be read: what is unreadable is counted."""
    (tmp_path / "0-about.json").write_bytes(orjson.dumps({"rows": 9}))
    records = [{"title": "of all"}, *({"text": TEXT, "key": i} for i in range(9))]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(map(orjson.dumps, records)))
    config = Config(input=(Input(paths=(f"{tmp_path}/*.json*",), id="key"),))
    assert check_inputs(find_all(config), config, f"{tmp_path}/out") == []


def test_a_field_that_may_be_rare_is_noted(tmp_path: Path) -> None:
    """A name that no first record of any first file has is said, and refuses nothing; one that some have is not."""
    for name, more in (("a", {}), ("b", {"when": "2020-01-01"})):
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": TEXT, **more}) for _ in range(9)))
    config = Config(input=(Input(paths=(f"{tmp_path}/*.jsonl",), url="lnk", date="when"),))
    (note,) = check_inputs(find_all(config), config, f"{tmp_path}/out")
    assert note == (
        f"input 'input': no record that {tmp_path}/a.jsonl begins with has 'lnk', which [[input]] names as its url"
    )


def test_judges_that_can_judge_nothing_are_noted() -> None:
    """Two settings tell it before any work; judges that are given, or no rounds, want no training tokens."""
    config = Config(evaluator=replace(Config().evaluator, train_tokens=20_000))
    (note,) = check_judges(config, "")
    assert note.startswith("[evaluator] train_tokens = 20,000 judge no language: one wants 360,000 of them (")
    assert check_judges(config, "evaluator") == check_judges(Config(), "") == []
    assert check_judges(replace(config, self_clean=replace(config.self_clean, rounds=0)), "") == []


def test_a_kind_of_file_without_the_field_is_said_beside_another(tmp_path: Path) -> None:
    """Pages with a text do not hide tables without one, which would be a large part of the input."""
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": f"{TEXT} {i}"}) for i in range(99)))
    pq.write_table(pa.table({"body": [f"{TEXT} {i}" for i in range(99)]}), tmp_path / "b.parquet")
    config = Config(input=(Input(paths=(f"{tmp_path}/*",)),))
    with pytest.raises(ConfigError, match=r"b\.parquet: no column 'text'; the file has body: \[\[input\]\] says"):
        check_inputs(find_all(config), config, f"{tmp_path}/out")


def test_one_wrong_input_does_not_hide_behind_another(tmp_path: Path, story: Callable[[int], str]) -> None:
    """The share of unreadable records is each input's own; a Parquet file without the column counts with its rows."""
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": story(i)}) for i in range(200)))
    pq.write_table(pa.table({"text": [TEXT]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"content": [TEXT] * 7}), tmp_path / "c.parquet")
    config = tmp_path / "two.toml"
    config.write_text(f"""
        [[input]]
        name = "good"
        paths = ["{tmp_path}/a.jsonl"]
        [[input]]
        name = "wrong"
        paths = ["{tmp_path}/*.parquet"]
    """)
    done = start("--config", str(config), "--output", f"{tmp_path}/out")
    assert done.returncode == 1
    assert "7 of 8 records of input 'wrong' are unreadable" in done.stderr
    assert "no column 'text'" in done.stderr


def test_a_stage_that_keeps_nothing_fails(tmp_path: Path) -> None:
    """When no document is kept, the commonest reason is named."""
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": "too short"}) for _ in range(9)))
    done = start("--input", f"{tmp_path}/a.jsonl", "--output", f"{tmp_path}/out")
    assert done.returncode == 1
    assert "none of 9 documents is kept; most often: too_few_words (9 times)" in done.stderr


def test_dry_run_does_nothing(tmp_path: Path) -> None:
    """The plan is printed, and no folder appears."""
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps({"text": TEXT}))
    done = start("--input", f"{tmp_path}/a.jsonl", "--output", f"{tmp_path}/out", "--dry-run")
    assert done.returncode == 0
    assert "1 shard, " in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["plain", "[/b]"])
def test_dry_run_says_what_is_done(tmp_path: Path, story: Callable[[int], str], name: str) -> None:
    """After a run every stage is done, whatever the folder is called; of another configuration, what it shares."""
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": story(i)}) for i in range(30)))
    options = [*small(tmp_path), "--output", f"{tmp_path}/{name}"]
    assert start(*options).returncode == 0
    assert done_stages(start(*options, "--dry-run").stdout) == [True] * 6
    Path(options[1]).write_text(Path(options[1]).read_text() + "[publish]\nvalidation = 0.1\n")
    assert done_stages(start(*options, "--dry-run").stdout) == [True] * 4 + [False] * 2
    assert done_stages(start(*options, "--dry-run", "--until", "deduplicate").stdout) == [True] * 2
    assert "finished before" not in start(*options, "--force").stdout


def done_stages(printed: str) -> list[bool]:
    """Return for each stage of a printed plan whether it is done."""
    words = [line.split() for line in printed.splitlines() if line.startswith("  ") and line[2] != " "]
    return [word.startswith("done") for _, word, *_ in words]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("os._exit(9)", "failed: ingest: a worker process died; the same command goes on from here"),
        ("return text", "failed: ingest: OwnFilterError: own:judge"),
    ],
    ids=["it dies", "it fails"],
)
def test_a_function_that_ends_the_run_is_one_line(
    tmp_path: Path, story: Callable[[int], str], body: str, line: str
) -> None:
    """A worker killed for memory, say, or an error: exit code 1, and Python says nothing of files that were open."""
    (tmp_path / "own.py").write_text(f"import os\n\ndef judge(text):\n    {body}\n")
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": story(i)}) for i in range(30)))
    options = small(tmp_path, '[ingest]\nsteps = ["language", "own:judge"]\n')
    command = [sys.executable, "-m", "pipeline.run", *options]
    paths = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_an_old_report_does_not_stand_beside_new_results(tmp_path: Path, story: Callable[[int], str]) -> None:
    """What a run does not write again goes: the page and its facts; the log has both runs."""
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": story(i)}) for i in range(30)))
    assert start(*small(tmp_path)).returncode == 0
    assert start(*small(tmp_path, "[publish]\nvalidation = 0.1\n"), "--until", "publish").returncode == 0
    left = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert left == {".lock", "_SUCCESS", "run.json", "run.log"}


def bad_inputs(folder: Path, story: Callable[[int], str]) -> None:
    """Write every kind of broken input, and enough good documents for the run to go on."""
    good = b"\n".join(orjson.dumps({"text": story(i)}) for i in range(600))
    (folder / "good.jsonl").write_bytes(good)
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(good)[:-200])
    (folder / "empty.jsonl").write_bytes(b"")
    lines = [
        b"[1, 2]",
        b'{"text": 5}',
        b'{"text": "\xff"}',
        b'{"text": "nul \0"}',
        b"{",
        b'"text"',
    ]
    (folder / "lines.jsonl").write_bytes(b"\n".join(lines))
    nul = orjson.dumps({"text": story(1001) + "\0"})  # written \u0000
    (folder / "nul.jsonl").write_bytes(nul)
    long = b'{"text": "' + b"x" * 200_000_000 + b'"}\n'
    (folder / "long.jsonl").write_bytes(long + orjson.dumps({"text": story(1000)}))
    (folder / "repeated.txt").write_text("word " * (LIMIT // 5))
    (folder / "deep.warc").write_bytes(warc(b"<html><body>" + b"<div>" * 50_000 + b"deep" + b"</body></html>"))
    styles = b"".join(b"<font id=%d><p>" % i for i in range(990))
    (folder / "styles.warc").write_bytes(warc(b"<html><body>styles" + styles + b"<p>x" * 30_000))
    (folder / "cut.warc").write_bytes(warc(b"<p>cut off</p>")[:-9])
    (folder / "noise.parquet").write_bytes(b"PAR1 nothing of the kind PAR1")
    (folder / "latin.txt").write_bytes("café".encode("latin-1"))
    (folder / "folder.jsonl").mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jsonl")).write_bytes(good)
    (folder / "circle.jsonl").symlink_to(folder / "circle.jsonl")
    os.mkfifo(folder / "fifo.jsonl")


def warc(body: bytes) -> bytes:
    """Return a WARC file with one response."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def test_bad_input_never_stops_a_run(tmp_path: Path, story: Callable[[int], str]) -> None:
    """Every broken record is in unreadable/ or rejected/, with its path, and the run goes on to its end."""
    source = tmp_path / "in"
    source.mkdir()
    bad_inputs(source, story)
    config = tmp_path / "bad.toml"
    config.write_text("[self_clean]\nrounds = 0\n[tokenizer]\nvocab_size = 300\n")
    line = ["--config", str(config), "--input", f"{source}/*", "--output", str(tmp_path / "out")]
    done = measured([sys.executable, "-m", "pipeline.run", *line], timeout=500)
    assert done.returncode == 0, done.stderr
    unreadable = pq.read_table(tmp_path / "out/unreadable").to_pylist()
    names = [Path(row["path"]).name for row in unreadable]
    one_each = {
        "cut.jsonl.gz",
        "cut.warc",
        "noise.parquet",
        "latin.txt",
        "folder.jsonl",
        "fifo.jsonl",
        "caf\\xe9.jsonl",
        "circle.jsonl",
    }
    assert one_each <= set(names)
    assert "empty.jsonl" not in names, "it has no bytes that could be wrong: it is skipped"
    assert names.count("lines.jsonl") == 6
    rejected = {Path(row["path"]).name: row for row in pq.read_table(tmp_path / "out/rejected").to_pylist()}
    assert rejected["deep.warc"]["text"] == "deep"
    assert rejected["styles.warc"]["text"].startswith("styles")
    assert rejected["long.jsonl"]["reason"] == "too_large"
    assert rejected["long.jsonl"]["value"] > 200_000_000
    assert rejected["long.jsonl"]["threshold"] == LIMIT
    assert rejected["repeated.txt"]["reason"].startswith(("duplicate", "top", "too_many"))
    assert "nul.jsonl" in {Path(path).name for path in pq.read_table(tmp_path / "out/documents")["path"].to_pylist()}
    assert done.peak_mb < 1900, "the largest process holds 2 GB"


def small(folder: Path, more: str = "") -> list[str]:
    """Return the options of a run without self-cleaning over the .jsonl files of a folder."""
    config = folder / "small.toml"
    config.write_text("[self_clean]\nrounds = 0\n[tokenizer]\nvocab_size = 300\n" + more)
    return ["--config", str(config), "--input", f"{folder}/*.jsonl", "--output", f"{folder}/out"]


def on_terminal(*line: str) -> tuple[int, str]:
    """Run a module where its output is a terminal of 80 columns; return its exit code and what was written there."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen([sys.executable, "-m", *line], stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        written = b""
        with contextlib.suppress(OSError):  # which is how a terminal ends on Linux
            while part := os.read(ours, 1 << 16):
                written += part
    os.close(ours)
    return process.returncode, written.decode()


def test_a_person_at_a_terminal_sees_every_stage(tmp_path: Path, story: Callable[[int], str]) -> None:
    """Lines as they are in a file, below them a bar while a stage is at work; and the state, watched to its end."""
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": story(n)}) for n in range(20)))
    code, written = on_terminal("pipeline.run", *small(tmp_path))
    assert code == 0, written
    for stage in orjson.loads((tmp_path / "out/run.json").read_bytes())["seconds"]:
        assert re.search(rf"{re.escape(stage)}: \d+ of \d+", written), stage
    assert "\x1b[?25l" in written, "no bar hid the cursor"
    code, written = on_terminal("pipeline.status", f"{tmp_path}/out", "--watch")
    assert code == 0, written
    assert "finished · results are there" in written


def test_one_document_is_a_corpus(tmp_path: Path, story: Callable[[int], str]) -> None:
    """With the default rounds and one document nothing can be judged; the run says so and keeps it."""
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps({"text": story(1)}))
    config = tmp_path / "tiny.toml"
    config.write_text("[tokenizer]\nvocab_size = 300\n[evaluator]\nvocab_size = 300\n")
    done = start("--config", str(config), "--input", f"{tmp_path}/a.jsonl", "--output", f"{tmp_path}/out")
    assert done.returncode == 0, done.stderr
    report = orjson.loads((tmp_path / "out/report.json").read_bytes())
    assert "no language can be judged" in report["decision"]
    assert pq.read_table(tmp_path / "out/documents").num_rows == 1


@pytest.mark.parametrize("keep", ['"signatures"', "false"])
def test_a_run_without_stages_can_be_repeated(tmp_path: Path, story: Callable[[int], str], keep: str) -> None:
    """What was tidied away is done again, with the same results."""
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": story(i)}) for i in range(30)))
    options = small(tmp_path, f"[output]\nkeep_stages = {keep}\n")
    results = []
    for _ in range(2):
        done = start(*options)
        assert done.returncode == 0, done.stderr
        results.append([p.read_bytes() for p in sorted((tmp_path / "out/shards").glob("*.arrow"))])
    assert results[0] == results[1]
    kept = {p.name for p in (tmp_path / "out/stages").glob("ingest/*/*")}
    assert kept == ({"signatures"} if "signatures" in keep else set())


def test_a_sample_is_a_share_of_the_documents(tmp_path: Path, story: Callable[[int], str]) -> None:
    """A sample takes about its share, of the unreadable records too, and says what the whole would cost."""
    lines = [orjson.dumps({"text": story(i)}) for i in range(400)] + [b"{"] * 20
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    done = start(*small(tmp_path, "[ingest]\nmax_unreadable = 0.2\n"), "--sample", "0.25")
    assert done.returncode == 0, done.stderr
    report = orjson.loads((tmp_path / "out/report.json").read_bytes())
    assert 60 < report["funnel"][1]["count"] < 140
    assert report["skipped"]["not sampled"] > 280
    assert "projected from a share of 0.25" in done.stdout


def test_a_missing_tokenizer_is_seen_before_any_work(tmp_path: Path) -> None:
    """A model that is not there is a mistake in what was asked, not a failure after hours."""
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps({"text": TEXT}))
    config = tmp_path / "c.toml"
    config.write_text('[tokenizer]\nmodel = "nowhere.model"\n')
    done = start("--config", str(config), "--input", f"{tmp_path}/a.jsonl", "--output", f"{tmp_path}/out")
    assert done.returncode == 2
    assert "tokenizer.model nowhere.model" in done.stderr
