"""Backends are asked, not known by name: who outside ``backends/`` names one, and why."""

import ast
from collections.abc import Iterator
from pathlib import Path

from calaudit.backends.registry import backend_names

PACKAGE = Path(__file__).parents[2] / "calaudit"
OBSERVES = "what isn't an audit observes ranges on the default backend"
NAMED = {
    ("audit/records.py", "onnxruntime"): "a package whose version reports tell",
    ("audit/earlier.py", "onnxruntime"): "a library whose other release runs other engines",
    ("audit/earlier.py", "tensorrt"): "a library whose other release runs other engines",
    ("calibration/scales.py", "tensorrt"): "scale tables tell who estimated them, caches too",
    ("formats/trt_cache.py", "tensorrt"): "scale tables made of TensorRT's calibration caches",
    ("export/readme.py", "onnxruntime"): "the session options that give the judged numbers",
    ("export/parts.py", "calaudit.backends.tensorrt.profile"): "shapes for TensorRT's builder",
    ("bench/trtexec.py", "calaudit.backends.tensorrt.layer_times"): "trtexec's layers by node",
    ("bench/trtexec.py", "calaudit.backends.tensorrt.precision"): "layers as an inspector has them",
    ("cli/cache_text.py", "tensorrt"): "a key of what calaudit cache show --json prints",
    ("steps/range_coverage.py", "calaudit.backends.onnxruntime.sessions"): OBSERVES,
    ("steps/calibrate.py", "calaudit.backends.onnxruntime.sessions"): OBSERVES,
    ("steps/predict.py", "calaudit.backends.onnxruntime.sessions"): OBSERVES,
    ("steps/verify_cache.py", "calaudit.backends.onnxruntime.sessions"): OBSERVES,
    ("steps/write_cache.py", "calaudit.backends.onnxruntime.sessions"): OBSERVES,
}
"""(module, the name or what it imports) → why it may."""


def named(source: Path) -> Iterator[str]:
    """Backends' names among a module's texts, and what it imports of a backend's own folder."""
    names = set(backend_names())
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and node.value in names:
            yield node.value
        imported = [node.module] if isinstance(node, ast.ImportFrom) else []
        imported += [each.name for each in node.names] if isinstance(node, ast.Import) else []
        for module in imported:
            if module and module.startswith(tuple(f"calaudit.backends.{name}" for name in names)):
                yield module


def test_no_module_outside_backends_knows_one_by_name() -> None:
    found = {
        (str(source.relative_to(PACKAGE)), name)
        for source in PACKAGE.rglob("*.py")
        if source.relative_to(PACKAGE).parts[0] != "backends"
        for name in named(source)
    }
    assert found == set(NAMED)


def test_what_reads_audit_files_imports_no_library_of_a_backend() -> None:
    heavy = {"onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda", "h5py"}
    for source in (PACKAGE / "backends").glob("*/kind.py"):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        at_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {str(getattr(node, "module", None) or node.names[0].name) for node in at_top}
        assert not {name.partition(".")[0] for name in modules} & heavy
        assert {name for name in modules if name.startswith("calaudit.")} <= {
            "calaudit.backends.base", "calaudit.calibration.batching", "calaudit.runtime.errors",
            "calaudit.runtime.settings",
        }  # fmt: skip
