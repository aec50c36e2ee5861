"""Engines that are held against FP32 while they run wait for it on workers, too."""

from types import SimpleNamespace
from typing import Any

import pytest

from calaudit.audit.dask.cells import _in_turn
from calaudit.audit.dask.scheduler import Call


@pytest.mark.parametrize("held", [False, True])
def test_fp32_is_asked_for_first_where_engines_are_held_against_it(held: bool) -> None:
    calls = [Call(name, print, (), False) for name in ("fp32", "a/minmax", "b/minmax")]
    audit: Any = SimpleNamespace(
        plan=SimpleNamespace(cells=("a", "b")),
        kept=lambda _: SimpleNamespace(against_reference=held),
    )
    asked = [[call.name for call in together] for together in _in_turn(audit, calls)]
    everyone = ["fp32", "a/minmax", "b/minmax"]
    assert asked == ([everyone[:1], everyone[1:]] if held else [everyone])
