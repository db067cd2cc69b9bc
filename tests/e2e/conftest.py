"""One farm for all tests of this folder: it has imported everything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .hosts import Farm


@pytest.fixture(scope="session")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    farm = Farm(tmp_path_factory.mktemp("farm"))
    yield farm
    farm.close()
