"""What a node's processes are told: containerd's configuration and the agent's command line."""

import tomllib
from pathlib import Path

from kybern.cluster.nodes import Node, NodeSpec
from kybern.cluster.nodes.containerd import configuration
from kybern.cluster.nodes.supervisor import agent_command, children


def node(tmp_path: Path, **fields: object) -> Node:
    values = {"namespaced": True, "node_ip": "10.223.1.11", "kubeconfig": tmp_path / "kubeconfig"}
    return Node(NodeSpec("n0", tmp_path, **(values | fields)))  # type: ignore[arg-type]


def test_containerd_keeps_everything_below_the_node_s_directory(tmp_path: Path) -> None:
    made = node(tmp_path)
    runtimes = {"crun": "/usr/bin/crun", "runc": "/usr/sbin/runc"}
    text = configuration(made, runtimes, Path("/usr/lib/cni"), "overlayfs")
    parsed = tomllib.loads(text)
    cri = parsed["plugins"]["io.containerd.grpc.v1.cri"]
    assert parsed["grpc"]["address"] == str(made.socket)
    assert cri["cni"] == {
        "bin_dir": "/usr/lib/cni",
        "conf_dir": str(made.cni_conf_dir),
        "max_conf_num": 1,
    }
    assert cri["containerd"]["default_runtime_name"] == "crun"
    for name, program in runtimes.items():
        options = cri["containerd"]["runtimes"][name]["options"]
        assert options["BinaryName"] == program and not options["SystemdCgroup"]
        assert options["Root"].startswith(str(made.directory))
    for path in (parsed["root"], parsed["state"], parsed["ttrpc"]["address"]):
        assert path.startswith(str(made.directory))


def test_the_agent_gets_the_flags_of_its_components_only(tmp_path: Path) -> None:
    whole = agent_command(node(tmp_path, flags=("--v=4",)))
    assert whole[3:8] == ["run", "kubelet", "proxy", "dns", "local-path"]
    assert whole[-1] == "--v=4"
    assert "--cgroup-root=/" in whole and "--cluster-cidr=10.244.0.0/16" in whole
    alone = agent_command(node(tmp_path, components=("kubelet",)))
    assert not [flag for flag in alone if flag.startswith(("--cni", "--cluster-cidr"))]
    machine = agent_command(node(tmp_path, namespaced=False))
    made = node(tmp_path, namespaced=False)
    assert f"--cgroup-root=/{made.cgroup}" in machine
    assert f"--sysctl-record={made.sysctl_record}" in machine


def test_a_node_without_components_has_a_runtime_alone(tmp_path: Path) -> None:
    assert [child.name for child in children(node(tmp_path, components=()))] == ["containerd"]


def test_a_spec_comes_back_from_its_file(tmp_path: Path) -> None:
    made = node(tmp_path, flags=("--v=4",), registry_mirrors=("*=http://10.0.0.1:5000",))
    made.save()
    assert Node.load(made.spec_file).spec == made.spec


def test_names_fit_the_kernel_s_limits(tmp_path: Path) -> None:
    long = Node(NodeSpec("n" * 63, tmp_path, True, "10.223.1.11", tmp_path))
    assert len(long.veth) <= 15 and long.veth != node(tmp_path).veth
