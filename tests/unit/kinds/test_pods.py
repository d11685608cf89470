"""What the server makes of a new pod."""

import pytest
from kind_lifecycle import created, served

from kybern.api.defaults.images import default_pull_policy
from kybern.api.errors import Obj


def pod(*resources: Obj, **spec: object) -> Obj:
    containers = [
        {"name": f"c{i}", "image": "nginx", "resources": r} for i, r in enumerate(resources)
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": containers, **spec},
    }


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": {"cpu": "1000m", "memory": "1Gi"}, "requests": {"cpu": "1"}}], "Guaranteed"),
        ([{"limits": {"example.com/gpu": "1"}}], "BestEffort"),
    ],
)
def test_quality_of_service_follows_requests_and_limits(
    resources: list[Obj], expected: str
) -> None:
    stored, errors = created(pod(*resources))
    assert errors == []
    assert stored["status"] == {"phase": "Pending", "qosClass": expected}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("registry:5000/nginx", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/team/nginx:1.27", "IfNotPresent"),
        ("nginx@sha256:" + "a" * 64, "IfNotPresent"),
        ("Not An Image", "IfNotPresent"),
    ],
)
def test_the_tag_decides_when_an_image_is_pulled(image: str, policy: str) -> None:
    assert default_pull_policy(image) == policy


def test_selectors_take_the_values_of_named_labels() -> None:
    term = {"topologyKey": "zone", "labelSelector": {}, "mismatchLabelKeys": ["app", "absent"]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    stored, _ = created(pod({}, affinity={"podAntiAffinity": required}))
    rules = stored["spec"]["affinity"]["podAntiAffinity"]
    selector = rules["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"]
    assert selector == {
        "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]
    }


def test_defaults_are_filled_in_once() -> None:
    first, _ = created(pod({"limits": {"cpu": "0.5"}}, hostNetwork=True))
    again = {**first}
    served(first).strategy.default(again)
    assert again == first


def test_resize_writes_resources_alone_and_keeps_the_class() -> None:
    old, _ = created(pod({"requests": {"cpu": "1"}}))
    old["metadata"]["resourceVersion"] = "1"
    container = {**old["spec"]["containers"][0], "image": "other", "resources": {}}
    new = {**old, "metadata": {**old["metadata"]}, "spec": {**old["spec"]}}
    new["spec"]["containers"] = [container]
    strategy = served(old).strategy
    strategy.prepare_for_write("resize", new, old)
    assert new["spec"]["containers"][0]["image"] == "nginx"
    assert new["metadata"]["generation"] == 2
    errors = strategy.validate_write("resize", new, old)
    assert [str(e) for e in errors] == [
        'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing',
        "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
    ]
