"""The other side of whole_line.py: datatrove's line, in an environment that has it, sentencepiece and spacy.

    PEERS_PYTHON tests/benchmarks/datatrove_line.py --input FOLDER --output FOLDER --language-model lid.176.ftz
        --tokenizer tokenizer.model --words spaces|spacy --workers 2

JSON lines in, language ID, Gopher repetition and quality, FineWeb, exact and MinHash deduplication, tokens out. What
datatrove has no step for is as cheap as it can be: its tokenizer step reads no SentencePiece model, so one of ours
encodes in batches and writes the tokens in the order they come. Processes are forked, which saves imports.
"""

import argparse
import functools
from importlib import import_module
from pathlib import Path
from typing import Any

BATCH = 1000
TASKS = 4


def main() -> None:
    """Run the line."""
    line = argparse.ArgumentParser()
    for name in ("--input", "--output", "--language-model", "--tokenizer", "--words"):
        line.add_argument(name, required=True)
    line.add_argument("--workers", type=int, default=2)
    asked = line.parse_args()
    _use_model(asked.language_model)
    _use_words(asked.words)
    out = Path(asked.output)
    run = functools.partial(_run, workers=asked.workers, logs=out / "logs")
    for number, (steps, tasks) in enumerate(_stages(asked, out)):
        run(steps, tasks=tasks, number=number)


def _stages(asked: Any, out: Path) -> list[tuple[list[Any], int]]:
    """Return the pipelines in order, and how many tasks each has."""
    readers, writers = import_module("datatrove.pipeline.readers"), import_module("datatrove.pipeline.writers")
    filters = import_module("datatrove.pipeline.filters")
    exact, near = import_module("datatrove.pipeline.dedup.exact_dedup"), import_module("datatrove.pipeline.dedup")
    whole = exact.ExactDedupConfig(content_getter=_text)
    shape = near.MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    judges = [
        filters.LanguageFilter(languages=["en"], language_threshold=0.65),
        filters.GopherRepetitionFilter(),
        filters.GopherQualityFilter(),
        filters.FineWebQualityFilter(),
    ]
    kept, unique = str(out / "kept"), str(out / "unique")
    first = [readers.JsonlReader(asked.input), *judges, writers.JsonlWriter(kept)]
    second = [readers.JsonlReader(kept), exact.ExactDedupFilter(str(out / "exact"), whole), writers.JsonlWriter(unique)]
    last = [readers.JsonlReader(unique), near.MinhashDedupFilter(str(out / "remove"))]
    return [
        ([*first, exact.ExactDedupSignature(str(out / "signatures"), whole)], TASKS),
        ([exact.ExactFindDedups(str(out / "signatures"), str(out / "exact"), whole)], 1),
        ([*second, near.MinhashDedupSignature(str(out / "hashes"), shape)], TASKS),
        ([near.MinhashDedupBuckets(str(out / "hashes"), str(out / "buckets"), config=shape)], shape.num_buckets),
        ([near.MinhashDedupCluster(str(out / "buckets"), str(out / "remove"), shape)], 1),
        ([*last, functools.partial(_encode, asked.tokenizer, str(out))], TASKS),
    ]


def _run(steps: list[Any], tasks: int, workers: int, number: int, logs: Path) -> None:
    executor = import_module("datatrove.executor").LocalPipelineExecutor
    executor(steps, tasks=tasks, workers=workers, logging_dir=str(logs / str(number)), start_method="fork").run()


def _text(document: Any) -> str:
    return document.text


def _use_model(path: str) -> None:
    """Let datatrove's language ID read a local model."""
    lid: Any = import_module("datatrove.utils.lid")
    lid.cached_asset_path_or_download = lambda *_, **__: path


def _use_words(words: str) -> None:
    """Split words at white space, in the filters and in the shingles, unless spaCy shall."""
    if words == "spacy":
        return
    tokenizers = import_module("datatrove.utils.word_tokenizers")
    spaces = type("Spaces", (tokenizers.WordTokenizer,), dict.fromkeys(_METHODS, _split))()
    minhash: Any = import_module("datatrove.pipeline.dedup.minhash")
    minhash.load_word_tokenizer = lambda _: spaces
    for name in ("gopher_repetition", "gopher_quality", "fineweb_quality"):
        module: Any = import_module(f"datatrove.pipeline.filters.{name}_filter")
        module.split_into_words = _words


_METHODS = ("word_tokenize", "sent_tokenize", "span_tokenize")


def _split(_: Any, text: str) -> list[str]:
    return text.split()


def _words(text: str, _: str) -> list[str]:
    return text.split()


def _encode(model: str, folder: str, data: Any, rank: int = 0, world_size: int = 1) -> Any:
    """Encode documents and write their tokens and where each ends."""
    import numpy as np

    processor = import_module("sentencepiece").SentencePieceProcessor(model_file=model)
    ends, total, texts = [], 0, []
    with Path(folder, f"tokens-{rank}-{world_size}.bin").open("wb") as file:
        for document in [*data, None]:
            if document is not None:
                texts.append(document.text)
            if texts and (document is None or len(texts) == BATCH):
                for tokens in processor.encode(texts, num_threads=1):
                    file.write(np.asarray([*tokens, processor.eos_id()], np.uint16).tobytes())
                    total += len(tokens) + 1
                    ends.append(total)
                texts = []
    Path(folder, f"tokens-{rank}.ends").write_bytes(np.asarray(ends, np.int64).tobytes())
    return iter(())


if __name__ == "__main__":
    main()
