"""What audits ask of TensorRT before it is made: ways to INT8, names of what is kept, obstacles."""

import shlex
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from calaudit.audit.config import read_audit
from calaudit.audit.plan import make_plan
from calaudit.backends.health import Health
from calaudit.backends.tensorrt.kind import TENSORRT, TENSORRT_RTX, TensorrtKind, TensorrtSettings
from calaudit.calibration.batching import Batching
from calaudit.runtime.errors import SettingsError
from tests.audit.world import AUDIT, make_world

IMPLICIT = TensorrtSettings(int8="implicit", ranges=("calaudit", "tensorrt"))


def test_explicit_int8_takes_the_same_graphs_as_every_backend() -> None:
    for one in (TENSORRT, TENSORRT_RTX):
        ways = list(one.int8(one.settings(), ("minmax", "mse"), Batching(8)))
        assert [(w.method, w.given, w.depends_on) for w in ways] == [
            ("minmax", "qdq", {}), ("mse", "qdq", {})
        ]  # fmt: skip


def test_implicit_int8_takes_scale_tables_and_sets() -> None:
    ways = list(TENSORRT.int8(IMPLICIT, ("mse", "entropy"), Batching(8)))
    assert [(w.method, w.given, w.nearest) for w in ways] == [
        ("mse", "scales", ()),
        ("entropy", "scales", ()),
        ("native-entropy", "calibset", ("entropy-trt", "entropy")),
    ]
    with pytest.raises(SettingsError, match="no method among mse"):
        list(TENSORRT.int8(IMPLICIT, ("mse",), Batching(8)))


def test_what_a_calibration_depends_on_stands_in_the_name_of_its_cache(tmp_path: Path) -> None:
    keys = 'backend = "tensorrt"\nint8 = "implicit"\nranges = ["calaudit", "tensorrt"]'

    def names(version: str = "10.3", calibration: str = "", model: str = "m") -> set[str]:
        text = AUDIT.replace("batch_size", f"{keys}\n{calibration}\nbatch_size")
        path = make_world(tmp_path, n=60, audit=text)
        plan = make_plan(
            read_audit(path),
            model=model,
            pool="p",
            rows="r",
            folder=tmp_path,
            seed=0,
            backends={"tensorrt": f"TensorRT {version}"},
        )
        return {cell.built.name for cell in plan.cells if cell.given == "calibset"}

    base = names()
    assert len(base) == 2, "one per set"
    assert names() == base
    assert names(calibration='calibration_batch = 64\ncalibration_order = "mixed"') == base
    for others in (
        names(version="10.4"),
        names(calibration="calibration_batch = 50"),
        names(calibration='calibration_order = "stored"'),
        names(model="other"),
    ):
        assert len(others) == 2
        assert not others & base


def test_without_calibrators_implicit_audits_end_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    health = Health("tensorrt", "TensorRT 11.4", "a GPU", ())
    asked: list[set[str]] = []
    monkeypatch.setattr(TensorrtKind, "examine", lambda _, __, ops: asked.append({*ops}) or health)
    wanted = {"fp32": ["Conv"], "int8": ["Conv"]}
    (missing,) = TENSORRT.obstacles(IMPLICIT, wanted)
    assert str(missing) == (
        "TensorRT 11.4 has no calibrators: it quantizes by Q/DQ in the graph only"
    )
    for each in ("up to 10", "JetPack", "tensorrt==8.5.3.1", "tensorrt>=10,<11"):
        assert each in missing.next_step
    assert list(TENSORRT.obstacles(TensorrtSettings(), wanted)) == []
    assert asked == [{"fp32"}, {"fp32", "int8"}], "a calibration isn't tried by Q/DQ"


def test_a_library_that_isnt_there_is_an_obstacle_with_what_installs_it_there() -> None:
    settings = TensorrtSettings(python=f"{shlex.quote(sys.executable)} -S")
    (missing,) = TENSORRT.obstacles(settings, {"fp32": ["Conv"]})
    assert "numpy can't be imported" in str(missing), "-S hides what is installed"
    assert f"{sys.executable} -m pip install numpy" in missing.next_step


@pytest.mark.parametrize(
    ("loads", "reason"),
    [
        ("libnvinfer.so.8: cannot open shared object file", "installed but can't be loaded: lib"),
        (None, "isn't installed"),
    ],
)
def test_implicit_audits_are_told_to_install_a_tensorrt_that_has_calibrators(
    tmp_path: Path, loads: str | None, reason: str
) -> None:
    hidden = "import importlib.util as u\nu.find_spec = lambda name: None\n"
    if loads is not None:
        (tmp_path / "tensorrt.py").write_text(f"raise ImportError({loads!r})\n", encoding="utf-8")
        hidden = ""
    (tmp_path / "sitecustomize.py").write_text(hidden, encoding="utf-8")
    python = f"env PYTHONPATH={shlex.quote(str(tmp_path))} {shlex.quote(sys.executable)}"

    def told(int8: Literal["explicit", "implicit"]) -> str:
        settings = TensorrtSettings(int8=int8, python=python)
        found = [*TENSORRT.obstacles(settings, {"fp32": ["Conv"]})]
        (missing,) = [each for each in found if each.what == "TensorRT"]
        assert reason in missing.reason
        return missing.next_step

    old = sys.version_info < (3, 11)
    wheel = "'tensorrt==8.5.3.1'" if old else "'tensorrt>=10,<11'"
    implicit = told("implicit")
    assert f"{sys.executable} -m pip install {wheel} 'pycuda>=2024.1'. " in implicit
    assert "a TensorRT up to 10, on a Jetson JetPack's own" in implicit
    assert ("LD_LIBRARY_PATH" in implicit) == (loads is not None)
    assert "<11" not in told("explicit")
    assert "JetPack" not in told("explicit")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"python": ""}, "python is no command"),
        ({"ssh": "an 'open quote"}, "ssh is no command"),
        ({"ssh_config": Path("config")}, "ssh_config goes with ssh"),
    ],
)
def test_where_it_is_must_make_sense(keys: dict[str, Any], message: str) -> None:
    for one in (TENSORRT, TENSORRT_RTX):
        with pytest.raises(SettingsError, match=message):
            one.settings(**keys)


@pytest.mark.parametrize("ssh", ["jetson extra", "@", "user@ -p"])
def test_a_machine_that_is_none_is_refused(ssh: str) -> None:
    with pytest.raises(SettingsError, match="ssh is") as caught:
        TensorrtSettings(ssh=ssh)
    assert "user@host" in str(caught.value)
