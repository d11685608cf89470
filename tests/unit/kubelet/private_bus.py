"""A message bus of a test's own, in the place of the system's."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

NO_LIBRARY = "no library for D-Bus is installed"
SECONDS = 10.0

_BUS = """
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={socket}</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""


async def until(condition: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def private_bus(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *names: str
) -> AsyncIterator[Any]:
    """A connection that has these names on the bus, to answer from; others find it by default."""
    dbus_fast = pytest.importorskip("dbus_fast", reason=NO_LIBRARY)
    message_bus = pytest.importorskip("dbus_fast.aio", reason=NO_LIBRARY).MessageBus
    socket = directory / "bus"
    (directory / "bus.conf").write_text(_BUS.format(socket=socket))
    command = [
        *("dbus-daemon", f"--config-file={directory / 'bus.conf'}"),
        *("--nofork", "--nopidfile", "--print-address"),
    ]
    try:
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        pytest.skip("dbus-daemon is not installed")
    try:
        # It tells its address when it listens.
        assert daemon.stdout is not None
        await asyncio.to_thread(daemon.stdout.readline)
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={socket}")
        kind = dbus_fast.BusType.SYSTEM
        async with asyncio.timeout(SECONDS):
            bus = await message_bus(bus_type=kind, negotiate_unix_fd=True).connect()
        for name in names:
            await bus.request_name(name)
        yield bus
        bus.disconnect()
    finally:
        daemon.terminate()
        daemon.communicate()
