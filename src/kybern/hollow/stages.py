"""The stages of a simulated pod's life, and how long each lasts.

Flags set the pace of all pods; annotations set one pod's (its template's): see ``ANNOTATIONS``.
Without them a pod is created, runs and is ready at once; a Job's pod succeeds after a while.
"""

import random
from dataclasses import dataclass
from typing import Any

from kybern.hollow.config import Config

Obj = dict[str, Any]

PREFIX = "hollow.kybern.io/"
ANNOTATIONS = {
    PREFIX + "creating-seconds": "how long the pod stays in ContainerCreating",
    PREFIX + "ready-seconds": "how long it runs before it is ready; 'never' is allowed",
    PREFIX + "run-seconds": "how long its containers run before they exit",
    PREFIX + "exit-code": "what they exit with (0)",
    PREFIX + "waiting-reason": "the containers never start and wait for this reason",
    PREFIX + "termination-seconds": "how long the pod takes to stop",
}

FIRST_RESTART_SECONDS = 10.0
LONGEST_RESTART_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Pace:
    """One pod's times in seconds; None means never."""

    creating: float
    ready: float | None
    run: float | None
    exit_code: int
    waiting_reason: str
    termination: float


def pace_of(pod: Obj, config: Config, randomness: random.Random) -> Pace:
    """The pod's pace; an annotation that is not a number counts as absent."""
    annotations = pod["metadata"].get("annotations") or {}

    def seconds(name: str, default: float | None) -> float | None:
        text = annotations.get(PREFIX + name, "")
        if text == "never":
            return None
        value = _number(text, default)
        if value is None or not config.jitter:
            return value
        return value * (1 + config.jitter * randomness.random())

    run = config.job_seconds if _is_of_job(pod) else None
    return Pace(
        creating=seconds("creating-seconds", config.creating_seconds) or 0.0,
        ready=seconds("ready-seconds", config.ready_seconds),
        run=seconds("run-seconds", run),
        exit_code=int(_number(annotations.get(PREFIX + "exit-code", ""), 0) or 0),
        waiting_reason=annotations.get(PREFIX + "waiting-reason", ""),
        termination=seconds("termination-seconds", config.termination_seconds) or 0.0,
    )


def restarts(pod: Obj, exit_code: int) -> bool:
    """Whether the kubelet would start exited containers again."""
    policy = pod["spec"].get("restartPolicy") or "Always"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def restart_seconds(restart_count: int) -> float:
    """The crash-loop backoff before the next start; the first restart comes at once."""
    if restart_count == 0:
        return 0.0
    return min(FIRST_RESTART_SECONDS * 2.0 ** min(restart_count - 1, 16), LONGEST_RESTART_SECONDS)


def _is_of_job(pod: Obj) -> bool:
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("kind") == "Job" for owner in owners)


def _number(text: str, default: float | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else default
    except ValueError:
        return default
