"""SIGTERM and SIGINT as a wish that the loop grants at its next step."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupt:
    """Notes a signal instead of dying of it, while the context lasts.

    JAX has no preemption service for a single process, so this is ours. The second signal of a kind has its usual
    effect, for those in a hurry. Outside the main thread, where Python allows no handlers, nothing is caught.

    Attributes:
        received: number of the signal that came; None so far.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self._before[number])
