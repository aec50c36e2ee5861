"""TensorRT's calibration caches on disk: one per set, algorithm, way of batching, model, version.

A cache that TensorRT can read bypasses the data without a word, so what a cache depends on stands
in its file's name, and its header is checked before it is offered.
"""

import hashlib
from pathlib import Path

from calaudit.backends.tensorrt.reader import Batching
from calaudit.errors import FileFormatError, Notice
from calaudit.formats.calibset import Calibset
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.formats.trt_header import CacheHeader, TrtVersion, header_for
from calaudit.graph import Model


def cache_file(
    folder: Path,
    *,
    calibset: Calibset,
    algorithm: str,
    batching: Batching,
    model: Model,
    version: str,
) -> Path:
    """Where the cache of one calibration belongs.

    Parameters
    ----------
    folder : Path
        Of all caches.
    calibset : Calibset
    algorithm : str
        "entropy" or "minmax".
    batching : Batching
        TensorRT's entropy ranges depend on it.
    model : Model
        The FP32 graph that TensorRT is given.
    version : str
        TensorRT's, with the build number.
    """
    parts = (calibset.fingerprint, algorithm, str(batching), model.fingerprint, version)
    key = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in calibset.name)[:60]
    return folder / f"{name}-{algorithm}-{key}.cache"


def read_stored(
    path: Path | None, algorithm: str, version: TrtVersion
) -> tuple[bytes | None, tuple[Notice, ...]]:
    """A stored cache to offer to TensorRT, or None, and why a file that is there isn't offered."""
    if path is None or not path.exists():
        return None, ()
    wanted = header_for(version, algorithm)
    try:
        cache = open_trt_cache(path)
    except FileFormatError as error:
        reason = error.problems[0].message
    else:
        reason = _unfit(cache.header, wanted, len(cache.problems))
        if not reason:
            return path.read_bytes(), ()
    text = f"the stored calibration cache {reason}: TensorRT calibrates again"
    return None, (Notice("calibration_cache_unfit", text, str(path)),)


def _unfit(header: CacheHeader | None, wanted: CacheHeader, n_unreadable: int) -> str:
    if header != wanted:
        return f"begins with {header or 'no header'} instead of {wanted}"
    return f"has {n_unreadable} unreadable lines" if n_unreadable else ""
