"""The step url: lists from files, refusals, columns, and what counts in the fingerprint."""

from pathlib import Path

import pytest

from pipeline.config import Config, ConfigError, Ingest, Url
from pipeline.steps import apply, check_steps, make_steps, prepare
from tests.pipeline.tables import with_urls

STEPS = Ingest(steps=("language", "url"))


def listed(folder: Path, name: str, text: str) -> tuple[str, ...]:
    """Write a list and return its paths."""
    (folder / name).write_text(text, encoding="utf-8")
    return (str(folder / name),)


def test_rejects_have_reason_value_threshold_and_entry(tmp_path: Path) -> None:
    """Comments and blank lines are passed over; a document without an address is kept."""
    domains = listed(tmp_path, "domains", "# adult\n\nbad.example\n")
    words = listed(tmp_path, "words", "free\ncam\nchat\n")
    config = Config(ingest=STEPS, url=Url(blocked_domains=domains, doubtful_words=words))
    check_steps(config)
    urls = ["http://x.bad.example/", "http://a.example/free-cam-chat", "http://a.example/chat", ""]
    kept, (rejected,) = apply(with_urls(urls), make_steps(config))
    assert kept["url"].to_pylist() == urls[2:]
    assert kept["url.entry"].to_pylist() == ["chat", None]
    assert kept["url.doubtful_words"].to_pylist() == [1.0, None]
    rows = [(row["reason"], row["value"], row["threshold"], row["url.entry"]) for row in rejected.to_pylist()]
    assert rows == [
        ("domain_blocked", 1.0, 0.0, "bad.example"),
        ("url_has_doubtful_words", 3.0, 1.0, "cam chat free"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no entry"),
        ("# only a comment\n", "has no entry"),
        ("good.example\nbad example\n", "list, line 2: not a domain: 'bad example'"),
    ],
)
def test_bad_lists_are_refused_at_the_start(tmp_path: Path, content: str, message: str) -> None:
    """File and line are named."""
    config = Config(ingest=STEPS, url=Url(blocked_domains=listed(tmp_path, "list", content)))
    with pytest.raises(ConfigError, match=message):
        check_steps(config)


def test_lists_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """A missing file, and one that is no text."""
    (tmp_path / "latin").write_bytes("café".encode("latin-1"))
    for path in (tmp_path / "nowhere", tmp_path / "latin"):
        with pytest.raises(ConfigError, match=f"cannot read the list {path}"):
            check_steps(Config(ingest=STEPS, url=Url(blocked_words=(str(path),))))


def test_settings_and_step_come_together(tmp_path: Path) -> None:
    """Settings without a list to use them on, and a list without the step, would do nothing."""
    with pytest.raises(ConfigError, match="nothing to judge by"):
        check_steps(Config(ingest=STEPS, url=Url(max_doubtful_words=3)))
    words = listed(tmp_path, "words", "casino\n")
    with pytest.raises(ConfigError, match="settings for url, which is not in"):
        check_steps(Config(ingest=Ingest(steps=("language",)), url=Url(blocked_words=words)))


def test_without_settings_the_step_does_nothing() -> None:
    """It is one of the default steps: the documents it keeps are those it was given, and it has no columns."""
    (step,) = prepare(Config(ingest=Ingest(steps=("url",))))
    documents = with_urls(["http://bad.example/", ""])
    found = step.apply(documents)
    assert found.kept is documents
    assert len(found.rejected) == 0
    assert (step.fields, step.rules) == ((), ())


def test_what_stands_in_a_list_counts_its_place_does_not(tmp_path: Path) -> None:
    """The same entries elsewhere lead to the same stage, other entries in the same file to another."""
    first = Config(ingest=STEPS, url=Url(blocked_words=listed(tmp_path, "a", "casino\n")))
    second = Config(ingest=STEPS, url=Url(blocked_words=listed(tmp_path, "b", "casino\n")))
    before = [step.decided_by() for step in prepare(first)]
    assert before == [step.decided_by() for step in prepare(second)]
    listed(tmp_path, "a", "casino\npoker\n")
    assert before != [step.decided_by() for step in prepare(first)]
