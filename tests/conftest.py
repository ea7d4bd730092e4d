"""Property tests draw the same examples in every run (--hypothesis-profile=default searches for new ones); long
modules run first, so that no process is left alone with one at the end.
"""

import pytest
from hypothesis import settings

settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")

LONG = ("test_kills.py", "test_command.py", "test_line.py")  # minutes each


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first; --no-loadscope-reorder keeps them there."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
