"""The kinds that make pods from a template, and where they hold it."""

from kybern.api.errors import Obj

# By group and resource.
WITH_TEMPLATES = (
    ("", "replicationcontrollers"),
    ("", "podtemplates"),
    ("apps", "replicasets"),
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("apps", "daemonsets"),
    ("batch", "jobs"),
    ("batch", "cronjobs"),
)


def pod_template(resource: str, obj: Obj) -> Obj | None:
    """The pod template of a workload."""
    if resource == "podtemplates":
        return obj.get("template")
    spec = obj.get("spec") or {}
    if resource == "cronjobs":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return spec.get("template")
