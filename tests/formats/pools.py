"""Small pools that tests write by hand, with h5py alone: the format as others write it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write_by_hand(path: Path, arrays: Mapping[str, Any], **attrs: Any) -> Path:
    """An HDF5 file with the given datasets; root attributes of a pool unless told otherwise."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        for name, value in ({"calaudit_format": "pool", "format_version": 1} | attrs).items():
            if value is not None:
                file.attrs[name] = value
    return path


def tiny() -> dict[str, Any]:
    """Four samples with one input, a label, and metadata with missing values."""
    return {
        "inputs/x": np.arange(12, dtype=np.float32).reshape(4, 3),
        "targets/label": np.array([0, 1, 2, 1]),
        "meta/snr_db": np.array([np.inf, 5, np.nan, -5], np.float32),
        "meta/speaker": ["theo", "", "zoë", "theo"],
    }
