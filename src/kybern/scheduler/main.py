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
from kybern.scheduler.configuration import LeaderElection, Settings, as_document, load
from kybern.scheduler.scheduler import Scheduler
from kybern.scheduler.serving import Observed, serving

logger = logging.getLogger(__name__)


async def run(client: Client, clock: Clock, config: Config) -> None:
    """Schedule pods until cancelled."""
    settings = Settings()
    if config.scheduler_config:
        settings = load(await asyncio.to_thread(Path(config.scheduler_config).read_bytes))
    election = settings.leader_election
    elects = config.leader_elect if election.leader_elect is None else election.leader_elect
    observed = Observed(as_document(settings, elects))

    async def schedule() -> None:
        scheduler = Scheduler(client, clock, settings)
        observed.scheduler = scheduler
        try:
            await scheduler.run()
        finally:
            observed.scheduler = None

    async with serving(observed, client, clock, config):
        if elects:
            await _lead(client, clock, election, schedule, observed)
        else:
            await schedule()


async def _lead(
    client: Client,
    clock: Clock,
    election: LeaderElection,
    schedule: Callable[[], Awaitable[None]],
    observed: Observed,
) -> None:
    """Schedule while the Lease is held, again and again."""
    identity = f"{socket.gethostname()}_{clock.uid()}"
    while True:
        elector = LeaderElector(
            client,
            clock,
            election.name,
            identity,
            election.namespace,
            election.lease_seconds,
            election.renew_deadline,
            election.retry_period,
        )
        observed.elector = elector
        try:
            await elector.run(schedule)
        except LeadershipLost as error:
            logger.warning("leadership lost: %s", error)
