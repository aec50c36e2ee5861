"""The search for the fewest products in float, against planted truths."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.worlds.needs_float import LAYERS, NAMES, WIDTH, Bench
from calaudit.explain.exemptions import Exempted, search_exemptions

OPS = tuple(f"op{number}" for number in range(24))
MACS: dict[str, int | None] = {op: 1000 + 10 * place for place, op in enumerate(OPS)}
N = 400


@dataclass(frozen=True)
class Verdict:
    used: float

    @property
    def holds(self) -> bool:
        return self.used <= 1


@dataclass
class World:
    """Engines whose loss is a function of the products in INT8; on some samples it is noisy."""

    loss: Callable[[frozenset[str]], float]
    ops: Mapping[str, int | None] = field(default_factory=lambda: dict(MACS))
    noise: float = 0.02
    judged: list[frozenset[str]] = field(default_factory=list)

    def used(self, left: frozenset[str]) -> float:
        return self.loss(frozenset(self.ops) - left)

    def judge(self, left: frozenset[str]) -> Verdict:
        assert left not in self.judged, "an engine is judged once"
        assert left < frozenset(self.ops), "with all products in float it is FP32"
        self.judged.append(left)
        return Verdict(self.used(left))

    def look(self, left: frozenset[str], rows: NDArray[np.int64]) -> float:
        assert 0 < len(rows) <= N
        assert (np.diff(rows) > 0).all()
        seed = crc32(f"{sorted(left)} {len(rows)}".encode())
        error = np.random.default_rng(seed).normal() * self.noise / np.sqrt(len(rows) / 32)
        return max(0.0, self.used(left) + error)

    def search(self, **more: object) -> Exempted:
        return search_exemptions(self.ops, self.judge, self.look, N, **more)  # type: ignore[arg-type]


def guilty(*names: str, harm: float = 3.0) -> Callable[[frozenset[str]], float]:
    """Each of these costs as much, all others next to nothing."""
    return lambda int8: 0.2 + 0.01 * len(int8) + harm * len(int8 & set(names))


def test_a_head_that_needs_float_is_found_with_what_it_costs() -> None:
    world = World(guilty("op23"))
    found = world.search()
    assert (found.float_ops, found.holds) == (("op23",), True)
    assert found.macs.all == sum(m for m in MACS.values() if m)
    assert found.macs.all is not None
    assert found.macs.int8 == found.macs.all - 1230
    assert found.sentence == ("with op23 in float (4.6 % of multiply-accumulates) the gates pass")
    assert len(world.judged) < 8


def test_two_guilty_products_are_found_together() -> None:
    found = World(guilty("op3", "op17")).search()
    assert found.float_ops == ("op3", "op17")
    assert found.curve[1].used > 1 >= found.curve[2].used


def test_two_that_hide_each_other_are_found() -> None:
    """The worse of the two is what is lost, so that neither alone in float takes anything back."""

    def worst(int8: frozenset[str]) -> float:
        return 0.1 + 4.0 * bool(int8 & {"op5", "op6"})

    assert World(worst).search().float_ops == ("op5", "op6")


def test_products_that_only_harm_together_cost_one_of_them() -> None:
    """Either in float is enough: the one with fewer multiply-accumulates is left so."""

    def together(int8: frozenset[str]) -> float:
        return 0.1 + 4.0 * (int8 >= {"op4", "op19"})

    assert World(together).search().float_ops == ("op4",)


def test_where_nothing_is_lost_nothing_is_left_in_float() -> None:
    world = World(lambda int8: 0.5)
    found = world.search()
    assert (found.float_ops, found.holds) == ((), True)
    assert world.judged == [frozenset()]
    assert found.n_looked == 0
    assert found.sentence == "the gates pass with every product in INT8"


def test_where_no_few_products_help_that_is_said() -> None:
    """Each product costs its part, as in a net without ranges that help."""
    world = World(lambda int8: 0.5 * len(int8))
    found = world.search(most=6)
    assert not found.holds
    assert len(found.float_ops) == 6
    assert max(map(len, world.judged)) == 6
    assert found.sentence.startswith(
        "with up to 6 of 24 products in float the gates don't pass, as far as was tried: at best, "
        "with 6 "
    )
    assert found.sentence.endswith("9 times what a gate allows is lost")


def test_the_only_product_isnt_left_in_float() -> None:
    found = World(lambda int8: 5.0, {"op0": 10}).search()
    assert not found.holds
    assert found.float_ops == ()
    assert "the engine would be FP32" in found.sentence


def test_what_isnt_needed_goes_back_to_int8() -> None:
    """The ranking puts harmless products first; what is kept is minimal all the same."""
    prior = {op: float(op in {"op0", "op1", "op2"}) for op in OPS} | {"op9": 0.5}
    world = World(guilty("op9"), noise=0.0)
    found = world.search(prior=prior)
    assert found.float_ops == ("op9",)


def test_a_prior_takes_the_place_of_looking_at_each_alone() -> None:
    world = World(guilty("op7"))
    found = world.search(prior={op: float(op == "op7") for op in OPS})
    assert found.float_ops == ("op7",)
    assert found.n_looked == 0
    assert len(world.judged) == 2


def test_broken_answers_are_the_worst_that_there_is() -> None:
    def broken(int8: frozenset[str]) -> float:
        return float("nan") if "op11" in int8 else 0.5

    world = World(broken)
    world.look = lambda left, rows: world.used(left)  # type: ignore[method-assign]
    assert world.search().float_ops == ("op11",)


def test_unknown_multiply_accumulates_are_said_to_be_unknown() -> None:
    ops: dict[str, int | None] = {**MACS, "op23": None}
    found = World(guilty("op23"), ops).search()
    assert found.float_ops == ("op23",)
    assert found.macs.uncounted == 1
    assert found.sentence == "with op23 in float the gates pass"
    assert next(each.macs for each in found.tried if each.float_ops == ("op23",)) is None


def test_equal_arguments_give_equal_results() -> None:
    first, second = (World(guilty("op3", "op17")) for _ in range(2))
    assert first.search(seed=3) == second.search(seed=3)
    assert first.judged == second.judged


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.sampled_from(OPS), min_size=1, max_size=6),
    st.integers(0, 2**16),
    st.sampled_from(["sum", "worst"]),
)
def test_any_few_guilty_products_are_found(names: set[str], seed: int, kind: str) -> None:
    harm = dict(zip(sorted(names), np.random.default_rng(seed).uniform(1.5, 6, 6), strict=False))

    def loss(int8: frozenset[str]) -> float:
        own = [harm[op] for op in sorted(int8 & names)]
        return 0.2 + (sum(own) if kind == "sum" else max(own, default=0.0))

    world = World(loss)
    found = world.search()
    assert set(found.float_ops) == names
    assert all(each.holds == (each.used <= 1) for each in found.tried)


@pytest.mark.parametrize("n", [1, 2, 40])
def test_few_samples_and_few_products_are_no_trouble(n: int) -> None:
    ops: dict[str, int | None] = {"a": 1, "b": 2}
    world = World(guilty("b"), ops)
    found = search_exemptions(ops, world.judge, lambda left, rows: world.used(left), n)
    assert found.float_ops == ("b",)


@pytest.mark.parametrize("names", [("node_g5",), ("node_g0",), ("node_g1", "node_g4")])
def test_products_that_need_float_are_found_by_engines(names: tuple[str, ...]) -> None:
    bench = Bench(names)
    assert not bench.judge(frozenset()).holds
    found = search_exemptions(bench.products, bench.judge, bench.loss, 400)
    assert (found.float_ops, found.holds) == (names, True)
    assert found.macs.all == LAYERS * WIDTH * WIDTH
    assert found.macs.int8 == (LAYERS - len(names)) * WIDTH * WIDTH


def test_where_every_product_needs_float_engines_say_that_no_few_suffice() -> None:
    bench = Bench(NAMES)
    found = search_exemptions(bench.products, bench.judge, bench.loss, 400, most=4)
    assert not found.holds
    assert "the gates don't pass" in found.sentence


def test_a_net_that_int8_does_no_harm_is_left_in_int8() -> None:
    bench = Bench(())
    found = search_exemptions(bench.products, bench.judge, bench.loss, 400)
    assert (found.float_ops, found.holds, bench.engines) == ((), True, 1)
