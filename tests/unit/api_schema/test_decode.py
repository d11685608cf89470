"""Decoding request bodies: what is accepted, and upstream's words for what is not."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.errors import StatusError
from kybern.api.schema import schema_for
from kybern.api.schema.json_syntax import syntax_problem

POD = schema_for("", "v1", "Pod")
DEPLOYMENT = schema_for("apps", "v1", "Deployment")
SECRET = schema_for("", "v1", "Secret")
LEASE = schema_for("coordination.k8s.io", "v1", "Lease")

UNMARSHAL = 'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal '
PROBE = "HTTPGetAction.spec.containers.livenessProbe.ProbeHandler.httpGet.port"


def probe(port: object) -> dict[str, object]:
    return {"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": port}}}]}}


@pytest.mark.parametrize(
    ("obj", "complaint"),
    [
        (
            {"spec": {"containers": "x"}},
            "string into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            {"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}},
            "string into Go struct field ContainerPort.spec.containers.ports.containerPort"
            " of type int32",
        ),
        (
            {"metadata": {"labels": {"a": 1}}},
            "number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            {"spec": {"restartPolicy": 1}},
            "number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
        ),
        ({"spec": []}, "array into Go struct field Pod.spec of type v1.PodSpec"),
        (
            {"spec": {"priority": 2**31}},
            "number 2147483648 into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            {"spec": {"terminationGracePeriodSeconds": 1.5}},
            "number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds"
            " of type int64",
        ),
        (probe(True), f"bool into Go struct field {PROBE} of type int32"),
        (probe({}), f"object into Go struct field {PROBE} of type int32"),
    ],
)
def test_wrong_types_are_named_as_upstream_names_them(obj: object, complaint: str) -> None:
    with pytest.raises(StatusError) as caught:
        POD.decode(orjson.dumps(obj))
    assert caught.value.code == 400
    assert caught.value.message == UNMARSHAL + complaint


@pytest.mark.parametrize(
    ("schema", "obj", "complaint"),
    [
        (POD, {"spec": {"overhead": {"cpu": "x"}}}, "quantities must match the regular expression"),
        (POD, {"spec": {"overhead": {"cpu": True}}}, "quantities must match the regular"),
        (POD, {"metadata": {"creationTimestamp": "x"}}, 'parsing time "x" as "2006-01-02T15:04'),
        (SECRET, {"data": {"a": "%%"}}, "illegal base64 data at input byte 0"),
        (SECRET, {"data": {"a": "YWJj!"}}, "illegal base64 data at input byte 4"),
        (LEASE, {"spec": {"renewTime": "2020-01-01T00:00:00Z"}}, 'cannot parse "Z" as ".000000"'),
    ],
)
def test_wrong_content_is_refused(schema: object, obj: object, complaint: str) -> None:
    with pytest.raises(StatusError) as caught:
        schema.decode(orjson.dumps(obj))  # type: ignore[attr-defined]
    assert caught.value.code == 400
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "unexpected end of JSON input (<empty>)"),
        (b"{", "unexpected end of JSON input ({)"),
        (b"nul", "invalid character ' ' in literal null (expecting 'l') (6e756c)"),
        (b'{"a":}', "invalid character '}' looking for beginning of value"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string"),
        (b'{"a":"\n"}', "invalid character '\\n' in string literal"),
        (b'{"a":1}x', "invalid character 'x' after top-level value"),
        (b'{"a":01}', "invalid character '1' after object key:value pair"),
        (b'{"a":-}', "invalid character '}' in numeric literal"),
        (b'{"a":1.}', "invalid character '}' after decimal point in numeric literal"),
        (b'{"a":1e+}', "invalid character '}' in exponent of numeric literal"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'{"a":"\\x"}', "invalid character 'x' in string escape code"),
        (b"[" * 5000, "unexpected end of JSON input"),
        (b"[" * 300 + b"]" * 300, "exceeded max depth"),
        (b"[" * 3000 + b"]" * 3000, "exceeded max depth"),
        (b"[]", "json: cannot unmarshal array into Go value of type struct {"),
        (b'{"kind":1}', "json: cannot unmarshal number into Go struct field .kind of type string"),
    ],
)
def test_malformed_bodies_are_explained(body: bytes, complaint: str) -> None:
    with pytest.raises(StatusError) as caught:
        POD.decode(body)
    assert caught.value.code == 400
    assert caught.value.message.startswith(
        "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; "
        f"json parse error: {complaint}"
    )


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (
            {"kind": "Service"},
            'Service in version "v1" cannot be handled as a Pod: converting (v1.Service) to '
            "(core.Pod): unknown conversion",
        ),
        (
            {"apiVersion": "v2"},
            'Pod in version "v2" cannot be handled as a Pod: no kind "Pod" is registered for '
            'version "v2" in scheme "pkg/api/legacyscheme/scheme.go:30"',
        ),
        (
            {"apiVersion": "a/b/c"},
            "the object provided is unrecognized (must be of type Pod): unexpected GroupVersion "
            'string: a/b/c ({"apiVersion":"a/b/c"})',
        ),
    ],
)
def test_other_kinds_are_refused(obj: object, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        POD.decode(orjson.dumps(obj))
    assert caught.value.message == message


def test_another_version_of_the_kind_does_not_match() -> None:
    scaler = schema_for("autoscaling", "v2", "HorizontalPodAutoscaler")
    with pytest.raises(StatusError, match="does not match the expected API version"):
        scaler.decode(b'{"apiVersion":"autoscaling/v1"}')


def test_missing_kind_and_version_are_filled_in() -> None:
    obj = DEPLOYMENT.decode(b"{}").obj
    assert (obj["apiVersion"], obj["kind"]) == ("apps/v1", "Deployment")
    assert POD.decode(b"null").obj["kind"] == "Pod"


def test_unknown_fields_are_reported_and_dropped() -> None:
    body = {"spec": {"foo": 1, "containers": [{"name": "a", "env": [{"nam": 1}]}]}, "baz": 2}
    decoded = POD.decode(orjson.dumps(body))
    assert decoded.unknown == ["spec.foo", "spec.containers[0].env[0].nam", "baz"]
    assert decoded.strict_problems()[0] == 'unknown field "spec.foo"'
    assert "foo" not in decoded.obj["spec"]
    assert "baz" not in decoded.obj


def test_duplicates_are_reported_wherever_they_are() -> None:
    body = (
        b'{"spec":{"containers":[{"name":"a","name" : "b"}],"containers":[]},'
        b'"metadata":{"labels":{"a":"b","a":"c"}},"metadata":{}}'
    )
    decoded = POD.decode(body)
    assert decoded.duplicates == [
        "spec.containers[0].name",
        "spec.containers",
        "metadata.labels.a",
        "metadata",
    ]
    assert decoded.strict_problems()[0] == 'duplicate field "spec.containers[0].name"'


def test_text_that_looks_like_keys_is_no_duplicate() -> None:
    body = orjson.dumps({"metadata": {"annotations": {"a": '{"x":1,"x":2}', 'b":': ""}}})
    assert POD.decode(body).duplicates == []


def test_yaml_bodies() -> None:
    decoded = POD.decode(b"metadata:\n  name: x\n  name: z\n", "application/yaml")
    assert decoded.obj["metadata"]["name"] == "z"
    assert decoded.strict_problems() == ['line 3: key "name" already set in map']
    with pytest.raises(StatusError, match="yaml: line 1: did not find expected node content"):
        POD.decode(b"a: [", "application/yaml; charset=utf-8")


def test_bad_utf8_is_replaced() -> None:
    decoded = POD.decode(b'{"metadata":{"name":"a\xff"}}')
    assert decoded.obj["metadata"]["name"] == "a�"


def test_recursive_types_stop_at_the_bound() -> None:
    crd = schema_for("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    deep: dict[str, object] = {"type": "object"}
    for _ in range(55):
        deep = {"properties": {"a": deep}}
    spec = {"versions": [{"schema": {"openAPIV3Schema": deep}}]}
    assert crd.decode(orjson.dumps({"spec": spec})).unknown == []


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9) | st.text(),
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(
            st.sampled_from(["spec", "metadata", "containers", "labels", "name", "ports", "x"]),
            v,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_json)
def test_any_json_is_decoded_or_refused_with_400(value: object) -> None:
    try:
        decoded = POD.decode(orjson.dumps(value))
    except StatusError as problem:
        assert problem.code == 400
        return
    assert POD.normalise(decoded.obj) == decoded.obj


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused_with_400(body: bytes) -> None:
    for media_type in ("application/json", "application/yaml"):
        try:
            POD.decode(body, media_type)
        except StatusError as problem:
            assert problem.code == 400


@pytest.mark.parametrize(
    "text", ['{"a":[1,{"b":"x\\"[{,"}],"ü":{},"d":[[],[true]]}', '  [1, {"x" : -1.5e3 } ]']
)
def test_a_syntax_error_reads_the_same_from_wherever_its_search_begins(text: str) -> None:
    for at in range(len(text)):
        for put in ("", "}", "]", ",", ":", '"', "x", "0"):
            body = (text[:at] + put + text[at + 1 :]).encode()
            try:
                orjson.loads(body)
            except orjson.JSONDecodeError as error:
                sound = len(body.decode()[: error.pos].encode())
                assert syntax_problem(body, sound) == syntax_problem(body), body


def test_halves_of_characters_are_replaced() -> None:
    decoded = POD.decode(b'{"metadata":{"name":"a\\ud800","namespace":"\\ud83d\\ude00\\\\ud800"}}')
    assert decoded.obj["metadata"]["name"] == "a\ufffd"
    assert decoded.obj["metadata"]["namespace"] == "\U0001f600\\ud800"
