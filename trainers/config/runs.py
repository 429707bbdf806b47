"""Settings of `trainers.runs`."""

import dataclasses

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
