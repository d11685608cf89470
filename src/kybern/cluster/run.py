"""``kybern run COMPONENT...``: any set of components in this process.

Each component is a package with a ``Config`` of flags and ``main.run``; this module parses the
flags of the wanted set, gives each component a client and runs them until SIGTERM, SIGINT or the
end of the lifeline. A component that fails ends the process, so that its supervisor sees it.
"""

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from kybern.client import Client
from kybern.cluster.supervisor import LIFELINE_VARIABLE
from kybern.component import flags, garbage, logging
from kybern.component.clock import Clock

# The package and the user agent of each component; agents are upstream's, as they name managers.
COMPONENTS = {
    "apiserver": ("kybern.apiserver", "kube-apiserver"),
    "controller-manager": ("kybern.controllers", "kube-controller-manager"),
    "scheduler": ("kybern.scheduler", "kube-scheduler"),
    "kubelet": ("kybern.kubelet", "kubelet"),
    "proxy": ("kybern.network", "kube-proxy"),
    "dns": ("kybern.dns", "kybern-dns"),
    "local-path": ("kybern.localpath", "kybern-local-path"),
    "hollow": ("kybern.hollow", "kubelet"),
}


@dataclass(frozen=True)
class Component:
    """A component that was asked for, with its parsed flags."""

    name: str
    agent: str
    config: Any
    run: Callable[..., Awaitable[None]]
    # From a kubeconfig, the clock and the flags to a client, where a component has its own way.
    connect: Callable[[str, Clock, Any], Client] | None


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Leading component names, and the flags after them."""
    count = next((i for i, text in enumerate(arguments) if text.startswith("-")), len(arguments))
    return arguments[:count], arguments[count:]


def run_command(names: list[str]) -> click.Command:
    """A command with the flags of exactly these components."""
    modules = {name: importlib.import_module(f"{COMPONENTS[name][0]}.config") for name in names}
    configs = {name: module.Config for name, module in modules.items()}

    def start(v: int, kubeconfig: str, credentials: str, **parsed: Any) -> None:
        logging.configure(v)
        components = [_component(name, flags.build(configs[name], parsed)) for name in names]
        try:
            _run_until_stopped(components, kubeconfig, credentials)
        except flags.BadFlag as error:
            raise click.UsageError(str(error)) from error

    options: list[click.Parameter] = [
        click.Option(["--v", "v"], type=int, default=2, help="How much to log: 0, 2 or 4."),
        click.Option(
            ["--kubeconfig"],
            default="",
            help="Kubeconfig that says where the API server is and who the components are.",
        ),
        click.Option(
            ["--credentials"],
            default="",
            help="Directory with COMPONENT.kubeconfig files, instead of --kubeconfig.",
        ),
        *(one for one in flags.click_options(configs.values()) if one.name != "kubeconfig"),
    ]
    about = f"Run {', '.join(names)} in this process until stopped."
    return click.Command(
        "kybern run " + " ".join(names), callback=start, params=options, help=about
    )


def _component(name: str, config: Any) -> Component:
    package, agent = COMPONENTS[name]
    main = importlib.import_module(f"{package}.main")
    return Component(name, agent, config, main.run, getattr(main, "connect", None))


def _run_until_stopped(components: list[Component], kubeconfig: str, credentials: str) -> None:
    factory = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_run(components, kubeconfig, credentials))


async def _run(components: list[Component], kubeconfig: str, credentials: str) -> None:
    garbage.settle()
    clock = Clock()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _watch_lifeline(stop)
    clients: list[Client] = []
    ready = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    try:
        for component in components:
            if component.name == "apiserver":
                run = component.run(component.config, clock, ready)
            else:
                path = kubeconfig or _credentials_file(component, credentials)
                client = _client(component, components, path, clock)
                clients.append(client)
                run = _after(ready, components, component.run(client, clock, component.config))
            tasks.append(asyncio.ensure_future(run))
        await _first_end(tasks, stop)
    finally:
        for task in reversed(tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for client in clients:
            await client.close()


async def _after(ready: asyncio.Event, components: list[Component], run: Awaitable[None]) -> None:
    """Components that share the process with an API server start once it serves."""
    if any(component.name == "apiserver" for component in components):
        await ready.wait()
    await run


def _credentials_file(component: Component, credentials: str) -> str:
    return str(Path(credentials) / f"{component.name}.kubeconfig") if credentials else ""


def _client(component: Component, components: list[Component], path: str, clock: Clock) -> Client:
    path = path or os.environ.get("KUBECONFIG", "")
    if path and component.connect is not None:
        return component.connect(path, clock, component.config)
    if path:
        return Client.from_kubeconfig(path, clock, user_agent=component.agent)
    for other in components:
        if other.name == "apiserver":
            return _local_client(component, other, clock)
    try:
        return Client.in_cluster(clock, user_agent=component.agent)
    except ValueError as error:
        raise click.UsageError(
            f"{component.name} needs --kubeconfig to find an API server ({error})"
        ) from error


def _local_client(component: Component, server: Component, clock: Clock) -> Client:
    """A client for the API server of this very process, with the component's own identity."""
    from kybern.cluster import credentials
    from kybern.cluster.record import component_kubeconfig

    data_dir = Path(server.config.data_dir)
    url = f"https://127.0.0.1:{server.config.secure_port}"
    credentials.issue_components(data_dir, url, clock)
    path = component_kubeconfig(data_dir, component.name)
    return Client.from_kubeconfig(str(path), clock, user_agent=component.agent)


def _watch_lifeline(stop: asyncio.Event) -> None:
    """Stop when the supervisor that started this process is gone."""
    descriptor = os.environ.pop(LIFELINE_VARIABLE, "")
    if descriptor:
        asyncio.get_running_loop().add_reader(int(descriptor), stop.set)


async def _first_end(tasks: list[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait for the stop signal; a component that ends before it is a failure."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in done:
        if task is not stopped:
            task.result()
            raise RuntimeError("a component ended by itself")
