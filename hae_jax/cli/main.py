"""The program around the commands: exit codes, and errors as one line."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

from hae_jax import __version__
from hae_jax.cli.commands import Command
from hae_jax.cli.out_of_memory import is_out_of_memory, memory_advice
from hae_jax.cli.parser import parse

BAD_INPUT = 2
DIVERGED = 3
INTERRUPTED = 130
READER_CLOSED = 141
"""Exit code by convention if standard output is closed early, as in `hae reconstruct ... | head -1`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `hae`.

    Args:
        argv: arguments after the program's name; those of this process by default.

    Returns:
        The exit code: 0, 2 for bad input, 3 if training diverged, 130 or 143 after SIGINT or SIGTERM.
    """
    argv = sys.argv[1:] if argv is None else argv
    command: Command | None = None
    try:
        with quiet_libraries():
            if list(argv) == ["--version"]:
                print(f"hae_jax {__version__}")
            else:
                command = parse(argv)
                command.run()
            sys.stdout.flush()
        return 0
    except SystemExit as stop:
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except FloatingPointError as error:
        return report_error(error, DIVERGED)
    except BrokenPipeError:
        # Python flushes standard output once more at exit, which must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_CLOSED
    except OSError as error:
        where = error.filename or "the disk"
        return report_error(f"{where} must be usable, got {error.strerror or error}. Check the path, rights and space.")
    except (ValueError, MemoryError, OverflowError, RuntimeError) as error:
        if command is not None and is_out_of_memory(error):
            return report_error(memory_advice(command))
        if not raised_here(error):
            raise
        return report_error(error)


def report_error(error: object, code: int = BAD_INPUT) -> int:
    """Prints an error as one line and returns the exit code."""
    print("hae:", " ".join(str(error).split()), file=sys.stderr)
    return code


def raised_here(error: BaseException) -> bool:
    """Whether this package raised an error itself; any other error is a bug, and its traceback is needed."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("hae_jax.")


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hides warnings and logs of libraries, which are for programmers; `python -W` shows warnings again."""
    # Read by XLA and by tokenizers when they are first imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
