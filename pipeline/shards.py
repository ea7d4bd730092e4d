"""Document shards: what ingest left, numbered, for the stages that map over documents."""

from dataclasses import dataclass

from pipeline import storage
from pipeline.stage import Manifest


@dataclass(frozen=True, slots=True)
class DocumentShard:
    """A finished part: its name, its first document's number, and its size."""

    name: str
    folder: str  # of ingest
    first: int  # dense number of its first document
    rows: int
    size: int  # bytes of kept text

    @property
    def key(self) -> str:
        """The name of its record in the stages that map over documents."""
        return self.name

    def path(self, kind: str) -> str:
        """Return the path of the part's documents, rejected, unreadable or signatures."""
        return storage.join(self.folder, kind, self.name + ".parquet")


def document_shards(manifest: Manifest) -> list[DocumentShard]:
    """Return the parts in order, numbered: a document's number is its shard's first plus its row."""
    shards, first = [], 0
    for record in manifest.records:
        for part in record["parts"]:
            shard = DocumentShard(part["name"], manifest.stage.folder, first, part["kept"], part["kept_bytes"])
            shards.append(shard)
            first += shard.rows
    return shards
