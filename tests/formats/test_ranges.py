import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from calaudit.calibration.accumulate import Accumulator
from calaudit.calibration.batching import Batching
from calaudit.calibration.entropy_trt import N_EQUAL
from calaudit.calibration.equal_bins import EqualBins
from calaudit.calibration.groups import split_into_parts
from calaudit.calibration.histogram import Histograms
from calaudit.calibration.observation import LeftOut, Observation, ObservedSamples
from calaudit.formats.ranges import open_ranges, write_ranges
from calaudit.runtime.errors import FileFormatError, OutputError

TAPS = ("input", "/conv/Conv_output_0", "block 1 [relu]: Größe")


@pytest.fixture
def observation() -> Observation:
    random = np.random.default_rng(0)
    membership = np.stack([np.arange(20) % 2 == 0, np.arange(20) < 7, np.ones(20, bool)])
    atoms = split_into_parts(membership.astype(np.float64))
    collected = Accumulator(TAPS, atoms.weights.shape[1])
    for tap in range(2):
        collected.add(
            tap, random.standard_normal((20, 30)).astype(np.float32), atoms.of_sample[:, 0]
        )
    return Observation(
        collected.histograms,
        ("clean", "noisy < 5 dB", "all"),
        atoms.weights,
        np.bincount(atoms.of_sample[:, 0]),
        "model-fingerprint",
        "pool-fingerprint",
        samples=ObservedSamples(
            np.array([f"s{number}" for number in range(20)]),
            random.random((3, 20), np.float32),
            membership,
        ),
        left_out=(LeftOut("bad one", TAPS[1]),),
        equal_bins={
            name: EqualBins(
                TAPS,
                random.integers(0, 50, (3, N_EQUAL)),
                np.array([0.5, 1e-40, 0]),
                np.array([0, 2, -1]),
                n,
                Batching(size, order="stored"),
            )
            for name, n, size in (("clean", 10, 4), ("noisy < 5 dB", 7, 7))
        },
    )


@pytest.fixture
def path(tmp_path: Path, observation: Observation) -> Path:
    found = tmp_path / "ranges.h5"
    write_ranges(found, observation)
    return found


def test_ranges_come_back_bit_for_bit(path: Path, observation: Observation) -> None:
    found = open_ranges(path)
    assert found.histograms == observation.histograms
    assert found.groups == observation.groups
    np.testing.assert_array_equal(found.members, observation.members)
    np.testing.assert_array_equal(found.n_samples, observation.n_samples)
    assert found.model_fingerprint == "model-fingerprint"
    assert found.pool_fingerprint == "pool-fingerprint"
    assert found.size("all") == 20
    assert found.left_out == observation.left_out
    assert found.disjoint
    assert list(found.equal_bins) == list(observation.equal_bins)
    for name, equal in observation.equal_bins.items():
        for part in ("counts", "widths", "start"):
            np.testing.assert_array_equal(
                getattr(found.equal_bins[name], part), getattr(equal, part)
            )
        for part in ("taps", "n_samples", "batching"):
            assert getattr(found.equal_bins[name], part) == getattr(equal, part)
    assert found.samples is not None
    assert observation.samples is not None
    for name in ("ids", "maxima", "membership"):
        np.testing.assert_array_equal(
            getattr(found.samples, name), getattr(observation.samples, name)
        )


def test_counts_beyond_32_bits_come_back(tmp_path: Path, observation: Observation) -> None:
    histograms = observation.histograms
    huge = Histograms(TAPS, histograms.counts * (1 << 40), histograms.n_zero << 40, histograms.amax)
    equal = observation.equal_bins["clean"]
    more = replace(equal, counts=equal.counts * (1 << 40))
    written = replace(observation, histograms=huge, equal_bins={"clean": more})
    write_ranges(tmp_path / "huge.h5", written)
    found = open_ranges(tmp_path / "huge.h5")
    assert found.histograms == huge
    np.testing.assert_array_equal(found.equal_bins["clean"].counts, more.counts)


def test_ranges_without_equal_bins_are_read_as_before(
    tmp_path: Path, observation: Observation
) -> None:
    write_ranges(tmp_path / "r.h5", replace(observation, equal_bins={}))
    with h5py.File(tmp_path / "r.h5") as file:
        assert "equal_bins" not in file
    assert open_ranges(tmp_path / "r.h5").equal_bins == {}


def test_a_model_without_taps_has_a_ranges_file_too(tmp_path: Path) -> None:
    nothing = Observation(
        Accumulator([], 1).histograms, ("q",), np.ones((1, 1), bool), np.array([3]), "m", "p"
    )
    write_ranges(tmp_path / "none.h5", nothing)
    assert open_ranges(tmp_path / "none.h5").histograms == nothing.histograms


def test_histograms_are_stored_compactly(tmp_path: Path, observation: Observation) -> None:
    path = tmp_path / "r.h5"
    write_ranges(path, replace(observation, equal_bins={}))
    assert path.stat().st_size < observation.histograms.counts.nbytes / 10


def drop(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def put(name: str, values: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return change


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


def forget(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file.attrs[name]

    return change


def negative_count(file: h5py.File) -> None:
    values = file["counts/values"][()].astype(np.int64)
    values[3] = -1
    put("counts/values", values)(file)


def more_zeros_than_values(file: h5py.File) -> None:
    file["n_zero"][0, 0] = 1 << 40


def infinite_maximum(file: h5py.File) -> None:
    file["amax"][0, 0] = np.inf


def order_of_batches(order: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["equal_bins"].attrs["order"] = order

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("counts"), "dataset /counts/ends is missing"),
        (drop("members"), "dataset /members is missing"),
        (put("members", np.ones((3, 99))), "members has shape"),
        (put("members", np.ones((3, 4), bool)), "/members is bool, expected float64"),
        (put("taps", np.arange(3)), "/taps is int64, expected text"),
        (put("taps", ["one"]), "don't fit 1 taps"),
        (put("n_zero", np.zeros((1, 1), np.int64)), "don't fit 3 taps"),
        (put("counts/ends", np.zeros(2, np.int64)), "doesn't hold 3 taps × 4 parts"),
        (put("counts/bins", np.full(3, 9000, np.uint16)), "doesn't hold 3 taps × 4 parts"),
        (put("samples/maxima", np.zeros((3, 1), np.float32)), "maxima and membership have shapes"),
        (put("n_samples", np.zeros(1, np.int64)), "n_samples has shape"),
        (put("groups", ["a", "a", "b"]), "one name"),
        (negative_count, "can't be counts"),
        (more_zeros_than_values, "can't be counts"),
        (infinite_maximum, "aren't finite magnitudes"),
        (drop("equal_bins/widths"), "dataset /equal_bins/widths is missing"),
        (put("equal_bins/sets", ["clean"]), "doesn't hold 3 taps × 1 sets"),
        (put("equal_bins/counts", np.zeros((3, 2, 9), np.int64)), "doesn't hold 3 taps × 2 sets"),
        (put("equal_bins/widths", np.full((3, 2), np.nan)), "can't be such"),
        (put("equal_bins/batch", np.zeros(2, np.int64)), "calibration batches of 0"),
        (order_of_batches("shuffled"), "order 'shuffled'"),
        (attribute("fraction_bits", 7), r"2\^7 bins in each of 32 octaves"),
        (forget("model_fingerprint"), "attribute model_fingerprint is missing"),
        (attribute("calaudit_format", "pool"), "not a calaudit ranges file"),
        (attribute("format_version", 2), "format_version 2; this release reads up to 1"),
    ],
)
def test_a_damaged_or_foreign_file_says_what_is_wrong(
    path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(FileFormatError, match=message) as caught:
        open_ranges(path)
    problem = caught.value.problems[0]
    assert problem.where == str(path)
    assert problem.next_step


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 0.999])
def test_a_truncated_file_is_an_error(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileFormatError):
        open_ranges(path)


def test_damaged_counts_are_an_error(path: Path) -> None:
    with h5py.File(path, "r") as file:
        chunk = file["counts/values"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    start = chunk.byte_offset + 10
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(bytes(content))
    with pytest.raises(FileFormatError, match="/counts/values can't be read"):
        open_ranges(path)


def test_a_missing_or_other_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no such file"):
        open_ranges(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("not HDF5, but long enough to look at" * 20)
    with pytest.raises(FileFormatError, match="isn't an HDF5 file"):
        open_ranges(tmp_path / "text.h5")


def test_a_folder_in_the_way_leaves_nothing_behind(
    tmp_path: Path, observation: Observation
) -> None:
    (tmp_path / "taken.h5").mkdir()
    with pytest.raises(OutputError):
        write_ranges(tmp_path / "taken.h5", observation)
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken.h5"]


def test_histograms_that_are_written_in_pieces_come_back_whole(tmp_path: Path) -> None:
    taps = [f"t{number}" for number in range(11)]
    collected = Accumulator(taps, 5)
    random = np.random.default_rng(0)
    for tap in range(len(taps)):
        values = random.standard_normal((4, 300)).astype(np.float32) * np.float32(10.0**tap)
        collected.add(tap, values, np.array([0, 1, 2, 4]))
    groups = tuple("abcde")
    written = Observation(collected.histograms, groups, np.eye(5), np.ones(5, int), "m", "p")
    write_ranges(tmp_path / "r.h5", written)
    assert open_ranges(tmp_path / "r.h5").histograms == written.histograms


def test_what_was_written_is_checked_without_its_empty_bins(tmp_path: Path) -> None:
    taps = [f"t{number}" for number in range(40)]
    collected = Accumulator(taps, 50)
    for tap in range(len(taps)):
        collected.add(tap, np.ones((50, 3), np.float32), np.arange(50))
    written = Observation(
        collected.histograms, tuple(map(str, range(50))), np.eye(50), np.ones(50, int), "m", "p"
    )
    write_ranges(tmp_path / "first.h5", written)
    tracemalloc.start()
    write_ranges(tmp_path / "r.h5", written)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < written.histograms.counts.nbytes / 10
