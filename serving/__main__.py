"""Serves an exported model: `python -m serving --model FOLDER`.

FOLDER holds one subfolder per version, as in `FOLDER/1/saved_model.pb`; the highest is served. When the server is ready
it logs `serving NAME version V at HOST:PORT`. SIGTERM and SIGINT let the requests under way finish.
"""

import signal
import sys
import threading
from collections.abc import Sequence

import tensorflow as tf
from absl import app, flags, logging

from serving.manager import ModelManager
from serving.server import ModelServer

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "Model folder, with one subfolder per version.", required=True)
flags.DEFINE_string("name", "keras_sare", "Name that clients ask for.")
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for every network.")
flags.DEFINE_integer("port", 8500, "Port to listen on; 0 takes a free one.", lower_bound=0, upper_bound=65535)
flags.DEFINE_integer("max_workers", 4, "Requests computed at the same time.", lower_bound=1)
flags.DEFINE_integer("max_queue", 64, "Requests that may wait; any more are refused.", lower_bound=0)
flags.DEFINE_float("grace", 10.0, "Seconds that requests under way get when the server stops.", lower_bound=0)


def main(argv: Sequence[str]) -> None:
    """Runs the server until a signal ends it."""
    del argv
    if FLAGS["verbosity"].using_default_value:
        logging.set_verbosity(logging.INFO)
    # TensorFlow calls loading into a session deprecated; serving.model says why it is done.
    tf.get_logger().setLevel("ERROR")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        manager = ModelManager.from_folder(FLAGS.name, FLAGS.model)
        server = ModelServer(manager, FLAGS.host, FLAGS.port, FLAGS.max_workers, FLAGS.max_queue)
    except (OSError, ValueError) as error:
        sys.exit(f"serving: {error}")
    server.start()
    stopping.wait()
    server.stop(FLAGS.grace)


if __name__ == "__main__":
    app.run(main)
