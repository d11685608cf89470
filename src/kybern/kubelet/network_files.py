"""A pod's /etc/hosts and its DNS configuration. Pure, but for reading the node's own files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kybern.api.errors import Obj
from kybern.kubelet.pods import spec

MAX_NAME_SERVERS = 3
MAX_SEARCH_DOMAINS = 32
HOSTNAME_MAX = 63

_MANAGED = "# Kubernetes-managed hosts file.\n"
_MANAGED_HOST = "# Kubernetes-managed hosts file (host network).\n"
_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)


@dataclass(slots=True)
class DnsConfig:
    """The lines of a resolv.conf."""

    servers: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """What the node knows of DNS: the cluster's servers and domain, and its own resolv.conf."""

    servers: Sequence[str] = ()
    domain: str = "cluster.local"
    resolv_conf: str = "/etc/resolv.conf"


def host_name(pod: Obj, cluster_domain: str) -> tuple[str, str]:
    """The pod's host name, and its domain if it has a subdomain."""
    declared = pod["spec"]
    name = declared.get("hostname") or pod["metadata"]["name"]
    if override := declared.get("hostnameOverride"):
        return override, ""
    name = name[:HOSTNAME_MAX].rstrip("-.")
    subdomain = declared.get("subdomain")
    if not subdomain:
        return name, ""
    return name, f"{subdomain}.{pod['metadata']['namespace']}.svc.{cluster_domain}"


def shown_host_name(pod: Obj, cluster_domain: str) -> str:
    """What ``hostname`` prints in the pod: the full name only where the pod asks for it."""
    name, domain = host_name(pod, cluster_domain)
    if domain and pod["spec"].get("setHostnameAsFQDN"):
        return f"{name}.{domain}"
    return name


def hosts_file(pod: Obj, ips: Sequence[str], cluster_domain: str, own: str = "") -> str:
    """The text of /etc/hosts; ``own`` is the node's, for pods on the host's network."""
    if spec.host_network(pod):
        text = _MANAGED_HOST + own
    else:
        text = _MANAGED + _LOCAL
        name, domain = host_name(pod, cluster_domain)
        for ip in ips:
            text += f"{ip}\t{name}.{domain}\t{name}\n" if domain else f"{ip}\t{name}\n"
    aliases = pod["spec"].get("hostAliases") or []
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        for alias in aliases:
            names = "\t".join(alias.get("hostnames") or [])
            text += f"{alias['ip']}\t{names}\n"
    return text


def parse_resolv_conf(text: str) -> DnsConfig:
    """A resolv.conf's servers, search domains and options; the last search line counts."""
    found = DnsConfig()
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith(("#", ";")):
            continue
        if words[0] == "nameserver" and len(words) > 1:
            found.servers.append(words[1])
        elif words[0] == "search":
            found.searches = [word.removesuffix(".") or "." for word in words[1:]]
        elif words[0] == "options":
            found.options = words[1:]
    return found


def pod_dns(pod: Obj, cluster: ClusterDns) -> DnsConfig:
    """The pod's DNS by its ``dnsPolicy``, with its ``dnsConfig`` merged in."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    on_host = spec.host_network(pod)
    if policy == "None":
        base = DnsConfig()
    elif policy == "Default" or not cluster.servers or (policy == "ClusterFirst" and on_host):
        base = _node_dns(cluster)
    else:
        namespace, domain = pod["metadata"]["namespace"], cluster.domain
        node = _node_dns(cluster)
        searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain]
        base = DnsConfig(
            list(cluster.servers), [*searches, *node.searches], _merged_options(node, ["ndots:5"])
        )
    return _with_custom(base, pod["spec"].get("dnsConfig") or {})


def _node_dns(cluster: ClusterDns) -> DnsConfig:
    if not cluster.resolv_conf:
        return DnsConfig(["127.0.0.1"], ["."])
    try:
        return parse_resolv_conf(Path(cluster.resolv_conf).read_text())
    except OSError:
        return DnsConfig()


def _merged_options(base: DnsConfig, added: Sequence[str]) -> list[str]:
    options = {option.partition(":")[0]: option for option in base.options}
    options.update({option.partition(":")[0]: option for option in added})
    return list(options.values())


def _with_custom(base: DnsConfig, custom: Obj) -> DnsConfig:
    options = [
        f"{option['name']}:{option['value']}" if option.get("value") is not None else option["name"]
        for option in custom.get("options") or ()
    ]
    servers = dict.fromkeys([*base.servers, *(custom.get("nameservers") or ())])
    searches = dict.fromkeys([*base.searches, *(custom.get("searches") or ())])
    return DnsConfig(
        list(servers)[:MAX_NAME_SERVERS],
        list(searches)[:MAX_SEARCH_DOMAINS],
        _merged_options(base, options),
    )
