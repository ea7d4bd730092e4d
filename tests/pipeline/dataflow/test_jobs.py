"""Dataflow's job of every stage, built offline and looked at; each stage is then done from its job, as a worker would.

Nothing is submitted, so this shows that jobs are translated and complete, not that the service runs them. It needs
Beam's [gcp] (`make dataflow-test`), which makes `import apache_beam` take four CPU seconds instead of one.
"""

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from rich.console import Console

pytest.importorskip("google.cloud.dataflow_v1beta3", reason="Beam's [gcp] is not here: make dataflow-test")

from filters.families import FAMILIES
from pipeline import clean, deduplicate, publish, storage, task_failure
from pipeline.cluster import UNSTAGED, prepared
from pipeline.config import Config, Deduplicate, Input, Publish, load
from pipeline.execute import RunFailed, Watch, Work
from pipeline.ingest import IngestShard, Settings
from pipeline.job import EXAMPLE, Job, hints, make_job, make_pipeline, require_gpu
from pipeline.job import load as load_job
from pipeline.line import Asked, Line
from pipeline.needs import WORKER_BYTES
from pipeline.plan import Piece, Shard, make_plan
from pipeline.progress import display
from pipeline.self_clean.evaluators import TRAINING_BYTES
from pipeline.self_clean.judges import Judges
from pipeline.self_clean.measure import MeasureShard
from pipeline.shards import DocumentShard
from pipeline.stage import Manifest, Stage, make_stage, read_records, write_manifest
from pipeline.starring import HashGroup
from pipeline.verifying import Verify
from tests.benchmarks.scale_tables import SETTINGS

IMAGE = "europe-west4-docker.pkg.dev/our-project/images/lustrate:0.1.0"
ACCELERATOR = EXAMPLE
PROCESSES = 4  # of a machine
OPTIONS = (
    "--runner=DataflowRunner",
    "--project=our-project",
    "--region=europe-west4",
    "--temp_location=gs://our-bucket/temporary",
    f"--sdk_container_image={IMAGE}",
    "--sdk_location=container",
    f"--machine_type=n2d-standard-{PROCESSES}",
    "--dry_run=True",  # Beam's own: the job is made and not submitted
)
LIMIT = 10_000_000  # bytes of a job's graph; Dataflow's quotas, "job graph size must not exceed 10 MB"
JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")  # google.cloud.dataflow_v1beta3.Job.name
GROUP, RESHUFFLE, PARDO = (
    "beam:transform:group_by_key:v1",
    "beam:transform:reshuffle:v1",
    "beam:transform:pardo:v1",
)
VARINT, KV, TUPLE = "beam:coder:varint:v1", "beam:coder:kv:v1", "beam:coder:tuple:v1"


@dataclass(frozen=True)
class Built:
    """A stage's job as Dataflow would get it."""

    job: Job
    request: Any  # google.cloud.dataflow_v1beta3.Job
    graph: Any  # Beam's Pipeline proto

    @property
    def transforms(self) -> dict[str, Any]:
        """The transforms by the names that the console shows."""
        return {transform.unique_name: transform for transform in self.graph.components.transforms.values()}

    def coder(self, collection: str) -> Any:
        """Return the coder of a collection."""
        components = self.graph.components
        return components.coders[components.pcollections[collection].coder_id]

    def parts(self, coder: Any) -> list[Any]:
        """Return the coders that a coder is made of."""
        return [self.graph.components.coders[name] for name in coder.component_coder_ids]

    def hints(self, transform: Any) -> dict[str, str]:
        """Return the resource hints that a transform runs with."""
        environment = self.graph.components.environments[transform.environment_id]
        return {name.split(":")[2]: value.decode() for name, value in environment.resource_hints.items()}

    def function(self, name: str) -> tuple[Any, tuple[Any, ...]]:
        """Return a transform's function and the arguments that the graph gives it, unpickled as a worker does."""
        payload = beam_runner_api_pb2.ParDoPayload.FromString(self.transforms[name].spec.payload)
        function, arguments, *_ = pickler.loads(payload.do_fn.payload)
        return function, arguments


def build(options: Sequence[str], job: Job) -> Built:
    """Make a job for Dataflow."""
    result: Any = make_pipeline(options, job).run()
    return Built(job, result.job.proto, result.job.proto_pipeline)


@dataclass
class Worker:
    """An engine that makes each stage's job for Dataflow and does the tasks from what the job's graph holds."""

    ready: Callable[[Stage], tuple[str, ...]]
    built: dict[str, Built] = field(default_factory=dict)

    def run(
        self, stage: Stage, work: Work, tasks: Sequence[Any], watch: Watch, inside: Callable[[], str] = str
    ) -> Manifest:
        """Build, then work."""
        began = time.monotonic()
        built = build(self.ready(stage), make_job(stage, work, tasks))
        self.built[stage.name] = built
        numbers, _ = built.function("DoNumbered/Numbers")
        function, arguments = built.function("DoNumbered/Work")
        for number in numbers.process(len(tasks)):
            list(function.process(number, arguments[0]))  # the job; without the accelerator, which is not here
        watch(len(tasks), list(read_records(stage.folder)), inside())
        return write_manifest(stage, time.monotonic() - began)


def lines(settings: Path) -> Iterator[Config]:
    """Yield configurations that have every stage between them."""
    once = settings.read_text().replace("rounds = 2", "rounds = 1")
    for name, more in (("estimate", 'lines = "line"'), ("exact", 'verify = "exact"\nstar_rounds = 1')):
        path = settings.with_name(f"{name}.toml")
        path.write_text(f"{once}\n[deduplicate]\n{more}\n")
        yield load(str(path), frozenset(FAMILIES))


@pytest.fixture(scope="module")
def built(corpus: Path, settings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Run a line with self-cleaning and one with exact verification up to it; return the jobs of all stages."""
    found: dict[str, Built] = {}
    asked = Asked(until="report", evaluator="", earlier=())
    for config, ask in zip(lines(settings), (asked, replace(asked, until="deduplicate")), strict=True):
        whole = replace(config, input=(Input(paths=(f"{corpus}/*.jsonl",)),))
        with (
            prepared(None, (*OPTIONS, f"--score_accelerator={ACCELERATOR}")) as ready,  # type: ignore[arg-type]
            display(Console(quiet=True)) as shown,
        ):
            worker = Worker(ready)
            line = Line(whole, str(tmp_path_factory.mktemp("line")), worker, shown)  # type: ignore[arg-type]
            clean.check_conservation(clean.clean(line, make_plan(whole), ask))
        found = worker.built | found
    return found


def test_every_stage_is_a_job(built: dict[str, Built]) -> None:
    """The stages of the README, and those of exact verification, each under a name that Dataflow takes."""
    last = {name.split(".")[-1].rstrip("-0123456789") for name in built}
    assert last >= set(
        "ingest hashes stars attach verify attach_texts verify_texts clusters members keepers precision lines owners "
        "deduplicate sample tokenizer folds rejects train count anchors damage fit measure score verdicts encode "
        "merge".split()
    )
    assert len(built) > 30
    for one in built.values():
        assert JOB_NAME.fullmatch(one.request.name)
        assert one.request.type_.name == "JOB_TYPE_BATCH"


def test_what_is_shuffled_is_numbers(built: dict[str, Built]) -> None:
    """One reshuffle a job: its keys are whole numbers, whose coder is deterministic, its values a task's number."""
    for one in built.values():
        groups = [t for t in one.transforms.values() if t.spec.urn == GROUP]
        assert [t.spec.urn for t in one.transforms.values()].count(RESHUFFLE) == len(groups) == 1
        (collection,) = groups[0].inputs.values()
        coder = one.coder(collection)
        assert coder.spec.urn == KV
        key, value = one.parts(coder)
        assert key.spec.urn == VARINT
        assert value.spec.urn == TUPLE
        number, *beams_own = one.parts(value)
        assert number.spec.urn == VARINT
        assert len(beams_own) == 2, "the time stamp and the pane that Beam carries along"


def test_hints_are_where_something_is_needed(built: dict[str, Built]) -> None:
    """Memory for the tasks that hold the corpus or train on it, a GPU for scoring, and nothing for any other step."""
    trained = {"tokenizer", "self_clean.tokenizer", "self_clean.round-1.train"}
    memory = {"deduplicate.clusters", "self_clean.folds", *trained}
    hinted: dict[str, dict[str, str]] = {}
    for name, one in built.items():
        for step, transform in one.transforms.items():
            hints = one.hints(transform) if transform.environment_id else {}
            assert not hints or step == "DoNumbered/Work"
            hinted[name] = hints or hinted.get(name, {})
    assert {name for name, hints in hinted.items() if "min_ram_bytes" in hints} == memory
    assert {name: hints["accelerator"] for name, hints in hinted.items() if "accelerator" in hints} == {
        "self_clean.round-1.score": ACCELERATOR
    }
    unite: Any = load_job(built["deduplicate.clusters"].job)[0]
    least = PROCESSES * WORKER_BYTES + 8 * unite.linking.documents + unite.linking.memory_bytes
    assert hinted["deduplicate.clusters"]["min_ram_bytes"] == str(least)
    folds = built["self_clean.round-1.train"].job.count
    least = PROCESSES * WORKER_BYTES + folds * TRAINING_BYTES
    assert folds == 2
    assert hinted["self_clean.round-1.train"]["min_ram_bytes"] == str(least)


def test_a_worker_without_its_gpu_says_so(built: dict[str, Built], monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is paid for and not found ends the run, instead of scoring on the CPU; no other stage looks."""
    asking = {name: one.function("DoNumbered/Work")[1][1] for name, one in built.items()}
    assert {name: told for name, told in asking.items() if told} == {"self_clean.round-1.score": ACCELERATOR}
    with monkeypatch.context() as there:
        there.setattr("model.score.own_device", lambda: "cuda:0")
        require_gpu(ACCELERATOR)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    score = built["self_clean.round-1.score"]
    function, arguments = score.function("DoNumbered/Work")
    assert list(function.process(0, *arguments)) == [""]
    with pytest.raises(RunFailed, match=f"finds no GPU, which --score_accelerator={re.escape(ACCELERATOR)}"):
        task_failure.check(score.job.path)


def asked(deduplicating: Deduplicate, publishing: Publish, folds: int, folder: Path) -> dict[str, int]:
    """Return the memory of a machine that works ask for, as far as they do: dedup, encode, merge and measure."""
    _, shards = many(100)
    linking = deduplicate.make_linking(deduplicating, shards, [])
    groups = [publish.Group("0", (DocumentShard("0", "f", 0, 1, publishing.group_bytes),))]
    layout = publish.make_layout(publishing, 10**12, 4.0)
    sources = publish.Sources("d", "", "", "", "t")
    size = layout.shard_bytes(10**12 / 4, 32_000)
    judges = Judges("t", ("c",) * folds, ("w",) * folds, "r")
    stages: dict[str, tuple[Any, Sequence[Any]]] = {
        "hashes": (HashGroup(linking, "f"), linking.groups),
        "verify": (Verify(linking, "f", "a"), linking.groups),
        "encode": (publish.EncodeGroup("f", sources, layout, (), "false", groups[0].size), groups * 100),
        "merge": (publish.MergeShard("f", (), "t", size), [publish.MergeTask(name, 0) for name in layout.names]),
        "measure": (MeasureShard("f", cast(Any, None), judges, "s"), shards),
    }
    found = {}
    for name, (work, tasks) in stages.items():
        job = make_job(make_stage(str(folder), name, 1, [], []), work, tasks)
        found[name] = int(hints(PipelineOptions(list(OPTIONS)), job.needs, 100).get("min_ram", "0B")[:-1])
    return found


def test_settings_ask_for_what_they_take(tmp_path: Path) -> None:
    """The default ones for nothing, the large ones for 4 GB a process at most, and what is larger for more."""
    default, large = ((deduplicating, publishing) for _, deduplicating, publishing in SETTINGS)
    assert set(asked(*default, 2, tmp_path).values()) == {0}
    some = asked(*large, 2, tmp_path)
    assert all(PROCESSES * WORKER_BYTES < some[name] < PROCESSES * 2**32 for name in set(some) - {"measure"})
    larger = Deduplicate(memory_bytes=4 * 10**9), Publish(group_bytes=2 * 10**9, shard_tokens=250_000_000)
    assert all(memory > PROCESSES * 2**32 for memory in asked(*larger, 16, tmp_path).values())


def test_workers_are_our_image_and_get_nothing_else(built: dict[str, Built]) -> None:
    """Every step runs in the container, and no main session, package or requirement is staged beside it."""
    for one in built.values():
        for environment in one.graph.components.environments.values():
            payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
            assert (environment.urn, payload.container_image) == (common_urns.environments.DOCKER.urn, IMAGE)
            assert not environment.dependencies


def test_jobs_are_small(built: dict[str, Built]) -> None:
    """A graph takes some 20 KB, whatever its stage, and whatever number of tasks it has."""
    sizes = [one.graph.ByteSize() for one in built.values()]
    assert max(sizes) < 30_000
    assert max(sizes) - min(sizes) < 2000  # hints, and names


def many(count: int) -> tuple[list[Shard], list[DocumentShard]]:
    """Return the tasks of so many input files, with names that do not compress."""
    draw, shards, documents, first = random.Random(1), [], [], 0
    for number in range(count):
        name = f"{draw.getrandbits(128):032x}.jsonl.zst"
        size, changed = draw.randrange(10**9), 1.7e9 + draw.random() * 1e7
        piece = Piece(path=f"gs://our-bucket/crawl/{name}", relative=name, input=0, size=size, changed=changed)
        shards.append(Shard(f"{number:05d}", (piece,)))
        documents.append(DocumentShard(f"{number:05d}-000", "gs://o/s/ingest/f", first, draw.randrange(40_000), size))
        first += documents[-1].rows
    return shards, documents


def test_jobs_do_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """With 100,000 input files a job is as large as with ten: tasks, and a work that knows all shards, lie beside."""
    config = Config(input=(Input(paths=("x",)),))
    sizes: dict[int, list[int]] = {}
    for count in (10, 100_000):
        shards, documents = many(count)
        linking = deduplicate.make_linking(config.deduplicate, documents, [])
        stages: dict[str, tuple[Any, Sequence[Any]]] = {
            "ingest": (IngestShard(Settings(config, 1.0, "f")), shards),
            "hashes": (HashGroup(linking, "f"), linking.groups),
        }
        for name, (work, tasks) in stages.items():
            stage = make_stage(str(tmp_path), name, 1, [count], [])
            one = build((*OPTIONS, *UNSTAGED), make_job(stage, work, tasks))
            sizes.setdefault(count, []).append(one.graph.ByteSize())
            assert load_job(one.job) == (work, list(tasks))
            print(f"{name}: {count:,} tasks, graph {one.graph.ByteSize():,} bytes, beside it {_size(one.job.path):,}")
    for small, large in zip(sizes[10], sizes[100_000], strict=True):
        assert abs(large - small) < 1000
        assert large < LIMIT / 100


def _size(path: str) -> int:
    with storage.open_input(path) as file:
        return len(file.read())
