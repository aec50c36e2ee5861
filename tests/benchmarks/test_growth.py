from dataclasses import replace

import growth
import numpy as np
import pytest
from figures import Figure
from growth import point
from slopes import Axis, Cost, draw, show, slope
from worlds.growing import Growing, write_audit

from calaudit.audit.prepare import Overrides, prepared_audit

N = [1e3, 1e4, 1e5, 1e6]


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 2.0])
def test_a_slope_is_the_power_whatever_the_fixed_part(power):
    found = slope(N, [5.0 + 0.1 * n**power for n in N], least=0.01)
    assert found.value == pytest.approx(power, abs=0.1)
    assert found.fit > 0.99


def test_what_hardly_grows_is_flat():
    assert slope(N, [5.0, 5.1, 5.2, 5.3], least=0.05) is None
    assert slope(N, [0.0, 0.01, 0.02, 0.04], least=0.05) is None


def test_what_is_above_linear_is_named_and_drawn(tmp_path, capsys):
    costs = [{"a": Cost(n * 1e-5, 10**8), "b": Cost(n**2 * 1e-9, int(1e3 * n))} for n in N]
    axis = Axis("rows of a pool", [int(n) for n in N], costs)
    assert show(axis) == ["rows of a pool: time of b, n^1.96"]
    assert capsys.readouterr().out.count("ABOVE LINEAR") == 1
    draw(axis, tmp_path)
    assert "<svg" in (tmp_path / "growth-rows-of-a-pool.svg").read_text(encoding="utf-8")


def test_a_world_is_as_large_as_it_says(tmp_path):
    world = Growing(rows=600, slices=35, engines=4, methods=2, taps=7, classes=5)
    with prepared_audit(write_audit(tmp_path, world), Overrides()) as audit:
        assert len(audit.evaluated) == 600
        assert len(audit.slices.names) == 1 + 5 + 5 + 25
        assert len([cell for cell in audit.plan.cells if cell.precision == "int8"]) == 4
        assert len(audit.qdq.taps) == 7
        mix = np.bincount(audit.eval_sets[0].truth.label, minlength=5)
    assert mix.max() < 0.6 * mix.sum()
    with pytest.raises(ValueError, match="3 engines are no multiple of 2 methods"):
        write_audit(tmp_path, replace(world, engines=3))


def test_a_point_tells_time_and_peak_of_each_stage():
    costs = point("rows", Growing(rows=500))
    assert {"columns read", "inputs read", "slices", "draw: ids"} <= costs.keys()
    assert all(cost.peak > 2**20 and cost.wall > 0 for cost in costs.values())


def test_figures_hold_large_points_against_linear_growth(monkeypatch, tmp_path):
    def linear(kind: str, world: Growing):
        cpu = 1.0 + 1e-5 * world.rows * world.engines * world.slices * world.taps
        return {"whole": Cost(cpu, 10**8 + 100 * world.rows * world.engines)}

    monkeypatch.setattr(growth, "point", linear)
    found = list(growth.figures(2, tmp_path))
    assert all(isinstance(each, Figure) and each.met for each in found)
    assert len(found) == 4
