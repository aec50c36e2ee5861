"""MLServer and Triton as examples/serving starts them, and Prometheus; processes of their own."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 120
"""Seconds that a server may take to be ready."""
PIP_PATIENCE = 600
"""Seconds that pip may take."""


class MissingServerError(Exception):
    """It can't be had here; says why."""


@dataclass(frozen=True)
class Served:
    """Where a server is."""

    http: str
    grpc: str
    metrics: str
    """Address of its page for Prometheus."""


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def fetched(address: str) -> str:
    """What is at an address."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        return str(answer.read().decode())


def answers_at(address: str) -> bool:
    """Whether a server answers there with 200."""
    try:
        fetched(address)
    except OSError:
        return False
    return True


@contextmanager
def running(
    command: Sequence[str | Path],
    ready: Callable[[], bool],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, from when it is ready; ended at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(each) for each in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )
    try:
        until = time.monotonic() + PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(
                    f"{command[0]} isn't ready:\n{log.read_text('utf-8', 'replace')[-3000:]}"
                )
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment(example: Path, cache: Path) -> Path:
    """The Python of an environment with an example's requirements; made once, in `cache`."""
    requirements = example / "requirements.txt"
    told = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = cache.absolute() / f"{example.name}-{told}"
    with FileLock(f"{folder}.lock"):  # tests of several processes want the same one
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as made:
                _install(requirements, Path(made, "venv"), example.name)
                Path(made, "venv").rename(folder)
    return folder / "bin" / "python"


def _install(requirements: Path, folder: Path, name: str) -> None:
    """Make an environment. Raises `MissingServerError`."""
    venv.create(folder, with_pip=False)  # of our own, which takes no time to be made
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(folder / "bin" / "python"),
        "install",
        "--quiet",
    ]
    try:
        done = subprocess.run(
            [*pip, "--disable-pip-version-check", "--no-compile", "-r", requirements],
            capture_output=True,
            text=True,
            check=False,
            timeout=PIP_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        what = f"pip needs more than {PIP_PATIENCE} seconds for {name}"
        raise MissingServerError(what) from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise MissingServerError(f"pip doesn't get what {name} needs: {last}")


@contextmanager
def mlserver(models: Mapping[str, Path], folder: Path, cache: Path) -> Iterator[Served]:
    """MLServer, by the example's runtime and settings.

    Parameters
    ----------
    models : mapping
        Name → ONNX file.
    folder : Path
        Made by this.
    cache : Path
        Keeps the environment.
    """
    python = environment(EXAMPLES / "serving" / "mlserver", cache)
    shutil.copytree(EXAMPLES / "serving" / "mlserver", folder)
    http, grpc, metrics = free_ports(3)
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    settings |= {"http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
    example = json.loads((folder / "digits" / "model-settings.json").read_text("utf-8"))
    shutil.rmtree(folder / "digits")
    for name, path in models.items():
        (folder / name).mkdir()
        shutil.copy(path, folder / name / "model.onnx")
        text = json.dumps(example | {"name": name})
        (folder / name / "model-settings.json").write_text(text, "utf-8")

    def ready() -> bool:
        return all(answers_at(f"http://127.0.0.1:{http}/v2/models/{each}/ready") for each in models)

    command: list[str | Path] = [python, python.with_name("mlserver"), "start", "."]
    paths = {"PYTHONPATH": str(folder)}
    with running(command, ready, folder / "log", cwd=folder, env=paths):
        yield Served(
            f"http://127.0.0.1:{http}",
            f"grpc://127.0.0.1:{grpc}",
            f"http://127.0.0.1:{metrics}/metrics",
        )


@contextmanager
def triton(models: Mapping[str, Path], folder: Path, cache: Path) -> Iterator[Served]:
    """The Triton of NVIDIA's wheel on the CPU, by the example's model and program.

    See `mlserver` for the parameters.
    """
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise MissingServerError("Triton's wheel is for x86-64 Linux")
    example = EXAMPLES / "serving" / "triton"
    python = environment(example, cache)
    for name, path in models.items():
        shutil.copytree(example / "models" / "digits", folder / name)
        shutil.copy(path, folder / name / "1" / "model.onnx")
        text = (folder / name / "config.pbtxt").read_text("utf-8")
        (folder / name / "config.pbtxt").write_text(text.replace('"digits"', f'"{name}"'), "utf-8")
    http, grpc, metrics = free_ports(3)
    command: list[str | Path] = [
        *(python, example / "start.py", folder, "--exit-timeout-secs=2"),
        *(f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"),
        *("--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"),
    ]

    def ready() -> bool:
        return answers_at(f"http://127.0.0.1:{http}/v2/health/ready")

    with running(command, ready, folder / "log"):
        yield Served(
            f"http://127.0.0.1:{http}",
            f"grpc://127.0.0.1:{grpc}",
            f"http://127.0.0.1:{metrics}/metrics",
        )


@contextmanager
def prometheus(targets: Mapping[str, str], folder: Path, *, every: str) -> Iterator[str]:
    """A Prometheus by the example's configuration; yields its address.

    Parameters
    ----------
    targets : mapping
        Job of the example → ``host:port``, in place of the example's.
    folder : Path
        Made by this.
    every : str
        Between two scrapes: ``"500ms"``.
    """
    if shutil.which("prometheus") is None:
        raise MissingServerError("prometheus isn't installed")
    shutil.copytree(EXAMPLES / "monitoring", folder)
    config = yaml.safe_load((folder / "prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": every, "evaluation_interval": every}
    for job in config["scrape_configs"]:
        if job["job_name"] in targets:
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    (port,) = free_ports(1)
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", "--log.level=warn"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    address = f"http://127.0.0.1:{port}"
    with running(command, lambda: answers_at(f"{address}/-/ready"), folder / "log"):
        # It takes seconds to find its targets, whether they are up or not.
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if {labels["job"] for labels, _ in queried(address, "up")} >= set(targets):
                break
            time.sleep(0.1)
        yield address


def asked(prometheus: str, path: str, **more: str) -> Any:
    """What Prometheus' API answers: ``data``."""
    told = json.loads(fetched(f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(more)}"))
    if told["status"] != "success":
        raise RuntimeError(told)
    return told["data"]


def queried(prometheus: str, text: str) -> list[tuple[Mapping[str, str], float]]:
    """Series with their values now."""
    found = asked(prometheus, "query", query=text)["result"]
    return [(each["metric"], float(each["value"][1])) for each in found]
