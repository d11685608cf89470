"""Which authorizers and plugins a server has is said by flags, and wrong ones are named."""

import pytest

from kybern.apiserver.config import Config
from kybern.apiserver.server import ApiServer
from kybern.component.clock import Clock
from kybern.store.memory import MemoryStore

PLUGINS = "enable-admission-plugins and disable-admission-plugins overlapped"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (Config(authorization_mode=("Webhook",)), 'authorization-mode "Webhook" is not a valid'),
        (Config(authorization_mode=("RBAC", "RBAC")), "has mode specified more than once"),
        (Config(authorization_mode=()), "at least one authorization-mode must be passed"),
        (
            Config(enable_admission_plugins=("Nothing",)),
            'enable-admission-plugins plugin "Nothing" is unknown',
        ),
        (
            Config(disable_admission_plugins=("Nothing",)),
            'disable-admission-plugins plugin "Nothing" is unknown',
        ),
        (
            Config(
                enable_admission_plugins=("PodSecurity",),
                disable_admission_plugins=("PodSecurity",),
            ),
            rf"\[PodSecurity\] in {PLUGINS}",
        ),
        (Config(enable_admission_plugins=("EventRateLimit",)), "limits: Invalid value"),
        (Config(admission_control_config_file="/nowhere"), "unable to read admission control"),
    ],
)
async def test_a_server_does_not_start_with_flags_that_mean_nothing(
    config: Config, text: str
) -> None:
    store = MemoryStore()
    server = ApiServer(config, store, Clock(1))
    try:
        with pytest.raises(ValueError, match=text):
            await server.start()
    finally:
        await server.close()
        await store.close()
