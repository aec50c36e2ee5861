"""What became of FP32's top k: which loss has which cause, and who was shown instead of whom."""

from calaudit.evaluate.ranking.change import RankingChange, change_of, changes_in
from calaudit.evaluate.ranking.lists import Path

__all__ = ["Path", "RankingChange", "change_of", "changes_in"]
