"""The container file agrees with the project; whether it builds needs a Docker daemon, and is not tested."""

import fnmatch
import re
import tomllib
from pathlib import Path

from pipeline.identity import PACKAGES

ROOT = Path(__file__).parent.parent
STEPS = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())


def arguments(instruction: str) -> list[str]:
    """Return what follows an instruction, each time it is given."""
    return re.findall(rf"^{instruction} (.*)$", STEPS, re.MULTILINE)


def locked(name: str) -> str:
    """Return the version of a package that the container's lock pins."""
    (version,) = re.findall(rf"^{name}==(\S+)", (ROOT / "requirements-gcp.lock").read_text(), re.MULTILINE)
    return str(version)


def test_everything_that_is_copied_is_there_and_sent() -> None:
    """Every source of a COPY is in the repository and not ignored, and every package is copied."""
    sources = [name for line in arguments("COPY") if not line.startswith("--from") for name in line.split()[:-1]]
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(sources) == sent
    assert all((ROOT / name).exists() for name in sources)
    assert set(PACKAGES) <= set(sources)


def test_versions_are_the_projects() -> None:
    """Python, Beam's start program and uv are those of pyproject.toml, of the lock and of the Makefile."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (base,) = arguments("FROM")
    python = base.removeprefix("python:").partition("-")[0]
    assert project["project"]["requires-python"] == f">={python}"
    (beam,) = [line for line in arguments("COPY") if line.startswith("--from")]
    assert f"apache/beam_python{python}_sdk:{locked('apache-beam')} " in beam
    assert '"uv==0.13.*"' in STEPS
    assert '"uv==0.13.*"' in (ROOT / "Makefile").read_text()
    wanted = next(line for line in project["project"]["dependencies"] if line.startswith("apache-beam"))
    assert fnmatch.fnmatch(locked("apache-beam"), wanted.partition("==")[2])


def test_both_locks_pin_the_same() -> None:
    """What the tests run with and what the workers run with are the same versions, the container's with hashes."""
    pins = [
        dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-gcp.lock")
    ]
    shared = pins[0].keys() & pins[1].keys()
    assert {name: pins[0][name] for name in shared} == {name: pins[1][name] for name in shared}
    assert {"apache-beam", "google-cloud-storage", "numba", "pyarrow", "torch"} <= pins[1].keys()
    text = (ROOT / "requirements-gcp.lock").read_text()
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\S)", text.strip()))


def test_a_process_finds_the_gpu_of_its_machine() -> None:
    """A process may score on a GPU, whose driver is where Dataflow puts it: without either a run with one ends."""
    (named,) = arguments("ENV")
    assert "LOCAL_RANK=0" in named.split()
    assert "/usr/local/nvidia/lib64" in named


def test_a_worker_starts_with_beams_program() -> None:
    """Dataflow hands its arguments to the entry point, which must be Beam's and be copied from Beam's image."""
    assert arguments("ENTRYPOINT") == ['["/opt/apache/beam/boot"]']
