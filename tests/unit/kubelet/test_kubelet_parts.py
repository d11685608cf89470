"""Expansion, names, back-off, DNS, hosts, image references, cgroup arithmetic."""

from typing import Any

import pytest
from kubelet_pods import Obj, container, pod

from kybern.component.duration import go_duration
from kybern.kubelet import bounds, env, network_files
from kybern.kubelet.images.pause import program
from kybern.kubelet.images.reference import InvalidReference, with_default_tag
from kybern.kubelet.oom_score import oom_score
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.backoff import Backoff


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A $", "$A $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("", ""),
    ],
)
def test_variables_expand_only_where_they_are_known(text: str, expanded: str) -> None:
    assert env.expand(text, {"A": "1"}.get) == expanded


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1", "nginx:1"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        ("a.b/c@sha256:" + "0" * 64, "a.b/c@sha256:" + "0" * 64),
    ],
)
def test_image_names_get_a_tag(name: str, full: str) -> None:
    assert with_default_tag(name) == full


@pytest.mark.parametrize("name", ["", "a b", "a/B", ":tag", "a@sha256:12", "a:b:c:d"])
def test_names_that_no_image_has_are_refused(name: str) -> None:
    with pytest.raises(InvalidReference):
        with_default_tag(name)


def test_back_off_doubles_up_to_its_limit_and_forgets_after_a_quiet_time() -> None:
    backoff = Backoff(10, 300)
    assert backoff.remaining("k", 0, 0) == 0
    delays = []
    for _ in range(7):
        backoff.failed("k", 0)
        delays.append(backoff.delay("k"))
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    assert backoff.remaining("k", 0, 100) == 200
    assert backoff.remaining("k", 600, 601) == 0
    backoff.failed("k", 601)
    assert backoff.delay("k") == 10
    backoff.forget("k")
    assert backoff.delay("k") == 0


@pytest.mark.parametrize(
    ("seconds", "shown"), [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (0.5, "500ms"), (1.5, "1.5s")]
)
def test_durations_look_like_gos(seconds: float, shown: str) -> None:
    assert go_duration(seconds) == shown


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        (
            {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1024Mi"}},
            "Guaranteed",
        ),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: dict[str, dict[str, str]], qos: str) -> None:
    assert spec.qos_class(pod(container(resources=resources))) == qos


def test_pod_cgroup_limits_hold_only_if_every_container_has_one() -> None:
    limited = container("a", resources={"limits": {"cpu": "500m", "memory": "1Mi"}})
    asking = container("b", resources={"requests": {"cpu": "1"}})
    one = bounds.pod_bounds(pod(limited))
    assert (one.quota, one.memory) == (50_000, 1024 * 1024)
    both = bounds.pod_bounds(pod(limited, asking))
    assert (both.shares, both.quota, both.memory) == (1024, None, None)


def test_cpu_numbers_are_the_runtimes() -> None:
    assert [bounds.cpu_shares(m) for m in (0, 1, 100, 1000)] == [2, 2, 102, 1024]
    assert [bounds.cpu_quota(m) for m in (0, 1, 1500)] == [0, 1000, 150_000]
    assert [bounds.cpu_weight(s) for s in (2, 1024, 262_144)] == [1, 39, 10_000]


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_pause_program_is_a_complete_executable(architecture: str) -> None:
    elf = program(architecture)
    assert elf[:4] == b"\x7fELF"
    assert int.from_bytes(elf[24:32], "little") == 0x400000 + 120
    assert int.from_bytes(elf[96:104], "little") == len(elf)


def test_cluster_dns_comes_before_the_nodes_own(tmp_path) -> None:  # type: ignore[no-untyped-def]
    own = tmp_path / "resolv.conf"
    own.write_text("nameserver 1.1.1.1\nsearch home.\noptions timeout:1\n# nothing\n")
    cluster = network_files.ClusterDns(("10.96.0.10",), "cluster.local", str(own))
    dns = network_files.pod_dns(pod(), cluster)
    assert dns.servers == ["10.96.0.10"]
    assert dns.searches == ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "home"]
    assert dns.options == ["timeout:1", "ndots:5"]
    for default in (pod(dnsPolicy="Default"), pod(hostNetwork=True, dnsPolicy="ClusterFirst")):
        assert network_files.pod_dns(default, cluster).servers == ["1.1.1.1"]
    host = pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")
    assert network_files.pod_dns(host, cluster).servers == ["10.96.0.10"]


def test_service_variables_follow_the_docker_links() -> None:
    ports = [{"port": 53, "protocol": "UDP", "name": "dns"}]
    service = {"metadata": {"name": "my-dns"}, "spec": {"clusterIP": "10.0.0.1", "ports": ports}}
    headless = {"metadata": {"name": "x"}, "spec": {"clusterIP": "None", "ports": ports}}
    assert env.service_variables([service, headless]) == {
        "MY_DNS_SERVICE_HOST": "10.0.0.1",
        "MY_DNS_SERVICE_PORT": "53",
        "MY_DNS_SERVICE_PORT_DNS": "53",
        "MY_DNS_PORT": "udp://10.0.0.1:53",
        "MY_DNS_PORT_53_UDP": "udp://10.0.0.1:53",
        "MY_DNS_PORT_53_UDP_PROTO": "udp",
        "MY_DNS_PORT_53_UDP_PORT": "53",
        "MY_DNS_PORT_53_UDP_ADDR": "10.0.0.1",
    }


def test_downward_fields_and_resources() -> None:
    wanted = pod(container(resources={"requests": {"cpu": "250m"}, "limits": {"memory": "1Mi"}}))
    wanted["metadata"]["annotations"] = {"b": 'say "x"\n', "a": "1"}
    main = wanted["spec"]["containers"][0]
    assert env.field_value(wanted, "metadata.annotations", {}) == 'a="1"\nb="say \\"x\\"\\n"'
    assert env.field_value(wanted, "metadata.annotations['a']", {}) == "1"
    assert env.field_value(wanted, "status.podIP", {"status.podIP": "1.2.3.4"}) == "1.2.3.4"
    values = [
        ({"resource": "requests.cpu"}, "1"),
        ({"resource": "requests.cpu", "divisor": "1m"}, "250"),
        ({"resource": "limits.memory", "divisor": "1Ki"}, "1024"),
        ({"resource": "limits.cpu"}, "4"),
    ]
    for selector, shown in values:
        assert env.resource_value(main, selector, {"cpu": "4"}) == shown


def test_the_oom_killer_spares_what_requested_more() -> None:
    def asking(memory: str, **fields: Any) -> Obj:
        return container(resources={"requests": {"memory": memory}}, **fields)

    gibi = 1024**3
    large, small = asking("512Mi", name="large"), asking("1Ki", name="small")
    side = asking("1Ki", name="side", restartPolicy="Always")
    both = pod(large, small)
    assert [oom_score(both, c, gibi) for c in (large, small)] == [500, 999]
    assert oom_score(pod(asking("2Gi")), asking("2Gi"), gibi) == 3
    with_side = pod(large, init=(side,))
    assert oom_score(with_side, with_side["spec"]["initContainers"][0], gibi) == 500
    shared = pod(container(), resources={"requests": {"memory": "256Mi"}})
    assert oom_score(shared, shared["spec"]["containers"][0], gibi) == 750
    assert oom_score(pod(), container(), gibi) == 1000
    critical = pod(priority=2_000_001_000, priorityClassName="system-node-critical")
    assert oom_score(critical, container(), gibi) == -997
