"""Settings of `trainers.runs` and `trainers.report`, which show what runs have left."""

import dataclasses

from keras_sare.utils.settings import ORIENTATIONS, setting
from trainers.config.config import Config

COMMANDS = ("list", "best", "compare")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunsConfig(Config):
    """A command, and the folder of the runs."""

    passed_on: tuple[str, ...] = ()

    def check(self) -> None:
        """Also that there is a command that is known, and one folder.

        Raises:
            ValueError: there is not.
        """
        super().check()
        if len(self.passed_on) != 2 or self.passed_on[0] not in COMMANDS:
            raise ValueError(
                f"Arguments must be one of {', '.join(COMMANDS)} and a folder of runs. "
                f"Received: {' '.join(self.passed_on) or 'none'}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportConfig(Config):
    """A page of evaluations or runs."""

    run: tuple[str, ...] = setting((), "Folders of training runs, side by side.")
    evaluation: tuple[str, ...] = setting((), "Folders that trainers.evaluate wrote, side by side.")
    output: str = setting("", "HTML file to write.", required=True)
    model: str | None = setting(
        None, "A .keras file or a run, whose maps of what it looks at are laid over the photos."
    )
    orientation: str = setting("upright", "How photos are shown: upright or as stored.", choices=ORIENTATIONS)

    def check(self) -> None:
        """Also that there is something to report.

        Raises:
            ValueError: as `Config.check`, or no folder is named.
        """
        super().check()
        if not self.run and not self.evaluation:
            raise ValueError("`run` or `evaluation` must name a folder to report. Received: neither")
