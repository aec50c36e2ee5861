"""What a worker keeps between requests: the library, one builder, the GPU, loaded engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .cuda import Cuda, find_cuda
from .detect import TensorrtModule, find_tensorrt
from .errors import Missing, RefusedError
from .metering import MeterProcess
from .watching import Ear

if TYPE_CHECKING:
    from .line import Line
    from .runner import Held


class State:
    """One TensorRT and one GPU, each looked for when first needed, and what was made with them."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.engines: dict[int, Held] = {}
        self._library: TensorrtModule | Missing | None = None
        self._cuda: Cuda | Missing | None = None
        self._ear: Ear | None = None
        self.parser: Any = None
        """The last network's: its weights lie in memory of the parser, up to TensorRT 8."""
        self._builder: Any = None
        self._runtime: Any = None
        self._meter: MeterProcess | None = None

    def find_library(self, name: str) -> TensorrtModule | Missing:
        """Import a TensorRT. The first that is found is this process's."""
        if not isinstance(self._library, TensorrtModule):
            self._library = find_tensorrt(name)
        return self._library

    def find_gpu(self) -> Cuda | Missing:
        """The GPU, with its context current in this thread from then on."""
        if not isinstance(self._cuda, Cuda):  # one that was full may have room by now
            self._cuda = find_cuda()
            if isinstance(self._cuda, Cuda):
                self.line.arrays.cuda = self._cuda
        return self._cuda

    @property
    def library(self) -> TensorrtModule:
        """The TensorRT that was found."""
        if not isinstance(self._library, TensorrtModule):
            raise RefusedError("no TensorRT was found in this process")
        return self._library

    @property
    def cuda(self) -> Cuda:
        """The GPU, which must be here."""
        found = self.find_gpu()
        if isinstance(found, Missing):
            raise RefusedError(f"{found.what} {found.reason}", found.next_step)
        return found

    @property
    def ear(self) -> Ear:
        """The logger: TensorRT keeps the first one that it is given for the whole process."""
        if self._ear is None:
            self._ear = Ear(self.library, self.line)
        return self._ear

    @property
    def builder(self) -> Any:
        """One ``Builder`` for all builds: making one takes up to 15 s."""
        if self._builder is None:
            self._builder = self.library.module.Builder(self.ear.logger)
        return self._builder

    @property
    def runtime(self) -> Any:
        """One ``Runtime`` for all engines."""
        if self._runtime is None:
            self._runtime = self.library.module.Runtime(self.ear.logger)
        return self._runtime

    @property
    def meter(self) -> MeterProcess:
        """What asks the GPU's driver; started when it is first wanted."""
        if self._meter is None:
            self._meter = MeterProcess(self.cuda.bus)
        return self._meter

    def free_memory(self) -> str:
        """``"; 1.2 of 80.0 GiB free"`` where a GPU is in use."""
        return f"; {self._cuda.free_memory()}" if isinstance(self._cuda, Cuda) else ""
