"""The KServe protocol over HTTP and over gRPC, by tritonclient; what went wrong, in its kinds.

A client belongs to the thread that made it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from calaudit.ab.endpoints import Endpoint, Metadata, Tensor, datatype_of
from calaudit.runtime.errors import BackendError
from calaudit.runtime.words import visible

if TYPE_CHECKING:
    from calaudit.results.ab import Status

BINARY: Final = "binary_tensor_data"
"""The extension of servers that take tensors over HTTP as bytes."""
_TOLD: Final = 300
"""Characters of a server's message that are kept."""


class RequestError(BackendError):
    """A request that got no usable answer; the next one may.

    Parameters
    ----------
    status : {"error", "timeout", "lost", "other_shape"}
        Refused or failed, no answer in time, no connection, or an answer of another shape or
        element type.
    message : str
        What was wrong, without what differs from one request to the next.
    """

    def __init__(self, status: "Status", message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Client(Protocol):
    """A connection to one endpoint."""

    def metadata(self) -> Metadata:
        """What the server says. Raises `RequestError`."""
        ...

    def infer(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """One request. Raises `RequestError`; the client must be closed after a timeout."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


def connect(endpoint: Endpoint, timeout_s: float, *, binary: bool) -> Client:
    """A client of an endpoint, for this thread. Nothing is sent yet.

    Parameters
    ----------
    endpoint : Endpoint
    timeout_s : float
        For a whole request, from connecting to its last byte, in seconds.
    binary : bool
        Over HTTP: whether tensors go as bytes, rather than as JSON. gRPC always sends bytes.

    Raises
    ------
    BackendError
        tritonclient isn't installed.
    """
    try:
        if endpoint.grpc:
            return GrpcClient(endpoint, timeout_s)
        return HttpClient(endpoint, timeout_s, binary=binary)
    except ImportError as error:
        raise BackendError(
            f"asking a server needs tritonclient, which can't be imported ({error})",
            where=str(endpoint),
            next_step="pip install 'calaudit[serving]', or: pip install 'tritonclient[http,grpc]'",
        ) from None


class HttpClient:
    """Over HTTP; see `Client`."""

    def __init__(self, endpoint: Endpoint, timeout_s: float, *, binary: bool) -> None:
        from tritonclient import http

        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._binary = binary
        self._http = http
        self._client = http.InferenceServerClient(
            endpoint.address,
            connection_timeout=timeout_s,
            network_timeout=timeout_s,
            ssl=endpoint.tls,
            ssl_context_factory=_trusting_this_machine if endpoint.tls else None,
        )

    def metadata(self) -> Metadata:
        """See `Client`."""
        with self._told():
            server = self._client.get_server_metadata()
            version = self._endpoint.version
            model = self._client.get_model_metadata(self._endpoint.model, version)
        return Metadata(
            server=f"{server.get('name', '?')} {server.get('version', '')}".strip(),
            extensions=tuple(server.get("extensions") or ()),
            versions=tuple(map(str, model.get("versions") or ())),
            inputs=tuple(map(_tensor, model.get("inputs") or ())),
            outputs=tuple(map(_tensor, model.get("outputs") or ())),
        )

    def infer(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """See `Client`."""
        asked = [self._http.InferRequestedOutput(name, self._binary) for name in outputs]
        inputs = []
        for name, values in feeds.items():
            datatype = datatype_of(str(values.dtype))
            tensor = self._http.InferInput(name, list(values.shape), datatype)
            inputs.append(tensor.set_data_from_numpy(values, self._binary))
        with self._told():
            answer = self._client.infer(self._endpoint.model, inputs, self._endpoint.version, asked)
            return _answered(answer, outputs)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong inside as `RequestError`, within the time of a whole request."""
        from gevent import Timeout
        from geventhttpclient.response import HTTPParseError
        from tritonclient.utils import InferenceServerException

        try:
            with Timeout(self._timeout_s):
                yield
        except (Timeout, TimeoutError):
            raise RequestError("timeout", f"no answer within {self._timeout_s:g} s") from None
        except InferenceServerException as error:
            raise _http_error(error) from None
        except OSError as error:
            raise RequestError("lost", _connection(error)) from None
        except HTTPParseError as error:  # an answer that ended early, too
            raise RequestError("lost", _short(f"the connection ended: {error}")) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"its answer can't be read ({type(error).__name__}: {error})"
            raise RequestError("error", _short(what)) from None

    def close(self) -> None:
        """See `Client`."""
        self._client.close()


def _trusting_this_machine() -> Any:
    """A context that trusts what this machine trusts; geventhttpclient adds certifi's authorities.

    It would take theirs alone if this took its file of them as an argument.
    """
    from gevent.ssl import create_default_context

    return create_default_context()


def _tensor(told: Mapping[str, Any]) -> Tensor:
    return Tensor(str(told["name"]), str(told["datatype"]), tuple(map(int, told["shape"])))


def _http_error(error: Any) -> RequestError:
    """Of an answer other than 200, or of one that tritonclient can't read."""
    status, message = error.status(), str(error.message())
    details = error.debug_details()
    if details:
        message = _body_text(str(details))
    return RequestError("error", _short(f"HTTP {status}: {message}" if status else message))


def _body_text(body: str) -> str:
    """What a body says that isn't the protocol's ``{"error": …}``."""
    try:
        told = json.loads(body)
    except ValueError:
        return body
    while isinstance(told, list) and told:
        told = told[0]
    if isinstance(told, dict):
        for key in ("error", "detail", "message", "msg"):
            if key in told:
                value = told[key]
                return value if isinstance(value, str) else _body_text(json.dumps(value))
    return body


class GrpcClient:
    """Over gRPC; see `Client`."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        from tritonclient import grpc

        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._grpc = grpc
        self._client = grpc.InferenceServerClient(endpoint.address, ssl=endpoint.tls)

    def metadata(self) -> Metadata:
        """See `Client`."""
        with self._told():
            wait = self._timeout_s
            server = self._client.get_server_metadata(client_timeout=wait)
            model = self._client.get_model_metadata(
                self._endpoint.model, self._endpoint.version, client_timeout=wait
            )
        return Metadata(
            server=f"{server.name} {server.version}".strip(),
            extensions=tuple(server.extensions),
            versions=tuple(model.versions),
            inputs=tuple(Tensor(t.name, t.datatype, tuple(t.shape)) for t in model.inputs),
            outputs=tuple(Tensor(t.name, t.datatype, tuple(t.shape)) for t in model.outputs),
        )

    def infer(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """See `Client`."""
        asked = [self._grpc.InferRequestedOutput(name) for name in outputs]
        inputs = []
        for name, values in feeds.items():
            datatype = datatype_of(str(values.dtype))
            tensor = self._grpc.InferInput(name, list(values.shape), datatype)
            inputs.append(tensor.set_data_from_numpy(values))
        with self._told():
            answer = self._client.infer(
                self._endpoint.model,
                inputs,
                self._endpoint.version,
                asked,
                client_timeout=self._timeout_s,
            )
            return _answered(answer, outputs)

    @contextmanager
    def _told(self) -> Iterator[None]:
        from tritonclient.utils import InferenceServerException

        try:
            yield
        except InferenceServerException as error:
            code = str(error.status() or "").removeprefix("StatusCode.")
            message = str(error.message())
            if code == "DEADLINE_EXCEEDED":
                what = f"no answer within {self._timeout_s:g} s"
                raise RequestError("timeout", what) from None
            if code == "UNAVAILABLE":
                raise RequestError("lost", _short(f"unavailable: {message}")) from None
            told = f"gRPC {code}: {message}" if code else message
            raise RequestError("error", _short(told)) from None
        except (ValueError, TypeError) as error:
            raise RequestError("error", _short(f"its answer can't be read ({error})")) from None

    def close(self) -> None:
        """See `Client`."""
        self._client.close()


def _answered(answer: Any, outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The outputs that an answer has, as arrays of their own."""
    found = {name: answer.as_numpy(name) for name in outputs}
    return {name: np.array(values) for name, values in found.items() if values is not None}


def _connection(error: OSError) -> str:
    """A failed connection in words that are the same for each request."""
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError() | BrokenPipeError():
            return "the server closed the connection"
        case _:
            return _short(f"no connection ({error.strerror or error})")


def _short(message: str) -> str:
    text = visible(" ".join(message.split()))
    return text if len(text) <= _TOLD else f"{text[: _TOLD - 1]}…"
