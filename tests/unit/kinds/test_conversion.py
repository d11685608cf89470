"""Conversion between the versions of one kind loses nothing."""

from kind_lifecycle import served

from kybern.api.errors import Obj
from kybern.api.kinds import builtin_registry


def test_events_have_two_names_for_the_same_fields() -> None:
    event: Obj = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod"},
        "message": "m",
        "count": 2,
        "reportingComponent": "c",
    }
    other = builtin_registry().lookup("events.k8s.io", "v1", "events")
    assert other is not None
    converted = other.from_storage(event)
    assert converted["regarding"] == {"kind": "Pod"}
    assert (converted["note"], converted["deprecatedCount"]) == ("m", 2)
    assert other.to_storage(converted) == event
    assert other.selectable_field("regarding.kind") == "involvedObject.kind"
    assert other.selectable_field("involvedObject.kind") is None


def test_autoscalers_keep_in_annotations_what_v1_cannot_say() -> None:
    metrics = [
        {
            "type": "Resource",
            "resource": {
                "name": "memory",
                "target": {"type": "AverageValue", "averageValue": "1Gi"},
            },
        },
        {
            "type": "Pods",
            "pods": {
                "metric": {"name": "rps"},
                "target": {"type": "AverageValue", "averageValue": "10"},
            },
        },
        {
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 70},
            },
        },
    ]
    stored: Obj = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "annotations": {"own": "kept"}},
        "spec": {
            "maxReplicas": 3,
            "metrics": metrics,
            "behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1}]}},
        },
        "status": {"currentReplicas": 1, "desiredReplicas": 2, "conditions": [{"type": "Able"}]},
    }
    kind = builtin_registry().lookup("autoscaling", "v1", "horizontalpodautoscalers")
    assert kind is not None
    older = kind.from_storage(stored)
    assert older["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70}
    assert kind.to_storage(older) == stored


def test_broken_annotations_are_passed_over() -> None:
    older: Obj = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "h",
            "annotations": {"autoscaling.alpha.kubernetes.io/metrics": "[1"},
        },
        "spec": {"maxReplicas": 3},
    }
    stored = served(older).to_storage(older)
    assert stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
