"""Words for how a process ended. Total: what a child does to itself never raises here."""

import signal


def signal_name(number: int) -> str:
    """The name of a signal of this machine, as in ``kill -l``; ``signal 99`` where it has none.

    ``signal.Signals`` knows only the first and the last of the real-time signals.
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        if signal.SIGRTMIN < number < signal.SIGRTMAX:
            return f"SIGRTMIN+{number - signal.SIGRTMIN}"
        return f"signal {number}"


def how_ended(code: int | None) -> str:
    """How a process ended, from its exit code; None while it runs on without its output."""
    if code is None:
        return "closed its output and ran on"
    return f"was killed by {signal_name(-code)}" if code < 0 else f"exited with status {code}"
