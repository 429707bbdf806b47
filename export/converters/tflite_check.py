"""What a TensorFlow Lite file is made of, and whether the plain runtime can run it."""

VARIABLES = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")
"""Operations on variables: weights that are to be found elsewhere, where a file should have constants."""


def operations(content: bytes) -> list[str]:
    """The kinds of operations in a TFLite file, for example "CONV_2D"; a custom one as "CUSTOM FlexErfinv".

    Args:
        content: of the file.

    Raises:
        ImportError: ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert.schema_py_generated import BuiltinOperator, Model
    except ImportError as error:
        raise ImportError('TFLite files need ai-edge-litert: pip install "keras-sare[export]"') from error
    names = {code: name for name, code in vars(BuiltinOperator).items() if isinstance(code, int)}
    model = Model.GetRootAs(content)
    kinds = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    # Files of old converters have the number in the deprecated field, and then the other one is 0.
    named = [(names[max(kind.BuiltinCode(), kind.DeprecatedBuiltinCode())], kind.CustomCode()) for kind in kinds]
    return [f"{name} {custom.decode()}" if custom else name for name, custom in named]


def check_operations(content: bytes) -> None:
    """Refuses a TFLite file that the plain runtime cannot run.

    Args:
        content: of the file.

    Raises:
        RuntimeError: operations that are not builtin, or on variables.
    """
    foreign = sorted({name for name in operations(content) if name.startswith("CUSTOM") or name in VARIABLES})
    if foreign:
        raise RuntimeError(
            "The TFLite file must consist of builtin operations on constants. Please report this as a bug. "
            f"Received: {', '.join(foreign)}"
        )


def check_weights(content: bytes, parameters: int) -> None:
    """Refuses a TFLite file in float32 that does not hold the weights.

    Args:
        content: of the file.
        parameters: number of the model's weights. Not all have to be there: batch normalisations are folded into
            convolutions.

    Raises:
        RuntimeError: less than half of the bytes that the weights take.
    """
    if len(content) < 2 * parameters:
        raise RuntimeError(
            f"The TFLite file must hold {parameters} weights in float32. Please report this as a bug. "
            f"Received: {len(content)} bytes"
        )
