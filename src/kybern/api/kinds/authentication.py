"""SelfSubjectReview, TokenReview."""

from kybern.api.kinds.kind import CREATE_ONLY, Kind
from kybern.api.kinds.strategy import Strategy

SELF_SUBJECT_REVIEW = Kind(
    group="authentication.k8s.io",
    kind="SelfSubjectReview",
    plural="selfsubjectreviews",
    namespaced=False,
    verbs=CREATE_ONLY,
    strategy=Strategy(namespaced=False),
)

TOKEN_REVIEW = Kind(
    group="authentication.k8s.io",
    kind="TokenReview",
    plural="tokenreviews",
    namespaced=False,
    verbs=CREATE_ONLY,
    strategy=Strategy(namespaced=False),
)
