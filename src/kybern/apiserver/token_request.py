"""TokenRequest: ``create serviceaccounts/token`` answers with a bound token.

A token names its service account by name and UID, and optionally the pod (with its node), secret
or node that it lives and dies with; ``authentication/service_accounts.py`` holds it to that.
"""

from collections.abc import Sequence

from kybern.api.errors import (
    FieldError,
    Obj,
    StatusError,
    bad_request,
    conflict,
    invalid,
    invalid_value,
    not_found,
)
from kybern.api.resources import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from kybern.api.validation.names import is_path_segment
from kybern.apiserver.authentication.groups import service_account_name
from kybern.apiserver.call import Call
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.tokens import TokenSigner
from kybern.component.clock import Clock, rfc3339

_GROUP = "authentication.k8s.io"
_KIND = "TokenRequest"
DEFAULT_SECONDS = 3600
_SHORTEST_SECONDS = 600
_LONGEST_SECONDS = 1 << 32
# Pods ask for this lifetime; such a token may live longer and is warned about after it.
_EXTENDABLE_SECONDS = 3607
_EXTENDED_SECONDS = 365 * 24 * 3600
_BINDABLE = {"Pod": PODS, "Node": NODES, "Secret": SECRETS}


class TokenRequests:
    """Signs tokens for service accounts."""

    def __init__(
        self,
        signer: TokenSigner,
        lookup: Lookup,
        clock: Clock,
        *,
        audiences: Sequence[str],
        longest_seconds: int = 0,
        extend: bool = True,
    ) -> None:
        self._signer = signer
        self._lookup = lookup
        self._clock = clock
        self._audiences = list(audiences)
        self._longest_seconds = longest_seconds
        self._extend = extend

    async def create(self, call: Call, name: str, request: Obj) -> Obj:
        """The request with its status filled in; raises StatusError."""
        namespace = call.namespace
        metadata = dict(request.get("metadata") or {})
        _check_name(metadata.get("name", ""), name)
        account = self._lookup.get(SERVICE_ACCOUNTS, name, namespace)
        if account is None:
            raise not_found("serviceaccounts", name)
        uid = account["metadata"]["uid"]
        if metadata.get("uid", uid) != uid:
            raise conflict(
                _KIND,
                name,
                f"the UID in the token request ({metadata['uid']}) does not match the UID of the "
                f"service account ({uid})",
                _GROUP,
            )
        spec = dict(request.get("spec") or {})
        spec["audiences"] = spec.get("audiences") or self._audiences
        if spec.get("expirationSeconds") is None:
            spec["expirationSeconds"] = DEFAULT_SECONDS
        spec.setdefault("boundObjectRef", None)
        _check_expiration(spec["expirationSeconds"])
        bound = self._bound_claims(namespace, name, spec["boundObjectRef"])
        if 0 < self._longest_seconds < spec["expirationSeconds"]:
            call.warn(
                f"requested expiration of {spec['expirationSeconds']} seconds shortened to "
                f"{self._longest_seconds} seconds"
            )
            spec["expirationSeconds"] = self._longest_seconds
        now = int(self._clock.time())
        token = self._signed(account, spec, bound, now)
        metadata |= {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "creationTimestamp": rfc3339(now),
        }
        status = {
            "token": token,
            "expirationTimestamp": rfc3339(now + spec["expirationSeconds"]),
        }
        return {
            "kind": _KIND,
            "apiVersion": f"{_GROUP}/v1",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }

    def _signed(self, account: Obj, spec: Obj, bound: Obj, now: int) -> str:
        namespace, name = account["metadata"]["namespace"], account["metadata"]["name"]
        seconds = spec["expirationSeconds"]
        private: Obj = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": account["metadata"]["uid"]},
            **bound,
        }
        if self._extendable(spec, bound):
            private["warnafter"] = now + seconds
            seconds = _EXTENDED_SECONDS
        return self._signer.sign(
            {
                "aud": spec["audiences"],
                "exp": now + seconds,
                "iat": now,
                "nbf": now,
                "jti": self._clock.uid(),
                "kubernetes.io": private,
                "sub": service_account_name(namespace, name),
            }
        )

    def _extendable(self, spec: Obj, bound: Obj) -> bool:
        return (
            self._extend
            and "pod" in bound
            and spec["expirationSeconds"] == _EXTENDABLE_SECONDS
            and set(spec["audiences"]) <= set(self._audiences)
        )

    def _bound_claims(self, namespace: str, account: str, reference: Obj | None) -> Obj:
        """The claims about the object that the token is bound to."""
        if reference is None:
            return {}
        kind, api_version = reference.get("kind", ""), reference.get("apiVersion", "")
        resource = _BINDABLE.get(kind) if api_version in ("", "v1") else None
        if resource is None:
            group, _, version = api_version.rpartition("/")
            raise bad_request(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
        found = self._existing(resource, namespace, reference.get("name", ""))
        uid = found["metadata"]["uid"]
        claims: Obj = {kind.lower(): {"name": found["metadata"]["name"], "uid": uid}}
        if resource is PODS:
            spec = found["spec"]
            if spec.get("serviceAccountName") != account:
                raise bad_request(
                    f'cannot bind token for serviceaccount "{account}" to pod running with '
                    "different serviceaccount name."
                )
            if spec.get("nodeName"):
                claims["node"] = self._node_claim(spec["nodeName"])
        if reference.get("uid") and reference["uid"] != uid:
            raise conflict(
                kind,
                reference.get("name", ""),
                f"the UID in the bound object reference ({reference['uid']}) does not match the "
                "UID in record. The object might have been deleted and then recreated",
            )
        return claims

    def _existing(self, resource: Resource, namespace: str, name: str) -> Obj:
        if not name:
            raise bad_request("Name parameter required.")
        wrong = is_path_segment(name)
        if wrong:
            raise bad_request(f'Name parameter invalid: "{name}": {";".join(wrong)}')
        found = self._lookup.get(resource, name, namespace if resource.namespaced else "")
        if found is None:
            raise not_found(resource.plural, name)
        return found

    def _node_claim(self, name: str) -> Obj:
        node = self._lookup.get(NODES, name)
        return {"name": name, "uid": node["metadata"]["uid"]} if node else {"name": name}


def _check_name(given: str, name: str) -> None:
    """What the body says about the account must agree with the path."""
    if given and given != name:
        why = "must match the service account name if specified"
        raise _invalid(name, invalid_value("metadata.name", given, why))


def _check_expiration(seconds: int) -> None:
    field = "spec.expirationSeconds"
    if seconds < _SHORTEST_SECONDS:
        raise _invalid(
            "", invalid_value(field, seconds, "may not specify a duration less than 10 minutes")
        )
    if seconds > _LONGEST_SECONDS:
        raise _invalid(
            "", invalid_value(field, seconds, "may not specify a duration larger than 2^32 seconds")
        )


def _invalid(name: str, error: FieldError) -> StatusError:
    return invalid(_KIND, name, [error], _GROUP)
