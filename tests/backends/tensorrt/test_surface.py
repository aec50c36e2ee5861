"""Every name of TensorRT that calaudit uses exists in NVIDIA's bindings, or is asked for first."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "calaudit" / "backends" / "tensorrt" / "worker").glob("*.py"))
IMPLICIT = {"calibrators.py", "floats.py", "implicit.py"}
"""Reached only where `Abilities.implicit` was found."""
GUARDED = {
    "int8_calibrator": "Abilities.implicit",
    "BuilderFlag.INT8": "Abilities.implicit",
    "IInt8EntropyCalibrator2": "Abilities.implicit",
    "IInt8MinMaxCalibrator": "Abilities.implicit",
    "set_calibration_profile": "Abilities.implicit",
    "precision": "Abilities.implicit",
    "set_output_type": "Abilities.implicit",
    "num_compute_capabilities": "Abilities.builds_without_gpu",
    "set_compute_capability": "Abilities.builds_without_gpu",
    "ComputeCapability": "Abilities.builds_without_gpu",
    "DynamicShapesKernelSpecializationStrategy": "hasattr in runner.py",
    "dynamic_shapes_kernel_specialization_strategy": "hasattr in runner.py",
    "EAGER": "hasattr in runner.py",
}
"""Names that some release lacks → what is asked before they are used."""
OWN = {"order", "facts"}
"""Variables that hold values of calaudit's own, one of whose members TensorRT has too."""


@pytest.fixture(scope="module")
def surfaces(
    bindings_10: dict[str, str], bindings_11: dict[str, str], rtx: dict[str, str]
) -> dict[str, Any]:
    """Release → what its bindings hold."""
    found = {}
    for library, environment in (
        ("tensorrt", bindings_10),
        ("tensorrt", bindings_11),
        ("tensorrt_rtx", rtx),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "tests.backends.tensorrt.surface", library],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        one = json.loads(done.stdout)
        found[f"{library} {one['version']}"] = one
    return found


def chains(source: Path) -> Iterator[tuple[str, ...]]:
    """Dotted names in a module: ``trt.ILogger.Severity`` → ("trt", "ILogger", "Severity")."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        names: list[str] = []
        at: ast.AST = node
        while isinstance(at, ast.Attribute):
            names.append(at.attr)
            at = at.value
        if names:
            yield (at.id if isinstance(at, ast.Name) else "", *reversed(names))


def static_names(source: Path) -> Iterator[str]:
    """What a module takes from TensorRT itself, such as ``ILogger.Severity``."""
    for chain in chains(source):
        for start in (("trt",), ("self", "_trt")):
            rest = chain[len(start) :]
            if chain[: len(start)] == start and rest and not rest[0].startswith("__"):
                yield ".".join(name for name in rest if not name.startswith("__"))


def exists(name: str, surface: dict[str, Any]) -> bool:
    owner, _, last = name.rpartition(".")
    return last in (surface["members"].get(owner, ()) if owner else surface["names"])


def test_the_bindings_are_the_releases_that_are_claimed(surfaces: dict[str, Any]) -> None:
    assert [name.rsplit(".", 1)[0] for name in surfaces] == [
        "tensorrt 10.16.1",
        "tensorrt 11.4.0",
        "tensorrt_rtx 1.7.1",
    ]


def test_names_of_the_module_exist_or_are_guarded(surfaces: dict[str, Any]) -> None:
    used = {name: source.name for source in SOURCES for name in static_names(source)}
    assert len(used) > 25
    for release, surface in surfaces.items():
        lacking = {name for name in used if not exists(name, surface)}
        assert lacking <= set(GUARDED), f"{release} lacks {lacking - set(GUARDED)}"


def test_members_of_tensorrts_objects_exist_or_are_guarded(surfaces: dict[str, Any]) -> None:
    members = {
        release: {name for each in surface["members"].values() for name in each}
        for release, surface in surfaces.items()
    }
    anywhere = set().union(*members.values())
    used = {
        name
        for source in SOURCES
        for chain in chains(source)
        if chain[0] not in OWN
        for name in chain[1:]
    }
    for release, known in members.items():
        lacking = {n for n in used & anywhere - known if not n.startswith("__")}
        assert lacking <= {name.rsplit(".")[-1] for name in GUARDED}, f"{release}: {lacking}"


def test_what_only_calibration_needs_is_used_where_calibrators_are() -> None:
    only = {name for name, why in GUARDED.items() if why == "Abilities.implicit"}
    for source in SOURCES:
        if source.name not in IMPLICIT:
            assert not only & set(static_names(source)), source.name
            used = {name for chain in chains(source) for name in chain[1:]}
            assert not {"int8_calibrator", "set_calibration_profile"} & used, source.name
