"""Static pods from a URL: one or several, followed, and kept while nobody answers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from kybern.kubelet.sources.manifest_url import ManifestUrl

POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {containers: [{name: main, image: img}]}
"""


@dataclass
class Site:
    """A web server with one page, and the kubelet's part that follows it."""

    text: str = ""
    status: int = 200
    headers: list[str] = field(default_factory=list)
    asked: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.headers = request.headers.getall("X-Who", [])
        return web.Response(text=self.text, status=self.status)

    async def settled(self, url: ManifestUrl, *names: str) -> None:
        """Wait until the page was read anew, and these are the pods that it declares."""
        before = self.asked
        async with asyncio.timeout(10):
            while self.asked < before + 2 or [p["metadata"]["name"] for p in url.pods] != [*names]:
                await asyncio.sleep(0.01)


@pytest.fixture
async def place() -> AsyncIterator[tuple[Site, ManifestUrl]]:
    site, app = Site(POD.replace("NAME", "web")), web.Application()
    app.router.add_get("/pods", site.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    port = runner.addresses[0][1]
    url = ManifestUrl(f"http://127.0.0.1:{port}/pods", ["X-Who: me", "X-Who:you"], 0.01, "node-1")
    task = asyncio.create_task(url.run())
    yield site, url
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await runner.cleanup()


async def test_a_pod_of_a_url_is_the_nodes_own(place: tuple[Site, ManifestUrl]) -> None:
    site, url = place
    await site.settled(url, "web-node-1")
    assert site.headers == ["me", "you"]
    annotations = url.pods[0]["metadata"]["annotations"]
    assert annotations["kubernetes.io/config.source"] == "http"
    before = url.pods[0]
    await site.settled(url, "web-node-1")
    assert url.pods[0] is before
    site.text = POD.replace("NAME", "web").replace("img", "img:2")
    await site.settled(url, "web-node-1")
    assert url.pods[0]["metadata"]["uid"] != before["metadata"]["uid"]


async def test_a_list_of_pods_is_followed_until_it_is_empty(
    place: tuple[Site, ManifestUrl],
) -> None:
    site, url = place
    item = "{metadata: {name: NAME}, spec: {containers: [{name: main, image: img}]}}"
    items = ", ".join(item.replace("NAME", name) for name in ("a", "b"))
    site.text = f"apiVersion: v1\nkind: PodList\nitems: [{items}]"
    await site.settled(url, "a-node-1", "b-node-1")
    site.text = ""
    await site.settled(url)


async def test_what_cannot_be_used_changes_nothing(place: tuple[Site, ManifestUrl]) -> None:
    site, url = place
    await site.settled(url, "web-node-1")
    for text in ("kind: [", "apiVersion: v1\nkind: Service", POD.replace("NAME", "Not A Name")):
        site.text = text
        await site.settled(url, "web-node-1")
    site.status = 500
    await site.settled(url, "web-node-1")
