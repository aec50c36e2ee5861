import subprocess
import sys

import calaudit


def test_every_public_name_can_be_imported() -> None:
    for name in calaudit.__all__:
        assert getattr(calaudit, name) is not None, name


def test_public_names_have_docstrings() -> None:
    assert [name for name in calaudit.__all__ if not getattr(calaudit, name).__doc__] == []


def test_import_needs_no_tensorrt_and_loads_no_heavy_library() -> None:
    script = (
        "import sys, calaudit, calaudit.cli\n"
        "heavy = {'onnx', 'onnxruntime', 'sklearn', 'h5py', 'tensorrt', 'pycuda'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
