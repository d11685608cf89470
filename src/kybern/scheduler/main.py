"""The scheduler component: configuration, leader election, and the scheduler itself.

Called by ``kybern run scheduler`` and by in-process clusters; works against any Kubernetes API
server. With leader election on, a scheduler exists only while the Lease is held.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from kybern.client import Client, LeaderElector
from kybern.client.leader_election import LeadershipLost
from kybern.component.clock import Clock
from kybern.scheduler.config import Config
from kybern.scheduler.configuration import Settings, load
from kybern.scheduler.observing import Observed, observing
from kybern.scheduler.scheduler import Scheduler

logger = logging.getLogger(__name__)

LEASE_NAME = "kube-scheduler"


async def run(client: Client, clock: Clock, config: Config) -> None:
    """Schedule pods until cancelled."""
    settings = Settings()
    if config.scheduler_config:
        settings = load(await asyncio.to_thread(Path(config.scheduler_config).read_bytes))
    elect = config.leader_elect if settings.leader_elect is None else settings.leader_elect
    observed = Observed()

    async def schedule() -> None:
        scheduler = Scheduler(client, clock, settings)
        observed.metrics = scheduler.metrics
        try:
            await scheduler.run()
        finally:
            observed.metrics = None

    async with observing(observed, config.metrics_bind_address, clock):
        if elect:
            await _lead(client, clock, schedule)
        else:
            await schedule()


async def _lead(client: Client, clock: Clock, schedule: Callable[[], Awaitable[None]]) -> None:
    """Schedule while the Lease is held, again and again."""
    identity = f"{socket.gethostname()}_{clock.uid()}"
    while True:
        elector = LeaderElector(client, clock, LEASE_NAME, identity)
        try:
            await elector.run(schedule)
        except LeadershipLost as error:
            logger.warning("leadership lost: %s", error)
