"""A small corpus and small settings, for the tests that run the whole line; and a browser."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NOUNS = (
    "river mountain library engine teacher garden market window village doctor harbour letter kitchen winter story "
    "bridge farmer painting school island forest machine captain journal station valley museum castle author road"
).split()
VERBS = (
    "found opened described painted followed remembered crossed built carried watched left reached kept drew".split()
)
PLACES = (
    "near the old town|behind the hill|in the early morning|after the long war|with great care|under the snow".split(
        "|"
    )
)
CHINESE = "我们 今天 学习 中国 历史 城市 经济 发展 技术 生活 问题 社会 文化 教育 世界 人民 国家 研究 时间 工作".split()

SETTINGS = """
[ingest]
shard_bytes = 100000
part_bytes = 100000

[tokenizer]
vocab_size = 600

[evaluator]
vocab_size = 400
width = 32
layers = 2
heads = 2
hidden = 64
context_length = 64
batch_tokens = 256
train_tokens = 20000

[self_clean]
rounds = 2
outlier = 1
score_tokens = 60000
count_tokens = 100000
min_language_tokens = 1000
anchor_documents = 60
min_anchor_documents = 10
min_agreement = -1
min_stratum_documents = 20
guard_documents = 1000
max_vocabulary_shift = 1

[publish]
shard_tokens = 40000
group_bytes = 300000
validation = 0.05
"""


PATTERNS = (
    "The {0} and the {1} {v} {p}.",
    "Nobody {v} a {0} that the {1} of the {2} had to sell {p}.",
    "{p} every {0} {v} with its {1}, but the {2} is quiet.",
    "A {0} {v} the {1}, because that {2} was not to be had.",
    "It was the {0} who {v} our {1} and never came to the {2} {p}.",
    "Two of the {0}s {v} what a {1} or a {2} would have been.",
    "Between {0} and {1} there is a {2} that someone {v} {p}.",
    "She {v} them {p}, far from the {0} with a {1} in the {2}.",
)


def sentence(draw: random.Random) -> str:
    """Return an English sentence."""
    words = {"v": draw.choice(VERBS), "p": draw.choice(PLACES)}
    made = draw.choice(PATTERNS).format(*draw.sample(NOUNS, 3), **words)
    return made[0].upper() + made[1:]


def text(draw: random.Random) -> str:
    """Return an English or Chinese document of a few lines."""
    if draw.random() < 0.2:
        return "\n".join("".join(draw.choices(CHINESE, k=12)) + "。" for _ in range(draw.randint(6, 20)))
    lines = (" ".join(sentence(draw) for _ in range(draw.randint(2, 4))) for _ in range(draw.randint(3, 12)))
    return "\n".join(lines)


def document(draw: random.Random, before: list[str]) -> str:
    """Return a document: mostly new, some copied, some copied with a change, some junk."""
    kind = draw.random()
    if kind < 0.08 and before:
        return draw.choice(before)
    if kind < 0.16 and before:
        return draw.choice(before) + " " + sentence(draw)
    if kind < 0.24:
        return " ".join(draw.choices(NOUNS + VERBS, k=draw.randint(3, 30)))
    if kind < 0.30:
        words = text(draw).split()
        draw.shuffle(words)
        return " ".join(words) + " end. And more. So it is."
    return text(draw)


@pytest.fixture(scope="session")
def story() -> Callable[[int], str]:
    """Return a function that writes one good document for each seed."""
    return lambda seed: "\n".join(
        " ".join(sentence(draw) for _ in range(3)) for draw in [random.Random(seed)] for _ in range(6)
    )


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write ten JSONL files of documents with duplicates, junk and a few broken records."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(7)
    before: list[str] = []
    for number in range(10):
        lines = []
        for row in range(90):
            before.append(document(draw, before))
            record = {
                "id": f"{number}-{row}",
                "text": before[-1],
                "url": f"http://host{row % 30}.example/{number}/{row}",
            }
            lines.append(orjson.dumps(record))
        lines.insert(5, b'{"text": "cut off')
        (folder / f"part-{number}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the configuration that makes a run small."""
    path = tmp_path_factory.mktemp("settings") / "small.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture(scope="session")
def command(corpus: Path, settings: Path) -> Callable[..., list[str]]:
    """Return a function that makes the command line of a run into a folder."""

    def make(output: Path, *more: str, config: Path = settings) -> list[str]:
        fixed = ["--config", str(config), "--input", f"{corpus}/*.jsonl", "--output", str(output)]
        return [sys.executable, "-m", "pipeline.run", *fixed, *more]

    return make


@pytest.fixture(scope="session")
def run(command: Callable[..., list[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the line into a folder and insists that it succeeds."""

    def start(output: Path, *more: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
        line = command(output, *more) if config is None else command(output, *more, config=config)
        done = subprocess.run(line, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done

    return start


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, run: Callable[..., subprocess.CompletedProcess[str]]) -> Path:
    """Run undisturbed with two workers."""
    output = tmp_path_factory.mktemp("finished") / "out"
    run(output, "--direct_num_workers=2")
    return output


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield Debian's Chromium; without it the tests are skipped, except where CI must have it."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: apt-get install chromium")
        pytest.skip("chromium is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """Yield an empty tab."""
    page = browser.new_page()
    yield page
    page.close()
