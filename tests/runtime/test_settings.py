"""Settings are as strict as TOML: a value of another type is refused with its place."""

from pathlib import Path
from typing import Any

import pytest

from calaudit.audit.config import AuditSettings
from calaudit.audit.gate_entry import GateSettings
from calaudit.backends.onnxruntime.kind import OnnxruntimeSettings
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.settings import parse_settings, read_toml, setting
from calaudit.sampling.recipe import Recipe
from calaudit.slices.dimension import Dimension

AUDIT = {"name": "a", "model": "m.onnx", "pool": "p.h5", "evaluate": "x = 1"}
WRONG: list[tuple[type, dict[str, Any], str]] = [
    (AuditSettings, {**AUDIT, "seed": True}, "seed: should be a whole number (got true)"),
    (AuditSettings, {**AUDIT, "replicates": True}, "replicates: should be a whole number"),
    (OnnxruntimeSettings, {"threads": False}, "threads: should be a whole number (got false)"),
    (AuditSettings, {**AUDIT, "batch_size": "64"}, 'batch_size: should be a whole number (got "64'),
    (AuditSettings, {**AUDIT, "batch_size": 64.0}, "batch_size: should be a whole number"),
    (AuditSettings, {**AUDIT, "level": "0.95"}, 'level: should be a number (got "0.95")'),
    (AuditSettings, {**AUDIT, "name": 3}, "name: should be text (got 3)"),
    (AuditSettings, {**AUDIT, "methods": "mse"}, 'methods: should be a list (got "mse")'),
    (Dimension, {"by": "x", "min_support": True}, "min_support: should be a whole number"),
    (Dimension, {"by": "x", "edges": [True, 2]}, "edges[0]: should be a number (got true)"),
    (Dimension, {"by": "x", "quantiles": True}, "quantiles: should be a whole number or a list"),
    (Recipe, {"name": "r", "size": True}, "size: should be a whole number (got true)"),
    (GateSettings, {"metric": "top1", "max_drop": True}, "max_drop: should be a number (got true)"),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "values", "said"), WRONG)
def test_values_of_another_type_are_refused_and_not_converted(
    cls: type, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(values, cls, where="a.toml", at="here")
    assert f"a.toml: here.{said}" in str(caught.value)


@setting
class Outer:
    inner: tuple[AuditSettings, ...] = ()


@pytest.mark.parametrize(
    ("cls", "values", "place"),
    [
        (AuditSettings, {**AUDIT, "cluster": "speaker"}, "cluster"),
        (Outer, {"inner": [{**AUDIT, "cluster": ["speaker"]}]}, "inner[0].cluster"),
    ],
)
def test_a_renamed_key_is_refused_with_its_new_name(
    cls: type, values: dict[str, Any], place: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(values, cls, where="a.toml")
    (problem,) = caught.value.problems
    assert problem.where == f"a.toml: {place}"
    assert problem.message == "this key was renamed to cluster_by"
    assert problem.next_step == "Write cluster_by instead."


def test_a_renamed_key_can_be_written_by_its_new_name() -> None:
    columns = {**AUDIT, "cluster_by": ["speaker", "take"]}
    assert parse_settings(columns, AuditSettings, where="f").cluster_columns == ("speaker", "take")


def test_an_unknown_key_is_refused_with_near_ones() -> None:
    with pytest.raises(SettingsError, match=r"a.toml: clustr: unknown key\n.*cluster_by"):
        parse_settings({**AUDIT, "clustr": "speaker"}, AuditSettings, where="a.toml")


def test_whole_numbers_stand_for_numbers_and_infinity_is_one() -> None:
    assert parse_settings({"metric": "nll", "max_drop": 1}, GateSettings, where="f").max_drop == 1.0
    edges = parse_settings({"by": "x", "edges": [0, float("inf")]}, Dimension, where="f").edges
    assert edges == (0.0, float("inf"))


def test_dates_are_no_settings(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("name = 2024-01-01\nsize = 4\n")
    with pytest.raises(SettingsError, match="name: should be text"):
        parse_settings(read_toml(path), Recipe, where=path)


def test_windows_text_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes("\ufeffname = 'é'\r\nsize = 4\r\n".encode())
    assert read_toml(path) == {"name": "é", "size": 4}


@pytest.mark.parametrize("endless", ["/dev/zero", "large"])
def test_a_file_too_large_for_settings_is_refused_before_it_fills_the_memory(
    tmp_path: Path, endless: str
) -> None:
    path = tmp_path / endless  # an absolute path stays itself
    if endless == "large":
        with path.open("wb") as file:
            file.truncate(17 << 20)
    with pytest.raises(SettingsError, match="larger than 16 MiB"):
        read_toml(path)
