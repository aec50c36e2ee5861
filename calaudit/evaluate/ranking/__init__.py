"""What became of FP32's top k: which loss has which cause, and who was shown instead of whom."""

from calaudit.evaluate.ranking.change import LossSplit, RankingChange, change_of, changes_in
from calaudit.evaluate.ranking.flow import Flow, MovedItem
from calaudit.evaluate.ranking.lists import Path

__all__ = ["Flow", "LossSplit", "MovedItem", "Path", "RankingChange", "change_of", "changes_in"]
