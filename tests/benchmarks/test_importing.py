"""The benchmark of imports measures whole pools beside decoders of the same files."""

from pathlib import Path

import importing
import pytest


@pytest.mark.slow
def test_each_kind_of_file_has_a_figure_beside_its_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "SECONDS", 1)
    found = list(importing.figures(1, tmp_path, files=8))
    assert [figure.unit for figure in found] == ["images/s"] * 3 + ["recordings/s"] * 2
    assert len({figure.what for figure in found}) == len(found)
    assert all(figure.more_is_better and figure.goal == importing.SHARE for figure in found)
    assert not list(tmp_path.glob("*.h5"))
