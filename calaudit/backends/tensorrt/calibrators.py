"""The calibrator pair for TensorRT up to 10: NVIDIA's base classes over one implementation."""

from types import ModuleType
from typing import TYPE_CHECKING, Any

from calaudit.backends.tensorrt.calibration import Calibration

if TYPE_CHECKING:
    from tensorrt import IInt8Calibrator


def make_calibrator(module: ModuleType, calibration: Calibration) -> "IInt8Calibrator":
    """The calibrator of a calibration's algorithm, for ``config.int8_calibrator``.

    The base classes exist only once TensorRT is imported, so the pair is made here.

    Parameters
    ----------
    module : module
        A TensorRT whose `Abilities.implicit` is true.
    calibration : Calibration
        Answers TensorRT's calls.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = module

    class Calls:
        """All four calls; a base class's own get_batch would end the process."""

        def get_batch_size(self) -> int:
            return calibration.batch_size

        def get_batch(self, names: list[str]) -> list[int]:
            return calibration.next_batch(names) or []

        # Any: the stubs leave out None, which says that there is no cache.
        def read_calibration_cache(self) -> Any:
            return calibration.read_cache()

        def write_calibration_cache(self, cache: Any) -> None:
            calibration.write_cache(cache)

    class EntropyCalibrator(Calls, trt.IInt8EntropyCalibrator2):
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

    class MinMaxCalibrator(Calls, trt.IInt8MinMaxCalibrator):
        def __init__(self) -> None:
            trt.IInt8MinMaxCalibrator.__init__(self)

    return EntropyCalibrator() if calibration.algorithm == "entropy" else MinMaxCalibrator()
