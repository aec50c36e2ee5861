from pathlib import Path

import h5py
import numpy as np
import pytest

from calaudit.formats import rows
from calaudit.formats.identity import digest_rows
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from tests.formats.pools import tiny, write_by_hand


def fingerprint(path: Path) -> str:
    with open_pool(path) as pool:
        return pool.fingerprint()


def test_fingerprint_does_not_depend_on_how_the_content_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write_by_hand(tmp_path / "plain.h5", tiny())
    packed = tmp_path / "packed.h5"
    with h5py.File(packed, "w") as file:
        for name, values in reversed(tiny().items()):
            if name == "meta/speaker":
                raw = np.array([text.encode() for text in values])
                file.create_dataset(name, data=raw.astype(h5py.string_dtype("utf-8", 30)))
            else:
                data = values.astype(values.dtype.newbyteorder(">"))
                file.create_dataset(name, data=data, chunks=True, compression="gzip")
        file.attrs.update({"calaudit_format": "pool", "format_version": 1, "note": "packed"})
    expected = fingerprint(plain)
    assert len(expected) == 32
    assert fingerprint(packed) == expected
    monkeypatch.setattr(rows, "BLOCK_BYTES", 5)
    assert fingerprint(plain) == expected


def test_fingerprint_of_a_written_pool_equals_that_of_one_made_by_hand(tmp_path: Path) -> None:
    arrays = tiny()
    write_pool(
        tmp_path / "written.h5",
        inputs={"x": arrays["inputs/x"]},
        targets={"label": arrays["targets/label"]},
        meta={"snr_db": arrays["meta/snr_db"], "speaker": arrays["meta/speaker"]},
    )
    assert fingerprint(tmp_path / "written.h5") == fingerprint(
        write_by_hand(tmp_path / "by_hand.h5", arrays)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"meta/speaker": ["theo", "z", "oë", "theo"]},  # the same bytes, cut elsewhere
        {"meta/snr_db": np.array([np.inf, 5, np.nan, -5], np.float64)},
        {"inputs/x": np.arange(12, dtype=np.float32).reshape(4, 3, 1)},
        {"targets/label": np.array([0, 1, 2, 2])},
        {"ids": ["a", "b", "c", "d"]},
        {"inputs/y": np.zeros((4, 1), np.float32)},
    ],
)
def test_every_change_of_content_changes_the_fingerprint(
    tmp_path: Path, change: dict[str, object]
) -> None:
    before = fingerprint(write_by_hand(tmp_path / "before.h5", tiny()))
    assert fingerprint(write_by_hand(tmp_path / "after.h5", tiny() | change)) != before


def test_sample_digests_depend_on_content_only() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    y = np.arange(4)
    digests = digest_rows({"x": x, "y": y})
    assert digests.shape == (4,)
    assert len(set(digests.tolist())) == 4
    assert {len(text) for text in digests.tolist()} == {32}
    backwards = digest_rows({"y": y[::-1], "x": np.asfortranarray(x[::-1])})
    assert backwards.tolist() == digests.tolist()[::-1]
    assert digest_rows({"x": x.astype(">f4"), "y": y}).tolist() == digests.tolist()


def test_equal_samples_have_equal_digests_and_other_names_other_ones() -> None:
    x = np.ones((2, 3), np.float32)
    first, second = digest_rows({"x": x}).tolist()
    assert first == second
    assert digest_rows({"z": x}).tolist()[0] != first
    assert digest_rows({"x": x.astype(np.float64)}).tolist()[0] != first
