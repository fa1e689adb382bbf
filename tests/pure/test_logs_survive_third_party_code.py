"""Whatever third-party code does with logging, printing or warnings: the log stays, one safe line for each record."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import logging.config
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from lollms_runtime.secrets import Scrubber
from lollms_server.core.log import REQUEST_ID, SafeFormatter, setup_logging
from lollms_server.core.printed import Printed

SECRET = "canary-5b1c-of-the-log"
OURS = ("lollms_core", "lollms_runtime", "lollms_server")
OTHERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "fastapi", "aiohttp", "asyncio", "", "third")


@contextlib.contextmanager
def everything_put_back() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (*OURS, *OTHERS)]
    before = [(each, each.handlers, list(each.handlers), each.level, each.propagate, each.disabled) for each in loggers]
    factory, streams = logging.getLogRecordFactory(), (sys.stdout, sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        logging.setLogRecordFactory(factory)
        for each, handlers, content, level, propagate, disabled in before:
            each.handlers = handlers
            each.handlers[:] = content
            each.setLevel(level)
            each.propagate, each.disabled = propagate, disabled


@pytest.fixture
def scrubber() -> Scrubber:
    known = Scrubber()
    known.add(SECRET)
    return known


@pytest.fixture
def log(scrubber: Scrubber) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with everything_put_back():
        setup_logging("INFO", scrubber, stream)
        yield stream


def logs_still(stream: io.StringIO) -> bool:
    before = len(stream.getvalue())
    logging.getLogger("lollms_server.requests").info("a line of ours")
    return stream.getvalue()[before:].count("INFO lollms_server.requests a line of ours\n") == 1


HIJACKS: dict[str, Callable[[], object]] = {
    "basicConfig": lambda: logging.basicConfig(level=logging.CRITICAL, stream=io.StringIO(), force=True),
    "removeHandler": lambda: [logging.getLogger().removeHandler(each) for each in logging.getLogger().handlers[:]],
    "dictConfig": lambda: logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR", "handlers": []}}
    ),
    "a quieter root": lambda: logging.getLogger().setLevel(logging.CRITICAL),
    "a closed handler": lambda: [each.close() for each in logging.getLogger().handlers],
}


@pytest.mark.parametrize("name", HIJACKS)
def test_our_lines_go_on(log: io.StringIO, name: str) -> None:
    HIJACKS[name]()
    assert logs_still(log)


def test_the_level_of_the_configuration_counts(log: io.StringIO) -> None:
    logging.getLogger("lollms_server.x").debug("too fine")
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("third").setLevel(logging.DEBUG)
    logging.getLogger("third").debug("too fine as well")
    assert log.getvalue() == ""
    logging.getLogger("third").info("just right")
    assert log.getvalue().count("\n") == 1


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_each_level_lets_its_own_lines_through(scrubber: Scrubber, level: str) -> None:
    stream = io.StringIO()
    with everything_put_back():
        setup_logging(level, scrubber, stream)
        for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
            logging.getLogger("lollms_server.x").log(logging.getLevelName(name), "said")
            logging.getLogger("third").log(logging.getLevelName(name), "said")
    said = [line.split()[1] for line in stream.getvalue().splitlines()]
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    assert said == [each for each in levels[levels.index(level) :] for _ in range(2)]


def test_handlers_of_others_get_no_secret_and_no_second_line(log: io.StringIO) -> None:
    theirs = io.StringIO()
    handler = logging.StreamHandler(theirs)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("third")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        raise RuntimeError(f"{SECRET}\nCRITICAL forged \x1b[31m")
    except RuntimeError:
        logger.exception("failed with %s\nCRITICAL forged \x1b[31m", SECRET, stack_info=True)
    lines = theirs.getvalue().splitlines()
    assert "•••" in lines[0] and len(lines) > 3
    assert all(line.isprintable() for line in lines)
    assert all(line.startswith("    | ") for line in lines[1:])
    assert SECRET not in theirs.getvalue()


def test_the_name_of_a_logger_makes_no_line_either(log: io.StringIO) -> None:
    logging.getLogger(f"x\n2026-01-01 CRITICAL lollms_server {SECRET}\x1b[2J").warning("said")
    assert log.getvalue().count("\n") == 1 and SECRET not in log.getvalue() and "\x1b" not in log.getvalue()


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize("arguments", [("%d", "x"), ("%s %s", "one"), ("%s", Hostile()), ("%(a)s", 1), (Hostile(),)])
def test_records_that_cannot_be_formatted_are_still_lines(
    log: io.StringIO, arguments: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("third").warning(*arguments)
    assert log.getvalue().count("\n") == 1
    assert capsys.readouterr() == ("", "")


def test_a_log_that_cannot_be_written_fails_nobody(
    log: io.StringIO, scrubber: Scrubber, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    setup_logging("INFO", scrubber, Full())
    logging.getLogger("lollms_server").error("lost")
    assert capsys.readouterr() == ("", "")


def test_an_endless_traceback_is_cut(log: io.StringIO) -> None:
    try:
        raise RuntimeError("x" * 1_000_000)
    except RuntimeError:
        logging.getLogger("third").exception("failed")
    assert 10_000 < len(log.getvalue()) < 100_000


def test_a_record_keeps_the_request_it_was_made_in(log: io.StringIO, scrubber: Scrubber) -> None:
    kept: list[logging.LogRecord] = []

    class Later(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    logging.getLogger("third").addHandler(later := Later())
    token = REQUEST_ID.set("0123456789abcdef")
    logging.getLogger("third").warning("said", extra={"request_id": "mine"})
    REQUEST_ID.reset(token)
    logging.getLogger("third").removeHandler(later)
    assert " [0123456789abcdef] said" in SafeFormatter(scrubber).format(kept[0])


def test_tasks_and_threads_of_a_request_carry_its_id(log: io.StringIO) -> None:
    async def request(name: str) -> None:
        REQUEST_ID.set(name)
        await asyncio.sleep(0)
        logging.getLogger("third").info("task of %s", name)
        await asyncio.to_thread(logging.getLogger("third").info, "thread of %s", name)
        await asyncio.create_task(asyncio.to_thread(logging.getLogger("third").info, "both of %s", name))

    async def several() -> None:
        await asyncio.gather(*(request(f"request-{number}") for number in range(20)))

    asyncio.run(several())
    lines = log.getvalue().splitlines()
    assert len(lines) == 60
    assert all(f"[{line.rpartition(' ')[2]}]" in line for line in lines)


# ---- printing ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def printing() -> Iterator[io.StringIO]:
    """The real standard output, below one that catches what is printed inside a request."""
    real = io.StringIO()
    with contextlib.redirect_stdout(Printed("stdout", logging.INFO, real, lambda: REQUEST_ID.get() != "-")):
        yield real


@contextlib.contextmanager
def request() -> Iterator[None]:
    token = REQUEST_ID.set("0123456789abcdef")
    try:
        yield
    finally:
        REQUEST_ID.reset(token)


def test_what_is_printed_in_a_request_is_logged(log: io.StringIO) -> None:
    with printing() as real:
        print("the greeting")
        with request():
            print("one", "line", SECRET)
            print("half ", end="", flush=True)
            print("a line\nand \x1b[31mmore\n")
            print("never ended", end="")
    assert real.getvalue() == "the greeting\n"
    said = [line.partition("INFO stdout ")[2] for line in log.getvalue().splitlines()]
    mark = "[0123456789abcdef] "
    assert said == [mark + text for text in ("one line •••", "half a line", "and more")]


def test_a_line_without_end_is_cut(log: io.StringIO) -> None:
    with printing(), request():
        for _ in range(100):
            print("x" * 1000, end="")
    assert log.getvalue().count("\n") >= 10


def test_a_handler_on_the_replaced_stream_does_not_go_round(log: io.StringIO) -> None:
    with printing(), request():
        logging.getLogger().addHandler(handler := logging.StreamHandler(sys.stdout))
        logging.getLogger("third").warning("said once")
        print("printed once")
        logging.getLogger().removeHandler(handler)
    assert len(log.getvalue().splitlines()) <= 4
    assert log.getvalue().count("printed once") == 1


def test_threads_do_not_mix_their_lines(log: io.StringIO) -> None:
    def speak(name: str) -> None:
        REQUEST_ID.set("0123456789abcdef")
        for _ in range(50):
            print(name, name, sep="+")

    threads = [threading.Thread(target=speak, args=(name,)) for name in ("aa", "bb", "cc")]
    with printing():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    said = [line.rpartition(" ")[2] for line in log.getvalue().splitlines()]
    assert sorted(set(said)) == ["aa+aa", "bb+bb", "cc+cc"] and len(said) == 150


def test_setting_up_for_the_process_catches_all_of_standard_error(
    scrubber: Scrubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = io.StringIO(), io.StringIO()
    with everything_put_back():
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        setup_logging("INFO", scrubber)
        print("the greeting")
        print(f"said with {SECRET}", file=sys.stderr)
        sys.__excepthook__(RuntimeError, RuntimeError(f"ended with {SECRET}"), None)
        assert not sys.stderr.isatty() and sys.stderr.writable()
    assert out.getvalue() == "the greeting\n"
    assert SECRET not in err.getvalue()
    for words in ("said with •••", "ended with •••"):
        assert words in err.getvalue()
    assert all(" WARNING stderr " in line for line in err.getvalue().splitlines())


def test_the_colours_of_the_lollms_world_are_caught() -> None:
    pytest.importorskip("ascii_colors")
    program = (
        "import io, sys\n"
        "from lollms_runtime.secrets import Scrubber\n"
        "from lollms_server.core.log import REQUEST_ID, setup_logging\n"
        f"scrubber = Scrubber(); scrubber.add({SECRET!r})\n"
        "setup_logging('INFO', scrubber)\n"
        "import warnings\n"
        "from ascii_colors import ASCIIColors, trace_exception\n"
        "REQUEST_ID.set('0123456789abcdef')\n"
        f"ASCIIColors.red('red ' + {SECRET!r})\n"
        f"ASCIIColors.error('logged ' + {SECRET!r})\n"
        f"warnings.warn('warned with ' + {SECRET!r})\n"
        "try:\n"
        f"    raise RuntimeError({SECRET!r})\n"
        "except RuntimeError as error:\n"
        "    trace_exception(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=30, check=True
    )
    assert SECRET not in done.stdout + done.stderr and "\x1b" not in done.stdout + done.stderr
    assert "red •••" in done.stderr and "logged •••" in done.stderr
    assert "warned with •••" in done.stderr
    assert all("[0123456789abcdef]" in line for line in done.stderr.splitlines())
