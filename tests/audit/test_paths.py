"""Paths of an audit file: what they are relative to, and what messages call them."""

from pathlib import Path

from calaudit.audit.config import read_audit
from tests.audit.world import make_world
from tests.cli.running import calaudit


def test_a_file_is_named_without_detours(tmp_path: Path) -> None:
    audit = make_world(tmp_path / "models" / "here", n=200)
    config = read_audit(audit)
    assert config.resolve("../there/model.onnx") == tmp_path / "models" / "there" / "model.onnx"
    assert config.resolve("model.onnx") == audit.parent / "model.onnx"


def test_a_detour_by_a_symbolic_link_is_kept(tmp_path: Path) -> None:
    """There ".." is the folder above the one that the link leads to."""
    audit = make_world(tmp_path / "far" / "here", n=200)
    (tmp_path / "link").symlink_to(audit.parent)
    config = read_audit(tmp_path / "link" / audit.name)
    found = config.resolve("../model.onnx")
    assert found.resolve() == (tmp_path / "far" / "model.onnx").resolve()


def test_an_error_of_a_model_names_it_so(tmp_path: Path) -> None:
    audit = make_world(tmp_path / "world" / "audits", n=200)
    model = audit.parent.rename(tmp_path / "world" / "models") / "model.onnx"
    (tmp_path / "world" / "audits").mkdir()
    text = (model.parent / audit.name).read_text(encoding="utf-8")
    for name in ("model.onnx", "pool.h5"):
        text = text.replace(f'"{name}"', f'"../models/{name}"')
    audit.write_text(text, encoding="utf-8")
    model.write_bytes(b"no model")
    ended = calaudit("compare", audit)
    assert ended.status == 2
    assert str(model) in ended.err.replace("\n", "")
    assert ".." not in ended.err
