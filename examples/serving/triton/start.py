"""Starts the Triton of the wheel nvidia-pytriton on a folder of models, without a GPU.

    start.py MODELS [MORE OF TRITON'S OPTIONS]

To be called with the Python that has nvidia-pytriton, numpy and onnxruntime: the models run in its
version and with its packages. NVIDIA's containers have more backends, and need none of this.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path


def main(models: str, *options: str) -> None:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        sys.exit("There is no pytriton here: pip install nvidia-pytriton==0.7.0")
    wheel = Path(spec.origin).parent
    server = wheel / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        sys.exit(f"pytriton has no backend for Python {version}.")
    # The backend's own program must be that of this Python: put both into one folder.
    backends = Path(sys.prefix) / "triton-backends"
    if not backends.exists():
        with tempfile.TemporaryDirectory(dir=sys.prefix) as made:
            shutil.copytree(server / "backends", Path(made, "all"))
            shutil.copy(stub, Path(made, "all", "python"))
            Path(made, "all", "python", stub.name).chmod(0o755)
            Path(made, "all").rename(backends)
    (server / "bin" / "tritonserver").chmod(0o755)
    libraries = (str(wheel.parent / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR"))
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    # The backend's Python looks for its environment beside the first python3 on the path.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    command = [str(server / "bin" / "tritonserver"), f"--model-repository={models}"]
    os.execv(command[0], [*command, f"--backend-directory={backends}", *options])


if __name__ == "__main__":
    main(*sys.argv[1:])
