"""Run as a program: ``calaudit`` with workers that go on until the run is gone."""

from calaudit.audit import cluster
from calaudit.cli import main
from tests.audit.dask_workers import linger

if __name__ == "__main__":
    cluster.make_cell = linger  # type: ignore[assignment]  # it never returns
    main()
