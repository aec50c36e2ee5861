"""Each metric's conventions in a sentence, for reports that must stand alone."""

from calaudit.evaluate.catalogue import definition_of
from calaudit.evaluate.metric import Metric


def convention_of(metric: Metric) -> str:
    """The definition's choices: what is averaged, ties, gain, what is left out."""
    return definition_of(metric).convention
