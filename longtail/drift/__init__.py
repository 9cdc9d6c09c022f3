"""Measures how far new documents have moved from those that a model was made from."""

from longtail.drift.monitor import Answers, Documents, alarms, measure

__all__ = ["Answers", "Documents", "alarms", "measure"]
