"""Every family of metrics, by the question it answers."""

from collections.abc import Mapping

from calaudit.evaluate.definition import Definition
from calaudit.evaluate.definitions.agreement import AGREEMENT
from calaudit.evaluate.definitions.classification import CLASSIFICATION
from calaudit.evaluate.definitions.diversity import DIVERSITY
from calaudit.evaluate.definitions.ranking import RANKING
from calaudit.evaluate.definitions.regression import REGRESSION
from calaudit.evaluate.definitions.sequence import SEQUENCE

DEFINITIONS: Mapping[str, Definition] = {
    **CLASSIFICATION,
    **REGRESSION,
    **SEQUENCE,
    **RANKING,
    **DIVERSITY,
    **AGREEMENT,
}
