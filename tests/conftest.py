"""How all tests run: no time limits within, as a loaded machine must not fail a right answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.permissions import held_to_permissions

settings.register_profile("calaudit", deadline=None)
settings.load_profile("calaudit")


@pytest.fixture
def permissions() -> Iterator[None]:
    """Files' modes hold, for root too."""
    with held_to_permissions():
        yield


@pytest.fixture(scope="session")
def wheel_cache(request: pytest.FixtureRequest) -> Path:
    """Folder for downloads that outlasts the session."""
    cache = request.config.cache
    assert cache is not None
    return cache.mkdir("wheels")
