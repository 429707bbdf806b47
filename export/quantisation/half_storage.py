"""A matrix that takes half the space in a SavedModel and is used as it was."""

import uuid
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_sare.utils.choices import check_choice

DTYPES = ("float16", "bfloat16")


class HalfStored(tf.saved_model.experimental.TrackableResource):
    """A constant float32 matrix that is stored in half precision.

    It is written as float16 or bfloat16 and becomes float32 as a part of reading: once for each load, by
    `tf.saved_model.load` as by the session of a server. A cast of a stored variable would run in every call instead,
    and a variable of each precision would need one and a half times the memory.

    Args:
        value: float32, finite. It is rounded at once: what is computed before and after storing is the same.
        dtype: one of `DTYPES`. float16 keeps 11 binary digits of what lies within 6e-5 and 65504 and fewer of what is
            smaller; bfloat16 keeps 8 of everything.

    Raises:
        ValueError: unknown dtype, or an entry that exceeds the range of float16.
    """

    def __init__(self, value: tf.Variable, dtype: str) -> None:
        super().__init__()
        check_choice("dtype", dtype, DTYPES)
        rounded = tf.cast(value, dtype)
        largest = float(tf.reduce_max(tf.abs(value)))
        if not largest <= float(tf.as_dtype(dtype).max):
            raise ValueError(
                f"`value` must be within the range of `dtype`; choose bfloat16. Received: dtype={dtype!r}, an entry of "
                f"magnitude {largest:.4g}"
            )
        self.shape = value.shape
        self.dtype = dtype
        # Exported as it is. A session keeps resources apart by their names, and loading eagerly makes them unique.
        self._name = f"half_stored_{uuid.uuid4().hex}"
        self._restore_from_tensors({"value": rounded})

    def __call__(self) -> Any:
        """The matrix as a float32 tensor, without a copy."""
        return tf.ensure_shape(self._read(), self.shape)

    def _read(self) -> Any:
        return tf.raw_ops.ReadVariableOp(resource=self.resource_handle, dtype=tf.float32)

    # What follows is how TensorFlow makes, stores and reads a resource.

    def _create_resource(self) -> Any:
        handle = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=None, shared_name=self._name)
        # Restoring asks first what would be saved; something must be there, and nothing large.
        tf.raw_ops.AssignVariableOp(resource=handle, value=tf.zeros([0, 0]))
        return handle

    def _destroy_resource(self) -> None:
        tf.raw_ops.DestroyResourceOp(resource=self.resource_handle, ignore_lookup_error=True)

    def _serialize_to_tensors(self) -> dict[str, Any]:
        return {"value": tf.cast(self._read(), self.dtype)}

    def _restore_from_tensors(self, restored_tensors: Mapping[str, Any]) -> None:
        value = tf.cast(restored_tensors["value"], tf.float32)
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=value)
