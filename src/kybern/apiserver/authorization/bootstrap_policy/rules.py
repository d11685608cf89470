"""The short forms in which the bootstrap policy is written down.

Verbs, groups, resources and names are words of one string, so that a rule reads as one line;
``core`` stands for the empty group.
"""

from kybern.api.errors import Obj

_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


def allow(verbs: str, groups: str, resources: str, names: str = "") -> Obj:
    """A rule on resources."""
    rule: Obj = {
        "verbs": verbs.split(),
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
    }
    if names:
        rule["resourceNames"] = names.split()
    return rule


def allow_paths(verbs: str, paths: str) -> Obj:
    """A rule on paths that are no resources."""
    return {"verbs": verbs.split(), "nonResourceURLs": paths.split()}


def role(*rules: Obj, feeds: str = "") -> Obj:
    """A role's body; ``feeds`` names the role that aggregates this one."""
    body: Obj = {"rules": list(rules)}
    if feeds:
        body["labels"] = {_AGGREGATE + feeds: "true"}
    return body


def aggregated_role(into: str, feeds: str = "") -> Obj:
    """A role whose rules are collected from those labelled to feed it."""
    selector = {"matchLabels": {f"{_AGGREGATE}{into}": "true"}}
    body = role(feeds=feeds)
    body["aggregationRule"] = {"clusterRoleSelectors": [selector]}
    return body
