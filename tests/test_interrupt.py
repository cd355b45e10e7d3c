"""Signals are recorded."""

import signal
import threading

import pytest

from hae_jax.training.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_recorded(number):
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert interrupt.received is None
        signal.raise_signal(number)
        assert interrupt.received == number
    assert signal.getsignal(number) is before


def test_the_second_signal_has_its_usual_effect():
    with Interrupt():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_in_another_thread_nothing_is_caught():
    seen = []

    def work():
        with Interrupt() as interrupt:
            seen.append((interrupt.received, signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
