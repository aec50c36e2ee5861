"""The first line of a TensorRT calibration cache: ``TRT-<version>-<algorithm>``."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from calaudit.runtime.errors import SettingsError, near

ENTROPY_2: Final = "EntropyCalibration2"
MINMAX: Final = "MinMaxCalibration"
ENTROPY_1: Final = "EntropyCalibration"

AlgorithmFlag = Literal["entropy", "minmax"]
ALGORITHMS: Final[dict[str, str]] = {"entropy": ENTROPY_2, "minmax": MINMAX}
"""What flags call an algorithm → what the header calls it."""
KNOWN_ALGORITHMS: Final = (ENTROPY_2, MINMAX, ENTROPY_1)
"""Names that TensorRT has written. The last one is of ``IInt8EntropyCalibrator``, the first
entropy calibrator."""

FIRST_WIDE_MAJOR: Final = 10
"""First major version whose number has two digits for the minor."""
FIRST_WITHOUT_CACHES: Final = 11
"""First major version without implicit quantization, so without calibration caches."""

_HEADER = re.compile(r"TRT-([^\s-]+)-(\S+)\s*")
_VERSION = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})(?:\.([0-9]{1,2}))?(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True, order=True)
class TrtVersion:
    """A version of TensorRT.

    Raises
    ------
    SettingsError
        Parts that no version number has room for.
    """

    major: int
    minor: int
    patch: int

    def __post_init__(self) -> None:
        largest_minor = 99 if self.major >= FIRST_WIDE_MAJOR else 9
        fits = 1 <= self.major <= 99 and 0 <= self.minor <= largest_minor and 0 <= self.patch <= 99
        if not fits:
            raise SettingsError(
                f"{self} is not a valid TensorRT version", next_step="Give it as 8.6.1 or 10.3.0."
            )

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def number(self) -> int:
        """As headers give it: 8601 for 8.6.1, 100300 for 10.3.0."""
        thousands = 10_000 if self.major >= FIRST_WIDE_MAJOR else 1_000
        return self.major * thousands + self.minor * 100 + self.patch

    @classmethod
    def of_number(cls, text: str) -> "TrtVersion | None":
        """The version behind a header's number; None where no version has it (``8XXX``)."""
        if re.fullmatch(r"[1-9][0-9]{3}", text):
            number = int(text)
            return cls(number // 1_000, number // 100 % 10, number % 100)
        if re.fullmatch(r"[1-9][0-9]{5}", text):
            number = int(text)
            return cls(number // 10_000, number // 100 % 100, number % 100)
        return None

    @classmethod
    def parse(cls, text: str) -> "TrtVersion":
        """The version that people write: 8.6.1, 10.3, 8.6.1.6 (the build is left out).

        Raises
        ------
        SettingsError
            It doesn't read as a version.
        """
        found = _VERSION.fullmatch(text.strip())
        if found is None:
            raise SettingsError(
                f"{text!r} is not a valid TensorRT version", next_step="Give it as 8.6.1 or 10.3.0."
            )
        major, minor, patch = found.groups(default="0")
        return cls(int(major), int(minor), int(patch))


@dataclass(frozen=True, slots=True)
class CacheHeader:
    """What a header says, as it says it."""

    number: str
    """The version's number. Other tools write placeholders too, such as ``8XXX``."""
    algorithm: str
    """The calibrator's algorithm; `KNOWN_ALGORITHMS`, or what another tool made up."""

    def __str__(self) -> str:
        return f"TRT-{self.number}-{self.algorithm}"

    @property
    def version(self) -> TrtVersion | None:
        """The version, where the number is one."""
        return TrtVersion.of_number(self.number)

    @classmethod
    def parse(cls, line: str) -> "CacheHeader | None":
        """The header in a line, or None where it holds none."""
        found = _HEADER.fullmatch(line)
        return None if found is None else cls(*found.groups())


def header_for(version: TrtVersion, method: str) -> CacheHeader:
    """The header to write for scales that a method estimated.

    TensorRT reads a cache only through a calibrator of the same algorithm; the scales themselves
    may come from anywhere. minmax goes under TensorRT's min-max calibrator, everything else under
    the second entropy calibrator; a name that TensorRT uses itself is kept.

    Raises
    ------
    SettingsError
        TensorRT of this version has no calibration caches.
    """
    if version.major >= FIRST_WITHOUT_CACHES:
        raise SettingsError(
            f"TensorRT {version} reads no calibration caches: it has no implicit quantization",
            next_step="Build a Q/DQ engine from the scale table with `calaudit build`.",
        )
    if method in KNOWN_ALGORITHMS:
        return CacheHeader(str(version.number), method)
    return CacheHeader(str(version.number), MINMAX if method == "minmax" else ENTROPY_2)


def algorithm_named(flag: str) -> str:
    """What headers call the algorithm that a flag names.

    Raises
    ------
    SettingsError
        An unknown name, with the near ones.
    """
    if flag in ALGORITHMS:
        return ALGORITHMS[flag]
    if flag in KNOWN_ALGORITHMS:
        return flag
    known = [*ALGORITHMS, *KNOWN_ALGORITHMS]
    raise SettingsError(
        f"there is no algorithm {flag!r}", where="--algorithm", next_step=near(flag, known)
    )
