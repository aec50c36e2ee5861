"""NVIDIA's real Python bindings from PyPI, and empty libraries that let them be imported.

The bindings need libnvinfer and its kin, which PyPI doesn't carry. Libraries that export the same
names and do nothing satisfy the loader: every class is there then, and what is implemented in the
bindings themselves works, the calls from C++ into Python among it.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

PATIENCE = 240
"""Seconds that a download may take."""
EXPORTS = (
    "getInferLibVersion", "getNvOnnxParserVersion", "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL", "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry", "getPluginRegistry",
    "initLibNvInferPlugins",
)  # fmt: skip


def installed_wheel(requirement: str, cache: Path) -> Path:
    """The folder that a wheel was unpacked to, without what it depends on; kept in `cache`."""
    folder = cache / requirement.replace("=", "").replace("*", "x")
    if folder.exists():
        return folder
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--retries=1"]
    with tempfile.TemporaryDirectory(dir=cache) as made:
        site = Path(made, "site")
        try:
            done = subprocess.run(
                [*command, "--target", str(site), requirement],
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"pip needs more than {PATIENCE} seconds to get {requirement}")
        if done.returncode:
            pytest.skip(f"pip doesn't get {requirement}: {done.stderr.strip().splitlines()[-1:]}")
        if not folder.exists():
            site.rename(folder)
    return folder


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
