"""Signals that end a run: noted when they come, acted upon between two optimizer steps."""

import os
import signal
import threading
from types import FrameType
from typing import Any

# What ends a run, and the signals that schedulers send before they end one.
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_DEFERRABLE = (signal.SIGUSR1, signal.SIGUSR2)
_STDERR = 2


class Interruptions:
    """Notes Ctrl-C and SIGTERM, and holds back the signals that others handle, such as Lightning's SLURM requeueing.

    In the middle of a step weights and counters do not belong together: a checkpoint from there would not lead to the
    weights of the uninterrupted run.

    Attributes:
        received: the signal to act upon next; 0 if there is none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[signal.Signals, Any] = {}
        self._tells = False

    def install(self, tells: bool) -> None:
        """Take over the signals; only in a process' main thread, where Python lets one.

        Args:
            tells: whether this process says that it has understood.
        """
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        self.received, self._tells = 0, tells
        for number in _STOPPING:
            self._before[number] = signal.signal(number, self._note)
        for number in _DEFERRABLE:
            if callable(signal.getsignal(number)):
                self._before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def ends_the_run(self, number: int) -> bool:
        """Whether a signal is one after which a run stops; the others have a handler."""
        return number in _STOPPING

    def handle(self, number: int) -> None:
        """Do what another handler wanted to do when the signal came."""
        self.received = 0
        handler = self._before.get(signal.Signals(number))
        if callable(handler):
            handler(number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:  # twice: at once
            self.restore()
            raise KeyboardInterrupt
        if number in _STOPPING and self._tells:
            # a handler must not print: it may have interrupted a print
            os.write(_STDERR, b"\npeclr: stopping after this step; Ctrl-C again stops at once, without a checkpoint\n")
        # a request to stop outranks one to requeue
        if number in _STOPPING or self.received not in _STOPPING:
            self.received = number
