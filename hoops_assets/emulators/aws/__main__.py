"""The emulator as a process of its own: `python -m hoops_assets.emulators.aws [--port PORT]`.

What belongs here: starting it, telling how to reach it, and ending it cleanly.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable

from hoops_assets.emulators.aws.server import AwsEmulator


def run(port: int, tell: Callable[[AwsEmulator], None]) -> None:
    """Runs until SIGINT or SIGTERM; `tell` is called when it answers. Raises OSError if the port is taken."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with AwsEmulator(port) as emulator:
        tell(emulator)
        ended.wait()


def main() -> None:
    """Prints the variables with which boto3 finds it, one `NAME=VALUE` a line, then an empty line."""
    parser = argparse.ArgumentParser(prog="python -m hoops_assets.emulators.aws")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--attended", action="store_true", help="end when stdin is closed")
    arguments = parser.parse_args()
    if arguments.attended:
        threading.Thread(target=_end_with_stdin, daemon=True).start()

    def tell(emulator: AwsEmulator) -> None:
        sys.stdout.write("".join(f"{name}={value}\n" for name, value in emulator.environment().items()) + "\n")
        sys.stdout.flush()

    run(arguments.port, tell)


def _end_with_stdin() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
