"""Addresses of models on inference servers, and whether such a model is the audit's.

The servers speak the Open Inference Protocol (KServe's version 2).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self
from urllib.parse import unquote, urlsplit

from calaudit.runtime.errors import BackendError, Problem, SettingsError, near
from calaudit.runtime.words import visible

if TYPE_CHECKING:
    from calaudit.graph.model import ModelTensor

Protocol = Literal["http", "https", "grpc", "grpcs"]
PROTOCOLS: Final[tuple[Protocol, ...]] = ("http", "https", "grpc", "grpcs")
DEFAULT_PORTS: Final[dict[Protocol, int]] = {"http": 80, "https": 443}
FORM: Final = "http://HOST:PORT/MODEL[/VERSION] or grpc://HOST:PORT/MODEL[/VERSION]"
_DTYPES: Final = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    **{f"{sign}int{n}": f"{sign}int{n}".upper() for sign in ("", "u") for n in (8, 16, 32, 64)},
}
"""NumPy's names of element types → the protocol's."""
_FULL_PATH: Final = re.compile(
    r"^(?P<prefix>(?:.*/)?)v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/infer)?$"
)


def is_endpoint(text: str) -> bool:
    """Whether an arm is named by an address rather than by a cell."""
    return "://" in text


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model on a server."""

    protocol: Protocol
    address: str
    """``host:port``, with a path before ``v2/`` where the server has one: ``host:80/serving``."""
    model: str
    version: str = ""
    """Empty: the server chooses."""

    def __str__(self) -> str:
        version = f"/{self.version}" if self.version else ""
        if "/" in self.address:
            version = f"/versions/{self.version}" if self.version else ""
            return f"{self.protocol}://{self.address}/v2/models/{self.model}{version}"
        return f"{self.protocol}://{self.address}/{self.model}{version}"

    @property
    def grpc(self) -> bool:
        """Whether it is asked over gRPC rather than over HTTP."""
        return self.protocol.startswith("grpc")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.protocol.endswith("s")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Parameters
        ----------
        text : str
            ``http://host:8080/model``, ``grpc://host:8081/model/1``, or the protocol's own path:
            ``http://host:8080/v2/models/model/versions/1/infer``.

        Raises
        ------
        SettingsError
            It isn't such an address.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise _unreadable(text, f"isn't an address ({error})") from None
        scheme = next((each for each in PROTOCOLS if each == parts.scheme), None)
        if scheme is None:
            raise _unreadable(
                text, f"has the scheme {parts.scheme!r}", near(parts.scheme, PROTOCOLS)
            )
        if parts.username is not None or parts.password is not None:
            shown = f"{scheme}://…@{parts.hostname}"
            raise _unreadable(shown, "has a user or a password, which isn't supported")
        if parts.query or parts.fragment:
            raise _unreadable(text, "has something behind its path")
        port = DEFAULT_PORTS.get(scheme) if port is None else port
        if not parts.hostname or port is None:
            raise _unreadable(text, "names no host" if not parts.hostname else "names no port")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        prefix, model, version = _path(parts.path, text)
        if prefix and scheme.startswith("grpc"):
            raise _unreadable(text, f"has the path {prefix!r}, which gRPC doesn't have")
        return cls(scheme, f"{host}:{port}" + (f"/{prefix}" if prefix else ""), model, version)


def _path(path: str, text: str) -> tuple[str, str, str]:
    """What stands before ``v2/``, the model and its version."""
    told = _FULL_PATH.match(path.strip("/"))
    if told:
        found = (told["prefix"].strip("/"), told["model"], told["version"] or "")
    else:
        names = [each for each in path.split("/") if each]
        if not 1 <= len(names) <= 2:
            raise _unreadable(text, "names no model" if not names else "has too many parts")
        found = ("", names[0], names[1] if len(names) == 2 else "")
    return found[0], unquote(found[1]), unquote(found[2])


def _unreadable(text: str, why: str, more: str = "") -> SettingsError:
    step = f"Give {FORM}."
    return SettingsError(f"{visible(text)!r} {why}", next_step=f"{more} {step}" if more else step)


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output, as a server describes it."""

    name: str
    datatype: str
    """The protocol's: ``FP32``."""
    shape: tuple[int, ...]
    """With the batch axis; -1: any size."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a server says of itself and of its model."""

    server: str
    """Name and version."""
    extensions: tuple[str, ...]
    versions: tuple[str, ...]
    """Those of the model that are served; empty where the server doesn't tell."""
    inputs: tuple[Tensor, ...]
    """Empty where the server doesn't tell."""
    outputs: tuple[Tensor, ...]
    """Empty where the server doesn't tell."""


def check_metadata(
    found: Metadata,
    inputs: "Sequence[ModelTensor]",
    outputs: "Sequence[ModelTensor]",
    where: str,
) -> None:
    """Hold a server's model against the audit's.

    Parameters
    ----------
    found : Metadata
        What the server says. What it doesn't tell isn't checked.
    inputs, outputs : sequence of ModelTensor
        The audit's model; of the outputs those that are scored.
    where : str
        The endpoint, for messages.

    Raises
    ------
    BackendError
        Names, element types or shapes differ; lists all that do.
    """
    problems: list[Problem] = []
    for told, wanted, kind in ((found.inputs, inputs, "input"), (found.outputs, outputs, "output")):
        if told:
            problems += _differences(told, wanted, kind, where)
    if problems:
        raise BackendError.of(problems)


def _differences(
    told: Sequence[Tensor], wanted: "Sequence[ModelTensor]", kind: str, where: str
) -> Iterator[Problem]:
    by_name = {each.name: each for each in told}
    serve = "Serve the model that the audit names, or an engine made of it."
    for tensor in wanted:
        there = by_name.get(tensor.name)
        if there is None:
            what = f"the server's model has no {kind} {tensor.name!r}"
            yield Problem(what, where, f"{near(tensor.name, by_name)} {serve}")
            continue
        datatype = datatype_of(str(tensor.dtype))
        if there.datatype != datatype:
            what = f"{kind} {tensor.name!r} is {there.datatype} there, the audit's {datatype}"
            yield Problem(what, where, serve)
        if not _fits(there.shape, tensor.shape):
            shape = served_shape((-1, *tensor.shape))
            what = (
                f"{kind} {tensor.name!r} is {served_shape(there.shape)} there, the audit's {shape}"
            )
            yield Problem(what, where, serve)
    if kind == "input":
        for name in by_name.keys() - {each.name for each in wanted}:
            what = f"the server's model wants an input {name!r}, which the audit's hasn't"
            yield Problem(what, where, serve)


def _fits(there: Sequence[int], sample: Sequence[int | None]) -> bool:
    """Whether a server's shape, with the batch axis, is that of a model's samples."""
    if len(there) != len(sample) + 1:
        return False
    return all(
        size < 0 or wanted is None or size == wanted
        for size, wanted in zip(there[1:], sample, strict=True)
    )


def datatype_of(dtype: str) -> str:
    """The protocol's name of an element type.

    Raises
    ------
    BackendError
        The protocol has none.

    Examples
    --------
    >>> datatype_of("float32"), datatype_of("uint8")
    ('FP32', 'UINT8')
    """
    if dtype not in _DTYPES:
        raise BackendError(
            f"tensors of {dtype} can't be sent by the KServe protocol",
            next_step=f"Known: {', '.join(sorted(_DTYPES))}.",
        )
    return _DTYPES[dtype]


def served_shape(shape: Sequence[int | None]) -> str:
    """A shape as messages show it.

    Examples
    --------
    >>> served_shape((-1, 1, None, 8))
    '(any, 1, any, 8)'
    """
    sizes = ["any" if size is None or size < 0 else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
