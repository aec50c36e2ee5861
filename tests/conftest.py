"""How all tests run: no time limits within, as a loaded machine must not fail a right answer."""

import gc
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from calaudit.runtime import interrupts
from calaudit.runtime.compiled import n_cores
from tests.packages import EXAMPLE, installed
from tests.permissions import held_to_permissions
from tests.real_pools import build_pools, import_detection

settings.register_profile("calaudit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calaudit")


FIRST = (
    "docs/test_documentation.py",
    "audit/test_real_detection.py",
    "audit/test_real_audits.py",
    "ab/test_real_servers.py",
    "backends/tensorrt/test_rtx.py",
)
"""Files that take half a minute and more, the longest first."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more process than cores: there is always one that waits, for a server or a download."""
    return n_cores() + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files that take longest, so that no process ends long after the others."""
    here = Path(__file__).parent
    last = len(FIRST)
    place = {here / file: at for at, file in enumerate(FIRST)}
    tests = Counter(item.path for item in items)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(
        key=lambda item: (
            place.get(item.path, last), -slow[item.path], -tests[item.path], item.path,
        )
    )  # fmt: skip


def pytest_collection_finish() -> None:
    """Let garbage collection pass over what was imported and collected: it stays to the end.

    With all of it, one gc.collect() takes half a second; statsmodels calls it in each correction.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _signals_stay_the_tests_own() -> Iterator[None]:
    """A command that runs in this process keeps no signals, to raise them later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interrupts, "listen", lambda: None)
        yield


@pytest.fixture(autouse=True)
def _sigpipe_stays_ignored() -> Iterator[None]:
    """A command that runs in this process lets SIGPIPE end it; what comes after must not end."""
    yield
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


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


@pytest.fixture(scope="session")
def of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def real_pools(of_this_run: Path) -> Callable[[str], Path]:
    """Gives the pools of ``"speech"`` (a folder) or ``"ranking"`` (a file), to be read only."""
    return partial(build_pools, shared=of_this_run)


@pytest.fixture(scope="session")
def detection_pool(of_this_run: Path) -> Path:
    """The imported pool of the real detection data, to be read only."""
    return import_detection(of_this_run)


@pytest.fixture
def example_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The example package is installed; gives the environment in which a command sees it too."""
    with installed(EXAMPLE, tmp_path_factory.mktemp("metadata")) as environment:
        yield environment
