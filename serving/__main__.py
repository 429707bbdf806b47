"""Serves an exported model: `python -m serving --model FOLDER`.

FOLDER holds one subfolder per version, as in `FOLDER/1/saved_model.pb`; the highest that can be loaded is served. When
the server is ready it logs `serving NAME version V at HOST:PORT`, with `--rest_port` before it also `serving REST at
http://HOST:PORT`. A higher version that is copied in later takes over once it is loaded and warmed up; the old one ends
with its last request. Several models, other versions than the highest and labels: `--models_config FILE`, as
serving/tf_serving/models.config.

With `--index FOLDER` of `python -m serving.index build` it says of photos where they were taken: the gRPC method
`Localize`, and by REST `/v1/localize`. A page to try that on is at `http://HOST:REST_PORT/`, by default port 8501.

SIGTERM and SIGINT refuse new requests and let those under way finish: exit status 0. Those that have not ended after
`--grace` seconds, or at a second signal, are cut off with the process: exit status 3.
"""

import gc
import os
import signal
import sys
import threading
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from absl import app, flags, logging

from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.nvidia import warn_of_unseen_device
from keras_sare.utils.quiet_start import load_tensorflow
from serving.limits import Limits

if TYPE_CHECKING:
    from serving.localization.maps import Maps
    from serving.models.config import ModelConfig
    from serving.rest.app import MoreRoutes
    from serving.rest.server import RestServer
    from serving.rpc.backend import Backend
    from serving.rpc.server import Access, ModelServer

PAGE_PORT = 8501
"""Of REST and of the page, where there is an index and no other port is given."""

PAGE_FLAGS = ("tiles", "tiles_credit", "heatmaps", "feedback")

EXIT_CUT_OFF = 3
"""Exit status of a server that ended before its requests did."""

FLAGS = flags.FLAGS


def main(_: list[str]) -> None:
    """Runs the server until a signal ends it."""
    stopping = _signalled()
    load_tensorflow()  # Here, because it takes seconds that --help should not take.
    import tensorflow as tf

    from serving.models.manager import ModelManager
    from serving.models.polling import Polling
    from serving.rpc.server import ModelServer
    from serving.scheduling.batching import BatchingParameters

    if FLAGS["verbosity"].using_default_value:
        logging.set_verbosity(logging.INFO)
    # TensorFlow calls loading into a session deprecated; serving.models.model says why it is done.
    tf.get_logger().setLevel("ERROR")
    warn_of_unseen_device()
    # What is wrong with the flags is told before a model is loaded.
    limits = Limits(**{field.name: FLAGS[f"max_{field.name}"].value for field in fields(Limits)})
    access = _access()
    maps = _maps()
    manager = ModelManager(_configs(), FLAGS.allow_reload)
    batching = BatchingParameters(FLAGS.max_batch_size, FLAGS.batch_timeout_micros) if FLAGS.max_batch_size else None
    server = ModelServer(
        manager, FLAGS.host, FLAGS.port, FLAGS.max_workers, FLAGS.max_queue, limits, access, batching, maps
    )
    if server.backend.localization is not None:
        server.backend.localization.check()
    rest_port = _rest_port()
    if rest_port is not None:
        server.add(_rest(server, rest_port))
    # Otherwise a request of many objects makes Python look through all of TensorFlow's, while every thread waits.
    gc.collect()
    gc.freeze()
    server.start()
    Polling(manager.poll, FLAGS.poll_seconds).start()
    if maps is not None:
        Polling(maps[0].poll, FLAGS.poll_seconds).start()
    stopping.wait()
    is_idle = server.stop(FLAGS.grace)
    if access.log is not None:
        access.log.close()
    _end(0 if is_idle else EXIT_CUT_OFF)


def _configs() -> "list[ModelConfig]":
    from serving.models.config import ModelConfig, read_config

    return read_config(FLAGS.models_config) if FLAGS.models_config else [ModelConfig(FLAGS.name, Path(FLAGS.model))]


def _maps() -> "tuple[Maps, str] | None":
    if bool(FLAGS.rerank) != bool(FLAGS.map_photos) or (FLAGS.rerank and not FLAGS.index):
        raise flags.Error("--rerank and --map_photos go together, with --index: number of candidates, folder of photos")
    if not FLAGS.index:
        given = [name for name in PAGE_FLAGS if FLAGS[name].value]
        if given:
            raise flags.Error(f"--{given[0]} must come with --index, for its page. Received: {FLAGS[given[0]].value!r}")
        return None
    if FLAGS.models_config:
        raise flags.Error(f"--index must come with --model. Received: --models_config={FLAGS.models_config}")
    # With it comes the library of the place index.
    from serving.localization.maps import Maps, map_folders

    rerankers = None
    if FLAGS.rerank:
        from serving.localization.rerankers import open_rerankers

        rerankers = open_rerankers(FLAGS.rerank, FLAGS.map_photos, map_folders(FLAGS.index))
    return Maps(FLAGS.index, rerankers), FLAGS.name


def _access() -> "Access":
    from serving.rpc.access_log import AccessLog
    from serving.rpc.credentials import Tokens, transport
    from serving.rpc.server import Access
    from serving.scheduling.quota import Quota

    if FLAGS.rest_port is not None and FLAGS.host.startswith("unix:"):
        raise flags.Error(f"--rest_port must come with a --host of a network. Received: --host={FLAGS.host}")
    if (FLAGS.tls_cert is None) != (FLAGS.tls_key is None) or (FLAGS.tls_client_ca and FLAGS.tls_cert is None):
        raise flags.Error(
            "--tls_cert and --tls_key must be given together, and with --tls_client_ca; give both, or none of the three"
        )
    return Access(
        transport(FLAGS.tls_cert, FLAGS.tls_key, FLAGS.tls_client_ca) if FLAGS.tls_cert else None,
        Tokens.from_file(FLAGS.token_file) if FLAGS.token_file else None,
        Quota(FLAGS.max_client_requests, FLAGS.max_client_images_per_second),
        AccessLog(sys.stdout if FLAGS.access_log == "-" else open(FLAGS.access_log, "a")) if FLAGS.access_log else None,
    )


def _rest_port() -> int | None:
    if FLAGS.rest_port is None and FLAGS.index and not FLAGS.host.startswith("unix:"):
        return PAGE_PORT
    port: int | None = FLAGS.rest_port
    return port


def _rest(server: "ModelServer", port: int) -> "RestServer":
    from serving.rest.server import RestServer, TlsFiles

    tls = TlsFiles(FLAGS.tls_cert, FLAGS.tls_key, FLAGS.tls_client_ca) if FLAGS.tls_cert else None
    more = [] if server.backend.localization is None else [_page(server.backend)]
    return RestServer(server.backend, FLAGS.host, port, tls, more)


def _page(backend: "Backend") -> "MoreRoutes":
    # With it comes the library of the place index.
    from serving.page.site import PageOptions, page

    options = PageOptions(*(FLAGS[name].value for name in PAGE_FLAGS))
    return page(options, backend, Path(FLAGS.model))


def _signalled() -> threading.Event:
    """Set by the first SIGTERM or SIGINT; the second one ends the process.

    A thread waits for them, and all others, which must start later, block them: a handler of Python's runs in the main
    thread, which a signal that the system gives to another thread does not wake.
    """
    stopping = threading.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def wait() -> None:
        signal.sigwait(signals)
        stopping.set()
        signal.sigwait(signals)
        # Nothing is logged: whatever the first stop waits for, it may be the log.
        os._exit(EXIT_CUT_OFF)

    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    threading.Thread(target=wait, name="signals", daemon=True).start()
    return stopping


def _end(status: int) -> NoReturn:
    """Ends the process without waiting for its threads, as Python does: one that computes on would never let it end."""
    logging.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "Model folder, with one subfolder per version: the highest is served.")
    flags.DEFINE_string("name", "keras_sare", "Name that clients ask for, of --model.")
    flags.DEFINE_string("models_config", None, "File of several models: TensorFlow Serving's --model_config_file.")
    flags.mark_flags_as_mutual_exclusive(["model", "models_config"], required=True)
    flags.DEFINE_multi_string(
        "index",
        [],
        "FOLDER of a place index of --model, or NAME=FOLDER, as often as there are maps to locate photos on.",
    )
    flags.DEFINE_integer(
        "rerank", 0, "Candidates that photos whose place is not known are compared with point by point.", lower_bound=0
    )
    flags.DEFINE_multi_string("map_photos", [], "FOLDER of the photos of --index for --rerank, or NAME=FOLDER.")
    flags.DEFINE_string(
        "tiles", None, "Of --index's page: address of a map's pictures, as in https://a.b/{z}/{x}/{y}.png."
    )
    flags.DEFINE_string("tiles_credit", "", "Whom the page names for them.")
    flags.DEFINE_string("heatmaps", None, "The .keras file of --model, to show on the page what agreed in photos.")
    flags.DEFINE_string("feedback", None, "File to which a line of JSON is added where users say if answers are right.")
    flags.DEFINE_float("poll_seconds", 1.0, "Seconds between looks for new versions.", lower_bound=0.01)
    flags.DEFINE_bool("allow_reload", False, "Lets clients replace the models: any folder, and SavedModels are code.")
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for every network, unix:PATH.")
    flags.DEFINE_integer("port", 8500, "Port to listen on; 0 takes a free one.", lower_bound=0, upper_bound=65535)
    flags.DEFINE_integer(
        "rest_port",
        None,
        "Port for REST and metrics, such as 8501; 0 takes a free one.",
        lower_bound=0,
        upper_bound=65535,
    )
    flags.DEFINE_integer("max_workers", 4, "Requests computed at the same time.", lower_bound=1)
    flags.DEFINE_integer("max_queue", 64, "Requests that may wait; any more are refused.", lower_bound=0)
    flags.DEFINE_integer(
        "max_message_bytes", Limits.message_bytes, "Bytes of a request.", lower_bound=1, upper_bound=2**31 - 1
    )
    flags.DEFINE_integer("max_images", Limits.images, "Images in a request.", lower_bound=1)
    flags.DEFINE_integer("max_values", Limits.values, "Values of a tensor in a request.", lower_bound=1)
    flags.DEFINE_float("max_seconds", Limits.seconds, "Seconds that a request may be computed.", lower_bound=0.001)
    flags.DEFINE_integer(
        "max_bytes_in_flight", Limits.bytes_in_flight, "Bytes of all requests under way together.", lower_bound=1
    )
    flags.DEFINE_float(
        "max_receive_seconds", Limits.receive_seconds, "Seconds that a request may take to arrive.", lower_bound=0.001
    )
    flags.DEFINE_integer(
        "max_batch_size", None, "Images of several requests computed together; by default none.", lower_bound=1
    )
    flags.DEFINE_integer("batch_timeout_micros", 0, "Microseconds that a request waits for others.", lower_bound=0)
    flags.DEFINE_integer("max_client_requests", None, "Requests of a client under way.", lower_bound=1)
    flags.DEFINE_float(
        "max_client_images_per_second", None, "Images of a client, on average over ten seconds.", lower_bound=0.001
    )
    flags.DEFINE_string("tls_cert", None, "PEM file of the server's certificate: encrypts.")
    flags.DEFINE_string("tls_key", None, "PEM file of its private key.")
    flags.DEFINE_string("tls_client_ca", None, "PEM file of who signs clients' certificates: clients need one.")
    flags.DEFINE_string("token_file", None, "File of lines NAME TOKEN: clients need a token. Health checks do not.")
    flags.DEFINE_string("access_log", None, "File to which a line of JSON is added for each call; - for stdout.")
    flags.DEFINE_float("grace", 10.0, "Seconds that requests under way get when the server stops.", lower_bound=0)
    flags.DEFINE_bool("debug", False, "Shows where in the code an error arose.")
    with expected_errors("serving", flags.Error, debug=lambda: FLAGS["debug"].value):
        app.run(main, flags_parser=FLAGS)
