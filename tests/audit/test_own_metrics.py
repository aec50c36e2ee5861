"""Metrics beside the audit file that break: told before an engine is built, with status 2."""

from pathlib import Path

import pytest

from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit

MODULE = """
import numpy as np
from calaudit.metrics.base import metric

def functional(sums):
    return {functional}

@metric("set", functional=functional, influence=lambda k, sums, n: {influence})
def own(outputs, target):
    return np.ones((len(outputs), 2))
"""


@pytest.mark.parametrize(
    ("functional", "influence", "told"),
    [
        ("{}['x']", "1.0", "failed in its functional"),
        ("sums", "1.0", "gave float64 of shape"),
        ("sums[..., 0] + 1j", "1.0", "gave complex128"),
        ("sums[..., 0]", "None", "gave NoneType from its influence"),
    ],
)
def test_what_breaks_is_told_before_an_int8_engine_is_built(
    tmp_path: Path, functional: str, influence: str, told: str
) -> None:
    name = f"broken_{tmp_path.name}"
    path = make_world(tmp_path, n=600, audit=AUDIT.replace('["top1",', f'["{name}:own", "top1",'))
    text = MODULE.replace("{functional}", functional).replace("{influence}", influence)
    (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    ended = calaudit("compare", path, "--out", tmp_path / "out")
    said = " ".join(ended.err.split())
    assert ended.status == 2
    assert told in said
    assert f"{name}:own" in said
    assert "Traceback" not in said
    assert len(list((tmp_path / "out").rglob("predictions/*.h5"))) == 1
