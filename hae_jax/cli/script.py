"""A user's script as input of the doctor: a function in it makes the training setup."""

import contextlib
import difflib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

REPAIR = "Run it by hand first."


@contextlib.contextmanager
def script_setup(spec: str) -> Iterator[tuple[Any, ...]]:
    """Calls a function of a script; yields what it returns as positional arguments of `hae_jax.doctor.examine`.

    The script is imported, so that what it has under `if __name__ == "__main__"` does not run. Until the end of the
    context its folder comes first where Python searches for modules, and what it prints goes to standard error, since
    standard output is for the report. Keras, where it is not imported yet and nothing else is chosen, gets its backend
    JAX.

    Args:
        spec: `FILE:FUNCTION`, as `train.py:setup`; the function takes no arguments.

    Raises:
        ValueError: if there is no such file or function, or one of them fails: with file and line of the user's code.
    """
    file, _, name = spec.rpartition(":")
    if not file or not name.isidentifier():
        raise ValueError(f"script must be FILE:FUNCTION, got {spec}. Write train.py:setup, for example.")
    path = Path(file).resolve()
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"script must be a file of Python code, got {file}. Give the path of a .py.")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    before, arguments = list(sys.path), sys.argv
    # A script that parses a command line gets an empty one.
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path)]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            with errors_on_one_line(path):
                module = load(path)
            function = function_of(module, name, file)
            with errors_on_one_line(path, getattr(getattr(function, "__code__", None), "co_firstlineno", 1)):
                made = function()
            if made is None:
                raise ValueError(f"script must return a setup from {name}(), got None. Return what examine takes.")
            # A named tuple with loss, params and batches is one setup.
            yield made if isinstance(made, tuple) and not hasattr(made, "_fields") else (made,)
    finally:
        sys.path[:], sys.argv = before, arguments


def load(path: Path) -> ModuleType:
    """Imports a file under the name that its neighbours import it by, unless that name is another module's."""
    name = path.stem if path.stem not in sys.modules else f"{path.stem} of {path.parent}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(found)
    # Data classes and pickles look their module up by its name.
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def function_of(module: ModuleType, name: str, file: str) -> Any:
    """Returns a function of a module.

    Raises:
        ValueError: if there is none of that name; the most similar one is suggested.
    """
    function = getattr(module, name, None)
    if callable(function):
        return function
    if function is not None:
        raise ValueError(
            f"script must name a function, got the {type(function).__name__} {name} of {file}. Wrap it in one."
        )
    names = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Define {name}()."
    raise ValueError(f"script must name a function of {file}, got {name!r}. {hint}")


@contextlib.contextmanager
def errors_on_one_line(path: Path, line: int = 1) -> Iterator[None]:
    """Raises errors of a user's code as a ValueError of one line, with file and line of that code.

    Args:
        path: the script.
        line: reported if no line of the user's code was running, as where an argument is missing.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        message = (error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())[:300]).rstrip(" .")
        raised = f"{kind}: {message}" if message else kind
        raise ValueError(
            f"script must run without errors, got {raised} ({place(error, path, line)}). {REPAIR}"
        ) from error


def place(error: BaseException, path: Path, line: int) -> str:
    """Returns file and line where a user's code failed: the innermost frame in the script's folder.

    Frames of installed packages inside of that folder are left out.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = [(Path(frame.filename), frame.lineno or line) for frame in traceback.extract_tb(error.__traceback__)]
    own = [
        (file, at)
        for file, at in frames
        if file.is_relative_to(path.parent) and "site-packages" not in file.parts and file != Path(__file__)
    ]
    file, at = own[-1] if own else (path, line)
    return f"{os.path.relpath(file) if file.is_relative_to(Path.cwd()) else file}, line {at}"
