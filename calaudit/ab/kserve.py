"""An arm of an A/B test that is a model on a server: Triton, MLServer, OpenVINO model server.

Asked by the Open Inference Protocol (KServe's version 2), over HTTP or gRPC. One client per thread.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from calaudit.ab.endpoints import Endpoint, Metadata, check_metadata, served_shape
from calaudit.ab.transports import BINARY, Client, RequestError, connect
from calaudit.runtime.errors import BackendError, Notice

if TYPE_CHECKING:
    from calaudit.graph.model import ModelTensor


class KServeArm:
    """A model on a server.

    Parameters
    ----------
    endpoint : Endpoint
        Where it is.
    inputs : sequence of ModelTensor
        Of the audit's model: what is sent.
    outputs : sequence of ModelTensor
        Of the audit's model: what is asked for, in this order.
    timeout_s : float
        For one request, from connecting to its last byte, in seconds.
    concurrency : int, optional
        Requests that may be under way at a time: as many threads may be in `ask`.
    """

    kind: Literal["endpoint"] = "endpoint"

    def __init__(
        self,
        endpoint: Endpoint,
        inputs: "Sequence[ModelTensor]",
        outputs: "Sequence[ModelTensor]",
        *,
        timeout_s: float,
        concurrency: int = 8,
    ) -> None:
        self.endpoint = endpoint
        self.concurrency = concurrency
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._timeout_s = timeout_s
        self._binary = False
        self._found: Metadata | None = None
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._clients: list[Client] = []

    @property
    def name(self) -> str:
        """Its address."""
        return str(self.endpoint)

    @property
    def record(self) -> Mapping[str, str]:
        """What identifies it in a report. Texts only."""
        told = {"endpoint": self.name, "protocol": f"KServe v2 over {self.endpoint.protocol}"}
        told["tensors"] = "binary" if self.endpoint.grpc or self._binary else "JSON"
        if self._found is not None:
            told["server"] = self._found.server
            if self._found.versions:
                told["versions"] = ", ".join(self._found.versions)
        return told

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What couldn't be checked at the start."""
        found = self._found
        lacking = (
            []
            if found is None
            else [kind for kind in ("inputs", "outputs") if not getattr(found, kind)]
        )
        if not lacking:
            return ()
        what = (
            f"the server tells no {' and no '.join(lacking)} of its model: each answer is checked"
        )
        return (Notice("endpoint_unchecked", what, self.name),)

    def start(self) -> None:
        """Connect, and hold the server's model against the audit's.

        Raises
        ------
        BackendError
            tritonclient isn't installed, no server answers, it doesn't have the model, or the
            model's inputs or outputs are others.
        """
        client = connect(self.endpoint, self._timeout_s, binary=False)
        try:
            found = client.metadata()
        except RequestError as error:
            raise BackendError(
                f"the server doesn't tell about the model {self.endpoint.model!r}: {error.message}",
                where=self.name,
                next_step="Start the server, and check host, port, model and version.",
            ) from None
        finally:
            client.close()
        check_metadata(found, self._inputs, self._outputs, self.name)
        self._found = found
        self._binary = BINARY in found.extensions

    def ask(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Send one request and wait for its answer; several threads may at a time.

        Parameters
        ----------
        feeds : mapping
            Input → array (n, …) of the model's element type; others are ignored.

        Returns
        -------
        dict
            Output → array, (n, …).

        Raises
        ------
        RequestError
            There is no answer, or it hasn't the model's outputs, shapes and element types.
        """
        sent = {each.name: feeds[each.name] for each in self._inputs}
        try:
            answer = self._client().infer(sent, [each.name for each in self._outputs])
        except RequestError as error:
            if error.status in {"timeout", "lost"}:
                self._drop()
            raise
        self._check(answer, len(next(iter(sent.values()))))
        return answer

    def close(self) -> None:
        """Close all connections. No thread may be in `ask`."""
        with self._lock:
            clients, self._clients = self._clients, []
        self._mine = threading.local()
        for client in clients:
            client.close()

    def _client(self) -> Client:
        client: Client | None = getattr(self._mine, "client", None)
        if client is None:
            client = connect(self.endpoint, self._timeout_s, binary=self._binary)
            self._mine.client = client
            with self._lock:
                self._clients.append(client)
        return client

    def _drop(self) -> None:
        """End this thread's connection: a late answer must not be taken for the next one."""
        client: Client = self._mine.client
        del self._mine.client
        with self._lock:
            self._clients.remove(client)
        client.close()

    def _check(self, answer: Mapping[str, NDArray[Any]], n: int) -> None:
        for tensor in self._outputs:
            values = answer.get(tensor.name)
            if values is None:
                raise RequestError("other_shape", f"no output {tensor.name!r} in the answer")
            wanted = (n, *tensor.shape)
            fits = values.ndim == len(wanted) and all(
                size is None or size == got for size, got in zip(wanted, values.shape, strict=True)
            )
            if not fits:
                raise RequestError(
                    "other_shape",
                    f"output {tensor.name!r} is {served_shape(values.shape)}, expected "
                    f"{served_shape(wanted)}",
                )
            if values.dtype != np.dtype(tensor.dtype):
                what = f"output {tensor.name!r} is {values.dtype}, expected {tensor.dtype}"
                raise RequestError("other_shape", what)
