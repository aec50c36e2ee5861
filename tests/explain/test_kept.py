"""Of outputs that tasks reduce, experiments keep a sample of values, which tells errors as well."""

from pathlib import Path

import numpy as np

from calaudit.explain.kept import MOST_VALUES, SampledValues, output_values
from calaudit.explain.sensitivity import relative_error
from calaudit.formats.predictions import write_predictions
from calaudit.tasks.reduction import Kept


def test_a_sample_of_values_tells_the_error_of_a_large_output(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = np.arange(24) * 2
    exact = rng.normal(size=(24, 11, 60, 80)).astype(np.float32)
    found = []
    for size in (0.05, 0.1, 0.2):
        noise = size * rng.normal(size=exact.shape)
        rounded = (exact + noise).astype(np.float32)
        kept = Kept((), (SampledValues("y"),))
        files = [
            write_predictions(
                tmp_path / f"{name}{size}.h5",
                rows,
                [
                    kept.batch({"y": values[part]}, rows[part], None)
                    for part in np.split(rows // 2, 3)
                ],
            )
            for name, values in (("exact", exact), ("rounded", rounded))
        ]
        before, after = (output_values(each, ["y"], rows[3:]) for each in files)
        assert before["y"].shape == (21, MOST_VALUES)
        whole = relative_error({"y": rounded[3:]}, {"y": exact[3:]}, ["y"])
        found.append(relative_error(after, before, ["y"]))
        np.testing.assert_allclose(found[-1], whole, rtol=0.05)
    assert found == sorted(found)


def test_of_a_small_output_all_values_are_kept_and_of_a_kept_one_the_output(tmp_path: Path) -> None:
    rows = np.arange(5)
    values = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    kept = Kept(("z",), (SampledValues("y"),))
    given = {"y": values, "z": values + 1}
    file = write_predictions(tmp_path / "p.h5", rows, [kept.batch(given, rows, None)])
    found = output_values(file, ["y", "z"], rows[2:])
    np.testing.assert_array_equal(found["y"], values[2:].reshape(3, 12))
    np.testing.assert_array_equal(found["z"], values[2:] + 1)
