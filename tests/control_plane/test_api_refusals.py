"""What the API server says to requests that it refuses: upstream's codes, reasons and texts."""

import pytest
from api_lab import serving

CM = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
JSON = "application/json"
MODIFIED = (
    'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
    "please apply your changes to the latest version and try again"
)

# method, path, body, content type, code, reason, message
REFUSALS = [
    (
        "POST",
        CM,
        {"metadata": {"name": "a"}},
        JSON,
        409,
        "AlreadyExists",
        'configmaps "a" already exists',
    ),
    (
        "POST",
        CM,
        {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "b"}},
        JSON,
        400,
        "BadRequest",
        'Service in version "v1" cannot be handled as a ConfigMap: converting (v1.Service) to '
        "(core.ConfigMap): unknown conversion",
    ),
    (
        "POST",
        CM,
        {"kind": "Foo", "apiVersion": "v1"},
        JSON,
        400,
        "BadRequest",
        'Foo in version "v1" cannot be handled as a ConfigMap: no kind "Foo" is registered for '
        'version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30"',
    ),
    (
        "POST",
        CM,
        {"metadata": {"name": "b", "namespace": "kube-system"}},
        JSON,
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    (
        "POST",
        CM,
        b"{bad",
        JSON,
        400,
        "BadRequest",
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get "
        "version/kind; json parse error: invalid character 'b' looking for beginning of object "
        "key string ({bad)",
    ),
    (
        "POST",
        CM,
        {},
        JSON,
        422,
        "Invalid",
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
    ),
    (
        "POST",
        CM,
        {"metadata": {"name": 5}},
        JSON,
        400,
        "BadRequest",
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number '
        "into Go struct field ObjectMeta.metadata.name of type string",
    ),
    (
        "POST",
        f"{CM}?dryRun=Foo",
        {"metadata": {"name": "c"}},
        JSON,
        422,
        "Invalid",
        'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Foo"]: supported '
        'values: "All"',
    ),
    (
        "POST",
        f"{CM}?fieldValidation=Foo",
        {"metadata": {"name": "c"}},
        JSON,
        422,
        "Invalid",
        'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Foo": '
        'supported values: "", "Ignore", "Strict", "Warn"',
    ),
    (
        "POST",
        "/api/v1/namespaces/nope/configmaps",
        {"metadata": {"name": "c"}},
        JSON,
        404,
        "NotFound",
        'namespaces "nope" not found',
    ),
    (
        "POST",
        f"{CM}?fieldValidation=Strict",
        b'{"metadata":{"name":"w","zap":{}},"foo":1,"data":{"a":"1","a":"2"}}',
        JSON,
        400,
        "BadRequest",
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
        'unknown field "metadata.zap", unknown field "foo", duplicate field "data.a"',
    ),
    ("POST", CM, b"x" * (3 * 1024 * 1024 + 1), JSON, 413, "RequestEntityTooLarge", ""),
    (
        "GET",
        "/api/v1/nope",
        None,
        JSON,
        404,
        "NotFound",
        "the server could not find the requested resource",
    ),
    (
        "GET",
        "/apis/apps/v9",
        None,
        JSON,
        404,
        "NotFound",
        "the server could not find the requested resource",
    ),
    (
        "PUT",
        CM,
        {},
        JSON,
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    ),
    ("POST", f"{CM}/a", {}, JSON, 405, "MethodNotAllowed", ""),
    ("OPTIONS", "/api/v1/pods", None, JSON, 405, "MethodNotAllowed", ""),
    ("HEAD", "/api/v1/pods", None, JSON, 405, "MethodNotAllowed", ""),
    ("POST", "/api/v1/pods", {"metadata": {"name": "x"}}, JSON, 405, "MethodNotAllowed", ""),
    ("DELETE", "/api/v1/namespaces", None, JSON, 405, "MethodNotAllowed", ""),
    ("GET", "/api/v1/pods/x", None, JSON, 404, "NotFound", ""),
    ("GET", "/api/v1/namespaces/default/nodes", None, JSON, 404, "NotFound", ""),
    ("GET", "/api/v1/namespaces/default/pods/x/nope", None, JSON, 404, "NotFound", ""),
    (
        "GET",
        "/api/v1/namespaces/default/pods/x/status",
        None,
        JSON,
        404,
        "NotFound",
        'pods "x" not found',
    ),
    ("PUT", f"{CM}/a/status", {}, JSON, 404, "NotFound", ""),
    (
        "GET",
        f"{CM}?fieldSelector=spec.foo=1",
        None,
        JSON,
        400,
        "BadRequest",
        '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
    ),
    (
        "GET",
        "/api/v1/pods?fieldSelector=spec.foo=1",
        None,
        JSON,
        400,
        "BadRequest",
        "field label not supported: spec.foo",
    ),
    (
        "GET",
        f"{CM}?fieldSelector=!",
        None,
        JSON,
        400,
        "BadRequest",
        "invalid selector: '!'; can't understand '!'",
    ),
    (
        "GET",
        f"{CM}?limit=x",
        None,
        JSON,
        400,
        "BadRequest",
        'strconv.ParseInt: parsing "x": invalid syntax',
    ),
    (
        "GET",
        f"{CM}?resourceVersion=x",
        None,
        JSON,
        400,
        "BadRequest",
        'invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: '
        'parsing "x": invalid syntax',
    ),
    (
        "GET",
        f"{CM}?resourceVersionMatch=Exact",
        None,
        JSON,
        422,
        "Invalid",
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
        "resourceVersionMatch is forbidden unless resourceVersion is provided",
    ),
    (
        "GET",
        f"{CM}?watch=1&sendInitialEvents=true",
        None,
        JSON,
        422,
        "Invalid",
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents '
        "requires setting resourceVersionMatch to NotOlderThan",
    ),
    (
        "PUT",
        f"{CM}/a",
        {"metadata": {"name": "b"}},
        JSON,
        400,
        "BadRequest",
        "the name of the object (b) does not match the name on the URL (a)",
    ),
    (
        "PUT",
        f"{CM}/a",
        {},
        JSON,
        400,
        "BadRequest",
        "the name of the object (a based on URL) was undeterminable: name must be provided",
    ),
    (
        "PUT",
        f"{CM}/a",
        {"metadata": {"name": "a", "resourceVersion": "1"}},
        JSON,
        409,
        "Conflict",
        MODIFIED,
    ),
    (
        "PUT",
        f"{CM}/zz",
        {"metadata": {"name": "zz"}},
        JSON,
        404,
        "NotFound",
        'configmaps "zz" not found',
    ),
    ("PATCH", f"{CM}/a", {}, JSON, 415, "UnsupportedMediaType", "415: Unsupported Media Type"),
    (
        "PATCH",
        f"{CM}/a",
        [],
        MERGE,
        400,
        "BadRequest",
        "error decoding patch: json: cannot unmarshal array into Go value of type "
        "map[string]interface {}",
    ),
    (
        "PATCH",
        f"{CM}/a",
        b"{bad",
        MERGE,
        400,
        "BadRequest",
        "error decoding patch: invalid character 'b' looking for beginning of object key string",
    ),
    (
        "PATCH",
        f"{CM}/a",
        [],
        STRATEGIC,
        400,
        "BadRequest",
        "json: cannot unmarshal array into Go value of type map[string]interface {}",
    ),
    (
        "PATCH",
        f"{CM}/a",
        {},
        JSON_PATCH,
        400,
        "BadRequest",
        "error decoding patch: json: cannot unmarshal object into Go value of type "
        "[]handlers.jsonPatchOp",
    ),
    (
        "PATCH",
        f"{CM}/a",
        {"metadata": {"name": "z"}},
        STRATEGIC,
        400,
        "BadRequest",
        "the name of the object (z) does not match the name on the URL (a)",
    ),
    (
        "PATCH",
        f"{CM}/a?fieldValidation=Strict",
        {"foo": {"name": "z"}},
        STRATEGIC,
        422,
        "Invalid",
        ' "" is invalid: patch: Invalid value: "map[foo:map[name:z]]": strict decoding error: '
        'unknown field "foo"',
    ),
    ("PATCH", f"{CM}/zz", {}, MERGE, 404, "NotFound", 'configmaps "zz" not found'),
    (
        "PATCH",
        f"{CM}/zz",
        {"apiVersion": "v1", "kind": "ConfigMap"},
        APPLY,
        422,
        "Invalid",
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for '
        "apply patch",
    ),
    (
        "PATCH",
        f"{CM}/zz?fieldManager=m",
        {"apiVersion": "v1", "kind": "Foo"},
        APPLY,
        400,
        "BadRequest",
        "invalid object type: /v1, Kind=Foo",
    ),
    *(
        (
            "PATCH",
            f"{CM}/zz?fieldManager={manager}",
            {"apiVersion": "v1", "kind": "ConfigMap", **metadata},
            APPLY,
            400,
            "BadRequest",
            "the name of the object (zz based on URL) was undeterminable: name must be provided",
        )
        for manager in ("m", "kubectl")
        for metadata in ({}, {"metadata": {}}, {"metadata": None})
    ),
    (
        "PATCH",
        f"{CM}/a?force=true",
        {},
        MERGE,
        422,
        "Invalid",
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for '
        "non-apply patch",
    ),
    ("DELETE", f"{CM}/zz", None, JSON, 404, "NotFound", 'configmaps "zz" not found'),
    (
        "DELETE",
        f"{CM}/a?gracePeriodSeconds=x",
        None,
        JSON,
        400,
        "BadRequest",
        'strconv.ParseInt: parsing "x": invalid syntax',
    ),
    (
        "DELETE",
        f"{CM}/a",
        {"propagationPolicy": "X"},
        JSON,
        422,
        "Invalid",
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "X": '
        'supported values: "Foreground", "Background", "Orphan", "nil"',
    ),
]


async def test_refusals_are_upstreams() -> None:
    wrong: list[str] = []
    async with serving() as lab:
        await lab.call("POST", CM, {"metadata": {"name": "a"}, "data": {"k": "v"}})
        before = (await lab.call("GET", f"{CM}/a")).body
        for method, path, body, content_type, code, reason, message in REFUSALS:
            answer = await lab.call(method, path, body, content_type)
            status = answer.json()
            found = (answer.status, status.get("reason"), status.get("message"))
            expected = (code, reason, message or status.get("message"))
            if found != expected or status.get("kind") != "Status" or status["code"] != code:
                wrong.append(f"{method} {path}\n  {found}\n  {expected}")
        after = (await lab.call("GET", f"{CM}/a")).body
    assert not wrong, "\n".join(wrong)
    assert before == after


@pytest.mark.parametrize("path", ["/nope", "/apis/nope", "/apis/nope/v1/foo"])
async def test_unknown_paths_are_plain_text(path: str) -> None:
    async with serving() as lab:
        answer = await lab.call("GET", path)
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


async def test_unacceptable_media_types() -> None:
    async with serving() as lab:
        page = await lab.call("GET", CM, accept="text/html")
        form = await lab.call("GET", CM, accept="application/json;as=Foo;v=v1;g=meta.k8s.io")
    assert page.status == form.status == 406
    assert page.json()["message"].startswith("406: Not Acceptable")
    assert form.json()["message"].startswith("only the following media types are accepted:")


async def test_preconditions_of_deletes_and_updates() -> None:
    async with serving() as lab:
        await lab.call("POST", CM, {"metadata": {"name": "a"}})
        by_uid = await lab.call("DELETE", f"{CM}/a", {"preconditions": {"uid": "x"}})
        by_version = await lab.call(
            "DELETE", f"{CM}/a", {"preconditions": {"resourceVersion": "1"}}
        )
        put = await lab.call("PUT", f"{CM}/a", {"metadata": {"name": "a", "uid": "zz"}})
    assert (by_uid.status, by_version.status, put.status) == (409, 409, 409)
    assert "the UID in the precondition (x) does not match" in by_uid.json()["message"]
    assert "the ResourceVersion in the precondition (1)" in by_version.json()["message"]
    assert "Precondition failed: UID in precondition: zz" in put.json()["message"]
