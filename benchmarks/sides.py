"""Two programs that are measured in turns: each runs in a process of its own and takes commands through a pipe.

The one that is not asked waits for its next command and uses no processor. Only the standard library is imported here,
so that either side runs in an environment without the other's packages.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Figure = Callable[..., Callable[[], Any]]
"""Prepares something under the given options and returns what is to be timed; that returns a number, or None."""


class Side:
    """A program that calls `serve`, from the outside.

    Args:
        python: interpreter.
        script: file of the program, in this folder.
        arguments: of the command line.

    Raises:
        RuntimeError: the program ended; its own message is on the standard error.
    """

    def __init__(self, python: str, script: str, arguments: Sequence[str] = ()) -> None:
        command = [python, str(Path(__file__).with_name(script)), *arguments]
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        self.name = script
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __call__(self, figure: str, repeats: int = 1, **options: Any) -> dict[str, Any]:
        """Runs a figure.

        Args:
            figure: its name.
            repeats: how often it is run and timed, after a first run that is not timed where the options are new.
            **options: of the figure.

        Returns:
            `wall` and `processor` seconds of one run, the mean of `repeats`; `first`, what the run that was not timed
            returned, `last` likewise, and `peak`, bytes of memory that the process has had at most.
        """
        stdin = self._process.stdin
        stdout = self._process.stdout
        if stdin is None or stdout is None or self._process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended")
        stdin.write(json.dumps({"figure": figure, "repeats": repeats, "options": options}) + "\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended during {figure}, {options}")
        return json.loads(answer)

    def close(self) -> None:
        """Ends the program."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def serve(figures: Mapping[str, Figure]) -> None:
    """Answers the commands of a `Side` until it closes the pipe."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print must not get between the answers.
    ready: dict[str, tuple[Callable[[], Any], Any]] = {}
    for line in sys.stdin:
        command = json.loads(line)
        key = json.dumps([command["figure"], command["options"]])
        if key not in ready:
            run = figures[command["figure"]](**command["options"])
            ready[key] = run, run()
        run, first = ready[key]
        answers.write(json.dumps(_time(run, command["repeats"]) | {"first": first}) + "\n")
        answers.flush()


def _time(run: Callable[[], Any], repeats: int) -> dict[str, Any]:
    wall = time.perf_counter()
    processor = time.process_time()
    last = None
    for _ in range(repeats):
        last = run()
    wall = time.perf_counter() - wall
    processor = time.process_time() - processor
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"wall": wall / repeats, "processor": processor / repeats, "last": last, "peak": peak}
