"""The configuration of a node's private containerd.

Everything it has is below the node's directory: content, state, socket, runtime state. Works with
containerd 1.6 (Debian 12) and later, which read the same version 2 of the file.
"""

import os
import shutil
from pathlib import Path

from kybern.cluster.nodes import cgroup, registries
from kybern.cluster.nodes.spec import Node
from kybern.kubelet.images import pause

_CAP_SYS_RESOURCE = 24
_CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_TEMPLATE = """\
version = 2
root = "{base}/root"
state = "{base}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{socket}"

[ttrpc]
  address = "{socket}.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
  path = "{base}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = {restrict_oom_score_adj}
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  disable_hugetlb_controller = false
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin}"
    conf_dir = "{cni_conf}"
    max_conf_num = 1

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{registries}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "{default_runtime}"
"""

_RUNTIME = """
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
        BinaryName = "{program}"
        Root = "{base}/state/{name}"
        SystemdCgroup = false
"""

# crun before 1.9 refuses a mixture of both cgroup versions, so it gets to see v1 alone.
_CRUN_WRAPPER = """\
#!/bin/sh
exec unshare --mount --propagation unchanged sh -c '
mount --make-private {unified} && umount {unified} && exec {program} "$@"' crun "$@"
"""


def find_program(name: str) -> str | None:
    """A program's path, also where root's PATH lacks the sbin directories."""
    return shutil.which(name, path=_PROGRAM_PATH)


def cni_directory() -> Path | None:
    """Where the machine's CNI plugins are."""
    return next((path for path in _CNI_DIRECTORIES if (path / "bridge").exists()), None)


def configuration(node: Node, runtimes: dict[str, str], cni_bin: Path, snapshotter: str) -> str:
    """The file's text; the first of ``runtimes`` (program by name) is the default."""
    text = _TEMPLATE.format(
        base=node.containerd,
        socket=node.socket,
        pause=pause.REFERENCE,
        restrict_oom_score_adj=str(not _may_lower_oom_score()).lower(),
        cni_bin=cni_bin,
        cni_conf=node.cni_conf_dir,
        snapshotter=snapshotter,
        default_runtime=next(iter(runtimes)),
        registries=_registries(node),
    )
    for name, program in runtimes.items():
        text += _RUNTIME.format(name=name, program=program, base=node.containerd)
    return text


def write(node: Node) -> Path:
    """Write configuration and directories; the file. Raises FileNotFoundError naming what lacks."""
    for directory in ("root", "state", "opt"):
        (node.containerd / directory).mkdir(parents=True, exist_ok=True)
    registries.write(node.registries, node.spec.registry_mirrors)
    node.cni_conf_dir.mkdir(parents=True, exist_ok=True)
    runtimes = _runtimes(node)
    cni_bin = cni_directory()
    if not runtimes or cni_bin is None or find_program("containerd") is None:
        missing = "a container runtime (crun or runc)" if not runtimes else "the CNI plugins"
        missing = "containerd" if find_program("containerd") is None else missing
        raise FileNotFoundError(f"{missing} is not installed; `kybern preflight` names packages")
    file = node.containerd / "config.toml"
    file.write_text(configuration(node, runtimes, cni_bin, _snapshotter(node.containerd)))
    return file


def _registries(node: Node) -> str:
    """The directories that containerd looks into; the first that knows a registry counts."""
    return os.pathsep.join(filter(None, (str(node.registries), node.spec.registry_config)))


def _runtimes(node: Node) -> dict[str, str]:
    """crun starts a pod in two thirds of runc's time, so it comes first."""
    found: dict[str, str] = {}
    for name in ("crun", "runc"):
        program = find_program(name)
        if program is not None:
            found[name] = program
    unified = cgroup.MOUNT / "unified"
    if "crun" in found and unified.is_dir() and not node.spec.namespaced:
        wrapper = node.containerd / "crun"
        wrapper.write_text(_CRUN_WRAPPER.format(unified=unified, program=found["crun"]))
        wrapper.chmod(0o755)
        found["crun"] = str(wrapper)
    return found


def _snapshotter(directory: Path) -> str:
    """Overlay file systems cannot be stacked on themselves (containers, live systems)."""
    kind = ""
    longest = -1
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        mount = fields[4]
        inside = os.path.commonpath([mount, directory.resolve()]) == mount
        if inside and len(mount) >= longest:
            longest = len(mount)
            kind = fields[fields.index("-") + 1]
    return "native" if kind == "overlay" else "overlayfs"


def _may_lower_oom_score() -> bool:
    """Without CAP_SYS_RESOURCE a negative oom_score_adj fails, and with it every sandbox."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False
