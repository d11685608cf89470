"""The registry against upstream's discovery documents, where those are at hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from kybern.api.kinds import builtin_registry, storage_version_hash
from kybern.api.kinds.kind import Kind, ServedKind, Subresource
from kybern.api.kinds.registry import Registry, version_rank

DISCOVERY = Path(__file__).parents[4] / "shared" / "reference" / "discovery"
UNSTABLE = ("alpha", "beta")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return builtin_registry()


def reference(name: str) -> Any:
    path = DISCOVERY / name
    if not path.exists():
        pytest.skip(f"upstream's discovery documents are not at {DISCOVERY}")
    return json.loads(path.read_text())


def is_stable(version: str) -> bool:
    return not any(word in version for word in UNSTABLE)


def plain_entry(served: ServedKind) -> dict[str, Any]:
    kind = served.kind
    entry = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.stored:
        entry["storageVersionHash"] = storage_version_hash(kind)
    return entry


def plain_subresource(served: ServedKind, sub: Subresource) -> dict[str, Any]:
    entry = {
        "name": f"{served.kind.plural}/{sub.name}",
        "singularName": "",
        "namespaced": served.kind.namespaced,
        "kind": sub.kind,
        "verbs": list(sub.verbs),
    }
    if sub.group:
        entry |= {"group": sub.group, "version": sub.version}
    return entry


def test_plain_discovery_is_upstreams(registry: Registry) -> None:
    compared = 0
    for group in registry.groups():
        for version in group.versions:
            prefix = f"apis__{group.name}" if group.name else "api"
            expected = reference(f"{prefix}__{version}.json")["resources"]
            actual = []
            for served in registry.resources(group.name, version):
                actual.append(plain_entry(served))
                actual += [plain_subresource(served, sub) for sub in served.subresources]
            assert sorted(actual, key=lambda r: r["name"]) == expected, (group, version)
            compared += len(expected)
    assert compared > 100


def test_groups_and_versions_come_in_upstreams_order(registry: Registry) -> None:
    expected = []
    for group in reference("apis.json")["groups"]:
        versions = [v["version"] for v in group["versions"] if is_stable(v["version"])]
        if versions:
            expected.append((group["name"], versions))
    actual = [(g.name, list(g.versions)) for g in registry.groups() if g.name]
    assert actual == expected


def aggregated_kind(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "version": version, "kind": kind}


def aggregated_entry(served: ServedKind) -> dict[str, Any]:
    kind = served.kind
    entry: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": aggregated_kind("", "", kind.kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if served.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": aggregated_kind(sub.group, sub.version, sub.kind),
                "verbs": list(sub.verbs),
            }
            for sub in served.subresources
        ]
    return entry


def test_aggregated_discovery_is_upstreams(registry: Registry) -> None:
    compared = 0
    for group in reference("aggregated_v2.json")["items"]:
        for version in group["versions"]:
            if not is_stable(version["version"]):
                continue
            name = group["metadata"]["name"]
            served = registry.resources(name, version["version"])
            assert [aggregated_entry(s) for s in served] == version["resources"], name
            compared += len(served)
    assert compared > 50


def test_store_prefixes_are_distinct(registry: Registry) -> None:
    prefixes = [kind.resource_prefix for kind in registry.kinds() if kind.stored]
    assert len(prefixes) == len(set(prefixes)) > 50


def test_versions_rank_by_stability_then_number() -> None:
    names = ["v1alpha1", "foo", "v2", "v1beta2", "v10", "v1beta1", "v1", "bar"]
    expected = ["v10", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "bar", "foo"]
    assert sorted(names, key=version_rank, reverse=True) == expected


def test_a_kind_can_come_and_go() -> None:
    registry = Registry()
    kind = Kind(group="example.com", kind="Widget", plural="widgets", versions=("v1", "v1beta1"))
    registry.add(kind)
    served = registry.lookup("example.com", "v1beta1", "widgets")
    assert served is not None and served is registry.by_kind("example.com", "v1beta1", "Widget")
    with pytest.raises(ValueError):
        registry.add(kind)
    before = registry.revision
    registry.remove(kind)
    assert registry.revision > before
    assert registry.lookup("example.com", "v1", "widgets") is None
    assert registry.groups() == []
