"""What a backend is: something that turns a model into an engine that can be run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from calaudit.graph.model import Model, ModelTensor

BackendName = Literal["onnxruntime", "tensorrt", "tensorrt_rtx"]
"""The names that audit files and reports use."""
Precision = Literal["fp32", "fp16", "int8"]
RangesBy = Literal["calaudit", "tensorrt"]
"""Who estimates the ranges of INT8."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can build on this machine."""

    precisions: frozenset[Precision]
    ranges: frozenset[RangesBy]
    needs_gpu: bool


class Engine(Protocol):
    """A runnable model."""

    @property
    def inputs(self) -> tuple[ModelTensor, ...]:
        """What must be fed, without the batch axis."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that `run` returns, in this order."""
        ...

    @property
    def record(self) -> Mapping[str, str]:
        """What identifies this engine in a report: library, version, options. Texts only."""
        ...

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run a batch of any size.

        Parameters
        ----------
        feeds : mapping
            Input name → array (batch, …), C-ordered or not; entries that aren't inputs are
            ignored. The arrays are read, never kept or written to.

        Returns
        -------
        dict
            Output name → array, (batch, …) where the model's output is batched. The arrays belong
            to the caller: later runs don't touch them.

        Raises
        ------
        BackendError
            An input is missing, or the engine failed.
        """
        ...


class Backend(Protocol):
    """Makes engines."""

    @property
    def name(self) -> str:
        """The name that audit files and reports use."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can build here."""
        ...

    def load(self, model: Model) -> Engine:
        """Make an engine of an FP32 model, or of one with Q/DQ in it.

        Raises
        ------
        BackendError
            The backend can't build or load this model.
        """
        ...
