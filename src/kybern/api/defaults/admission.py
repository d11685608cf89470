"""Defaults of what webhooks and admission policies apply to."""

from kybern.api.errors import Obj


def default_match_resources(match: Obj) -> None:
    """Match equivalent resources, in every namespace, in every scope."""
    if match.get("matchPolicy") is None:
        match["matchPolicy"] = "Equivalent"
    for selector in ("namespaceSelector", "objectSelector"):
        if match.get(selector) is None:
            match[selector] = {}
    for rules in ("rules", "resourceRules", "excludeResourceRules"):
        for rule in match.get(rules) or ():
            if rule.get("scope") is None:
                rule["scope"] = "*"
