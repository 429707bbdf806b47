"""Recall of place recognition: protocol, reports and their comparison. Pictures are in `evaluation.plots`."""

from keras_sare.evaluation.groups import same_group
from keras_sare.evaluation.recall import DEFAULT_NS, evaluate, recall_at
from keras_sare.evaluation.report import RecallReport, better, format_table

__all__ = ["DEFAULT_NS", "RecallReport", "better", "evaluate", "format_table", "recall_at", "same_group"]
