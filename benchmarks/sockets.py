"""Crowds of callers who want nothing: `/health` beside 5,000 idle and slow sockets, and what one costs who never reads.

The sockets stay open as long as they are needed: the limits that would close them are set high for this. Who never
reads is dropped after the time that stands in the server, so this part takes more than a minute.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.table import Row, Table

CROWD = 5_000
DEAF = 50
_CALLS = 200
_BYTE_EVERY = 5.0
_SLOW = b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nX-Filler: " + b"y" * 4_000
_HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
_PATIENT = "limits: {header_timeout: 300, body_timeout: 3600, keep_alive_timeout: 3600}\n"
_DROP = 60.0
_LATE = 15.0


def measure(options: Any) -> list[Table]:
    """Both crowds; needs more than 2 x 5,000 descriptors."""
    _raise_descriptors()
    with tempfile.TemporaryDirectory() as scratch, processes.mock() as mock:
        folder = Path(scratch)
        settings = f'base_url: "http://127.0.0.1:{mock}/v1"\napi_key: x\ndefault_model: mock\n'
        with _server(folder, "crowd", settings, _PATIENT) as (port, pid):
            tables = crowd(port, pid, options.rounds)
        with _server(folder, "deaf", settings, "") as (port, pid):
            tables += deaf(port, pid, mock)
    return tables


@contextlib.contextmanager
def _server(folder: Path, name: str, settings: str, limits: str) -> Iterator[tuple[int, int]]:
    """Our server with one instance and a section of limits; gives its port and its process."""
    port = processes.free_port()
    configs = processes.configuration(folder / name, port, name, "openai_binding", settings)
    with (configs / "main_config.yaml").open("a", encoding="utf-8") as main:
        main.write(limits)
    own = {"PYTHONPATH": str(processes.ROOT), "LOLLMS_HOME": str(folder / "home")}
    with processes.running(name, processes.serve_command(configs), port, core=None, **own) as pid:
        yield port, pid


# ---- /health beside a crowd ----------------------------------------------------------------------------------------


def crowd(port: int, pid: int, rounds: int) -> list[Table]:
    """`/health` on new connections: alone, beside idle sockets, beside slow ones, beside half of each."""
    kinds = {"alone": (0, 0), "idle": (CROWD, 0), "slow": (0, CROWD), "half of each": (CROWD // 2, CROWD // 2)}
    middle: dict[str, list[float]] = {name: [] for name in kinds}
    late: dict[str, list[float]] = {name: [] for name in kinds}
    memory: list[float] = []
    _times(port, 50)
    for _ in range(rounds):
        before = _memory_mb(pid)
        for name, (idle, slow) in kinds.items():
            with _crowd(port, idle, slow) as steps:
                if idle + slow:
                    memory.append(1024 * (_memory_mb(pid) - before) / CROWD)
                took = _times(port, _CALLS, steps)
            middle[name].append(statistics.median(took))
            late[name].append(statistics.quantiles(took, n=100)[98])
    title = f"/health beside {CROWD} sockets, ms (wall clock)"
    p50 = Table(f"{title}, p50", [Row(name, values) for name, values in middle.items()])
    p99 = Table(f"{title}, p99", [Row(name, values) for name, values in late.items()])
    worst = max(statistics.median(values) for values in late.values())
    p99.budget("ms, the worst p99", worst, 100)
    cost = Table("an idle or slow socket: KB of the server's memory", [Row("each crowd", memory)])
    return [p50, p99, cost]


@contextlib.contextmanager
def _crowd(port: int, idle: int, slow: int) -> Iterator[Iterator[None]]:
    """Sockets of which some say nothing and others a byte each few seconds; a step of what is given sends what is due.

    All have been accepted when the block begins, and all are gone when it ends.
    """
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(idle + slow)]
        slowly = socks[idle:]
        for sock in slowly:
            sock.sendall(_SLOW[:60])
        _answer(port)
        yield _bytes_due(slowly)
    _answer(port)


def _bytes_due(slowly: list[socket.socket]) -> Iterator[None]:
    began, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) / _BYTE_EVERY * len(slowly))
        for number in range(sent, due):
            at = 60 + number // len(slowly)
            slowly[number % len(slowly)].sendall(_SLOW[at : at + 1])
        sent = due
        yield


def _times(port: int, calls: int, steps: Iterator[None] | None = None) -> list[float]:
    """Milliseconds of that many calls, each on a connection of its own."""
    took = []
    for _ in range(calls):
        if steps is not None:
            next(steps)
        start = time.perf_counter()
        _answer(port)
        took.append(1000 * (time.perf_counter() - start))
        time.sleep(0.005)
    return took


def _answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(_HEALTH)
        if b" 200 " not in sock.recv(4096):
            raise SystemExit("/health did not answer")


# ---- who never reads -----------------------------------------------------------------------------------------------


def deaf(port: int, pid: int, upstream: int) -> list[Table]:
    """A stream that would never end, and callers who read nothing of it: what one of them costs, and for how long."""
    with contextlib.ExitStack() as stack:
        with _deaf(port) as first:  # what the first request of all costs is no part of it
            first.recv(65536)
        before = _memory_mb(pid)
        socks = [stack.enter_context(_deaf(port)) for _ in range(DEAF)]
        ports = {sock.getsockname()[1] for sock in socks}
        began = _when_full(port, ports)
        if wrong := [said for sock in socks if b" 200 " not in (said := sock.recv(200, socket.MSG_PEEK))]:
            raise SystemExit(f"no stream: {wrong[0]!r}")
        own = (_memory_mb(pid) - before) / DEAF
        sent = sum(each.unsent for each in _queues(port, ports)) / 2**20 / DEAF
        read = sum(each.unread for each in _queues(remote={upstream})) / 2**20 / DEAF
        gone = _when_gone(port, ports, began)
        held = sum(each.unsent for each in _queues(port, ports)) / 2**20 / DEAF
    cost = Table(
        f"one of {DEAF} callers who never read a stream: MB",
        [
            Row("memory of the server", [own]),
            Row("unsent, in the system's buffer", [sent]),
            Row("unread from the backend, in the system's buffer", [read]),
            Row("unsent after the drop", [held]),
        ],
    )
    cost.budget("MB in all", own + sent + read, 1)
    cost.budget("MB after the drop", held, 0)
    when = Table("callers who never read are dropped: seconds since all buffers are full", [Row("first, last", gone)])
    when.budget("the last", gone[1], _DROP + 5)
    return [cost, when]


def _when_full(port: int, ports: set[int]) -> float:
    """Wait until no more is sent; the moment since which that is so."""
    began, before = time.monotonic(), -1
    while time.monotonic() - began < _DROP:
        now = sum(each.unsent for each in _queues(port, ports))
        if now == before and now:
            return began
        if now != before:
            began = time.monotonic()
        before = now
        time.sleep(2)
    raise SystemExit("the streams do not fill the buffers of the system")


def _deaf(port: int) -> socket.socket:
    body = {"input_data": [{"type": "text", "role": "user_prompt", "data": "Tell me a story. N=10000000"}]}
    data = json.dumps({**body, "parameters": {"max_tokens": 10_000_000}, "stream": True}).encode()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    head = f"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {processes.KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    sock.sendall(head.encode() + data)
    return sock


def _when_gone(port: int, ports: set[int], began: float) -> list[float]:
    """Seconds after which the first and the last of the connections were closed by the server."""
    first, left = None, len(ports)
    while time.monotonic() - began < _DROP + _LATE:
        left = sum(each.open for each in _queues(port, ports))
        if left < len(ports) and first is None:
            first = time.monotonic() - began
        if not left:
            return [first or 0.0, time.monotonic() - began]
        time.sleep(0.2)
    raise SystemExit(f"{left} of {len(ports)} callers who never read were not dropped")


class _Queue:
    """A line of the kernel's table of TCP connections: ports, and the bytes that wait in its buffers."""

    def __init__(self, line: str) -> None:
        fields = line.split()
        self.local, self.remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
        self.open = fields[3] == "01"
        self.unsent, self.unread = (int(size, 16) for size in fields[4].split(":"))


def _queues(local: int | None = None, remote: set[int] | None = None) -> list[_Queue]:
    """The connections from one of our ports, and to one of these."""
    found = map(_Queue, Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:])
    return [
        each for each in found if (local is None or each.local == local) and (remote is None or each.remote in remote)
    ]


def _raise_descriptors() -> None:
    """Let this process and those it starts have as many descriptors as the system allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 2 * CROWD + 500:
        raise SystemExit(f"{hard} descriptors are allowed here, and {2 * CROWD + 500} are needed (ulimit -Hn)")


def _memory_mb(pid: int) -> float:
    """Private pages of a process, those of files left out."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"the kernel does not say how much memory process {pid} has")
