"""An engine that dies or cannot load says so in the log, also while nobody waits for an answer of it."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest

from tests.support.engines import running, until

pytestmark = pytest.mark.group("engine")
LOGGER = "lollms_runtime.engines.supervisor"


def test_the_death_of_an_idle_engine_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with running(threads=1) as engine, caplog.at_level(logging.WARNING, LOGGER):
        engine.ready().result(30)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGSEGV)
        until(lambda: caplog.records, what="a line in the log")
        engine.ready().result(30)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "died (signal 11, SIGSEGV)" in record.getMessage()


def test_a_model_that_cannot_be_loaded_is_logged_unless_somebody_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\3\0\0\0" + b"\0" * 40)
    with running(broken) as engine, caplog.at_level(logging.WARNING, LOGGER):
        engine.start()
        until(lambda: engine.state == "failed", 30, "the failure")
        until(lambda: caplog.records, what="a line in the log")
    assert "broken cannot be loaded" in caplog.records[0].getMessage()


def test_an_engine_that_is_stopped_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, LOGGER), running(threads=1) as engine:
        engine.ready().result(30)
    assert not caplog.records
