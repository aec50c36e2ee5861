"""What no schema can check of predicted harm: names, and one number to each slice."""

from dataclasses import replace

import pytest

from calaudit.results.document import inconsistencies, read_document, to_document
from calaudit.results.harm import HarmRecord
from tests.report.factory import HARM, report


def problems(harm: HarmRecord) -> list[str]:
    return [str(each) for each in inconsistencies(report(harm=harm), where="r")]


def test_the_sample_is_consistent_and_totals_are_sums() -> None:
    assert problems(HARM) == []
    assert HARM.cells[0].total == pytest.approx((0.024, 0.0035, 0.2151))


def test_numbers_that_are_not_one_to_a_slice_are_told_with_their_place() -> None:
    clean, equal = HARM.cells
    tap = replace(equal.taps[0], resolution=(0.1,))
    cells = (replace(clean, clipping=(0.1, 0.2)), replace(equal, taps=(tap,)))
    found = problems(replace(HARM, cells=cells))
    assert len(found) == 2
    assert "r: harm.cells[0].clipping" in found[0]
    assert "must hold 3 numbers" in found[0]
    assert "r: harm.cells[1].taps[0]" in found[1]


def test_names_of_nothing_are_told_with_their_place() -> None:
    clean, equal = HARM.cells
    slices = (HARM.slices[0], replace(HARM.slices[1], slice="noise < 4"), HARM.slices[2])
    ranks = (replace(HARM.ranks[1], metric="top5"),)
    cells = (replace(clean, cell="clean/kl"), equal)
    found = problems(replace(HARM, slices=slices, ranks=ranks, cells=cells))
    assert "harm.slices[1].slice" in found[0]
    assert "harm.cells[0].cell" in found[1]
    assert "harm.ranks[0].metric" in found[2]
    assert len(found) == 3


def test_a_report_from_before_is_read_as_one_without_predicted_harm() -> None:
    document = to_document(report())
    del document["harm"]
    assert read_document(document, where="r").harm is None
