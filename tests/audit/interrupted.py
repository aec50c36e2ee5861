"""Run as a program: ``calaudit`` with workers that go on until the run is gone."""

from calaudit.audit.dask import cells
from calaudit.cli import main
from tests.audit.dask_workers import linger

if __name__ == "__main__":
    cells.make_cell = linger
    main()
