"""Access reviews: questions about what somebody may do, answered and not stored."""

from kybern.api.kinds.kind import CREATE_ONLY, Kind
from kybern.api.kinds.strategy import Strategy

LOCAL_SUBJECT_ACCESS_REVIEW = Kind(
    group="authorization.k8s.io",
    kind="LocalSubjectAccessReview",
    plural="localsubjectaccessreviews",
    verbs=CREATE_ONLY,
)

SELF_SUBJECT_ACCESS_REVIEW = Kind(
    group="authorization.k8s.io",
    kind="SelfSubjectAccessReview",
    plural="selfsubjectaccessreviews",
    namespaced=False,
    verbs=CREATE_ONLY,
    strategy=Strategy(namespaced=False),
)

SELF_SUBJECT_RULES_REVIEW = Kind(
    group="authorization.k8s.io",
    kind="SelfSubjectRulesReview",
    plural="selfsubjectrulesreviews",
    namespaced=False,
    verbs=CREATE_ONLY,
    strategy=Strategy(namespaced=False),
)

SUBJECT_ACCESS_REVIEW = Kind(
    group="authorization.k8s.io",
    kind="SubjectAccessReview",
    plural="subjectaccessreviews",
    namespaced=False,
    verbs=CREATE_ONLY,
    strategy=Strategy(namespaced=False),
)
