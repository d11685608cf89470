"""Reading an explanation asks for it: ``explain.kybern.io``'s PodExplanation.

Schedulers write explanations of pods that wait. One of any other pod is written when somebody reads
it: GET stores an empty one, the question; the scheduler sees it through its watch and fills it in;
the GET returns what is then there. So the data takes the way of all data, through the API and its
watches, whichever API server and scheduler of several are concerned. A question that nobody answers
within ``ANSWER_SECONDS`` is taken back. Those who wait are bounded like all requests, by
``in_flight.py``.
"""

import asyncio
import contextlib

from kybern.api.errors import Obj, StatusError
from kybern.api.objects import owner_references
from kybern.api.resources import POD_EXPLANATIONS, PODS
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.loopback import Loopback

ANSWER_SECONDS = 3.0

Key = tuple[str, str]


class Explanations:
    """Puts questions and waits for answers. ``start`` once the kind is served."""

    def __init__(self, lookup: Lookup, loopback: Loopback) -> None:
        self._lookup = lookup
        self._loopback = loopback
        self._waiting: dict[Key, list[asyncio.Event]] = {}

    def start(self) -> None:
        self._lookup.on_change(POD_EXPLANATIONS, self._changed)

    async def ask(self, namespace: str, name: str) -> None:
        """Return when the explanation of the pod is there, or will not come."""
        pod = self._lookup.get(PODS, name, namespace)
        if pod is None or self._is_answered(pod):
            return
        answered = asyncio.Event()
        waiting = self._waiting.setdefault((namespace, name), [])
        waiting.append(answered)
        try:
            await self._put_question(pod)
            async with asyncio.timeout(ANSWER_SECONDS):
                while not self._is_answered(pod):
                    answered.clear()
                    await answered.wait()
        except TimeoutError:
            await self._loopback.delete(POD_EXPLANATIONS, name, namespace)
        finally:
            waiting.remove(answered)
            if not waiting:
                self._waiting.pop((namespace, name), None)

    async def _put_question(self, pod: Obj) -> None:
        """Store an empty explanation; one of an earlier pod of the name makes way."""
        meta = pod["metadata"]
        name, namespace = meta["name"], meta["namespace"]
        found = self._lookup.get(POD_EXPLANATIONS, name, namespace)
        if found is not None and meta["uid"] not in map(_uid, owner_references(found)):
            await self._loopback.delete(POD_EXPLANATIONS, name, namespace)
        owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": meta["uid"]}
        question = {"name": name, "namespace": namespace, "ownerReferences": [owner]}
        with contextlib.suppress(StatusError):
            # Another reader was faster, or the namespace takes no objects any more.
            await self._loopback.create(
                POD_EXPLANATIONS,
                {
                    "apiVersion": POD_EXPLANATIONS.api_version,
                    "kind": POD_EXPLANATIONS.kind,
                    "metadata": question,
                },
            )

    def _is_answered(self, pod: Obj) -> bool:
        meta = pod["metadata"]
        found = self._lookup.get(POD_EXPLANATIONS, meta["name"], meta["namespace"])
        return found is not None and (found.get("status") or {}).get("podUID") == meta["uid"]

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        known = new if new is not None else old
        assert known is not None, "a change has an object before or after it"
        meta = known["metadata"]
        for event in self._waiting.get((meta["namespace"], meta["name"]), ()):
            event.set()


def _uid(reference: Obj) -> str:
    uid: str = reference.get("uid", "")
    return uid
