"""Static pods from a URL (``--manifest-url``): a Pod or a list of them, asked for now and then.

``static_pods.py`` runs them beside those of files. While the server does not answer, or answers
what cannot be used, the pods stay as they were last seen.
"""

import asyncio
import logging
from collections.abc import Sequence

import aiohttp
import orjson

from kybern.api import yaml
from kybern.api.errors import Obj, StatusError
from kybern.kubelet.sources.manifests import MAX_MANIFEST_BYTES, BadManifest, static_pod

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0


class ManifestUrl:
    """What one URL declares; ``headers`` are sent along, each as ``name:value``."""

    def __init__(self, url: str, headers: Sequence[str], seconds: float, node_name: str) -> None:
        self.pods: list[Obj] = []
        self.seen = asyncio.Event()
        self._url = url
        self._headers = [(name.strip(), text.strip()) for name, _, text in map(_parts, headers)]
        self._seconds = seconds
        self._node = node_name
        self._text = b""
        self._failure = ""

    async def run(self) -> None:
        """Follow the URL until cancelled."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            while True:
                try:
                    await self._look(session)
                except (
                    aiohttp.ClientError,
                    BadManifest,
                    StatusError,
                    TimeoutError,
                    yaml.YamlError,
                ) as error:
                    self._tell(str(error))
                await asyncio.sleep(self._seconds)

    async def _look(self, session: aiohttp.ClientSession) -> None:
        async with session.get(self._url) as answer:
            answer.raise_for_status()
            read = bytearray()
            async for chunk in answer.content.iter_any():
                read += chunk
                if len(read) > MAX_MANIFEST_BYTES:
                    raise BadManifest(f"larger than {MAX_MANIFEST_BYTES} bytes")
        text = bytes(read)
        if text != self._text:
            self.pods, self._text = self._declared(text) if text else [], text
        self.seen.set()
        self._failure = ""

    def _tell(self, failure: str) -> None:
        """Once, and not at each look."""
        if failure != self._failure:
            logger.warning("failed to read pods from %s: %s", self._url, failure)
        self._failure = failure

    def _declared(self, text: bytes) -> list[Obj]:
        document = yaml.load(text)
        items = document.get("items") if isinstance(document, dict) else None
        if items is None:
            return [static_pod(text, self._url, self._node, is_file=False)]
        kind = {"apiVersion": "v1", "kind": "Pod"}
        return [
            static_pod(orjson.dumps({**item, **kind}), self._url, self._node, is_file=False)
            for item in items
        ]


def _parts(header: str) -> tuple[str, str, str]:
    return header.partition(":")
