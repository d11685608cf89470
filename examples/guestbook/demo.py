"""The demo: a cluster on this machine, a guestbook on it, two accidents, and how they heal.

Run by bin/demo. Every step shows itself while it runs and how long it took; a second run finds the
cluster up and is quick.
"""

import asyncio
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import DEPLOYMENTS, JOBS, PODS
from kybern.client import ApiUnreachable, Client
from kybern.cluster.images import build_rootfs, import_everywhere, running_nodes
from kybern.cluster.progress import Steps
from kybern.cluster.record import Record, default_data_dir
from kybern.cluster.up import bring_up
from kybern.component.clock import Clock
from kybern.kubelet.cri.client import Runtime

HERE = Path(__file__).parent
NAMESPACE = "guestbook"
IMAGE = "kybern.local/guestbook:1"
NODE_PORT = 30080
PATIENCE_SECONDS = 120
Condition = Callable[[], Awaitable[bool]]
KYBERN = [str(Path(sys.executable).with_name("kybern"))]


class Demo:
    """One run, step by step."""

    def __init__(self, record: Record, steps: Steps) -> None:
        self.record = record
        self.steps = steps
        self.client: Client

    async def run(self) -> None:
        await bring_up(self.record, PATIENCE_SECONDS, self.steps)
        self.client = Client.from_kubeconfig(str(self.record.kubeconfig), Clock())
        try:
            await self._deploy()
            await self._visit()
            await self._break_and_heal()
        finally:
            await self.client.close()

    async def _deploy(self) -> None:
        with self.steps.step("image built and imported"):
            rootfs = build_rootfs(HERE / "image", IMAGE, ["/bin/serve"], busybox=True)
            await import_everywhere(self.record.data_dir, [rootfs])
        with self.steps.step("guestbook applied"):
            self.kubectl("apply", "-f", str(HERE / "manifest.yml"))
        with self.steps.step("3 pods Ready, Job complete"):
            await self._until(self._all_ready)

    async def _visit(self) -> None:
        with self.steps.step(f"fetched from the host, port {NODE_PORT}"):
            page = await asyncio.to_thread(fetch, f"http://{self.record.advertise_address}")
        with self.steps.step("fetched by DNS name from another pod"):
            pod = (await self._pods())[0]
            url = f"http://guestbook.{NAMESPACE}/cgi-bin/book?name=a+pod"
            inside = self.kubectl(
                "exec", "-n", NAMESPACE, objects.name(pod), "--", "wget", "-q", "-O", "-", url
            )
        self.steps.say("")
        print(self.kubectl("get", "all", "-n", NAMESPACE, "-o", "wide"))
        print(indented("host> ", page))
        print(indented("pod>  ", inside))

    async def _break_and_heal(self) -> None:
        victim, other = (await self._pods())[:2]
        before = restarts(victim)
        with self.steps.step(f"killed the container of {objects.name(victim)}; it runs again"):
            await self._kill_container(victim)

            async def restarted() -> bool:
                pod = await self.client.get(PODS, objects.name(victim), NAMESPACE)
                return restarts(pod) > before and objects.is_pod_ready(pod)

            await self._until(restarted)
        with self.steps.step(f"deleted {objects.name(other)}; another took its place"):
            await self.client.delete(PODS, objects.name(other), NAMESPACE)

            async def replaced() -> bool:
                uids = [objects.uid(pod) for pod in await self._pods()]
                return objects.uid(other) not in uids and await self._all_ready()

            await self._until(replaced)
        print(self.kubectl("get", "pods", "-n", NAMESPACE, "-o", "wide"))

    async def _kill_container(self, pod: Obj) -> None:
        """Stop it behind the kubelet's back, as a crash would."""
        name = objects.status(pod)["containerStatuses"][0]["containerID"].partition("//")[2]
        node = next(
            one
            for one in running_nodes(self.record.data_dir)
            if one.name == pod["spec"]["nodeName"]
        )
        runtime = Runtime(str(node.socket))
        try:
            await runtime.stop_container(name, 0)
        finally:
            await runtime.close()

    async def _pods(self) -> list[Obj]:
        found, _ = await self.client.list_all(PODS, NAMESPACE, label_selector="app=guestbook")
        return [pod for pod in found if not objects.is_deleting(pod)]

    async def _all_ready(self) -> bool:
        pods = await self._pods()
        ready = sum(objects.is_pod_ready(pod) for pod in pods)
        deployment = await self.client.get(DEPLOYMENTS, "guestbook", NAMESPACE)
        job = await self.client.get(JOBS, "sign", NAMESPACE)
        done = objects.condition_is(job, "Complete")
        self.steps.detail(f"{ready} of 3, Job {'complete' if done else 'runs'}")
        available = objects.status(deployment).get("availableReplicas", 0)
        return ready == 3 == available and len(pods) == 3 and done

    async def _until(self, condition: Condition) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await self._holds(condition):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise click.ClickException(
                f"this did not happen within {PATIENCE_SECONDS} s; to see why:\n"
                f"  {KYBERN[0]} kubectl --kubeconfig {self.record.kubeconfig} "
                f"describe pods -n {NAMESPACE}\n"
                f"  ls {self.record.logs}"
            ) from None

    async def _holds(self, condition: Condition) -> bool:
        """Ask once; an API server that is away for a moment is no answer."""
        try:
            return await condition()
        except (StatusError, ApiUnreachable) as error:
            self.steps.detail(str(error))
            return False

    def kubectl(self, *arguments: str) -> str:
        command = [*KYBERN, "kubectl", "--kubeconfig", str(self.record.kubeconfig), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise click.ClickException(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def fetch(url: str) -> str:
    """The page by NodePort, as anybody outside the cluster gets it."""
    with urllib.request.urlopen(f"{url}:{NODE_PORT}/cgi-bin/book?name=you", timeout=10) as answer:
        return answer.read().decode()


def restarts(pod: Obj) -> int:
    return sum(one["restartCount"] for one in objects.status(pod).get("containerStatuses") or ())


def indented(mark: str, text: str) -> str:
    return "".join(f"{mark}{line}\n" for line in text.strip().splitlines())


def summary(steps: Steps, record: Record) -> str:
    lines = [f"  {seconds:6.1f} s  {title}" for title, seconds in steps.times]
    total = sum(seconds for _, seconds in steps.times)
    kybern = Path(KYBERN[0])
    if kybern.is_relative_to(Path.cwd()):
        kybern = kybern.relative_to(Path.cwd())
    where = "" if record.data_dir == default_data_dir() else f" --data-dir {record.data_dir}"
    return "\n".join(
        [
            *lines,
            f"  {total:6.1f} s  in all",
            "",
            "Go on:",
            f"  export KUBECONFIG={record.kubeconfig}",
            f"  {kybern} kubectl get pods -A",
            f"  curl http://{record.advertise_address}:{NODE_PORT}/cgi-bin/book?name=me",
            "Stop:",
            f"  {kybern} down{where}          (kybern up{where} brings it back)",
            f"  {kybern} down{where} --wipe   (leaves nothing behind)",
        ]
    )


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where the cluster keeps its files.",
)
@click.option("--secure-port", type=int, default=6443, show_default=True, help="API server port.")
def main(data_dir: Path | None, secure_port: int) -> None:
    """Start a one-node cluster, run the guestbook on it, break it and watch it heal."""
    directory = (data_dir or default_data_dir()).resolve()
    try:
        record = Record.load(directory)
    except FileNotFoundError:
        record = Record(directory, secure_port, nodes=1)
    steps = Steps()
    demo = Demo(record, steps)
    asyncio.run(demo.run())
    print(summary(steps, Record.load(directory)))


if __name__ == "__main__":
    main()
