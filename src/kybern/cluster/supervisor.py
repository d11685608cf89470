"""Keeps the processes of a control plane running: the parent of what ``kybern up`` starts.

``up`` starts one supervisor for a data directory (``python -m kybern.cluster.supervisor DIR``); it
starts each group of ``record.json``, starts it again when it dies, after a pause that doubles up
to ten seconds, and stops all of them on SIGTERM. Every child holds the read end of a pipe, its
lifeline: when the supervisor is gone, however it went, the children see the end of the pipe and
stop too, so a next ``up`` finds the ports and files free.

The supervisor holds a lock on its pid file while it lives; that, not the file, says it runs.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

from kybern.cluster.record import Record, processes

logger = logging.getLogger(__name__)

LIFELINE_VARIABLE = "KYBERN_LIFELINE_FD"
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
STOP_SECONDS = 10.0


def pid_file(data_dir: Path) -> Path:
    return data_dir / "supervisor.pid"


def running(data_dir: Path) -> int | None:
    """The process id of the data directory's supervisor, if one runs."""
    try:
        with open(pid_file(data_dir), encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return int(file.read() or 0) or None
    except FileNotFoundError:
        return None
    return None


def start(data_dir: Path) -> None:
    """Start the supervisor as a session of its own; does nothing if one runs."""
    if running(data_dir) is not None:
        return
    logs = data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with open(logs / "supervisor.log", "ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "kybern.cluster.supervisor", str(data_dir)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


async def stop(data_dir: Path) -> None:
    """Stop the supervisor and with it the control plane; returns when all of it is gone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 2 * STOP_SECONDS
    while (process := running(data_dir)) is not None:
        number = signal.SIGTERM if loop.time() < deadline else signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
        await asyncio.sleep(0.05)


async def _keep(name: str, arguments: list[str], output: BinaryIO, lifeline: int) -> None:
    """Run one process again and again, its output appended to the log."""
    loop = asyncio.get_running_loop()
    pause = FIRST_PAUSE_SECONDS
    environment = {**os.environ, LIFELINE_VARIABLE: str(lifeline)}
    while True:
        started = loop.time()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kybern.cluster.cli",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            pass_fds=(lifeline,),
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _stop(process)
            raise
        if loop.time() - started > STEADY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        logger.warning("%s ended with %d; again in %.1f s", name, code, pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, MAX_PAUSE_SECONDS)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def supervise(data_dir: Path) -> None:
    """Run the groups of the record until SIGTERM; the last group to start is the first to stop."""
    record = Record.load(data_dir)
    logs = data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    lifeline, held = os.pipe()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as files:
        tasks = []
        for name, arguments in processes(record):
            output = files.enter_context((logs / f"{name}.log").open("ab"))
            tasks.append(asyncio.create_task(_keep(name, arguments, output, lifeline)))
        try:
            await stop.wait()
        finally:
            for task in reversed(tasks):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            os.close(held)
            os.close(lifeline)


def main(directory: str) -> int:
    """Hold the lock and supervise; 1 if another supervisor does."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s")
    data_dir = Path(directory)
    with open(pid_file(data_dir), "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            logger.error("another supervisor runs for %s", data_dir)
            return 1
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        asyncio.run(supervise(data_dir))
        file.truncate(0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
