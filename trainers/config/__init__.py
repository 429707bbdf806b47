"""Configurations of the programs: each setting once, with its type, default, meaning and bounds.

A program's flags are made from its configuration, and its function takes one:

    from trainers import pitts
    from trainers.config import PittsConfig

    pitts.run(PittsConfig(root="pitts30k", output="runs/pitts30k", epochs=5))

Nothing here imports TensorFlow, so that `--help` answers at once.
"""

from trainers.config.ablation import AblationConfig
from trainers.config.config import Config
from trainers.config.demo import DemoConfig
from trainers.config.evaluate import DoctorConfig, EvaluateConfig, ImportConfig
from trainers.config.extract import ExtractConfig
from trainers.config.pitts import PittsConfig
from trainers.config.retrieval import RetrievalConfig
from trainers.config.runs import ReportConfig, RunsConfig
from trainers.config.sfm import SfMConfig
from trainers.config.table import TableConfig
from trainers.config.training import TrainingConfig

__all__ = [
    "AblationConfig",
    "Config",
    "DemoConfig",
    "DoctorConfig",
    "EvaluateConfig",
    "ExtractConfig",
    "ImportConfig",
    "PittsConfig",
    "ReportConfig",
    "RetrievalConfig",
    "RunsConfig",
    "SfMConfig",
    "TableConfig",
    "TrainingConfig",
]
