"""Losses by name: what a loss is called, how it is made, and at which scale its authors' code trains it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from keras_sare.losses.base import TupleLoss
from keras_sare.utils.choices import check_choice

Use = Literal["places", "retrieval"]
"""What a loss is trained for: places, as by NetVLAD and SARE, or object retrieval, as by "CNN Image Retrieval"."""

Loss = TypeVar("Loss", bound=type[TupleLoss])


@dataclass(frozen=True)
class LossEntry:
    """One loss of `LOSSES`.

    Attributes:
        name: what `get` and the programs call it.
        loss: its class.
        arguments: of the class, where they are not its defaults.
        published: by use, the scale of the gradient in the code that published the loss for it, "tuple" where there is
            no such code; see `TupleLoss`. A use that is missing is one that the loss is not offered for.
    """

    name: str
    loss: type[TupleLoss]
    arguments: Mapping[str, Any]
    published: Mapping[Use, str]


LOSSES: dict[str, LossEntry] = {}
"""Every loss by name. A loss enters by the decorator `register` in its own file."""


def register(name: str, published: Mapping[Use, str], **arguments: Any) -> Callable[[Loss], Loss]:
    """Decorator of a loss: enters it into `LOSSES`; see `LossEntry`.

    Raises:
        ValueError: the name is taken.
    """

    def enter(loss: Loss) -> Loss:
        if name in LOSSES:
            raise ValueError(f"`name` must be a new one; {LOSSES[name].loss.__name__} has it. Received: name={name!r}")
        LOSSES[name] = LossEntry(name, loss, arguments, published)
        return loss

    return enter


def get(name: str, **arguments: Any) -> TupleLoss:
    """Makes a loss by its name.

    Args:
        name: key of `LOSSES`.
        arguments: of its class, such as `scale` or `reduction`; those left out are the entry's, then the defaults.

    Raises:
        ValueError: there is no such loss; the message lists the names. Or an argument has a value that it cannot have.
        TypeError: the loss has no such argument.

    Example:
        >>> loss = keras_sare.losses.get("sare_joint", scale="divide_by_negatives")
    """
    check_choice("name", name, sorted(LOSSES))
    entry = LOSSES[name]
    return entry.loss(**{**entry.arguments, **arguments})
