"""Kinds that are questions: access reviews, rules reviews, token and self reviews.

Creating one of them stores nothing; the answer is the object with its status filled in. The verbs
find a review by its kind in ``Services.reviews``.
"""

from collections.abc import Awaitable, Callable, Mapping

from kybern.api.errors import (
    FieldError,
    Obj,
    StatusError,
    bad_request,
    invalid,
)
from kybern.api.selectors import FieldSelector, LabelSelector
from kybern.api.user import UserInfo
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.apiserver.authorization.node import node_name
from kybern.apiserver.authorization.rbac import RbacAuthorizer
from kybern.apiserver.call import Call
from kybern.apiserver.request_info import Attributes
from kybern.apiserver.review_validation import (
    check_local_review,
    check_review,
    check_self_review,
)
from kybern.apiserver.token_review import TokenReviewer

Review = Callable[[Call, Obj], Awaitable[Obj]]

_GROUP = "authorization.k8s.io"


def build_reviews(
    authorizers: Authorizers, rbac: RbacAuthorizer, tokens: TokenReviewer
) -> Mapping[str, Review]:
    """The reviews of a server by kind."""
    access = AccessReviews(authorizers)
    return {
        "SubjectAccessReview": access.of_subject,
        "LocalSubjectAccessReview": access.of_subject_in_namespace,
        "SelfSubjectAccessReview": access.of_self,
        "SelfSubjectRulesReview": RulesReviews(rbac).of_self,
        "SelfSubjectReview": _who_am_i,
        "TokenReview": tokens.review,
    }


class AccessReviews:
    """May somebody do something?"""

    def __init__(self, authorizers: Authorizers) -> None:
        self._authorizers = authorizers

    async def of_subject(self, call: Call, review: Obj) -> Obj:
        errors = check_review(review)
        if errors:
            raise _invalid(errors)
        return await self._answered(review, _subject(review["spec"]))

    async def of_subject_in_namespace(self, call: Call, review: Obj) -> Obj:
        errors = check_local_review(review, call.namespace)
        if errors:
            raise _invalid(errors)
        return await self._answered(review, _subject(review["spec"]))

    async def of_self(self, call: Call, review: Obj) -> Obj:
        errors = check_self_review(review)
        if errors:
            raise _invalid(errors)
        return await self._answered(review, call.user)

    async def _answered(self, review: Obj, user: UserInfo) -> Obj:
        attributes, problems = _attributes(review["spec"], user)
        decision = await self._authorizers.authorize(attributes)
        status: Obj = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        if problems:
            status["evaluationError"] = "; ".join(problems)
        return {**review, "status": status}


class RulesReviews:
    """What may somebody do in a namespace?"""

    def __init__(self, rbac: RbacAuthorizer) -> None:
        self._rbac = rbac

    async def of_self(self, call: Call, review: Obj) -> Obj:
        namespace = (review.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise bad_request("no namespace on request")
        held = self._rbac.rules_for(call.user, namespace)
        rules = [bound.source for bound in held.rules]
        problems = list(held.errors)
        if node_name(call.user) is not None:
            problems.append("node authorizer does not support user rule resolution")
        status: Obj = {
            "resourceRules": [
                _picked(rule, ("verbs", "apiGroups", "resources", "resourceNames"))
                for rule in rules
                if rule.get("resources")
            ],
            "nonResourceRules": [
                _picked(rule, ("verbs", "nonResourceURLs"))
                for rule in rules
                if rule.get("nonResourceURLs")
            ],
            "incomplete": bool(problems),
        }
        if problems:
            status["evaluationError"] = "; ".join(problems)
        # Upstream answers without metadata and spec.
        return {**review, "metadata": {}, "spec": {}, "status": status}


async def _who_am_i(call: Call, review: Obj) -> Obj:
    review["metadata"]["creationTimestamp"] = call.services.clock.timestamp()
    return {**review, "status": {"userInfo": user_object(call.user)}}


def user_object(user: UserInfo) -> Obj:
    """``UserInfo`` of authentication.k8s.io."""
    found: Obj = {"username": user.name} if user.name else {}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return found


def _invalid(errors: list[FieldError]) -> StatusError:
    # Upstream names no kind here.
    return invalid("", "", errors, _GROUP)


def _picked(rule: Obj, fields: tuple[str, ...]) -> Obj:
    return {field: rule[field] for field in fields if rule.get(field)}


def _attributes(spec: Obj, user: UserInfo) -> tuple[Attributes, list[str]]:
    """What a review asks about, and which of its selectors could not be read as a whole."""
    other = spec.get("nonResourceAttributes")
    if other is not None:
        return Attributes(
            user, other.get("verb", ""), is_resource_request=False, path=other.get("path", "")
        ), []
    resource = spec["resourceAttributes"]
    fields, some_fields = _selector(
        resource.get("fieldSelector") or {}, _field_term, FieldSelector.parse
    )
    labels, some_labels = _selector(
        resource.get("labelSelector") or {}, _label_term, LabelSelector.parse
    )
    problems = [
        f"spec.resourceAttributes.{name} {'partially ' if text else ''}ignored due to parse error"
        for name, text, partial in (
            ("fieldSelector", fields, some_fields),
            ("labelSelector", labels, some_labels),
        )
        if partial
    ]
    return Attributes(
        user,
        resource.get("verb", ""),
        group=resource.get("group", ""),
        version=resource.get("version", "") or "*",
        resource=resource.get("resource", ""),
        subresource=resource.get("subresource", ""),
        namespace=resource.get("namespace", ""),
        name=resource.get("name", ""),
        field_selector=fields,
        label_selector=labels,
    ), problems


def _selector(
    attributes: Obj, term: Callable[[Obj], str], parse: Callable[[str], object]
) -> tuple[str, bool]:
    """The selector as text, as far as it can be understood, and whether some of it cannot.

    What is left out makes the question broader, and so the answer is never too kind.
    """
    terms = [attributes["rawSelector"]] if attributes.get("rawSelector") else []
    terms += [term(requirement) for requirement in attributes.get("requirements") or []]
    read = [text for text in terms if text and _readable(text, parse)]
    return ",".join(read), len(read) < len(terms)


def _readable(text: str, parse: Callable[[str], object]) -> bool:
    try:
        parse(text)
    except StatusError:
        return False
    return True


def _field_term(requirement: Obj) -> str:
    """A requirement in the form of a field selector; empty where it has none."""
    key, values = requirement.get("key", ""), requirement.get("values") or []
    sign = {"In": "=", "NotIn": "!="}.get(requirement.get("operator", ""))
    return f"{key}{sign}{values[0]}" if sign and len(values) == 1 else ""


def _label_term(requirement: Obj) -> str:
    """A requirement in the form of a label selector; empty where it has none."""
    key = requirement.get("key", "")
    values = ",".join(requirement.get("values") or [])
    forms = {
        "In": f"{key} in ({values})",
        "NotIn": f"{key} notin ({values})",
        "Exists": key,
        "DoesNotExist": f"!{key}",
    }
    return forms.get(requirement.get("operator", ""), "")


def _subject(spec: Obj) -> UserInfo:
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    groups = tuple(spec.get("groups") or ())
    return UserInfo(spec.get("user", ""), groups, spec.get("uid", ""), extra)
