"""Small training runs for test_kill.py, each in a process that may be killed.

python killed_program.py EPOCHS: reads names of folders from the standard input and trains in each, in a fork of this
process, so that TensorFlow is imported once. Writes the number of each fork, then the status with which it ended.
"""

import json
import os
import sys
from pathlib import Path

import keras
import numpy as np
from conftest import small_trainer

from keras_sare.training import logs

logs.draw_training = lambda *_: None  # It takes longer than an epoch.


def train(folder: Path, epochs: int) -> None:
    trainer = small_trainer(folder, epochs=epochs, patience=epochs, checkpoint_every=1, keep_checkpoints=2)
    state = trainer.fit()
    weights = [keras.ops.convert_to_numpy(variable) for variable in trainer.model.variables]
    np.savez(folder / "weights.npz", *weights, trainer.miner.state_dict()["remembered"])
    history = [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in state.history]
    (folder / "history.json").write_text(json.dumps([history, state.best_epoch, state.refreshes]))


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        train(Path(line.strip()), int(sys.argv[1]))
        os._exit(0)
    sys.stdout.write(f"{child}\n")
    sys.stdout.flush()
    sys.stdout.write(f"{os.waitpid(child, 0)[1]}\n")
    sys.stdout.flush()
