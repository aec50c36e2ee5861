"""What the compiler is told beyond the graph, on which engines and their speed depend."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from calaudit.backends.tensorrt.session import Session
from calaudit.runtime.errors import BackendError


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """Choices of a build; the defaults are what calaudit builds where nothing is said."""

    optimization_level: int | None = None
    """0 to 5: how long the builder looks for fast kernels; None: the library's own default."""
    sparsity: bool = False
    """Whether kernels for weights of which two in four are zero may be taken."""
    tf32: bool = False
    """Whether FP32 may be multiplied in TF32."""
    fixed_shapes: bool = False
    """Whether an engine takes its largest batch alone: smaller ones are filled up."""
    timing_cache: bool = True
    """Whether kernel timings of earlier builds are used."""

    @property
    def changed(self) -> Mapping[str, str | int | bool]:
        """Those that aren't the default, as audit files have them."""
        found = {k: v for k, v in asdict(self).items() if v != getattr(_DEFAULT, k)}
        if found.pop("fixed_shapes", False):
            found["shapes"] = "fixed"
        return found

    def __str__(self) -> str:
        return ", ".join(f"{name} = {_told(value)}" for name, value in self.changed.items())


_DEFAULT = Knobs()


def check_knobs(knobs: Knobs, session: Session) -> None:
    """Refuse, before any build, what the library there doesn't have.

    Raises
    ------
    BackendError
        It has no optimization levels, or something keeps TF32 off.
    """
    found = session.look()
    if knobs.optimization_level is not None and not found.abilities.get("levels"):
        raise BackendError(
            f"{session.title} has no optimization levels",
            next_step="Leave optimization_level out, or take TensorRT 8.6 or later.",
        )
    if knobs.tf32 and found.tf32 == "off":
        raise BackendError(
            "tf32 = true, but NVIDIA_TF32_OVERRIDE=0 where TensorRT runs keeps TF32 off",
            where=session.location,
            next_step="Unset NVIDIA_TF32_OVERRIDE there, or leave tf32 out.",
        )


def _told(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
