"""The pods of Jobs: what they look like, with their index if the Job has indexes. Pure."""

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.controllers import job_indexes, job_policies
from kybern.controllers.job_status import FINALIZER
from kybern.controllers.replicas import pod_from_template

VARIABLE = "JOB_COMPLETION_INDEX"
# The server appends five letters to it, and a name has at most 63.
MAX_PREFIX = 58


def new_pod(job: Obj, index: int | None, replaced: Obj | None) -> Obj:
    """The pod for an index (None without indexes); ``replaced`` is the index's last failed one."""
    pod = objects.copy(pod_from_template(job, job["spec"]["template"]))
    meta = pod["metadata"]
    meta["finalizers"] = [*meta.get("finalizers", []), FINALIZER]
    if index is None:
        return pod
    suffix = f"-{index}-"
    meta["generateName"] = objects.name(job)[: MAX_PREFIX - len(suffix)] + suffix
    meta.setdefault("annotations", {})[job_indexes.INDEX] = str(index)
    meta.setdefault("labels", {})[job_indexes.INDEX] = str(index)
    if job_indexes.has_limit_per_index(job):
        meta["annotations"].update(_failure_counts(job, replaced))
    pod["spec"]["hostname"] = f"{objects.name(job)}-{index}"
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{job_indexes.INDEX}']"}}
    for field in ("initContainers", "containers"):
        for container in pod["spec"].get(field) or ():
            if all(one["name"] != VARIABLE for one in container.get("env") or ()):
                container.setdefault("env", []).append({"name": VARIABLE, "valueFrom": source})
    return pod


def _failure_counts(job: Obj, replaced: Obj | None) -> dict[str, str]:
    """How often the index has failed, the replaced pod included."""
    if replaced is None:
        return {job_indexes.FAILURES: "0"}
    counted = job_indexes.failures(replaced)
    ignored = job_indexes.all_failures(replaced) - counted
    if job_policies.counts(job, replaced):
        counted += 1
    else:
        ignored += 1
    found = {job_indexes.FAILURES: str(counted)}
    return {**found, job_indexes.IGNORED_FAILURES: str(ignored)} if ignored else found
