"""What of a Service object matters to packets."""

from typing import Any

import pytest

from kybern.network.services import ServicePort, service_ports


def service(labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": "web", "labels": labels or {}},
        "spec": {"clusterIP": "10.96.0.5", "ports": [{"port": 80}], **spec},
    }


def port(**spec: Any) -> ServicePort:
    return service_ports(service(**spec))[0]


def test_a_plain_service_has_its_cluster_ip_and_upstream_s_defaults() -> None:
    assert port() == ServicePort("shop", "web", "", "tcp", 80, "10.96.0.5")


@pytest.mark.parametrize(
    "ignored",
    [
        service(clusterIP="None"),
        service(clusterIP=""),
        service(clusterIP="fd00::5"),
        service(type="ExternalName", externalName="example.com"),
        service({"service.kubernetes.io/service-proxy-name": "another"}),
    ],
)
def test_services_of_others_are_ignored(ignored: dict[str, Any]) -> None:
    assert service_ports(ignored) == []


def test_dual_stack_services_are_served_at_their_ipv4_address() -> None:
    assert port(clusterIP="fd00::5", clusterIPs=["fd00::5", "10.96.0.6"]).cluster_ip == "10.96.0.6"


def test_affinity_has_upstream_s_timeout_unless_it_names_one() -> None:
    assert port(sessionAffinity="None").affinity_seconds == 0
    assert port(sessionAffinity="ClientIP").affinity_seconds == 10800
    config = {"clientIP": {"timeoutSeconds": 9}}
    assert port(sessionAffinity="ClientIP", sessionAffinityConfig=config).affinity_seconds == 9


def test_only_addresses_and_networks_get_through() -> None:
    found = port(
        externalIPs=["203.0.113.1", "nonsense", "fd00::1"],
        loadBalancerSourceRanges=[" 10.0.0.1/8 ", "fd00::/8", "x"],
    )
    assert found.external_ips == ("203.0.113.1",)
    assert found.source_ranges == ("10.0.0.0/8",)


def test_load_balancers_that_proxy_are_not_short_cut() -> None:
    web = service()
    ingress = [{"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "ipMode": "Proxy"}, {"hostname": "x"}]
    web["status"] = {"loadBalancer": {"ingress": ingress}}
    assert service_ports(web)[0].load_balancer_ips == ("203.0.113.1",)
