"""Asks a GPU's driver what it does, some times a second: a process of its own.

Started by `metering` with this text. Needs Python 3.8 and NVIDIA's nvidia-ml-py; the standard
library besides, and nothing relative. A line on standard input begins a row of readings, the next
one ends it, and they are written as one line of JSON; the end of the input ends the process.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

INTERVAL = 0.02
"""Seconds between two readings."""
SELDOM = 0.5
"""Seconds between two readings of what takes the driver long."""
LONG = 1e-3
"""Seconds from which on an answer takes long."""
REASONS = {
    0x02: "applications_clocks_setting",
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
"""Bits of NVML's ``nvmlClocksEventReasons`` → nvidia-smi's words; that a GPU is idle is none."""


class Meter:
    """One GPU.

    Parameters
    ----------
    library
        nvidia-ml-py's module ``pynvml``.
    bus : str
        The GPU's place, such as ``0000:18:00.0``.
    pid : int
        Of the process whose memory is asked for.
    """

    def __init__(self, library: Any, bus: str, pid: int) -> None:
        self._nvml = library
        # The second is what calls raise that are younger than the driver; it is no NVMLError.
        names = ("NVMLError", "NVMLLibraryMismatchError")
        self._refusals = tuple(getattr(library, n) for n in names if hasattr(library, n))
        library.nvmlInit()
        self._device = library.nvmlDeviceGetHandleByPciBusId(bus)
        self._pid = pid
        device = self._device
        self._fields: dict[str, Callable[[], Any]] = {
            "energy_joules": lambda: library.nvmlDeviceGetTotalEnergyConsumption(device) / 1e3,
            "power_watts": lambda: library.nvmlDeviceGetPowerUsage(device) / 1e3,
            "utilisation": lambda: library.nvmlDeviceGetUtilizationRates(device).gpu / 100,
            "sm_clock_mhz": lambda: self._clock(library.NVML_CLOCK_SM),
            "memory_clock_mhz": lambda: self._clock(library.NVML_CLOCK_MEM),
            "temperature_celsius": self._temperature,
            "throttled": self._throttled,
            "process_bytes": self._process_bytes,
        }
        self._seldom: dict[str, float] = {}
        """What takes long → when it was read last."""

    def read(self) -> dict[str, Any]:
        """What the driver says now; what it doesn't tell is left out, and not asked again."""
        told: dict[str, Any] = {"at": time.monotonic()}
        for name, ask in list(self._fields.items()):
            start = time.monotonic()
            if start - self._seldom.get(name, -SELDOM) < SELDOM:
                continue
            try:
                value = ask()
            except self._refusals:
                del self._fields[name]
                continue
            if time.monotonic() - start > LONG:
                self._seldom[name] = start
            if value is not None:
                told[name] = value
        return told

    def _clock(self, kind: int) -> float:
        return float(self._nvml.nvmlDeviceGetClockInfo(self._device, kind))

    def _temperature(self) -> float:
        sensor = self._nvml.NVML_TEMPERATURE_GPU
        return float(self._nvml.nvmlDeviceGetTemperature(self._device, sensor))

    def _throttled(self) -> list[str]:
        # Named anew in release 12: older drivers have the older call alone.
        bits = self._first(
            "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
        )
        return [reason for bit, reason in REASONS.items() if bits & bit]

    def _process_bytes(self) -> int | None:
        """Of its memory; None where processes have other numbers here, as in containers."""
        found = self._first(
            "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2"
        )
        for each in found:
            if each.pid == self._pid:
                return None if each.usedGpuMemory is None else int(each.usedGpuMemory)
        return None

    def _first(self, newer: str, older: str) -> Any:
        """What the newer of two calls gives, or the older one where the driver lacks it."""
        try:
            ask = getattr(self._nvml, newer)
            return ask(self._device)
        except (AttributeError, *self._refusals):
            ask = getattr(self._nvml, older)
            return ask(self._device)


def serve(meter: Meter, lines: Any, out: Any) -> None:
    """Make rows of readings until the input ends."""
    inbox: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in lines:
            inbox.put(line)
        inbox.put("")

    threading.Thread(target=listen, daemon=True).start()
    while inbox.get():
        readings = [meter.read()]
        _say(out, "begun")
        wanted = True
        while wanted:
            try:
                ended = inbox.get(timeout=INTERVAL)
            except queue.Empty:
                readings.append(meter.read())
                continue
            if not ended:
                return
            wanted = False
        readings.append(meter.read())
        _say(out, readings)


def _say(out: Any, what: Any) -> None:
    out.write(json.dumps(what) + "\n")
    out.flush()


def main(bus: str, pid: int) -> None:
    """Say that the GPU can be asked, or why it can't; then answer."""
    try:
        import pynvml
    except ImportError as error:
        _say(sys.stdout, {"missing": "nvidia-ml-py", "reason": " ".join(str(error).split())})
        return
    try:
        meter = Meter(pynvml, bus, pid)
    except pynvml.NVMLError as error:
        _say(sys.stdout, {"missing": "driver", "reason": " ".join(str(error).split())})
        return
    _say(sys.stdout, {"missing": None})
    serve(meter, sys.stdin, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
