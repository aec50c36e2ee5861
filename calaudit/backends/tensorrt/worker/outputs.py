"""Outputs whose size only the run tells: device memory that grows when TensorRT asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import RefusedError

if TYPE_CHECKING:
    from .cuda import Cuda
    from .detect import TensorrtModule


class GrowingOutput:
    """Device memory of one output, and the shape it turned out to have."""

    def __init__(self, cuda: Cuda, name: str) -> None:
        self._cuda = cuda
        self._name = name
        self._memory: Any = None
        self._size = 0
        self.shape: tuple[int, ...] | None = None
        self.failure: BaseException | None = None

    @property
    def address(self) -> int:
        """Where the output lies; 0 before there is any."""
        return 0 if self._memory is None else int(self._memory)

    def grow(self, size: int) -> int:
        """Room for `size` bytes; 0, which TensorRT takes as failure, when there is none."""
        if size > self._size or self._memory is None:
            try:
                made = self._cuda.take_memory(size, f"output {self._name}")
            except (RefusedError, self._cuda.driver.Error) as error:
                self.failure = error
                return 0
            self._memory, self._size = made, size
        return self.address


def make_allocator(found: TensorrtModule, outputs: dict[str, GrowingOutput]) -> Any:
    """An ``IOutputAllocator`` over `outputs`, by name."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module

    class Allocator(trt.IOutputAllocator):
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        def reallocate_output(
            self, tensor_name: str, memory: int, size: int, alignment: int
        ) -> int:
            return outputs[tensor_name].grow(size)

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            return outputs[tensor_name].grow(size)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            outputs[tensor_name].shape = tuple(shape)

    return Allocator()
