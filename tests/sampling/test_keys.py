import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calaudit.sampling.keys import derive_seed, row_keys, smallest, smallest_per_stratum


def test_seeds_and_keys_are_the_same_on_every_machine() -> None:
    seed = derive_seed(0, "clean only")
    assert seed == 0x13F2A764C0382398BE206B042F50230D
    keys = [5199544146637500519, 16413753570074405541, 18424266944375299134]
    assert row_keys(seed, np.arange(3)).tolist() == keys


def test_seeds_and_names_make_seeds_of_their_own() -> None:
    assert len({derive_seed(seed, name) for seed in range(20) for name in ("a", "b", "c")}) == 60


def test_a_row_keeps_its_key_whatever_other_candidates_there_are() -> None:
    everyone = row_keys(7, np.arange(1000))
    some = np.array([3, 40, 999])
    assert (row_keys(7, some) == everyone[some]).all()


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(0, 45))
def test_the_smallest_keys_are_those_of_a_stable_sort(keys, n) -> None:
    values = np.array(keys, np.uint64)
    wanted = np.sort(np.argsort(values, kind="stable")[:n])
    assert smallest(values, n).tolist() == wanted.tolist()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(-1, 2)), max_size=40), st.data())
def test_each_stratum_gives_its_own_smallest_keys(samples, data) -> None:
    keys = np.array([key for key, _ in samples], np.uint64)
    codes = np.array([code for _, code in samples], np.int32)
    sizes = [int((codes == h).sum()) for h in range(3)]
    asked = np.array([data.draw(st.integers(0, n)) for n in sizes], np.int64)
    found = smallest_per_stratum(keys, codes, asked)
    wanted = []
    for h, n in enumerate(asked):
        members = np.flatnonzero(codes == h)
        wanted += members[np.argsort(keys[members], kind="stable")[:n]].tolist()
    assert found.tolist() == sorted(wanted)


def test_many_strata_are_sorted_like_few() -> None:
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 40_000, 100_000).astype(np.int32)
    keys = row_keys(1, np.arange(100_000))
    asked = np.minimum(np.bincount(codes, minlength=40_000), 1)
    found = smallest_per_stratum(keys, codes, asked)
    assert (np.bincount(codes[found], minlength=40_000) == asked).all()
