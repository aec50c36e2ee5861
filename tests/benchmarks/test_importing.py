"""The benchmark of imports measures whole pools beside decoders of the same files."""

from pathlib import Path
from typing import Any

import importing
import numpy as np
import pytest

import calaudit


@pytest.mark.slow
def test_each_kind_of_file_has_a_figure_beside_its_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "SECONDS", 1)
    found = list(importing.figures(1, tmp_path, files=8))
    assert [figure.unit for figure in found] == ["images/s"] * 7 + ["recordings/s"] * 2
    assert len({figure.what for figure in found}) == len(found)
    assert [figure.goal for figure in found] == [0.8, None] * 3 + [None] + [0.8] * 2
    assert all(figure.more_is_better for figure in found)
    assert not [*tmp_path.glob("*.h5"), *tmp_path.glob("*.bin")]


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("boxed", [False, True])
def test_the_peer_of_images_makes_what_an_import_makes(
    tmp_path: Path, as_bytes: bool, boxed: bool
) -> None:
    paths = importing.save_images(tmp_path, 4)
    how: dict[str, Any] = {"size": 224, "boxed": boxed, "as_bytes": as_bytes}
    importing.store_images(paths, **how)
    told = {"divide_by": 1.0} if as_bytes else {"mean": importing.MEAN, "std": importing.STD}
    fit = "letterbox" if boxed else "stretch"
    image = {"size": [224, 224], "fit": fit, "dtype": "uint8" if as_bytes else "float32", **told}
    importing.manifest(tmp_path / "images.csv", {"column": "path", "image": image})
    stored = np.fromfile(tmp_path / "inputs.bin", image["dtype"])
    with calaudit.open_pool(tmp_path / "pool.h5") as pool:
        wanted = pool.read_inputs(np.arange(4))["x"]
    np.testing.assert_array_equal(stored.reshape(wanted.shape), wanted)
