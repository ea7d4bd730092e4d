"""Every mistake in a configuration is an error that names the key and what is allowed."""

import tomllib
from pathlib import Path

import pytest

from pipeline.config import Config, ConfigError, as_table, load

FAMILIES = frozenset({"gopher_quality", "c4"})
INPUT = '[[input]]\nname = "web"\npaths = ["a/*"]\n'
FULL = """
[[input]]
name = "web"
paths = ["crawl/*.warc.gz", "more/**"]
[[input]]
name = "books"
paths = ["books/*.txt"]
text = "body"
txt = "lines"
[ingest]
steps = ["language", "c4"]
max_unreadable = 1
[language]
allow = ["en", "de"]
[gopher_quality]
words = { min = 50, max = 100_000 }
[gopher_quality.mean_word_length.by_language]
de = { max = 12 }
ko = { min = false }
[c4]
lines = { min = 3, languages = ["en"] }
[deduplicate]
threshold = 0.8
[evaluator]
tie_embeddings = false
[self_clean]
rounds = 0
[output]
rejected_text = "head:100"
keep_stages = "signatures"
"""


def loaded(folder: Path, text: str) -> Config:
    """Load a configuration of this text."""
    (folder / "a.toml").write_text(text, encoding="utf-8")
    return load(str(folder / "a.toml"), FAMILIES)


def test_a_full_file_loads(tmp_path: Path) -> None:
    """Every kind of value arrives, whole numbers as numbers where a number is wanted."""
    config = loaded(tmp_path, FULL)
    assert [given.name for given in config.input] == ["web", "books"]
    assert config.input[1].txt == "lines"
    assert config.ingest.steps == ("language", "c4")
    assert isinstance(config.ingest.max_unreadable, float)
    assert config.families == {name: tomllib.loads(FULL)[name] for name in FAMILIES}
    assert config.evaluator.tie_embeddings is False
    assert as_table(config)["deduplicate"]["threshold"] == 0.8


def test_defaults_are_within_their_own_ranges(tmp_path: Path) -> None:
    """Writing out every default gives the default configuration."""
    lines = []
    for table, values in as_table(Config()).items():
        if isinstance(values, dict) and values:
            lines.append(f"[{table}]")
            for key, value in values.items():
                shown = (
                    str(value).lower()
                    if isinstance(value, bool)
                    else repr(list(value) if isinstance(value, tuple) else value)
                )
                lines.append(f"{key} = {shown}")
    assert loaded(tmp_path, "\n".join(lines)) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[dedup]", "unknown key dedup; known here: badwords, c4, classifier, decontaminate"),
        ("[deduplicate]\nband = 1", "unknown key deduplicate.band; known here: bands, exact, keep, line_sentences, "),
        ("sample = 0.5", "unknown key sample"),
        ("families = {}", "unknown key families"),
        ("[deduplicate]\nbands = 0", "deduplicate.bands must be between 1 and 256, got 0"),
        ('[deduplicate]\nexact = ["words"]', "deduplicate.exact must be a list of text, normalised, url, got words"),
        ('[deduplicate]\nexact = ["url", "url"]', "deduplicate.exact must be a list of text, normalised, url, got url"),
        ('[deduplicate]\nverify = "hope"', "deduplicate.verify must be one of estimate, exact, got 'hope'"),
        ('[deduplicate]\nlines = "word"', "deduplicate.lines must be one of none, line, paragraph, got 'word'"),
        (
            "[deduplicate]\nwanted_threshold = 0.8\nrows = 4",
            "deduplicate.wanted_threshold chooses bands and rows; leave out rows",
        ),
        (
            "[deduplicate]\nwanted_threshold = 0.01",
            "deduplicate.wanted_threshold: 112 values find pairs of similarity 0.01 with probability 0.676 at most",
        ),
        ("[deduplicate]\nbands = 257", "deduplicate.bands must be between 1 and 256, got 257"),
        ("[deduplicate]\nthreshold = nan", "deduplicate.threshold must be between 0 and 1, got nan"),
        ("[self_clean]\ndrop = inf", "self_clean.drop must be between"),
        ("[deduplicate]\nbands = 1.5", "deduplicate.bands must be a whole number, got 1.5"),
        ('[deduplicate]\nbands = "1"', "deduplicate.bands must be a whole number, got '1'"),
        ("[deduplicate]\nbands = true", "deduplicate.bands must be a whole number, got True"),
        ("[deduplicate]\nthreshold = true", "deduplicate.threshold must be a number, got True"),
        ("[evaluator]\ntie_embeddings = 1", "evaluator.tie_embeddings must be true or false, got 1"),
        ("[language]\nmodel = 1", "language.model must be a string, got 1"),
        ('[language]\nallow = "en"', "language.allow must be a list, got 'en'"),
        ('[language]\nallow = ["en", 1]', "language.allow[1] must be a string, got 1"),
        ('[output]\nkeep_stages = "all"', "output.keep_stages must be one of true, signatures, false, got 'all'"),
        ('[output]\nrejected_text = "head:x"', "output.rejected_text must be full, none or head:N, got 'head:x'"),
        ("deduplicate = 1", "deduplicate must be a table, got 1"),
        ("[input]\nname = 'a'", "input must be a list of tables, [[input]], got {'name': 'a'}"),
        ("input = [1]", "input[0] must be a table, got 1"),
        (INPUT + 'fields = "x"', "unknown key input[0].fields; known here: date, id"),
        (INPUT + 'txt = "page"', "input[0].txt must be one of file, lines, got 'page'"),
        (INPUT + INPUT, "input names must differ, got web, web"),
        ("[[input]]\nname = 'a'", "input 'a' has no paths"),
        ("c4 = 1", "c4 must be a table of signals, got 1"),
        ("[c4]\nlines = 3", "c4.lines must be a table with min or max, got 3"),
        ("[evaluator]\nheads = 5", "evaluator.width must be a multiple of evaluator.heads"),
        ("[self_clean]\nloose_bands = 200", "self_clean.loose_bands x loose_rows must not exceed"),
        ("x = [", "cannot read the configuration"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    """The error says which key is wrong and what would be right."""
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, text)
    assert str(raised.value).startswith(message)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no UTF-8 are mistakes, not crashes."""
    (tmp_path / "b.toml").write_bytes(b"\xff")
    for name in ("missing.toml", "b.toml", "."):
        with pytest.raises(ConfigError, match="cannot read the configuration"):
            load(str(tmp_path / name), FAMILIES)


def test_a_wanted_threshold_chooses_the_bands(tmp_path: Path) -> None:
    """Bands and rows follow from the similarity and the values of a signature, which stay."""
    settings = loaded(tmp_path, "[deduplicate]\nwanted_threshold = 0.7\n").deduplicate
    assert (settings.bands, settings.rows, settings.count) == (22, 5, 112)
    assert loaded(tmp_path, "[deduplicate]\nbands = 20\nrows = 13\n").deduplicate.count == 260


def test_tables_by_name_load(tmp_path: Path) -> None:
    """Classifiers, bounds of own functions and thresholds by language arrive as what they are."""
    text = """
[classifier.quality]
model = "q.bin"
label = "good"
min = 0.5
by_language = { de = { min = 0.3 } }
[own.commas]
max = 1
[language.minimum_by_language]
en = 1
"""
    config = loaded(tmp_path, text)
    assert config.classifier["quality"].by_language["de"].min == 0.3
    assert config.own["commas"].max == 1.0
    assert config.language.minimum_by_language == {"en": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[classifier.Quality]", "classifier.Quality: a name is made of a-z"),
        ("[classifier.q]\nmin = 2", "classifier.q.min must be between 0 and 1, got 2"),
        ("[classifier.q.by_language.de]\nleast = 1", "unknown key classifier.q.by_language.de.least"),
        ("[classifier]\nq = 1", "classifier.q must be a table"),
        ("[own]\ncommas = 1", "own.commas must be a table"),
        ("own = 1", "own must be a table"),
        ("[own.commas]\nmax = 1e300", "own.commas.max must be between"),
        ('[language.minimum_by_language]\nen = "high"', "language.minimum_by_language.en must be a number"),
        ('[pii]\nmode = "hide"', "pii.mode must be one of mask, tag"),
        ('[url]\nblocked_domains = "list.txt"', "url.blocked_domains must be a list"),
    ],
)
def test_mistakes_in_tables_by_name_are_named(tmp_path: Path, text: str, message: str) -> None:
    """The whole way to the key is in the message."""
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, text)
    assert str(raised.value).startswith(message)
