"""Small servers of the KServe protocol, by the standard library and by grpcio, that misbehave on
request. What they serve is a sum; real servers are in test_mlserver.py and test_triton.py.
"""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.graph.model import ModelTensor

INPUTS = (ModelTensor("x", np.dtype("float32"), (3,)),)
OUTPUTS = (
    ModelTensor("total", np.dtype("float32"), (1,)),
    ModelTensor("rows", np.dtype("int64"), (None,)),
)


def answers(x: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """What the served model computes."""
    total = x.sum(axis=1, keepdims=True, dtype=np.float32)
    return {"total": total, "rows": np.tile(np.arange(2), (len(x), 1))}


METADATA = {
    "name": "sum",
    "versions": ["1"],
    "platform": "numpy",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
    "outputs": [
        {"name": "total", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "rows", "datatype": "INT64", "shape": [-1, -1]},
    ],
}


@dataclass
class Behaviour:
    """How a server answers; may be changed while it runs."""

    metadata: dict[str, Any] = field(default_factory=lambda: dict(METADATA))
    extensions: list[str] = field(default_factory=list)
    compute: Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]] = answers
    stall_s: float = 0.0
    """Before each answer."""
    trickle_s: float = 0.0
    """Between the bytes of an answer."""
    status: int = 200
    body: bytes = b""
    """Of answers with another status."""
    hang_up: bool = False
    """Close the connection instead of answering."""
    asked: int = 0
    """Requests so far."""
    binary: int = 0
    """Of these: with tensors as bytes."""
    peers: set[Any] = field(default_factory=set)
    """Addresses that asked."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        told = self.behaviour
        if self.path == "/v2":
            return self.reply({"name": "small", "version": "0", "extensions": told.extensions})
        if self.path in {"/v2/models/sum", "/v2/models/sum/versions/1"}:
            return self.reply(told.metadata)
        return self.reply({"error": f"nothing at {self.path}"}, 404)

    def do_POST(self) -> None:
        told = self.behaviour
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told.asked += 1
        told.peers.add(self.client_address)
        time.sleep(told.stall_s)
        if told.hang_up:
            self.close_connection = True
            return
        if told.status != 200:
            self.send(told.body, told.status)
            return
        head = self.headers.get("Inference-Header-Content-Length")
        sent = json.loads(body if head is None else body[: int(head)])
        (tensor,) = sent["inputs"]
        if head is None:
            x = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        else:
            told.binary += 1
            x = np.frombuffer(body[int(head) :], np.float32).reshape(tensor["shape"])
        self.answer(told.compute(x), binary=head is not None)

    def answer(self, outputs: dict[str, NDArray[Any]], *, binary: bool) -> None:
        told, tail = [], b""
        for name, values in outputs.items():
            datatype = {"f": "FP", "i": "INT"}[values.dtype.kind] + str(8 * values.dtype.itemsize)
            each = {"name": name, "datatype": datatype, "shape": values.shape}
            if binary:
                each["parameters"] = {"binary_data_size": values.nbytes}
                tail += values.tobytes()
            else:
                each["data"] = values.ravel().tolist()
            told.append(each)
        head = json.dumps({"model_name": "sum", "outputs": told}).encode()
        extra = {"Inference-Header-Content-Length": str(len(head))} if binary else {}
        self.send(head + tail, 200, extra)

    def reply(self, value: Any, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), status)

    def send(self, body: bytes, status: int, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()
        step = 1 if self.behaviour.trickle_s else max(len(body), 1)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(self.behaviour.trickle_s)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what is tested."""


@contextmanager
def http_server(behaviour: Behaviour, certificate: Path | None = None) -> Iterator[str]:
    """A small HTTP server of the protocol; yields ``http://host:port``.

    `certificate` is a file of a key and its certificate, for TLS.
    """
    handler = type("Behaving", (Handler,), {"behaviour": behaviour})
    server = Server(("127.0.0.1", 0), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def grpc_server(behaviour: Behaviour) -> Iterator[str]:
    """A small gRPC server of the protocol; yields ``grpc://host:port``."""
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ServerMetadata(self, request: Any, context: Any) -> Any:
            return service_pb2.ServerMetadataResponse(name="small", version="0")

        def ModelMetadata(self, request: Any, context: Any) -> Any:
            if request.name != "sum":
                context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.name}")
            return service_pb2.ModelMetadataResponse(**behaviour.metadata)

        def ModelInfer(self, request: Any, context: Any) -> Any:
            behaviour.asked += 1
            time.sleep(behaviour.stall_s)
            if behaviour.status != 200:
                context.abort(grpc.StatusCode.INTERNAL, behaviour.body.decode())
            x = np.frombuffer(request.raw_input_contents[0], np.float32)
            found = behaviour.compute(x.reshape(list(request.inputs[0].shape)))
            response = service_pb2.ModelInferResponse(model_name="sum")
            for name, values in found.items():
                kind = {"f": "FP", "i": "INT"}[values.dtype.kind] + str(8 * values.dtype.itemsize)
                response.outputs.add(name=name, datatype=kind, shape=values.shape)
                response.raw_output_contents.append(values.tobytes())
            return response

    server = grpc.server(ThreadPoolExecutor(16))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
