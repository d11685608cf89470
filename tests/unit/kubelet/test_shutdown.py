"""How the end of the machine is told, how long it is held up, and in which order pods end."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from kubelet_pods import pod
from private_bus import NO_LIBRARY, SECONDS, private_bus, until

from kybern.component.flags import BadFlag
from kybern.kubelet.config import Config
from kybern.kubelet.shutdown import Period, Shutdown, by_priority, shutdown_periods

Obj = dict[str, Any]
CRITICAL = 2_000_000_000


def named(name: str, priority: int) -> Obj:
    made = pod(priority=priority, terminationGracePeriodSeconds=30)
    return {**made, "metadata": {**made["metadata"], "name": name, "uid": name}}


@pytest.mark.parametrize(
    ("config", "periods"),
    [
        (Config(), []),
        (
            Config(shutdown_grace_period=30.0, shutdown_grace_period_critical_pods=10.0),
            [Period(0, 20.0), Period(CRITICAL, 10.0)],
        ),
        (
            Config(shutdown_grace_period_by_pod_priority=("1000=5", "0=60")),
            [Period(0, 60), Period(1000, 5)],
        ),
    ],
)
def test_periods_are_sorted_by_priority(config: Config, periods: list[Period]) -> None:
    assert shutdown_periods(config) == periods


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (Config(shutdown_grace_period_critical_pods=1.0), "must be <= shutdownGracePeriod"),
        (Config(shutdown_grace_period=0.5), "must be either zero or otherwise >= 1 sec"),
        (
            Config(shutdown_grace_period=5.0, shutdown_grace_period_by_pod_priority=("0=1",)),
            "Cannot specify both",
        ),
        (Config(shutdown_grace_period_by_pod_priority=("high=1",)), "ByPodPriority"),
    ],
)
def test_periods_that_make_no_sense_are_refused(config: Config, problem: str) -> None:
    with pytest.raises(BadFlag, match=problem):
        shutdown_periods(config)


def test_pods_belong_to_the_highest_period_that_they_reach() -> None:
    periods = [Period(0, 10), Period(1000, 5), Period(2000, 1)]
    pods = [named(str(priority), priority) for priority in (-5, 0, 999, 1000, 5000)]
    groups = {
        period.priority: [each["metadata"]["name"] for each in group]
        for period, group in by_priority(periods, pods)
    }
    assert groups == {0: ["-5", "0", "999"], 1000: ["1000"], 2000: ["5000"]}


class Workers:
    """Pods that end when they are told to, and who was told."""

    def __init__(self, *pods: Obj) -> None:
        self._pods = pods
        self.ended: list[tuple[str, int | None]] = []
        self.active = True
        self.may_end = asyncio.Event()

    def pods(self) -> list[Obj]:
        return list(self._pods)

    def get(self, uid: str) -> "Workers":
        return self

    def end(self, uid: str, ending: Any) -> None:
        self.ended.append((uid, ending.grace))

    async def until_ended(self, uids: Any, seconds: float) -> bool:
        await self.may_end.wait()
        return True


class Logind:
    """The few words of systemd's logind, on a private message bus."""

    def __init__(self, dbus_fast: Any, bus: Any, configuration: Path) -> None:
        self._dbus_fast = dbus_fast
        self._bus = bus
        self._configuration = configuration
        self.locks: list[int] = []
        self._sending: list[int] = []
        self.asked: list[str] = []
        self.delay = 5_000_000

    def answer(self, message: Any) -> Any:
        returned = self._dbus_fast.Message.new_method_return
        if message.member == "Get" and message.body[1] == "InhibitDelayMaxUSec":
            return returned(message, "v", [self._dbus_fast.Variant("t", self.delay)])
        if message.member == "KillUnit":
            text = (self._configuration / "99-kubelet.conf").read_text()
            self.delay = int(text.strip().rpartition("=")[2]) * 1_000_000
            return returned(message)
        if message.member == "Inhibit":
            self.asked.append(" ".join(message.body[:2] + message.body[3:]))
            mine, theirs = os.pipe()
            self.locks.append(mine)
            os.set_blocking(mine, False)
            self._sending.append(theirs)
            return returned(message, "h", [0], unix_fds=[theirs])
        return None

    async def tell(self, stopping: bool) -> None:
        """Tell of a shutdown, after all that was answered before."""
        signal = self._dbus_fast.Message.new_signal(
            "/org/freedesktop/login1",
            "org.freedesktop.login1.Manager",
            "PrepareForShutdown",
            "b",
            [stopping],
        )
        await self._bus.send(signal)
        while self._sending:
            os.close(self._sending.pop())

    async def until_released(self, lock: int) -> None:
        """Wait until nobody has the lock's descriptor any more."""
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    if os.read(lock, 1) == b"":
                        return
                except BlockingIOError:
                    await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def logind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Logind]:
    dbus_fast = pytest.importorskip("dbus_fast", reason=NO_LIBRARY)
    names = ("org.freedesktop.login1", "org.freedesktop.systemd1")
    async with private_bus(tmp_path, monkeypatch, *names) as bus:
        made = Logind(dbus_fast, bus, tmp_path / "conf")
        bus.add_message_handler(made.answer)
        yield made
        for lock in made.locks:
            os.close(lock)


async def test_logind_waits_until_the_pods_have_ended(logind: Logind, tmp_path: Path) -> None:
    from kybern.kubelet.logind import open_logind

    workers: Any = Workers(named("ordinary", 0), named("critical", CRITICAL))
    told: list[str] = []
    shutdown = Shutdown(
        workers,
        [Period(0, 20.0), Period(CRITICAL, 10.0)],
        lambda reason, message: told.append(message),
        lambda: None,
    )
    async with open_logind(tmp_path / "conf") as connection:
        await connection.raise_delay(30.0)
        assert await connection.delay() == 30.0
        following = asyncio.create_task(shutdown.follow(connection))
        await until(lambda: logind.locks)
        assert logind.asked == ["shutdown kubelet delay"]
        assert shutdown.judge(pod()) is None
        await logind.tell(True)
        await until(lambda: workers.ended)
        assert (shutdown.problem, workers.ended) == ("node is shutting down", [("ordinary", 20)])
        refusal = shutdown.judge(pod())
        assert refusal is not None
        assert refusal.reason == "NodeShutdown"
        workers.may_end.set()
        await logind.until_released(logind.locks[0])
        assert workers.ended == [("ordinary", 20), ("critical", 10)]

        await logind.tell(False)
        await until(lambda: len(logind.locks) == 2)
        assert (shutdown.problem, shutdown.judge(pod())) == ("", None)
        assert told == [
            "Shutdown manager detected shutdown event",
            "Shutdown manager detected shutdown cancellation",
        ]
        await logind.tell(True)
        await logind.until_released(logind.locks[1])
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_a_machine_without_logind_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dbus_fast", reason=NO_LIBRARY)
    from kybern.kubelet.logind import open_logind
    from kybern.kubelet.message_bus import BusError

    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    with pytest.raises(BusError, match="no system message bus"):
        async with open_logind():
            pytest.fail("there is no bus")
