"""The devices that a run trains on."""

import json
import logging
import os
from typing import Any

import tensorflow as tf

from keras_sare.utils.nvidia import warn_of_unseen_device

logger = logging.getLogger(__name__)


def choose_strategy(logical_cpus: int = 0) -> tf.distribute.Strategy:
    """Chooses the strategy for the devices at hand.

    | devices | strategy |
    |---|---|
    | several workers, named by the environment variable TF_CONFIG | MultiWorkerMirroredStrategy over all their GPUs |
    | several GPUs, or logical CPU devices | MirroredStrategy |
    | one device | the default strategy |

    An NVIDIA device that TensorFlow does not see is warned of.

    TF_CONFIG is JSON, the same on every worker but for the index:
    `{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}`. All workers
    run the same program, on the same number of GPUs each, and read and write the same folders: a shared file system.

    Args:
        logical_cpus: split the processor into so many logical devices, each a replica. For trying out and testing
            distributed training without a GPU; must come before TensorFlow's first operation. 0 uses the GPUs.

    Raises:
        ValueError: `logical_cpus` is negative, or the processor has already been split otherwise, or there are several
            workers; TF_CONFIG is wrong.
    """
    if logical_cpus < 0:
        raise ValueError(f"`logical_cpus` must not be negative. Received: logical_cpus={logical_cpus}")
    workers = _workers()
    if logical_cpus > 1 and workers > 1:
        raise ValueError(
            "`logical_cpus` must be 0 where TF_CONFIG names several workers: TensorFlow uses one CPU device in each. "
            f"Name more workers instead. Received: logical_cpus={logical_cpus}, {workers} workers"
        )
    if logical_cpus > 1:
        return tf.distribute.MirroredStrategy(_split_processor(logical_cpus))
    warn_of_unseen_device()
    if workers > 1:
        logger.info("Waiting until all %d workers of TF_CONFIG are here", workers)
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def _split_processor(count: int) -> list[str]:
    processor = tf.config.list_physical_devices("CPU")[0]
    existing = tf.config.get_logical_device_configuration(processor)
    if existing is None or len(existing) != count:
        try:
            tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError as error:
            raise ValueError(
                "`logical_cpus` must be set before TensorFlow's first operation in this process. "
                f"Received: logical_cpus={count}"
            ) from error
    return [f"CPU:{i}" for i in range(count)]


def _workers() -> int:
    """Number of workers that TF_CONFIG names, after checking it; 1 where it is not set."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 1
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise _refusal(f"be JSON ({error})", text) from error
    cluster = config.get("cluster", {}) if isinstance(config, dict) else None
    if not isinstance(cluster, dict) or not all(_is_addresses(value) for value in cluster.values()):
        raise _refusal('have a "cluster", for example {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}', text)
    if not cluster:
        return 1
    if not set(cluster) <= {"chief", "worker"} or len(cluster.get("chief", ())) > 1:
        raise _refusal('name "worker" and at most one "chief" as jobs: every process trains', text)
    addresses = [address for job in cluster.values() for address in job]
    if len(set(addresses)) < len(addresses):
        raise _refusal("name every address once", text)
    task = config.get("task")
    job, index = (task.get("type"), task.get("index")) if isinstance(task, dict) else (None, None)
    if job not in cluster or type(index) is not int or not 0 <= index < len(cluster[job]):
        raise _refusal('say which of the cluster this process is, for example {"type": "worker", "index": 0}', text)
    return len(addresses)


def _is_addresses(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(one, str) and ":" in one for one in value)


def _refusal(wanted: str, text: str) -> ValueError:
    return ValueError(f"The environment variable `TF_CONFIG` must {wanted}. Received: TF_CONFIG={text}")
