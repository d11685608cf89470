"""The ``kybern`` command. Each subcommand imports what it needs when it is called."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click
import orjson

from kybern.cluster.questions.commands import completion, whatif, why
from kybern.cluster.record import (
    CLUSTER_CIDR,
    SERVICE_CLUSTER_IP_RANGE,
    default_data_dir,
    default_kubeconfig,
)

EXAMPLES = """\b
Examples:
  kybern up                          a cluster on this machine (root: a real node)
  kybern up --nodes 0 --simulated-nodes 3
                                     no containers: works without root, everywhere
  kybern kubectl get pods -A         look around
  kybern why pod web-0               why it waits, or why it is where it is
  kybern whatif --drain node-1       where its pods would go
  kybern down                        stop it; 'kybern up' brings it back
  kybern down --wipe                 stop it and forget it
"""

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Where the cluster keeps its files.  [default: /var/lib/kybern as root, "
    "else the user's data directory]",
)
output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output form."
)
_EXISTING = click.Path(exists=True, dir_okay=False, resolve_path=True)


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kybern", message="%(prog)s %(version)s (Kubernetes 1.36)")
def main() -> None:
    """Kubernetes, whole, in Python: start clusters, run components, speak to the API."""


@main.command()
@data_dir_option
@click.option("--secure-port", type=click.IntRange(1, 65535), help="Port of the API server.")
@click.option("--nodes", type=click.IntRange(0, 64), help="Real nodes on this machine (root).")
@click.option("--simulated-nodes", type=click.IntRange(0, 10000), help="Nodes without containers.")
@click.option("--cluster-cidr", help=f"Addresses of pods.  [default: {CLUSTER_CIDR}]")
@click.option(
    "--service-cluster-ip-range",
    help=f"Addresses of Services.  [default: {SERVICE_CLUSTER_IP_RANGE}]",
)
@click.option(
    "--detach/--no-detach",
    default=True,
    help="Leave the cluster running in the background (the default), or stop it on Ctrl-C.",
)
@click.option("--timeout", type=float, default=120.0, show_default=True, help="Seconds to wait.")
@click.option(
    "--disable", help="Components to leave out: proxy,dns,local-path,scheduler,controller-manager."
)
@click.option("--v", "verbosity", type=int, default=2, help="How much the components log.")
@click.option(
    "--component-flag",
    "flags",
    multiple=True,
    help="A flag for one component, as in controller-manager:node-monitor-grace-period=20.",
)
@click.option("--etcd-servers", help="URLs of an etcd to keep the objects in, instead of a file.")
@click.option("--etcd-cafile", type=_EXISTING, help="Authorities of etcd's certificates.")
@click.option("--etcd-certfile", type=_EXISTING, help="Client certificate for etcd.")
@click.option("--etcd-keyfile", type=_EXISTING, help="Key of the client certificate for etcd.")
@click.option("--etcd-prefix", help="What all keys in etcd begin with.  [default: /registry]")
@click.option(
    "--registry-mirror",
    "registry_mirrors",
    metavar="HOST=URL",
    multiple=True,
    help="Where nodes look for a registry's images first; * stands for every registry.",
)
@click.option(
    "--registry-config",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="A directory of HOST/hosts.toml files, as containerd reads them.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress display.")
def up(
    data_dir: Path | None,
    detach: bool,
    timeout: float,
    quiet: bool,
    **wanted: Any,
) -> None:
    """Start a cluster, or bring one back; returns when it is ready."""
    from kybern.cluster.progress import Steps
    from kybern.cluster.up import bring_up
    from kybern.cluster.wanted import wanted_record

    record = wanted_record((data_dir or default_data_dir()).resolve(), wanted)
    steps = Steps(quiet)
    asyncio.run(bring_up(record, timeout, steps))
    click.echo(f"export KUBECONFIG={record.kubeconfig}")
    if not detach:
        _stay(record.data_dir, steps)


def _stay(data_dir: Path, steps: Any) -> None:
    """Wait for Ctrl-C, then stop the cluster."""
    import signal

    from kybern.cluster.down import take_down

    steps.say("running; Ctrl-C stops the cluster")
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    asyncio.run(take_down(data_dir, False, steps))


@main.command()
@data_dir_option
@click.option("--wipe", is_flag=True, help="Remove the cluster's files too.")
@click.option("-q", "--quiet", is_flag=True, help="No progress display.")
def down(data_dir: Path | None, wipe: bool, quiet: bool) -> None:
    """Stop a cluster and remove what it left on the machine; its files stay without --wipe."""
    from kybern.cluster.down import take_down
    from kybern.cluster.progress import Steps

    directory = (data_dir or default_data_dir()).resolve()
    asyncio.run(take_down(directory, wipe, Steps(quiet)))


@main.command()
@data_dir_option
@output_option
def status(data_dir: Path | None, output: str) -> None:
    """Show what runs; exits with 1 unless the cluster is ready."""
    from rich.console import Console

    from kybern.cluster.status import cluster_status, show

    directory = (data_dir or default_data_dir()).resolve()
    try:
        found = asyncio.run(cluster_status(directory))
    except FileNotFoundError:
        raise click.ClickException(f"no cluster in {directory}; 'kybern up' makes one") from None
    if output == "json":
        click.echo(orjson.dumps(found.as_json(), option=orjson.OPT_INDENT_2))
    else:
        show(found, Console(highlight=False))
    sys.exit(0 if found.state == "ready" else 1)


@main.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run components in this process: kybern run COMPONENT... [flags]."""
    from kybern.cluster.run import COMPONENTS, run_command, split

    names, rest = split(list(arguments))
    unknown = [name for name in names if name not in COMPONENTS]
    if not names or unknown:
        about = f"unknown component: {', '.join(unknown)}\n" if unknown else ""
        listed = ", ".join(COMPONENTS)
        text = f"{about}kybern run COMPONENT... [flags]; components: {listed}.\n" + (
            "'kybern run COMPONENT --help' shows a component's flags."
        )
        if not unknown and "--help" in rest:
            click.echo(text)
            return
        raise click.UsageError(text)
    run_command(names).main(args=rest, prog_name="kybern run " + " ".join(names))


@main.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(arguments: tuple[str, ...]) -> None:
    """Speak to the API: get, apply, delete, describe, logs, exec."""
    from kybern.kubectl.main import main as kubectl_main

    os.environ.setdefault("KUBECONFIG", str(default_kubeconfig()))
    kubectl_main(list(arguments))


@main.group()
def image() -> None:
    """Images for the nodes of this machine, without a registry."""


@image.command("import")
@data_dir_option
@click.argument("archives", nargs=-1, required=True, type=click.File("rb"))
def image_import(data_dir: Path | None, archives: tuple[Any, ...]) -> None:
    """Give image archives (OCI or docker-archive tars, - for standard input) to every node."""
    from kybern.cluster.images import import_everywhere
    from kybern.kubelet.images.archive import ImportFailed

    directory = (data_dir or default_data_dir()).resolve()
    try:
        names = asyncio.run(import_everywhere(directory, [one.read() for one in archives]))
    except ImportFailed as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"imported {len(archives)} archive(s) on {', '.join(names)}")


@image.command("list")
@data_dir_option
@output_option
def image_list(data_dir: Path | None, output: str) -> None:
    """Show the images that the nodes hold."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from kybern.cluster.images import held_images

    held = asyncio.run(held_images((data_dir or default_data_dir()).resolve()))
    if output == "json":
        listed = [asdict(one) for one in held]
        click.echo(orjson.dumps(listed, option=orjson.OPT_INDENT_2))
        return
    table = Table("NODE", "IMAGE", "SIZE", box=None, pad_edge=False)
    for one in held:
        table.add_row(one.node, "\n".join(one.names) or one.id, f"{one.size / 1e6:.1f} MB")
    Console(highlight=False).print(table)


@image.command("build-rootfs")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", required=True, help="The image's reference, as in kybern.local/app:1.")
@click.option("--entrypoint", default="", help="The command, words separated by blanks.")
@click.option("--busybox", is_flag=True, help="Put a static busybox with all its applets below.")
@click.option("-o", "--output", type=click.File("wb"), required=True, help="Archive, - for stdout.")
def image_build(directory: Path, name: str, entrypoint: str, busybox: bool, output: Any) -> None:
    """Make an image archive of a directory tree."""
    from kybern.cluster.images import build_rootfs

    output.write(build_rootfs(directory, name, entrypoint.split(), busybox))


@main.command()
@output_option
@click.option(
    "--service-cluster-ip-range", default=SERVICE_CLUSTER_IP_RANGE, help="CIDR of services."
)
@click.option("--cluster-cidr", default=CLUSTER_CIDR, help="CIDR of pods.")
def preflight(output: str, service_cluster_ip_range: str, cluster_cidr: str) -> None:
    """Look for what would keep a real node from working here, and say how to mend it."""
    from kybern.cluster.findings import report
    from kybern.cluster.preflight import Plan

    sys.exit(report(output, Plan(cluster_cidr, service_cluster_ip_range)))


for question in (why, whatif, completion):
    main.add_command(question)


if __name__ == "__main__":
    main(prog_name="kybern")
