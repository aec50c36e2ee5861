"""An engine that somebody else made, as a report tells of it."""

from dataclasses import dataclass
from typing import Literal

from calaudit.results.values import Name

ForeignKind = Literal["onnx", "plan", "answers"]


@dataclass(frozen=True, slots=True)
class ForeignRecord:
    """What is known of an engine that the audit didn't make."""

    name: Name
    """As the audit file names it; the cell's id has the target behind it."""
    kind: ForeignKind
    """A quantized ONNX file, a TensorRT plan, or a file of answers."""
    file: Name
    """File name, without the folder."""
    fingerprint: Name
    """Hash of the file's content."""
    maker: str | None = None
    """Who or what made it, by the audit file; None: it doesn't say."""
    calibrated_on: str | None = None
    """What it was calibrated on, by the audit file: nothing here can check it. None: unknown."""
    names: Literal["calibset", "slice"] | None = None
    """What of this audit `calibrated_on` is the name of; None: it is a text."""
