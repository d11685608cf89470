"""The options of a call: query parameters and DeleteOptions bodies, read and checked once.

Each verb takes one of the classes here. Broken values are 400, forbidden combinations 422, with
upstream's texts.
"""

from dataclasses import dataclass, replace

from kybern.api.errors import (
    FieldError,
    Obj,
    bad_request,
    field_forbidden,
    invalid,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.kinds import ServedKind
from kybern.api.schema.body import Malformed, read_body
from kybern.api.schema.foreign_kind import kind_problem
from kybern.api.selectors import FieldSelector, LabelSelector
from kybern.api.validation.metadata import field_manager
from kybern.apiserver.request_info import RequestInfo

META_GROUP = "meta.k8s.io"
LONGEST_FIELD_MANAGER = 128
_FIELD_VALIDATIONS = ("", "Ignore", "Warn", "Strict")
_OPTIONS = "DeleteOptions"
_META_KINDS = ("Status", "APIVersions", "APIGroup", "APIGroupList", "APIResourceList")
_META_SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"
_PROPAGATIONS = ("Foreground", "Background", "Orphan")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """CreateOptions, UpdateOptions and PatchOptions in one."""

    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = "Warn"
    force: bool | None = None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """``uid`` and ``resource_version`` are preconditions; None where there is none."""

    grace_period_seconds: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    orphan_dependents: bool | None = None
    propagation_policy: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What list, watch and deletecollection select. None selectors select everything.

    The watch cache checks the combinations of versions; here they are only read.
    """

    labels: LabelSelector | None = None
    fields: FieldSelector | None = None
    resource_version: str = ""
    match: str = ""
    limit: int = 0
    continue_token: str = ""
    timeout_seconds: int = 0
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None


_DEFAULT_WRITE = WriteOptions()
_DEFAULT_DELETE = DeleteOptions()
_DEFAULT_LIST = ListOptions()


def write_options(info: RequestInfo, kind: str, *, apply: bool = False) -> WriteOptions:
    """Options of a create, update or patch; ``kind`` names them in errors."""
    if not info.params:
        if apply:
            raise _invalid(kind, [required("fieldManager", "is required for apply patch")])
        return _DEFAULT_WRITE
    manager = info.param("fieldManager")
    validation = info.param("fieldValidation")
    force = info.flag("force") if "force" in info.params else None
    dry_run = list(info.params.get("dryRun", ()))
    errors: list[FieldError] = []
    if kind == "PatchOptions" and apply and not manager:
        errors.append(required("fieldManager", "is required for apply patch"))
    if kind == "PatchOptions" and not apply and force is not None:
        errors.append(field_forbidden("force", "may not be specified for non-apply patch"))
    errors += field_manager(manager)
    errors += _dry_run_errors(dry_run)
    if validation not in _FIELD_VALIDATIONS:
        supported = sorted(_FIELD_VALIDATIONS)
        errors.append(not_supported("fieldValidation", validation, supported))
    if errors:
        raise _invalid(kind, errors)
    return WriteOptions(bool(dry_run), manager, validation or "Warn", force)


def delete_options(info: RequestInfo, body: bytes, media_type: str) -> DeleteOptions:
    """Options of a delete, from its body or else its query."""
    if body:
        return checked_delete_options(_decode_options(body, media_type))
    if not info.params:
        return _DEFAULT_DELETE
    raw: Obj = {}
    if "gracePeriodSeconds" in info.params:
        raw["gracePeriodSeconds"] = _integer(info.param("gracePeriodSeconds"))
    if "orphanDependents" in info.params:
        raw["orphanDependents"] = info.flag("orphanDependents")
    if info.param("propagationPolicy"):
        raw["propagationPolicy"] = info.param("propagationPolicy")
    raw["dryRun"] = list(info.params.get("dryRun", ()))
    return checked_delete_options(raw)


def list_options(info: RequestInfo, served: ServedKind) -> ListOptions:
    """Options of a list or watch of a kind; its field selector names what is stored.

    A name on the path (``watch/pods/x``) or in the field selector selects one object.
    """
    params = info.params
    watch = info.verb == "watch"
    if not params and not watch:
        return _DEFAULT_LIST
    labels = LabelSelector.parse(info.label_selector or info.param("labelSelector"))
    fields = FieldSelector.parse(info.field_selector or info.param("fieldSelector"))
    if not fields.empty:
        fields = _stored_fields(fields, served)
    if len(info.parts) > 1 and not fields.empty and fields.exact("metadata.name") != info.name:
        raise bad_request("fieldSelector metadata.name doesn't match requested name")
    if len(info.parts) > 1:
        fields = FieldSelector.parse(f"metadata.name={info.name}")
    initial = info.flag("sendInitialEvents") if "sendInitialEvents" in params else None
    if initial is not None and not watch:
        text = "sendInitialEvents is forbidden for list"
        raise _invalid("ListOptions", [field_forbidden("sendInitialEvents", text)])
    version, match = info.param("resourceVersion"), info.param("resourceVersionMatch")
    if watch and initial is None and not match and version in ("", "0"):
        initial, match = True, "NotOlderThan"
    return ListOptions(
        labels=None if labels.empty else labels,
        fields=None if fields.empty else fields,
        resource_version=version,
        match=match,
        limit=_integer(info.param("limit")),
        continue_token=info.param("continue"),
        timeout_seconds=_integer(info.param("timeoutSeconds")),
        allow_bookmarks=info.flag("allowWatchBookmarks"),
        send_initial_events=initial,
    )


def _stored_fields(fields: FieldSelector, served: ServedKind) -> FieldSelector:
    """The selector with the names of stored fields; raises StatusError 400 for unknown ones."""
    return FieldSelector(
        tuple(
            replace(found, field=_stored_field(found.field, served))
            for found in fields.requirements
            if found.field or found.value
        )
    )


def _stored_field(name: str, served: ServedKind) -> str:
    stored = served.selectable_field(name)
    if stored is not None:
        return stored
    if served.kind.selectable_fields:
        raise bad_request(served.kind.unselectable.format(name=name))
    if name == "metadata.namespace":
        return name
    raise bad_request(
        f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )


def _decode_options(body: bytes, media_type: str) -> Obj:
    try:
        raw, _ = read_body(body, media_type)
    except Malformed as problem:
        raise bad_request(f"couldn't get version/kind; json parse error: {problem}") from None
    wrong_kind = kind_problem(raw) or _foreign_options(raw)
    if wrong_kind:
        raise bad_request(wrong_kind)
    options: Obj = raw
    return options


def _foreign_options(raw: Obj) -> str:
    """Why another kind does not stand for DeleteOptions, which every group and version has."""
    kind, version = raw.get("kind") or _OPTIONS, raw.get("apiVersion") or "v1"
    if kind == _OPTIONS:
        return ""
    if version == "v1" and kind in _META_KINDS:
        return f"converting (v1.{kind}) to (v1.{_OPTIONS}): unknown conversion"
    return f'no kind "{kind}" is registered for version "{version}" in scheme "{_META_SCHEME}"'


def checked_delete_options(raw: Obj) -> DeleteOptions:
    """A DeleteOptions object, its values checked; raises StatusError 400 and 422."""
    preconditions = raw.get("preconditions") or {}
    _check_types(raw, preconditions)
    policy = raw.get("propagationPolicy")
    orphan = raw.get("orphanDependents")
    dry_run = raw.get("dryRun") or []
    errors: list[FieldError] = []
    if orphan is not None and policy is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(invalid_value("propagationPolicy", policy, why))
    if policy is not None and policy not in _PROPAGATIONS:
        errors.append(not_supported("propagationPolicy", policy, [*_PROPAGATIONS, "nil"]))
    errors += _dry_run_errors(dry_run)
    if errors:
        raise _invalid("DeleteOptions", errors)
    return DeleteOptions(
        raw.get("gracePeriodSeconds"),
        preconditions.get("uid"),
        preconditions.get("resourceVersion"),
        orphan,
        policy,
        bool(dry_run),
    )


_DELETE_TYPES: dict[str, type] = {
    "gracePeriodSeconds": int,
    "propagationPolicy": str,
    "orphanDependents": bool,
    "dryRun": list,
    "preconditions": dict,
}
_JSON_NAMES = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}
_POLICY_TYPE = "v1.DeletionPropagation"
_GO_NAMES = {int: "int64", str: "string", bool: "bool", list: "[]string", dict: "v1.Preconditions"}


def _check_types(raw: Obj, preconditions: Obj) -> None:
    for name, wanted in _DELETE_TYPES.items():
        go_type = _POLICY_TYPE if name == "propagationPolicy" else ""
        _check_type(f"DeleteOptions.{name}", raw.get(name), wanted, go_type)
    for name in ("uid", "resourceVersion"):
        _check_type(f"Preconditions.preconditions.{name}", preconditions.get(name), str)
    for text in raw.get("dryRun") or []:
        _check_type("DeleteOptions.dryRun", text, str)


def _check_type(field: str, value: object, wanted: type, go_type: str = "") -> None:
    if value is None or type(value) is wanted:
        return
    found = _JSON_NAMES.get(type(value), "object")
    raise bad_request(
        f"json: cannot unmarshal {found} into Go struct field {field} of type "
        f"{go_type or _GO_NAMES[wanted]}"
    )


def _dry_run_errors(values: list[str]) -> list[FieldError]:
    if all(value == "All" for value in values):
        return []
    return [not_supported("dryRun", values, ["All"])]


def _integer(text: str) -> int:
    if not text:
        return 0
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit()):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    number = int(digits) if len(digits) < 20 else 2**64
    number = -number if text[0] == "-" else number
    if not -(2**63) <= number < 2**63:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


def _invalid(kind: str, errors: list[FieldError]) -> Exception:
    return invalid(kind, "", errors, META_GROUP)
