"""What exemptions that were found are called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.audit.exemptions import Exemption
from calaudit.recommend.exempting import exemption_name


@pytest.mark.parametrize(
    ("ops", "taken", "name"),
    [
        (["fc1"], (), "fc1"),
        (["fc1"], ("fc1", "fc1-2"), "fc1-3"),
        (["/head/fc1", "a+b"], (), "head.fc1-a.b"),
        (["stem", "body", "fc1", "head"], (), "stem-body-fc1-and-1-more"),
        (["/"], (), "in-float"),
    ],
)
def test_an_exemption_is_called_by_its_ops(
    ops: list[str], taken: tuple[str, ...], name: str
) -> None:
    assert exemption_name(ops, taken) == name


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_an_audit_file_takes_any_name(ops: list[str]) -> None:
    assert Exemption(name=exemption_name(ops), float_ops=tuple(ops)).name
