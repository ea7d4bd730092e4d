"""The built-in demo corpus: the real text that any Python environment carries, gathered from this machine.

Package descriptions, licences, README and documentation files, docstrings of modules, and the system's own
documentation where there is any: a few megabytes of real text, full of natural near-duplicates (licences!) and junk.
No network is used, and nothing of it is shipped with the project.
"""

import ast
import warnings
from collections.abc import Iterator
from hashlib import blake2b
from importlib.metadata import Distribution, distributions
from pathlib import Path

import orjson

DEMO_PATHS = ("the built-in demo",)  # stands for the files until they are gathered
FILES = 12  # JSONL files that the corpus is spread over
MAX_BYTES = 9_000_000  # of text in all
MAX_SOURCE_BYTES = 3_500_000  # of text from one kind of place
MAX_TEXT_BYTES = 200_000  # a larger file is left out
MIN_DOCSTRING = 200  # characters; most shorter ones are a line
TEXT_SUFFIXES = frozenset({".md", ".rst", ".txt"})
TEXT_NAMES = ("license", "licence", "copying", "notice", "readme", "authors", "changelog", "history", "news")
SYSTEM = (
    ("/usr/share/doc", "*/copyright"),
    ("/usr/share/doc", "*/README*"),
    ("/usr/share/common-licenses", "*"),
)

Text = dict[str, str]


def gather(folder: Path, elsewhere: Path | None = None) -> str:
    """Write the corpus as JSONL into a folder and return the pattern of its files.

    A file that already holds what it should is left alone, so that a second run finds nothing changed. With
    `elsewhere` the folder is not touched: where it does not hold the corpus, that is written there.
    """
    lines: list[list[bytes]] = [[] for _ in range(FILES)]
    for text in sorted(_chosen(), key=lambda text: text["id"]):
        lines[int(text["id"][:8], 16) % FILES].append(orjson.dumps(text) + b"\n")
    files = {f"demo-{number:02d}.jsonl": b"".join(some) for number, some in enumerate(lines)}
    missing = [name for name, content in files.items() if not _holds(folder / name, content)]
    if elsewhere is not None and missing:
        folder, missing = elsewhere, list(files)
    folder.mkdir(parents=True, exist_ok=True)
    for name in missing:
        (folder / name).write_bytes(files[name])
    return f"{folder}/demo-*.jsonl"


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _chosen() -> Iterator[Text]:
    """Yield texts of every kind up to its limit, those with the lowest hash first."""
    left = MAX_BYTES
    for found in (_described(), _documentation(), _docstrings(), _system()):
        texts = sorted(found, key=lambda text: text["id"])
        budget = min(left, MAX_SOURCE_BYTES)
        for text in texts:
            size = len(text["text"].encode())
            if size <= budget:
                budget -= size
                left -= size
                yield text


def _text(source: str, place: str, url: str, text: str) -> Text:
    identity = blake2b(f"{source}\0{place}".encode(), digest_size=16).hexdigest()
    return {"id": identity, "source": source, "place": place, "url": url, "text": text}


def _packages() -> list[Distribution]:
    return sorted(distributions(), key=lambda d: (d.metadata["Name"] or "", str(d.version)))


def _home(package: Distribution) -> str:
    """Return a package's home page."""
    url = package.metadata["Home-page"]
    links = package.metadata.get_all("Project-URL") or []
    return url or (links[0].partition(",")[2].strip() if links else "")


def _described() -> Iterator[Text]:
    """Yield the packages' descriptions."""
    for package in _packages():
        text = package.metadata.get_payload() or package.metadata["Description"] or ""  # type: ignore[attr-defined]
        if isinstance(text, str) and text.strip():
            yield _text("package descriptions", package.metadata["Name"], _home(package), text)


def _documentation() -> Iterator[Text]:
    """Yield the licences, README and other documentation files that packages install."""
    for package in _packages():
        for file in package.files or []:
            name = file.name.lower()
            if file.suffix.lower() in TEXT_SUFFIXES or name.startswith(TEXT_NAMES):
                text = _read(Path(str(package.locate_file(file))))
                if text and "RECORD" not in file.name:
                    yield _text("package files", f"{package.metadata['Name']}/{file}", _home(package), text)


def _docstrings() -> Iterator[Text]:
    """Yield the docstrings of the packages' modules."""
    for package in _packages():
        for file in package.files or []:
            if file.suffix != ".py" or int(blake2b(str(file).encode(), digest_size=2).hexdigest(), 16) % 4:
                continue  # a quarter of the modules is more than enough
            text = _docstring(Path(str(package.locate_file(file))))
            if len(text) >= MIN_DOCSTRING:
                yield _text("docstrings", f"{package.metadata['Name']}/{file}", _home(package), text)


def _docstring(path: Path) -> str:
    """Return the docstrings of a module and its public names, as one text."""
    source = _read(path)
    if '"""' not in source:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in [tree, *tree.body] if isinstance(node, kinds)]
    return "\n\n".join(filter(None, (ast.get_docstring(node) for node in nodes)))


def _system() -> Iterator[Text]:
    """Yield the system's documentation, where there is any."""
    for folder, pattern in SYSTEM:
        for path in sorted(Path(folder).glob(pattern)):
            if path.is_file() and not path.is_symlink() and (text := _read(path)):
                yield _text("system documentation", str(path), "", text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= MAX_TEXT_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return ""
