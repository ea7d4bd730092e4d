"""Tables of documents, read as a worker reads them, which has one core."""

import subprocess
import sys
from pathlib import Path

ALONE = """
import os
import sys
import pyarrow as pa
import pyarrow.parquet as pq
from pipeline import document

def threads():
    return len(os.listdir("/proc/self/task"))

table = pa.table({name: list(range(1000)) for name in "abcdefgh"})
document.write_table(sys.argv[1], table)
before = threads()
assert document.read_table(sys.argv[1]).equals(table)
assert pa.concat_tables(document.read_batches(sys.argv[1], list("abcd"))).equals(table.select(list("abcd")))
assert table.take(pa.array(range(999, -1, -1))).sort_by("a").equals(table)
assert threads() == before, "Arrow began a thread"
pq.ParquetFile(sys.argv[1]).read()
assert threads() > before, "nothing would have been noticed"
"""


def test_tasks_begin_no_threads_to_read_and_sort(tmp_path: Path) -> None:
    """A worker would wait for them until another's core is free. What Arrow does by itself shows that threads show."""
    line = [sys.executable, "-c", ALONE, f"{tmp_path}/a.parquet"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
