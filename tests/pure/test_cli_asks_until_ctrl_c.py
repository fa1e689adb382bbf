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
from lollms_cli.working import working
from lollms_client.lollms_types import MSG_TYPE
from lollms_core.errors import Cancelled, TruncatedStream

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


CHUNK = MSG_TYPE.MSG_TYPE_CHUNK


def test_work_that_waits_is_cancelled_and_keeps_what_came() -> None:
    before = signal.getsignal(signal.SIGINT)
    with working() as work:
        with pytest.raises(Cancelled):
            signal.raise_signal(signal.SIGINT)
        assert work.stopped
        assert work.shown_by(lambda *said: None)("a", CHUNK) is False
    assert signal.getsignal(signal.SIGINT) == before


def test_a_callback_that_shows_something_is_not_torn_apart() -> None:
    shown: list[str] = []

    def show(chunk: str, kind: MSG_TYPE, params: object) -> None:
        signal.raise_signal(signal.SIGINT)
        shown.append(chunk)

    with working() as work:
        callback = work.shown_by(show)
        assert callback("whole", CHUNK) is False
        assert callback("never", CHUNK) is False
    assert (shown, work.stopped) == (["whole"], True)


@pytest.mark.parametrize("second", [None, TruncatedStream("what came of stopping it")])
def test_what_a_callback_raises_comes_out_as_it_is(second: Exception | None) -> None:
    def show(chunk: str, kind: MSG_TYPE, params: object) -> None:
        raise ZeroDivisionError(chunk)

    def run() -> None:
        with working() as work:
            assert work.shown_by(show)("a", CHUNK) is False
            assert not work.stopped
            if second is not None:
                raise second

    with pytest.raises(ZeroDivisionError):
        run()
