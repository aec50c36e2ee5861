"""A FAKE of nvidia-ml-py: a GPU of 100 W whose energy is renewed twenty times a second.

``FAKE_NVML`` says how it behaves, as JSON: ``missing`` (it isn't installed), ``driver`` (there is
none), ``lacks`` (calls that this GPU doesn't support), ``reasons`` (bits).
"""

import json
import os
import time
from types import SimpleNamespace

_SAID = json.loads(os.environ.get("FAKE_NVML", "{}"))
if _SAID.get("missing"):
    raise ImportError("No module named 'pynvml'")
NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
WATTS = 100
STEP = 0.05


class NVMLError(Exception):
    pass


class NVMLLibraryMismatchError(Exception):
    pass


def _supported(name):
    if name in _SAID.get("lacks", ()):
        raise NVMLError("Not Supported")


def nvmlInit():
    if _SAID.get("driver"):
        raise NVMLError("Driver Not Loaded")


def nvmlDeviceGetHandleByPciBusId(bus):
    assert bus == "0000:01:00.0"
    return "device"


def nvmlDeviceGetTotalEnergyConsumption(device):
    _supported("energy")
    return int(1e3 * WATTS * STEP * (time.monotonic() // STEP))


def nvmlDeviceGetPowerUsage(device):
    _supported("power")
    return 1000 * WATTS


def nvmlDeviceGetUtilizationRates(device):
    return SimpleNamespace(gpu=80, memory=10)


def nvmlDeviceGetClockInfo(device, kind):
    return {NVML_CLOCK_SM: 1500, NVML_CLOCK_MEM: 2600}[kind]


def nvmlDeviceGetTemperature(device, sensor):
    return 55


def nvmlDeviceGetCurrentClocksEventReasons(device):
    _supported("event reasons")
    return _SAID.get("reasons", 1)


def nvmlDeviceGetCurrentClocksThrottleReasons(device):
    return _SAID.get("reasons", 1)


def nvmlDeviceGetComputeRunningProcesses(device):
    if "new process list" in _SAID.get("lacks", ()):
        raise NVMLLibraryMismatchError("use a versioned function")
    return nvmlDeviceGetComputeRunningProcesses_v2(device)


def nvmlDeviceGetComputeRunningProcesses_v2(device):
    if "process list" in _SAID.get("lacks", ()):
        raise NVMLError("Function Not Found")
    time.sleep(0.002)  # it takes long
    return [SimpleNamespace(pid=os.getppid(), usedGpuMemory=2**20)]
