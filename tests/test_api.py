import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import calaudit


def test_every_public_name_can_be_imported() -> None:
    for name in calaudit.__all__:
        assert getattr(calaudit, name) is not None, name


def test_public_names_have_docstrings() -> None:
    assert [name for name in calaudit.__all__ if not getattr(calaudit, name).__doc__] == []


HEAVY = {
    "PIL", "asyncio", "distributed", "h5py", "jinja2", "jsonschema", "numba", "numpy", "onnx",
    "onnx_ir", "onnxruntime", "onnxscript", "polars", "prometheus_client", "pycuda", "pydantic",
    "rich.console", "scipy", "sklearn", "soundfile", "sympy", "tensorrt", "tqdm", "typer",
    "vl_convert",
}  # fmt: skip
"""Libraries, and parts of Python's own, that take a while to import."""


@pytest.mark.parametrize(
    ("done", "needed"),
    [
        ("import calaudit", set()),
        ("import calaudit; calaudit.run_audit", set()),
        ("from calaudit.cli.app import app; app(['--help'])", {"rich.console", "typer"}),
        (
            "from calaudit.cli.app import app; app(['slices', '{pool}', '--by', 'loudness'])",
            {"h5py", "numpy", "polars", "pydantic", "typer"},
        ),
    ],
    ids=["import", "run_audit", "help", "slices"],
)
def test_only_what_is_needed_is_imported(done: str, needed: set[str], tmp_path: Path) -> None:
    pool = tmp_path / "pool.h5"
    meta = {"loudness": [0.1, 0.2, 0.3]}
    calaudit.write_pool(pool, inputs={"x": np.zeros((3, 2), np.float32)}, meta=meta)
    script = f"""
import sys
try:
    {done.format(pool=pool)}
except SystemExit as ended:
    assert not ended.code, ended.code
print()
print(*sorted({HEAVY!r} & set(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert set(result.stdout.splitlines()[-1].split()) == needed


def test_no_commands_module_imports_what_only_its_work_needs() -> None:
    script = f"""
import sys
from calaudit.cli.app import COMMANDS, load_command
for name in COMMANDS:
    load_command(name)
print(*sorted({HEAVY!r} & set(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert set(result.stdout.split()) == {"typer"}
