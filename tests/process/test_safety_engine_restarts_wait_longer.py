"""An engine that keeps dying is started again after longer and longer waits, and then left alone."""

from __future__ import annotations

import itertools
import sys
import threading
import time

import pytest

from lollms_core.errors import EngineCrashed
from lollms_runtime.engines.child import Child, Command
from lollms_runtime.engines.supervisor import Launch, Policy, Supervisor

DYING = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


def test_each_wait_is_twice_the_one_before_up_to_the_longest() -> None:
    starts: list[float] = []

    def command() -> Command:
        starts.append(time.monotonic())
        return Command((sys.executable, "-S", "-c", DYING), {})

    policy = Policy(first_pause=0.1, longest_pause=0.3, deaths=5)
    supervisor = Supervisor(Launch("dying", command, "key"), policy)
    supervisor.start()
    try:
        with pytest.raises(EngineCrashed, match="5 times in a row"):
            supervisor.ready().result(50)  # a busy machine needs seconds for five processes
        assert supervisor.state == "failed"
    finally:
        supervisor.stop()
    waits = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(waits) == 4
    for wait, least in zip(waits, (0.1, 0.2, 0.3, 0.3), strict=True):
        assert wait >= least


def test_the_usual_waits_are_one_second_to_a_minute_and_a_cancelled_request_has_ten_seconds() -> None:
    usual = Policy()
    assert (usual.first_pause, usual.longest_pause, usual.deaths, usual.cancel) == (1.0, 60.0, 5, 10.0)


def test_an_engine_that_is_dead_before_it_is_watched_is_known_to_be_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a child can end while its threads are being started, whichever of them runs first."""
    start = threading.Thread.start

    def start_and_let_it_run(thread: threading.Thread) -> None:
        start(thread)
        thread.join(0.3)

    monkeypatch.setattr(threading.Thread, "start", start_and_let_it_run)
    notified = threading.Event()
    child = Child(Command((sys.executable, "-S", "-c", DYING), {}), notified.set)
    try:
        assert child.ended.wait(5)
        assert notified.wait(5)
        assert child.exit_code is not None and child.exit_code < 0
    finally:
        child.end()
