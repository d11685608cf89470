"""What names of the cluster mean, by the Kubernetes DNS specification."""

from collections.abc import Iterable

import dns.name
import dns.rcode
import dns.rdatatype
import pytest

from kybern.dns.directory import endpoint_records, service_record
from kybern.dns.zone import Answer, EndpointRecord, ServiceRecord, Zone

PORTS = [
    {"name": "http", "port": 80, "protocol": "TCP"},
    {"name": "dns", "port": 53, "protocol": "UDP"},
]
WEB = {
    "metadata": {"namespace": "shop", "name": "web"},
    "spec": {"clusterIP": "10.96.0.20", "ports": PORTS},
}
DB = {
    "metadata": {"namespace": "shop", "name": "db"},
    "spec": {"clusterIP": "None", "ports": PORTS},
}
MAIL = {
    "metadata": {"namespace": "shop", "name": "mail"},
    "spec": {"type": "ExternalName", "externalName": "mx.example.com"},
}
INNER = {
    "metadata": {"namespace": "shop", "name": "inner"},
    "spec": {"type": "ExternalName", "externalName": "web.shop.svc.cluster.local."},
}
LOOP = {
    "metadata": {"namespace": "shop", "name": "loop"},
    "spec": {"type": "ExternalName", "externalName": "loop.shop.svc.cluster.local"},
}
DB_SLICE = {
    "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
    "ports": PORTS,
    "endpoints": [
        {"addresses": ["10.244.1.5"], "hostname": "db-0", "conditions": {"ready": True}},
        {"addresses": ["10.244.2.6"], "conditions": {}},
        {"addresses": ["10.244.2.7"], "conditions": {"ready": False}},
        {"addresses": ["fd00::7"], "conditions": {"ready": True}},
    ],
}


class Shop:
    """A directory with one namespace."""

    services = {
        obj["metadata"]["name"]: service_record(obj) for obj in (WEB, DB, MAIL, INNER, LOOP)
    }

    def has_namespace(self, name: str) -> bool:
        return name == "shop"

    def service(self, namespace: str, name: str) -> ServiceRecord | None:
        return self.services.get(name) if namespace == "shop" else None

    def endpoints(self, namespace: str, name: str) -> list[EndpointRecord]:
        return list(endpoint_records(DB_SLICE)) if (namespace, name) == ("shop", "db") else []

    def service_at(self, address: str) -> ServiceRecord | None:
        return self.services["web"] if address == "10.96.0.20" else None

    def endpoints_at(self, address: str) -> Iterable[tuple[str, str, str]]:
        return [
            (record.label, "db", "shop")
            for record in endpoint_records(DB_SLICE)
            if record.address == address
        ]


ZONE = Zone(
    Shop(),
    "cluster.local",
    dns_address="10.96.0.10",
    ttl=5,
    ranges=("10.244.0.0/16", "10.96.0.0/16"),
)


def ask(name: str, rdtype: str = "A") -> Answer | None:
    return ZONE.resolve(dns.name.from_text(name), dns.rdatatype.from_text(rdtype))


def texts(answer: Answer | None) -> list[str]:
    assert answer is not None and answer.rcode == dns.rcode.NOERROR
    return [rdata.to_text() for rrset in answer.answers for rdata in rrset]


@pytest.mark.parametrize(
    ("name", "rdtype", "expected"),
    [
        ("web.shop.svc.cluster.local.", "A", ["10.96.0.20"]),
        ("WEB.Shop.SVC.Cluster.Local.", "A", ["10.96.0.20"]),
        ("db.shop.svc.cluster.local.", "A", ["10.244.1.5", "10.244.2.6"]),
        ("db.shop.svc.cluster.local.", "AAAA", ["fd00::7"]),
        ("db-0.db.shop.svc.cluster.local.", "A", ["10.244.1.5"]),
        ("10-244-2-6.db.shop.svc.cluster.local.", "A", ["10.244.2.6"]),
        ("fd00--7.db.shop.svc.cluster.local.", "AAAA", ["fd00::7"]),
        ("10-244-9-9.shop.pod.cluster.local.", "A", ["10.244.9.9"]),
        ("mail.shop.svc.cluster.local.", "CNAME", ["mx.example.com."]),
        ("dns-version.cluster.local.", "TXT", ['"1.1.0"']),
        ("cluster.local.", "NS", ["ns.dns.cluster.local."]),
        ("ns.dns.cluster.local.", "A", ["10.96.0.10"]),
        ("20.0.96.10.in-addr.arpa.", "PTR", ["web.shop.svc.cluster.local."]),
        ("5.1.244.10.in-addr.arpa.", "PTR", ["db-0.db.shop.svc.cluster.local."]),
        (
            "_http._tcp.web.shop.svc.cluster.local.",
            "SRV",
            ["0 100 80 web.shop.svc.cluster.local."],
        ),
        (
            "_dns._udp.db.shop.svc.cluster.local.",
            "SRV",
            [
                "0 33 53 db-0.db.shop.svc.cluster.local.",
                "0 33 53 10-244-2-6.db.shop.svc.cluster.local.",
                "0 33 53 fd00--7.db.shop.svc.cluster.local.",
            ],
        ),
    ],
)
def test_names_have_their_records(name: str, rdtype: str, expected: list[str]) -> None:
    assert texts(ask(name, rdtype)) == expected


@pytest.mark.parametrize(
    ("name", "rdtype"),
    [
        ("web.shop.svc.cluster.local.", "AAAA"),
        ("web.shop.svc.cluster.local.", "MX"),
        ("shop.svc.cluster.local.", "A"),
        ("shop.pod.cluster.local.", "A"),
        ("svc.cluster.local.", "A"),
        ("cluster.local.", "A"),
        ("_tcp.web.shop.svc.cluster.local.", "A"),
        ("_http._tcp.web.shop.svc.cluster.local.", "A"),
        ("10-244-9-9.shop.pod.cluster.local.", "AAAA"),
    ],
)
def test_names_without_records_of_the_type_exist(name: str, rdtype: str) -> None:
    answer = ask(name, rdtype)
    assert texts(answer) == [] and answer is not None
    assert [rrset.rdtype for rrset in answer.authority] == [dns.rdatatype.SOA]


@pytest.mark.parametrize(
    "name",
    [
        "nothing.shop.svc.cluster.local.",
        "web.other.svc.cluster.local.",
        "other.svc.cluster.local.",
        "_smtp._tcp.web.shop.svc.cluster.local.",
        "_http._udp.web.shop.svc.cluster.local.",
        "db-9.db.shop.svc.cluster.local.",
        "10-244-2-7.db.shop.svc.cluster.local.",
        "a.b.c.web.shop.svc.cluster.local.",
        "10-244-9-9.other.pod.cluster.local.",
        "not-an-address.shop.pod.cluster.local.",
        "www.example.com.shop.svc.cluster.local.",
        "www.example.com.cluster.local.",
        "9.9.244.10.in-addr.arpa.",
    ],
)
def test_names_that_do_not_exist_say_so_with_the_zone_s_soa(name: str) -> None:
    answer = ask(name)
    assert answer is not None and answer.rcode == dns.rcode.NXDOMAIN
    assert [rrset.rdtype for rrset in answer.authority] == [dns.rdatatype.SOA]


@pytest.mark.parametrize("name", ["www.example.com.", "local.", ".", "8.8.8.8.in-addr.arpa."])
def test_other_names_are_not_the_zone_s(name: str) -> None:
    assert ask(name) is None


def test_an_external_name_leads_on() -> None:
    answer = ask("mail.shop.svc.cluster.local.")
    assert texts(answer) == ["mx.example.com."]
    assert answer is not None and answer.alias == dns.name.from_text("mx.example.com.")
    assert texts(ask("inner.shop.svc.cluster.local.")) == [
        "web.shop.svc.cluster.local.",
        "10.96.0.20",
    ]


def test_an_external_name_that_leads_to_itself_ends() -> None:
    answer = ask("loop.shop.svc.cluster.local.")
    assert answer is not None and answer.rcode == dns.rcode.SERVFAIL


def test_srv_answers_bring_the_addresses_of_their_targets() -> None:
    answer = ask("_http._tcp.web.shop.svc.cluster.local.", "SRV")
    assert answer is not None
    assert [rrset.to_text() for rrset in answer.additional] == [
        "web.shop.svc.cluster.local. 5 IN A 10.96.0.20"
    ]
