"""Lifecycle hooks of containers: exec, HTTP and sleep handlers, after start and before stop."""

import asyncio

from kybern.api.errors import Obj
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.probes.checks import Checks
from kybern.rpc.client import RpcError

HTTP_TIMEOUT = 30.0


class HookFailed(Exception):
    """The handler did not succeed; the text is for the event."""


class Hooks:
    """Runs handlers; a probe's way of HTTP serves them too."""

    def __init__(self, runtime: Runtime, checks: Checks) -> None:
        self._runtime = runtime
        self._checks = checks

    async def run(self, handler: Obj, container: Obj, container_id: str, pod_ip: str) -> None:
        """Run one handler to its end; raises HookFailed."""
        if command := handler.get("exec"):
            await self._exec(command.get("command") or [], container_id)
        elif action := handler.get("httpGet"):
            outcome = await self._checks.http(action, container, pod_ip, HTTP_TIMEOUT)
            if not outcome.passed:
                raise HookFailed(outcome.output)
        elif pause := handler.get("sleep"):
            await asyncio.sleep(float(pause.get("seconds") or 0))

    async def _exec(self, command: list[str], container_id: str) -> None:
        try:
            code, out, err = await self._runtime.exec_sync(container_id, command, 0)
        except RpcError as error:
            raise HookFailed(str(error)) from None
        if code != 0:
            text = (out + err).decode(errors="replace")
            raise HookFailed(f"command '{' '.join(command)}' exited with {code}: {text}")
