"""One extender: what is asked of it over HTTP, and what it answers.

Extenders are written in Go with the types of ``k8s.io/kube-scheduler/extender/v1``: field names are
sent as those types are encoded, and read in any case, as Go reads them.
"""

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import orjson

from kybern.component.kubeconfig import Access
from kybern.scheduler.extenders.errors import ExtenderError
from kybern.scheduler.extenders.settings import ExtenderSettings, TlsSettings

Obj = dict[str, Any]
Answer = TypeVar("Answer")

# What is read of one answer: lists of nodes of the largest clusters.
LARGEST_ANSWER = 256 * 1024 * 1024


@dataclass(frozen=True)
class Filtered:
    """Nodes that an extender lets pass, and its messages about those that it does not; no eviction
    helps with those of ``hopeless``."""

    nodes: list[str]
    failed: Mapping[str, str]
    hopeless: Mapping[str, str]


@dataclass(frozen=True)
class Victims:
    """The uids of the pods to evict on a node, and how many budgets that breaks."""

    uids: list[str]
    broken_budgets: int


class HttpExtender:
    """Speaks to one extender; ``close`` when the scheduler ends."""

    def __init__(self, settings: ExtenderSettings) -> None:
        self.settings = settings
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        return self.settings.url

    def is_interested(self, pod: Obj) -> bool:
        """Whether the pod asks for a resource that the extender manages; for any if for none."""
        managed = self.settings.resources
        if not managed:
            return True
        spec = pod["spec"]
        for container in (*spec["containers"], *(spec.get("initContainers") or ())):
            resources = container.get("resources") or {}
            for amounts in (resources.get("requests"), resources.get("limits")):
                if amounts and not managed.isdisjoint(amounts):
                    return True
        return False

    async def filter(self, pod: Obj, nodes: Sequence[Obj]) -> Filtered:
        """Which of the nodes could take the pod; raises ExtenderError."""
        known = {node["metadata"]["name"] for node in nodes}

        def read(answer: Any) -> Filtered:
            fields = _fields(answer)
            names: list[str] = []
            if self.settings.caches_nodes and fields.get("nodenames") is not None:
                names = [str(name) for name in fields["nodenames"]]
            elif fields.get("nodes") is not None:
                items = _fields(fields["nodes"]).get("items") or ()
                names = [str(item["metadata"]["name"]) for item in items]
            for name in names:
                if name not in known:
                    raise ExtenderError(
                        f'extender "{self.name}" claims a filtered node "{name}" which is not '
                        "found in the input node list"
                    )
            failed = dict(fields.get("failednodes") or {})
            return Filtered(names, failed, dict(fields.get("failedandunresolvablenodes") or {}))

        return await self._ask(self.settings.filter_verb, self._arguments(pod, nodes), read)

    async def prioritize(self, pod: Obj, nodes: Sequence[Obj]) -> dict[str, int]:
        """Scores from 0 to 10 by node; raises ExtenderError."""

        def read(answer: Any) -> dict[str, int]:
            pairs = [_fields(one) for one in answer]
            return {str(one.get("host", "")): int(one.get("score", 0)) for one in pairs}

        return await self._ask(self.settings.prioritize_verb, self._arguments(pod, nodes), read)

    async def preempt(
        self, pod: Obj, victims: Mapping[str, tuple[Sequence[Obj], int]]
    ) -> dict[str, Victims]:
        """Which of the nodes may be cleared of whom; ``victims`` are pods and the number of broken
        budgets by node. Raises ExtenderError."""
        arguments: Obj = {"Pod": pod, "NodeNameToVictims": None, "NodeNameToMetaVictims": None}
        if self.settings.caches_nodes:
            arguments["NodeNameToMetaVictims"] = {
                node: {
                    "Pods": [{"UID": one["metadata"]["uid"]} for one in pods],
                    "NumPDBViolations": broken,
                }
                for node, (pods, broken) in victims.items()
            }
        else:
            arguments["NodeNameToVictims"] = {
                node: {"Pods": list(pods), "NumPDBViolations": broken}
                for node, (pods, broken) in victims.items()
            }
        return await self._ask(self.settings.preempt_verb, arguments, _read_victims)

    async def bind(self, pod: Obj, node: str) -> None:
        """Have the extender bind the pod; raises ExtenderError."""
        meta = pod["metadata"]
        arguments = {
            "PodName": meta["name"],
            "PodNamespace": meta["namespace"],
            "PodUID": meta["uid"],
            "Node": node,
        }
        await self._ask(self.settings.bind_verb, arguments, _fields)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _arguments(self, pod: Obj, nodes: Sequence[Obj]) -> Obj:
        if self.settings.caches_nodes:
            names = [node["metadata"]["name"] for node in nodes]
            return {"Pod": pod, "Nodes": None, "NodeNames": names}
        return {"Pod": pod, "Nodes": {"metadata": {}, "items": list(nodes)}, "NodeNames": None}

    async def _ask(self, verb: str, arguments: Obj, read: Callable[[Any], Answer]) -> Answer:
        """Send, and read the answer; what cannot be read is an error of the extender's."""
        answer = await self._send(verb, arguments)
        try:
            if isinstance(answer, dict) and (problem := _fields(answer).get("error")):
                raise ExtenderError(str(problem))
            return read(answer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ExtenderError(f"{verb} of {self.name}: not an answer: {error!r}") from error

    async def _send(self, verb: str, arguments: Obj) -> Any:
        url = f"{self.settings.url}/{verb}"
        try:
            async with self._open().post(
                url,
                data=orjson.dumps(arguments),
                headers={"Content-Type": "application/json"},
                server_hostname=self.settings.tls.server_name or None
                if self.settings.tls is not None
                else None,
            ) as response:
                if response.status != 200:
                    raise ExtenderError(
                        f"failed {verb} with extender at URL {url}, code {response.status}"
                    )
                return orjson.loads(await _whole(response))
        except (aiohttp.ClientError, TimeoutError, ValueError, ssl.SSLError) as error:
            raise ExtenderError(f'Post "{url}": {error or "timed out"}') from error

    def _open(self) -> aiohttp.ClientSession:
        """The connections, opened on first use inside the running loop."""
        if self._session is None:
            tls = self.settings.tls
            connector = aiohttp.TCPConnector(ssl=_context(tls) if tls is not None else True)
            timeout = aiohttp.ClientTimeout(total=self.settings.timeout)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session


def _read_victims(answer: Any) -> dict[str, Victims]:
    found: dict[str, Victims] = {}
    for node, given in (_fields(answer).get("nodenametometavictims") or {}).items():
        one = _fields(given or {})
        uids = [str(_fields(meta).get("uid", "")) for meta in one.get("pods") or ()]
        found[node] = Victims(uids, int(one.get("numpdbviolations") or 0))
    return found


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The body, if it is not larger than any honest answer."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise ExtenderError(f"the answer is larger than {LARGEST_ANSWER} bytes")
    return bytes(body)


def _context(tls: TlsSettings) -> ssl.SSLContext:
    certificate = tls.cert or _content(tls.cert_file)
    access = Access(
        "https:",
        ca=tls.ca or _content(tls.ca_file),
        certificate=certificate,
        key=tls.key or _content(tls.key_file),
        insecure=tls.insecure,
    )
    context = access.ssl_context()
    assert context is not None, "an https address has a context"
    return context


def _content(path: str) -> bytes:
    if not path:
        return b""
    with open(path, "rb") as file:
        return file.read()


def _fields(answer: Any) -> Obj:
    """An object's fields by their names in lower case."""
    if not isinstance(answer, dict):
        raise ExtenderError("expected an object")
    return {str(name).lower(): value for name, value in answer.items()}
