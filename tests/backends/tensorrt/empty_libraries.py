"""Empty libraries that let NVIDIA's real Python bindings be imported.

The bindings need libnvinfer and its kin, which PyPI doesn't carry. Libraries that export the same
names and do nothing satisfy the loader: every class is there then, and what is implemented in the
bindings themselves works, the calls from C++ into Python among it.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

EXPORTS = (
    "getInferLibVersion", "getNvOnnxParserVersion", "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL", "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry", "getPluginRegistry",
    "initLibNvInferPlugins",
)  # fmt: skip


def empty_libraries(names: Sequence[str], folder: Path) -> Path:
    """Libraries of these file names that export what the bindings link to."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make empty libraries with")
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in EXPORTS))
    for name in names:
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name, source.name]
        subprocess.run(command, cwd=folder, check=True)
    return folder
