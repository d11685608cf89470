"""What a Job's policies say about a failed pod, and about when it has succeeded enough.

Pure functions: ``podFailurePolicy`` (KEP-3329) tells failures that count from those that do not or
that end the Job or the index; ``successPolicy`` (KEP-3998) ends an indexed Job early.
"""

from collections.abc import Iterable

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.controllers.job_indexes import parse_indexes


def failure_rule(job: Obj, pod: Obj) -> tuple[str, str]:
    """(action, message) of the first rule that matches a failed pod; empty if none does."""
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    for number, rule in enumerate(rules):
        what = _matched(rule, pod)
        if what:
            where = f"matching {rule['action']} rule at index {number}"
            return rule["action"], f"{what} {where}"
    return "", ""


def _matched(rule: Obj, pod: Obj) -> str:
    """How the rule matches, in words; empty if it does not."""
    name = objects.key(pod)
    codes = rule.get("onExitCodes")
    if codes is not None:
        container = _container(codes, pod)
        if container is None:
            return ""
        code = container["state"]["terminated"]["exitCode"]
        return f"Container {container['name']} for pod {name} failed with exit code {code}"
    patterns = [(one["type"], one.get("status", "True")) for one in rule.get("onPodConditions", ())]
    for condition in objects.conditions(pod):
        if (condition["type"], condition["status"]) in patterns:
            return f"Pod {name} has condition {condition['type']}"
    return ""


def _container(codes: Obj, pod: Obj) -> Obj | None:
    """The first container that ended with one of the exit codes; success is no such code."""
    status = objects.status(pod)
    for field in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(field) or ():
            ended = (container.get("state") or {}).get("terminated")
            if ended is None or not ended.get("exitCode"):
                continue
            if codes.get("containerName") not in (None, container["name"]):
                continue
            listed = ended["exitCode"] in (codes.get("values") or ())
            if listed == (codes["operator"] == "In"):
                return dict(container)
    return None


def counts(job: Obj, pod: Obj) -> bool:
    """Whether a failed pod counts towards the limits."""
    return failure_rule(job, pod)[0] != "Ignore"


def fatal_failure(job: Obj, failed: Iterable[Obj]) -> str:
    """Why the Job fails as a whole because of one of its failed pods; empty if it does not."""
    for pod in failed:
        action, message = failure_rule(job, pod)
        if action == "FailJob":
            return message
    return ""


def success_rule(job: Obj, succeeded: set[int]) -> str:
    """Which rule says that the indexes that have succeeded are enough; empty if none does."""
    rules = (job["spec"].get("successPolicy") or {}).get("rules") or ()
    completions = job["spec"].get("completions") or 0
    if not succeeded:
        return ""
    for number, rule in enumerate(rules):
        count = rule.get("succeededCount")
        relevant = succeeded
        if rule.get("succeededIndexes") is not None:
            required = {one for one in parse_indexes(rule["succeededIndexes"]) if one < completions}
            if not required:
                continue
            relevant = succeeded & required
            if count is None:
                count = len(required)
        if count is not None and len(relevant) >= count:
            return f"Matched rules at index {number}"
    return ""
