"""One Ctrl-C undoes what runs, a second one quits at once, SIGTERM unwinds; the handlers are put back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lollms_cli.showing import asking

TWICE = """
import os, signal
from lollms_cli.showing import asking
with asking():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    finally:
        print("undoing", flush=True)
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
"""


def test_one_is_an_interrupt_and_the_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        _sent(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        _sent(signal.SIGTERM)
    assert ended.value.code == 143
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def _sent(number: int) -> None:
    with asking():
        os.kill(os.getpid(), number)
        threading.Event().wait(5)


def test_two_quit_at_once() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, timeout=30, check=False, cwd=root)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"undoing\n", b"")
