"""The network that implicit quantization starts from, and the one build that calibrates it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from calaudit.backends.tensorrt.calibration import Calibration
from calaudit.backends.tensorrt.calibrators import make_calibrator
from calaudit.backends.tensorrt.detect import TensorrtModule
from calaudit.backends.tensorrt.messages import Heard
from calaudit.backends.tensorrt.parsing import parse_onnx
from calaudit.backends.tensorrt.profiles import Shape, ShapeRange
from calaudit.backends.tensorrt.watching import watched
from calaudit.errors import BackendError
from calaudit.formats.trt_header import TrtVersion
from calaudit.graph import Model


class ImplicitNetwork:
    """A weakly typed FP32 network that TensorRT may run in INT8.

    Parameters
    ----------
    found : TensorrtModule
        TensorRT 10 or older.
    model : Model
        FP32 graph.
    logger, heard
        From `messages.listening`; both have to outlast the network.

    Raises
    ------
    BackendError
        TensorRT refuses the graph, or it holds Q/DQ.
    """

    def __init__(self, found: TensorrtModule, model: Model, logger: Any, heard: Heard) -> None:
        if TYPE_CHECKING:
            import tensorrt as trt
        else:
            trt = found.module
        self.found, self.model, self._heard = found, model, heard
        self._trt = trt
        self._builder = trt.Builder(logger)
        # Up to 9 a network has an implicit batch axis unless it is told otherwise; ONNX has none.
        explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
        self._network = self._builder.create_network(0 if explicit is None else 1 << int(explicit))
        parse_onnx(found, self._network, model, logger, heard)
        self._refuse_qdq()
        self._config = self._builder.create_builder_config()
        self._config.set_flag(trt.BuilderFlag.INT8)
        self._config.clear_flag(trt.BuilderFlag.TF32)
        self._config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED

    @property
    def version(self) -> TrtVersion:
        """TensorRT's version."""
        return TrtVersion.parse(self.found.version)

    @property
    def buffer_dtypes(self) -> dict[str, np.dtype[Any]]:
        """Element types that TensorRT reads from calibration buffers, by input."""
        trt = self._trt
        found: dict[str, np.dtype[Any]] = {}
        for at in range(self._network.num_inputs):
            tensor = self._network.get_input(at)
            floats = tensor.dtype in {trt.DataType.FLOAT, trt.DataType.HALF}
            found[tensor.name] = np.dtype(np.float32 if floats else trt.nptype(tensor.dtype))
        return found

    def set_profile(
        self, ranges: Mapping[str, ShapeRange], calibrated: Mapping[str, Shape]
    ) -> None:
        """Say which shapes the engine takes, and which one is calibrated.

        Parameters
        ----------
        ranges : mapping
            Shape ranges of the inputs with free axes.
        calibrated : mapping
            Shape of a calibration batch of the same inputs.
        """
        if not ranges:
            return
        self._config.add_optimization_profile(self._profile(ranges))
        same = {name: ShapeRange(shape, shape, shape) for name, shape in calibrated.items()}
        if not self._config.set_calibration_profile(self._profile(same)):
            raise BackendError(
                f"{self.found.title} refuses the calibration profile {dict(calibrated)}: "
                f"{self._heard.explain()}",
                where=self.model.label,
                next_step="Calibrate in batches of a size that the model takes.",
            )

    def build(self, calibration: Calibration, what: str) -> bytes:
        """Calibrate and build.

        Raises
        ------
        BaseException
            What was raised while TensorRT called the calibrator.
        BackendError
            TensorRT can't build.
        """
        calibrator = make_calibrator(self.found.module, calibration)
        self._config.int8_calibrator = calibrator
        with watched(self.found, self._config, what, pointless=lambda: calibration.failed):
            serialized = self._builder.build_serialized_network(self._network, self._config)
        calibration.raise_kept()
        if serialized is None:
            raise BackendError(
                f"{self.found.title} can't build an engine: {self._heard.explain()}",
                where=self.model.label,
                next_step="See docs/tensorrt.md for what each release can't build.",
            )
        return bytes(memoryview(serialized))

    def _profile(self, shapes: Mapping[str, ShapeRange]) -> Any:
        profile = self._builder.create_optimization_profile()
        for name, each in shapes.items():
            sizes = (each.smallest, each.opt, each.largest)
            profile.set_shape(name, *(self._trt.Dims(list(size)) for size in sizes))
        return profile

    def _refuse_qdq(self) -> None:
        kinds = {self._trt.LayerType.QUANTIZE, self._trt.LayerType.DEQUANTIZE}
        layers = (self._network.get_layer(at) for at in range(self._network.num_layers))
        named = [layer.name for layer in layers if layer.type in kinds]
        if named:
            raise BackendError(
                f"holds Q/DQ ({', '.join(named[:3])}): TensorRT would ignore the calibrator",
                where=self.model.label,
                next_step="Give the FP32 model, or use the backend tensorrt.",
            )
