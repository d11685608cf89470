"""Names of the cluster: which records a name has, by Kubernetes' DNS specification 1.1.0.

``Zone.resolve`` is pure over a :class:`Directory`. Names that are not the cluster's give None and
are somebody else's to answer; a name that does not exist is told apart from one without records of
the asked type, because stub resolvers stop searching at the latter.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rrset import RRset

SCHEMA_VERSION = "1.1.0"
# A chain of ExternalName Services that is longer than this leads nowhere.
_MAX_ALIASES = 8
_NEGATIVE_SECONDS = 5


class Port(NamedTuple):
    """A port of a Service or of an endpoint."""

    name: str
    protocol: str
    number: int


class EndpointRecord(NamedTuple):
    """One ready address behind a Service and the label it is known by."""

    label: str
    address: str
    ports: tuple[Port, ...]


@dataclass(frozen=True)
class ServiceRecord:
    """What DNS knows of a Service; headless ones have no addresses of their own."""

    namespace: str
    name: str
    addresses: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    external_name: str = ""


class Directory(Protocol):
    """Where the zone looks things up."""

    def has_namespace(self, name: str) -> bool: ...

    def service(self, namespace: str, name: str) -> ServiceRecord | None: ...

    def endpoints(self, namespace: str, name: str) -> Sequence[EndpointRecord]: ...

    def service_at(self, address: str) -> ServiceRecord | None: ...

    def endpoints_at(self, address: str) -> Iterable[tuple[str, str, str]]:
        """(label, Service's name, namespace) of every endpoint with this address."""
        ...


@dataclass
class Answer:
    """Records for the answer and additional sections; ``alias`` is a name still to be followed."""

    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    answers: list[RRset] = field(default_factory=list)
    additional: list[RRset] = field(default_factory=list)
    authority: list[RRset] = field(default_factory=list)
    alias: Name | None = None


# What a name has: textual rdata by type. An empty mapping is a name without records of its own.
Records = dict[RdataType, list[str]]


class Zone:
    """The cluster's domain, and the reverse names of its address ranges."""

    def __init__(
        self,
        directory: Directory,
        domain: str,
        *,
        dns_address: str,
        ttl: int,
        ranges: Iterable[str] = (),
    ) -> None:
        self._directory = directory
        self.origin = dns.name.from_text(domain)
        self._dns_address = dns_address
        self._ttl = ttl
        self._ranges = [ipaddress.ip_network(text) for text in ranges]
        self._name_server = dns.name.from_text("ns.dns", self.origin)

    def resolve(self, name: Name, rdtype: RdataType) -> Answer | None:
        """The answer to a question, or None if the name is not of this cluster."""
        if name.is_subdomain(dns.reversename.ipv4_reverse_domain) or name.is_subdomain(
            dns.reversename.ipv6_reverse_domain
        ):
            return self._reverse(name, rdtype)
        if not name.is_subdomain(self.origin):
            return None
        answer = Answer()
        for _ in range(_MAX_ALIASES):
            records = self._records(self._labels(name))
            if records is None:
                return self._negative(answer, dns.rcode.NXDOMAIN)
            alias = records.get(dns.rdatatype.CNAME)
            if not alias or rdtype == dns.rdatatype.CNAME:
                return self._positive(answer, name, rdtype, records)
            answer.answers.append(self._rrset(name, dns.rdatatype.CNAME, alias))
            name = dns.name.from_text(alias[0])
            if not name.is_subdomain(self.origin):
                answer.alias = name
                return answer
        answer.rcode = dns.rcode.SERVFAIL
        return answer

    def _labels(self, name: Name) -> list[str]:
        relative = name.relativize(self.origin)
        return [label.decode("ascii", "replace").lower() for label in relative.labels]

    def _positive(self, answer: Answer, name: Name, rdtype: RdataType, records: Records) -> Answer:
        types = list(records) if rdtype == dns.rdatatype.ANY else [rdtype]
        for kind in types:
            if records.get(kind):
                answer.answers.append(self._rrset(name, kind, records[kind]))
        if not answer.answers:
            return self._negative(answer, dns.rcode.NOERROR)
        if rdtype == dns.rdatatype.SRV:
            self._add_targets(answer)
        return answer

    def _add_targets(self, answer: Answer) -> None:
        """The addresses of what SRV records name, so that clients need not ask again."""
        targets = dict.fromkeys(rdata.target for rrset in answer.answers for rdata in rrset)
        for target in targets:
            records = self._records(self._labels(target)) or {}
            for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
                if records.get(kind):
                    answer.additional.append(self._rrset(target, kind, records[kind]))

    def _negative(self, answer: Answer, rcode: dns.rcode.Rcode) -> Answer:
        answer.rcode = rcode
        answer.authority.append(
            dns.rrset.from_text(self.origin, _NEGATIVE_SECONDS, "IN", "SOA", self._soa())
        )
        return answer

    def _soa(self) -> str:
        """The serial never moves: nobody transfers this zone."""
        return f"{self._name_server} hostmaster.{self.origin} 1 7200 1800 86400 {_NEGATIVE_SECONDS}"

    def _rrset(self, name: Name, rdtype: RdataType, texts: Sequence[str]) -> RRset:
        return dns.rrset.from_text_list(name, self._ttl, "IN", rdtype, texts)

    def _records(self, labels: list[str]) -> Records | None:
        """The records of a name below the origin; None if there is no such name."""
        match labels:
            case []:
                return {
                    dns.rdatatype.SOA: [self._soa()],
                    dns.rdatatype.NS: [str(self._name_server)],
                }
            case ["svc"] | ["pod"] | ["dns"]:
                return {}
            case ["dns-version"]:
                return {dns.rdatatype.TXT: [f'"{SCHEMA_VERSION}"']}
            case ["ns", "dns"]:
                return _addresses([self._dns_address])
            case [namespace, "svc" | "pod"]:
                return {} if self._directory.has_namespace(namespace) else None
            case [dashed, namespace, "pod"]:
                return self._pod(dashed, namespace)
            case [*below, service, namespace, "svc"]:
                return self._service(below, service, namespace)
        return None

    def _pod(self, dashed: str, namespace: str) -> Records | None:
        """A pod's address is in its name; as upstream's default, nobody checks who has it."""
        for text in (dashed.replace("-", "."), dashed.replace("-", ":")):
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                continue
            return _addresses([str(address)]) if self._directory.has_namespace(namespace) else None
        return None

    def _service(self, below: list[str], name: str, namespace: str) -> Records | None:
        service = self._directory.service(namespace, name)
        if service is None:
            return None
        if service.external_name:
            return None if below else {dns.rdatatype.CNAME: [_absolute(service.external_name)]}
        match below:
            case []:
                return self._whole_service(service)
            case [protocol] if protocol in ("_tcp", "_udp", "_sctp"):
                return {}
            case [port, protocol] if port.startswith("_") and protocol.startswith("_"):
                found = self._srv(service, port[1:], protocol[1:])
                return {dns.rdatatype.SRV: found} if found else None
            case [label]:
                return self._endpoint(service, label)
        return None

    def _whole_service(self, service: ServiceRecord) -> Records:
        addresses: Iterable[str] = service.addresses
        if not addresses:
            endpoints = self._directory.endpoints(service.namespace, service.name)
            addresses = dict.fromkeys(endpoint.address for endpoint in endpoints)
        records = _addresses(addresses)
        found = self._srv(service, "", "")
        if found:
            records[dns.rdatatype.SRV] = found
        return records

    def _endpoint(self, service: ServiceRecord, label: str) -> Records | None:
        endpoints = self._directory.endpoints(service.namespace, service.name)
        addresses = [endpoint.address for endpoint in endpoints if endpoint.label == label]
        return _addresses(dict.fromkeys(addresses)) if addresses else None

    def _srv(self, service: ServiceRecord, port: str, protocol: str) -> list[str]:
        """SRV data of the ports that match; empty names match every port."""
        base = f"{service.name}.{service.namespace}.svc.{self.origin}"
        targets: list[tuple[str, Port]] = []
        if service.addresses:
            targets = [(base, candidate) for candidate in service.ports]
        else:
            for endpoint in self._directory.endpoints(service.namespace, service.name):
                targets += [(f"{endpoint.label}.{base}", known) for known in endpoint.ports]
        chosen = [
            (target, candidate.number)
            for target, candidate in targets
            if (not port or candidate.name == port)
            and (not protocol or candidate.protocol == protocol)
        ]
        weight = max(1, 100 // len(chosen)) if chosen else 0
        return list(dict.fromkeys(f"0 {weight} {number} {target}" for target, number in chosen))

    def _reverse(self, name: Name, rdtype: RdataType) -> Answer | None:
        """PTR records of cluster IPs and endpoints; other addresses only of our own ranges."""
        try:
            address = dns.reversename.to_address(name)
        except (dns.exception.DNSException, ValueError):
            return None
        service = self._directory.service_at(address)
        if service:
            names = [f"{service.name}.{service.namespace}.svc.{self.origin}"]
        else:
            names = [
                f"{label}.{service_name}.{namespace}.svc.{self.origin}"
                for label, service_name, namespace in self._directory.endpoints_at(address)
            ]
        if names:
            return self._positive(Answer(), name, rdtype, {dns.rdatatype.PTR: names})
        if any(ipaddress.ip_address(address) in known for known in self._ranges):
            return self._negative(Answer(), dns.rcode.NXDOMAIN)
        return None


def _addresses(addresses: Iterable[str]) -> Records:
    records: Records = {}
    for address in addresses:
        kind = dns.rdatatype.AAAA if ":" in address else dns.rdatatype.A
        records.setdefault(kind, []).append(address)
    return records


def _absolute(name: str) -> str:
    return name if name.endswith(".") else f"{name}."
