"""Run where a TensorRT can be imported: prints its version, names and classes' members as JSON."""

import json
import sys

from calaudit.backends.tensorrt.worker.detect import TensorrtModule, find_tensorrt


def surface(library: str) -> dict[str, object]:
    found = find_tensorrt(library)
    assert isinstance(found, TensorrtModule), found
    names = {name: getattr(found.module, name) for name in dir(found.module)}
    classes = {name: value for name, value in names.items() if isinstance(value, type)}
    for name, value in list(classes.items()):
        inner = {f"{name}.{n}": getattr(value, n) for n in dir(value) if not n.startswith("_")}
        classes |= {n: each for n, each in inner.items() if isinstance(each, type)}
    return {
        "version": found.version,
        "names": sorted(names),
        "members": {name: dir(value) for name, value in classes.items()},
    }


if __name__ == "__main__":
    print(json.dumps(surface(sys.argv[1])))
