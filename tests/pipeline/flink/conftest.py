"""Beam's job server for Flink, and a run of the line on this machine to compare with."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
JAR = HERE / "target/flink-job-server.jar"


@pytest.fixture(scope="session")
def jar() -> str:
    """Return the job server's jar, built where it is not there; without Java and Maven the tests are skipped.

    LUSTRATE_FLINK_JAR names another, which needs no Maven. Where CI is set, they must be there.
    """
    given = os.environ.get("LUSTRATE_FLINK_JAR")
    missing = [name for name in ("java", *([] if given else ["mvn"])) if shutil.which(name) is None]
    if missing:
        reason = f"not run on Flink: {' and '.join(missing)} missing: apt-get install default-jre-headless maven"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    if given:
        return given
    if not JAR.exists() or JAR.stat().st_mtime < (HERE / "pom.xml").stat().st_mtime:
        built = subprocess.run(["mvn", "-q", "-B", "package"], cwd=HERE, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stdout + built.stderr
    return str(JAR)


@pytest.fixture(scope="session")
def one_round(settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return settings with one round."""
    path = tmp_path_factory.mktemp("one-round") / "small.toml"
    path.write_text(settings.read_text().replace("rounds = 2", "rounds = 1"))
    return path


@pytest.fixture(scope="session")
def local(
    tmp_path_factory: pytest.TempPathFactory, run: Callable[..., subprocess.CompletedProcess[str]], one_round: Path
) -> Path:
    """Run on this machine; its judges are what the runs on Flink are given, and `printed` beside it what it said."""
    output = tmp_path_factory.mktemp("local") / "out"
    done = run(output, "--direct_num_workers=1", config=one_round)
    output.with_name("printed").write_text(done.stdout)
    return output
