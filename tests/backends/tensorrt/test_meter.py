"""The process that asks a GPU's driver, with the real nvidia-ml-py: without a driver, too."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import calaudit.backends.tensorrt.worker as folder
from calaudit.backends.tensorrt.worker.meter import REASONS

pynvml = pytest.importorskip("pynvml")
METER = Path(str(folder.__file__)).with_name("meter.py")


def test_without_a_driver_it_says_so_and_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", METER.read_text(encoding="utf-8"), "0000:01:00.0", "1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    told = json.loads(done.stdout.splitlines()[0])
    assert told["missing"] in {None, "driver"}
    assert told["missing"] is None or "NVML" in told["reason"] or "Driver" in told["reason"]


def test_every_name_of_nvml_exists_there() -> None:
    tree = ast.parse(METER.read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith(("nvml", "NVML"))
    }
    used |= {
        str(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and str(node.value).startswith("nvmlDevice")
    }
    assert len(used) > 9
    assert [name for name in sorted(used) if not hasattr(pynvml, name)] == []


def test_reasons_are_nvmls_bits() -> None:
    """By the constants of nvidia-ml-py, whose names the words follow."""
    spoken = {
        "applications_clocks_setting": "ApplicationsClocksSetting",
        "sw_power_cap": "SwPowerCap",
        "hw_slowdown": "HwSlowdown",
        "sync_boost": "SyncBoost",
        "sw_thermal_slowdown": "SwThermalSlowdown",
        "hw_thermal_slowdown": "HwThermalSlowdown",
        "hw_power_brake_slowdown": "HwPowerBrakeSlowdown",
        "display_clock_setting": "DisplayClockSetting",
    }
    named = {word: getattr(pynvml, f"nvmlClocksEventReason{name}") for word, name in spoken.items()}
    assert {word: bit for bit, word in REASONS.items()} == named
