"""No kind's rules stumble over objects in which nearly everything is missing."""

from typing import Any

import pytest
from kind_lifecycle import decoded, served

from kybern.api.errors import Obj, StatusError
from kybern.api.kinds import builtin_registry
from kybern.api.objects import copy

KINDS = [
    pytest.param(entry, id=f"{entry.group}-{entry.version}-{entry.kind.kind}")
    for kind in builtin_registry().kinds()
    if kind.stored
    for entry in kind.served()
]
BODIES: list[Obj] = [
    {},
    {"spec": {}, "status": {}},
    {"spec": {"template": {"spec": {"containers": [{}], "volumes": [{}]}}, "selector": {}}},
    {"spec": {"containers": [{"ports": [{}], "env": [{}]}], "ports": [{}], "rules": [{}]}},
    {"webhooks": [{}], "rules": [{}], "subjects": [{}], "endpoints": [{}], "subsets": [{}]},
    {"spec": {"versions": [{}], "names": {}, "limits": [{}], "metrics": [{}], "tls": [{}]}},
    {"spec": {"taints": [{}], "ingress": [{}], "egress": [{}], "drivers": [{}]}},
    {"data": {"": ""}, "spec": {"jobTemplate": {}, "volumeClaimTemplates": [{}]}},
]


@pytest.mark.parametrize("entry", KINDS)
@pytest.mark.parametrize("body", range(len(BODIES)))
def test_sparse_objects_are_judged_not_stumbled_over(entry: Any, body: int) -> None:
    obj = {"apiVersion": entry.api_version, "kind": entry.kind.kind, **copy(BODIES[body])}
    obj["metadata"] = {"name": "x"}
    try:
        fresh = decoded(obj)
    except StatusError:
        return
    strategy = served(obj).strategy
    metadata = {"namespace": "default"} if entry.kind.namespaced else {}
    fresh["metadata"] |= {**metadata, "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    strategy.prepare_for_create(fresh)
    assert isinstance(strategy.validate(fresh, entry.api_version), list)
    strategy.warnings(fresh)
    old = copy(fresh)
    old["metadata"]["resourceVersion"] = fresh["metadata"]["resourceVersion"] = "1"
    strategy.prepare_for_update(fresh, old)
    strategy.validate_update(fresh, old, entry.api_version)
    strategy.prepare_for_status_update(fresh, old)
    strategy.validate_status_update(fresh, old)
    entry.from_storage(fresh)
