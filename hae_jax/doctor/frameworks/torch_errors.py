"""What cannot be traced, as errors of one line: the user's line, the operation and the repair."""

import contextlib
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from hae_jax.doctor.inputs.setup import SetupError, format_error


class UntracedError(Exception):
    """The forward pass needs a number in Python that exists only once the program runs."""


class UnknownNumber(float):
    """The value of a traced loss or score, which may be logged, but not decided upon."""

    def __new__(cls) -> "UnknownNumber":
        return super().__new__(cls, "nan")

    def _decide(self, *_: Any) -> Any:
        raise UntracedError("a tensor's value decides in Python")

    __bool__ = __int__ = __index__ = __trunc__ = _decide
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _decide
    __hash__ = float.__hash__


@contextlib.contextmanager
def untraced_errors() -> Iterator[None]:
    """Raises a `SetupError` of one line for what cannot be traced.

    Raises:
        SetupError: naming the user's line and the repair.
    """
    try:
        yield
    except SetupError:
        raise
    except Exception as error:
        repair = repair_of(error)
        if repair is None:
            raise
        raise SetupError("loss-fails", f"loss must be traceable, got {blame(error)}. {repair}.") from error


def repair_of(error: Exception) -> str | None:
    """Returns the repair of a program that cannot be traced; None for any other error."""
    text = str(error)
    if "backward()" in text:
        return "Return the loss; leave backward() and step() to the examination"
    if "outside of the forward pass" in text:
        return "Make that tensor in the forward pass"
    if isinstance(error, jax.errors.NonConcreteBooleanIndexError) or "nonzero" in text or "unique" in text:
        return "Multiply by the mask and divide by its sum, so that shapes do not depend on values"
    if isinstance(error, UntracedError | jax.errors.JAXTypeError | jax.errors.JAXIndexError):
        return (
            "Use tensor operations (torch.where, masks) in place of item(), numpy() and Python's if, "
            "and x.size(1) in place of lengths.max()"
        )
    if type(error).__name__ == "OperatorNotFound" or "no lowering" in text:
        return "Write it with other operations, or leave that part out"
    return None


def blame(error: Exception) -> str:
    """Returns the user's line at which an error was raised, with the error."""
    paths = sysconfig.get_paths()
    libraries = [Path(paths["purelib"]), Path(paths["platlib"]), Path(paths["stdlib"]), Path(__file__).parents[1]]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(folder in Path(frame.filename).parents for folder in libraries)
    ]
    what = format_error(error, 120)
    if isinstance(error, UntracedError):
        what = str(error)
    if not frames:
        return what
    last = frames[-1]
    return f"`{last.line}` in {Path(last.filename).name}:{last.lineno} ({what})"
