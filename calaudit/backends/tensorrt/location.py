"""Where TensorRT is: an interpreter on this machine, in a container, or on another machine."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Library = Literal["tensorrt", "tensorrt_rtx"]

TITLES: Final[dict[Library, str]] = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
_CONNECT: Final = 20
"""Seconds that a connection may take."""
_SILENT: Final = (15, 4)
"""Seconds without an answer after which ssh asks, and how often in vain until it gives up."""
_OPTIONS: Final = (
    "BatchMode=yes",  # never asks for a password
    f"ConnectTimeout={_CONNECT}",
    f"ServerAliveInterval={_SILENT[0]}",
    f"ServerAliveCountMax={_SILENT[1]}",
)
# The folder that the command is started in holds the user's files, none of which is a module.
_FIRST_LINE: Final = (
    "import sys;sys.path[:]=[p for p in sys.path if p];exec(eval(sys.stdin.readline()))"
)


@dataclass(frozen=True, slots=True)
class Location:
    """An interpreter that has TensorRT."""

    library: Library
    python: str | None = None
    """Command that starts it; None: this one, or ``python3`` by SSH."""
    ssh: str | None = None
    """Machine that it is on: ``user@host``, after options of ssh."""
    ssh_config: Path | None = None
    timeout: float = 900
    """Seconds without a sign of life after which it counts as hanging."""
    tf32: bool = False
    """Whether FP32 may be multiplied in TF32 there: NVIDIA's libraries ask once in a process."""

    def __str__(self) -> str:
        if self.ssh is not None:
            return f"{self.interpreter} on {self.host}"
        return self.interpreter

    @property
    def named(self) -> str:
        """What was said of it; empty for this process's own interpreter."""
        return "" if self.ssh is None and self.python is None else str(self)

    @property
    def interpreter(self) -> str:
        """The command that starts it."""
        if self.python is not None:
            return self.python
        return shlex.quote(sys.executable) if self.ssh is None else "python3"

    @property
    def host(self) -> str:
        """The machine as ssh calls it; empty for this one."""
        return "" if self.ssh is None else shlex.split(self.ssh)[-1]

    @property
    def trial(self) -> str:
        """What shows at a prompt whether the machine lets this one in."""
        config = [] if self.ssh_config is None else ["-F", str(self.ssh_config)]
        return f"{shlex.join(['ssh', *config, '-o', 'BatchMode=yes'])} {self.ssh} true"

    @property
    def command(self) -> list[str]:
        """What starts it, to be run without a shell."""
        if self.ssh is None:
            return [*shlex.split(self.interpreter), "-u", "-c", _FIRST_LINE]
        options = [each for option in _OPTIONS for each in ("-o", option)]
        config = [] if self.ssh_config is None else ["-F", str(self.ssh_config)]
        # The outer shell lives on to tell by which signal Python was ended: ssh alone doesn't.
        there = f'{self.interpreter} -u -c "{_FIRST_LINE}"; exit $?'
        return ["ssh", *config, *options, *shlex.split(self.ssh), f"sh -c {shlex.quote(there)}"]
