"""The devices that a run trains on."""

import tensorflow as tf


def choose_strategy(logical_cpus: int = 0) -> tf.distribute.Strategy:
    """Returns MirroredStrategy over all GPUs, or over logical CPU devices; the default strategy on a single device.

    Args:
        logical_cpus: split the processor into so many logical devices, each a replica. For trying out and testing
            distributed training without a GPU; must come before TensorFlow's first operation. 0 uses the GPUs.

    Raises:
        ValueError: `logical_cpus` is negative or the processor has already been split otherwise.
    """
    if logical_cpus < 0:
        raise ValueError(f"`logical_cpus` must not be negative. Received: logical_cpus={logical_cpus}")
    if logical_cpus > 1:
        return tf.distribute.MirroredStrategy(_split_processor(logical_cpus))
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
