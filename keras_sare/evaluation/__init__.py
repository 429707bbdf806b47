"""How well places are recognised (recall) and images retrieved (mAP): protocols, reports, tables, whole comparisons."""

from keras_sare.evaluation.comparisons.comparison_settings import ComparisonSettings
from keras_sare.evaluation.comparisons.matching_pairs import MatchingPairs
from keras_sare.evaluation.comparisons.retrieval_comparison import RetrievalComparison
from keras_sare.evaluation.landmarks import dimension_sweep, evaluate_landmarks, evaluate_protocols, evaluate_rankings
from keras_sare.evaluation.mean_average_precision import average_precisions, average_precisions_of_ranks
from keras_sare.evaluation.place_report import report_places
from keras_sare.evaluation.recall import DEFAULT_NS, evaluate, recall_at
from keras_sare.evaluation.report import RecallReport, better, format_table
from keras_sare.evaluation.retrieval_files import write_retrieval
from keras_sare.evaluation.retrieval_report import RetrievalReport, format_retrieval_table

__all__ = [
    "ComparisonSettings",
    "DEFAULT_NS",
    "MatchingPairs",
    "RecallReport",
    "RetrievalComparison",
    "RetrievalReport",
    "average_precisions",
    "average_precisions_of_ranks",
    "better",
    "dimension_sweep",
    "evaluate",
    "evaluate_landmarks",
    "evaluate_protocols",
    "evaluate_rankings",
    "format_retrieval_table",
    "format_table",
    "recall_at",
    "report_places",
    "write_retrieval",
]
