"""Who may do what: RBAC, the Node authorizer, and the bootstrap policy.

The pipeline asks :class:`~kybern.apiserver.authorization.authorizer.Authorizers` once per request;
the review endpoints ask the same object on behalf of others.
"""
