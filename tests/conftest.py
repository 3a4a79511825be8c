"""What holds for every test."""

from __future__ import annotations

import signal
import threading

from hypothesis import settings

# A busy machine is not a bug: examples have no time limit of their own, the test as a whole has one.
settings.register_profile("unbrick", deadline=None)
settings.load_profile("unbrick")


def pytest_configure() -> None:
    """Have what is started here heed signals, also where we were told not to (`nohup`, `&` in a script).

    Being ignored is inherited by every program that is started, a handler is not. We ourselves go on as told.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
