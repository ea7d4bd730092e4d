"""What holds for every test: the same examples in every run, and long modules first."""

import pytest
from hypothesis import settings

# --hypothesis-profile=default searches for new examples. No deadline: the first example may compile a kernel.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

LONG = ("test_kills.py", "test_command.py", "test_line.py", "test_embedded.py")  # minutes each


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first, where --no-loadscope-reorder keeps them: no process is left alone with one."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
