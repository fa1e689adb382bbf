"""`python -m benchmarks.soak [--minutes 10] [--seed N] [--write]`: exit code 1 if anything grew, died or was wrong."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import processes
from benchmarks.soak import report
from benchmarks.soak.callers import CALLERS, all_is_well
from benchmarks.soak.disturb import Disturber
from benchmarks.soak.house import SPARE, House, running_house
from benchmarks.soak.judge import judge
from benchmarks.soak.rude import RUDE, patient
from benchmarks.soak.sampling import Sampler
from benchmarks.soak.world import Action, World, Wrong
from lollms_core.errors import LollmsError
from tests.support.server import KEY

PERIOD = 75.0
"""Seconds from one quiet moment to the next: more than the 60 after which who does not read is dropped."""
WARM_UP = 0.2
_DROPPED = 66.0
_PATIENT = 4
_QUIET = 5
_SETTLE = 60.0
_OVERDUE = 40.0


def main() -> int:
    options = _options()
    faulthandler.register(signal.SIGUSR1)  # shows where it is, should it ever hang
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended as well
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lollms-soak-") as place:
        folder = Path(place)
        with running_house(folder) as house:
            sampler = Sampler(house)
            world = World(house.port, KEY, SPARE)
            inside = asyncio.run(_soak(house, sampler, world, options, seed))
        sampler.stop()
        said = _verdict(house, sampler, world, options)
        done = report.Done(sampler.samples, WARM_UP * 60 * options.minutes, world.tally, said, seed)
        processes.BUILD.mkdir(exist_ok=True)
        report.write_csv(done, processes.BUILD / "soak.csv")
        (processes.BUILD / "soak.log").write_bytes(house.log.read_bytes())
        (processes.BUILD / "soak.inside.json").write_text(json.dumps(inside, indent=1))
    print(report.text_of(done))
    if options.write:
        report.write(done, processes.ROOT / "benchmarks")
    return 1 if said else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Soak our server.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="repeats the choices of an earlier run")
    parser.add_argument("--callers", type=int, default=24, help="how many call at once")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two calls of a caller, on average")
    parser.add_argument("--only", default="", help="names of callers, comma between; all if not given")
    parser.add_argument("--calm", action="store_true", help="no reloads, no changed files and no killed engine")
    parser.add_argument("--trace", action="store_true", help="note where memory is taken (slow)")
    parser.add_argument("--write", action="store_true", help="replace benchmarks/SOAK.md and its plot")
    return parser.parse_args()


def _verdict(house: House, sampler: Sampler, world: World, options: argparse.Namespace) -> list[str]:
    """All that is wrong."""
    said = list(world.wrong)
    if house.exit_code != 0:
        said.append(f"the server ended with the exit code {house.exit_code}")
    said += [f"in the server's log: {line}" for line in house.wrong_lines()[:20]]
    try:
        said += judge(sampler.samples, WARM_UP * 60 * options.minutes, most_kept=2 * options.callers)
    except ValueError as error:
        said.append(str(error))
    return said


async def _soak(house: House, sampler: Sampler, world: World, options: argparse.Namespace, seed: int) -> object:
    """All periods: load, then a quiet moment. Gives what the inside of the process said at the end."""
    actions = _actions(options)
    rng = random.Random(seed)
    disturber = Disturber(house, world, random.Random(seed + 1))
    await _settle(world, sampler)
    if options.trace:
        house.ask("trace")
    inside = [house.ask("types")]
    sampler.start()
    total = 60 * options.minutes
    period = min(PERIOD, total / 8)
    while sampler.second < total and not sampler.dead and house.process.poll() is None:
        await _load(world, options, actions, rng, disturber, sampler, max(1.0, period - _QUIET - 1))
        await _settle(world, sampler)
        sampler.begin_quiet()
        await asyncio.sleep(_QUIET)
        sampler.end_quiet()
        await all_is_well(world)
        print(f"{sampler.second:5.0f} s: {sampler.samples[-1]}, {len(world.wrong)} wrong", flush=True)
    sampler.stop()
    if house.process.poll() is not None:
        world.note("the server died")
    inside += [house.ask("types"), house.ask("places") if options.trace else None]
    return inside


def _actions(options: argparse.Namespace) -> tuple[list[Action], list[int]]:
    wanted = options.only.split(",") if options.only else [action.__name__ for _, action in (*CALLERS, *RUDE)]
    chosen = [(weight, action) for weight, action in (*CALLERS, *RUDE) if action.__name__ in wanted]
    if not chosen:
        raise SystemExit(f"there is no caller of the name {options.only}")
    return [action for _, action in chosen], [weight for weight, _ in chosen]


async def _load(
    world: World,
    options: argparse.Namespace,
    actions: tuple[list[Action], list[int]],
    rng: random.Random,
    disturber: Disturber,
    sampler: Sampler,
    seconds: float,
) -> None:
    """Let all of them loose for a while; those who are not done then leave."""
    async with world.with_clients():
        callers = [
            asyncio.create_task(_caller(world, actions, random.Random(rng.random()), options.pause))
            for _ in range(options.callers)
        ]
        if not options.calm:
            callers.append(asyncio.create_task(disturber.run(seconds)))
        if seconds > _DROPPED and not options.only:
            callers.append(asyncio.create_task(patient(world, _PATIENT, _DROPPED, ports=sampler.ports)))
        await asyncio.wait(callers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        await _cancelled(world, callers)


async def _cancelled(world: World, tasks: list[asyncio.Task[None]]) -> None:
    """Cancel all; one that goes on is told again, and noted: what a caller awaits must not lose that."""
    left = set(tasks)
    while left:
        for each in left:
            each.cancel()
        done, left = await asyncio.wait(left, timeout=5)
        for each in left:
            stack = [f"{frame.f_code.co_filename}:{frame.f_lineno}" for frame in each.get_stack()]
            world.note(f"a caller did not hear that it was cancelled; it is in {stack}")
        for each in done:
            if not each.cancelled() and (error := each.exception()) is not None:
                world.note(f"a part of the soak failed: {type(error).__name__}: {error}")


async def _caller(world: World, actions: tuple[list[Action], list[int]], rng: random.Random, pause: float) -> None:
    """Do one thing after the other until cancelled."""
    while True:
        await asyncio.sleep(rng.expovariate(1 / pause))
        action = rng.choices(*actions)[0]
        started = time.monotonic()
        try:
            async with asyncio.timeout(_OVERDUE):
                ended = await action(world, rng)
        except Wrong as error:
            ended = "wrong"
            world.note(f"{action.__name__}: {error}")
        except (LollmsError, OSError, EOFError, ValueError, LookupError) as error:
            ended = "wrong"
            took = time.monotonic() - started
            world.note(f"{action.__name__} after {took:.1f} s: {type(error).__name__}: {error}")
        world.tally[f"{action.__name__}.{ended}"] += 1


async def _settle(world: World, sampler: Sampler) -> None:
    """Wait until nobody is served any more, no reload is under way, and the models are ready."""
    until = time.monotonic() + _SETTLE
    await world.ask("POST", "/api/v1/reload")  # is answered after those that were asked for before
    while True:
        left = "it does not answer"
        with contextlib.suppress(OSError, ValueError):
            queue = (await world.ask("GET", "/api/v1/queue")).json()
            models = (await world.ask("GET", "/health")).json()["models"]
            active = (await world.ask("GET", "/api/v1/list_active_bindings")).body
            left = f"models {models}, {len(queue['running'])} run, {len(queue['waiting'])} wait"
            if models != "loading" and not queue["running"] and not queue["waiting"] and b'"nano"' in active:
                if not sampler.ports():
                    return
                left += f", {len(sampler.ports())} connections are open"
        if time.monotonic() > until:
            world.note(f"the server is not quiet {_SETTLE:g} s after its callers have left: {left}")
            return
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
