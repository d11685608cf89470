"""What a node leaves on the machine when its processes are gone, and its removal.

Everything is found by names that follow from the node's data directory, so this works after any
crash, may be repeated, and touches nothing of others. The node's processes are dead already.
"""

import contextlib
import ctypes
import errno
import os
import shutil
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from kybern.cluster.nodes import cgroup
from kybern.cluster.nodes.spec import Node
from kybern.cluster.nodes.switch import disconnect, drop_table
from kybern.network import routes, sysctls
from kybern.network.cni import BRIDGE
from kybern.network.nftables.table import FAMILY_AND_TABLE

_MNT_DETACH = 2
_LIBC = ctypes.CDLL(None, use_errno=True)
_SHIM_SOCKETS = Path("/run/containerd/s")
_CNI_RESULTS = Path("/var/lib/cni/results")


def remove(node: Node) -> None:
    """Remove all of it but the node's files; raises OSError for what cannot be removed."""
    remove_shim_sockets(node)
    unmount_below(node.directory)
    # Like a reboot: what was running is not any more, and containerd starts without it.
    shutil.rmtree(node.containerd / "state", ignore_errors=True)
    cgroup.remove(node.cgroup)
    if node.spec.namespaced:
        disconnect(node)
    else:
        _remove_network(node)


def unmount_below(directory: Path) -> None:
    """Detach every mount below a directory, the newest first."""
    prefix = f"{directory.resolve()}/"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # Mount points are written with octal escapes for blanks.
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    for point in reversed(points):
        if point.startswith(prefix) and _LIBC.umount2(point.encode(), _MNT_DETACH):
            code = ctypes.get_errno()
            if code != errno.EINVAL:
                raise OSError(code, os.strerror(code), point)


def remove_shim_sockets(node: Node) -> None:
    """Shims listen in a directory that all containerds of a machine share; remove this node's."""
    for file in (node.containerd / "state").glob("io.containerd.runtime.v2.task/*/*/address"):
        with contextlib.suppress(OSError):
            address = Path(file.read_text().strip().removeprefix("unix://"))
            if address.parent == _SHIM_SOCKETS:
                address.unlink(missing_ok=True)


def _remove_network(node: Node) -> None:
    """Where the machine was the node: its bridge, rules, routes, settings and CNI records."""
    with IPRoute() as kernel:
        found = kernel.link_lookup(ifname=BRIDGE)
        if found and (node.cni_conf_dir.exists() or node.sysctl_record.exists()):
            with contextlib.suppress(NetlinkError):
                kernel.link("del", index=found[0])
    drop_table(FAMILY_AND_TABLE)
    routes.reconcile([])
    sysctls.restore(node.sysctl_record)
    _remove_cni_results(node)


def _remove_cni_results(node: Node) -> None:
    """What libcni remembers of this node's sandboxes, in a directory that it shares with others.

    The directory stays: another cluster's nodes may have mounts on it, which would go with it.
    """
    sandboxes = node.containerd / "root" / "io.containerd.grpc.v1.cri" / "sandboxes"
    names = {entry.name for entry in sandboxes.iterdir()} if sandboxes.exists() else set()
    for result in _CNI_RESULTS.glob(f"{node.cni_network}-*-*"):
        names.add(result.name.removeprefix(f"{node.cni_network}-").rpartition("-")[0])
    for name in names:
        for result in _CNI_RESULTS.glob(f"*-{name}-*"):
            result.unlink(missing_ok=True)
