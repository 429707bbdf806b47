"""Ends what a killed test run leaves behind: conftest.py starts it beside every process that runs tests.

python end_children.py NAME: waits until the standard input ends, as it does when the process that holds its other end
is gone however that came about, and then kills every process whose environment has a variable NAME. Processes inherit
it, so children of children are found too.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path


def marked(name: bytes) -> set[int]:
    """Numbers of the processes that were started with a variable of that name, but for this one."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # Gone, or another user's.
            continue
        if any(entry.startswith(name + b"=") for entry in environment):
            found.add(int(folder.name))
    return found - {os.getpid()}


sys.stdin.read()
# Once more as long as there are any: one may have started another while the others were ended.
while remaining := marked(sys.argv[1].encode()):
    for process in remaining:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
