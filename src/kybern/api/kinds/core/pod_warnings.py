"""What a pod's author should know though the pod is accepted."""

from kybern.api.errors import Obj
from kybern.api.validation.names import is_dns1123_label
from kybern.api.validation.pod_spec_warnings import pod_spec_warnings


def pod_warnings(pod: Obj) -> list[str]:
    """Warnings at the creation of a pod."""
    warnings = []
    messages = is_dns1123_label(pod["metadata"].get("name", ""))
    if messages:
        warnings.append(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising "
            f"behavior; a DNS label is recommended: [{' '.join(messages)}]"
        )
    return warnings + pod_spec_warnings(pod.get("spec") or {}, pod["metadata"], "")
