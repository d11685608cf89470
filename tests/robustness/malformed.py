"""What no server should be sent: bodies, queries and paths that are wrong for certain.

Names say what is wrong; they are the ids of the tests' cases.
"""

MEBIBYTE = 1024 * 1024

JSON_BODIES: dict[str, bytes] = {
    "cut off": b'{"metadata":{"name":"x"',
    "trailing garbage": b'{"metadata":{"name":"x"}} x',
    "two documents": b'{"metadata":{"name":"x"}}{"metadata":{"name":"x"}}',
    "list": b'[{"metadata":{"name":"x"}}]',
    "string": b'"x"',
    "number": b"5",
    "not a number": b'{"metadata":NaN}',
    "single quotes": b"{'metadata':{'name':'x'}}",
    "utf-16": '{"metadata":{"name":"x"}}'.encode("utf-16"),
    "nul": b'{"metadata":{"name":"x\x00"}}',
    "open brackets": b"[" * 100_000,
    "open objects": b'{"a":' * 100_000,
    "deep nesting": b'{"metadata":' * 20_000 + b"{}" + b"}" * 20_000,
    "deep lists": b'{"metadata":{"annotations":' + b"[" * 20_000 + b"]" * 20_000 + b"}}",
    "huge number": b'{"metadata":{"name":' + b"9" * 100_000 + b"}}",
    "name is a number": b'{"metadata":{"name":5}}',
    "metadata is a list": b'{"metadata":[]}',
    "labels hold numbers": b'{"metadata":{"name":"x","labels":{"a":1}}}',
    "kind is an object": b'{"kind":{},"metadata":{"name":"x"}}',
    "version is a number": b'{"apiVersion":1,"metadata":{"name":"x"}}',
    "bad time": b'{"metadata":{"name":"x","creationTimestamp":"yesterday"}}',
    "too large": b'{"metadata":{"name":"' + b"x" * 4 * MEBIBYTE + b'"}}',
    "millions of nulls": b'{"metadata":[' + b"null," * 500_000 + b"null]}",
}
YAML_BODIES: dict[str, bytes] = {
    "tab": b"metadata:\n\tname: x",
    "colons": b"metadata: name: x",
    "unclosed": b'metadata: {name: "x',
    "billion laughs": b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 10)) for c in range(98, 112)
    ),
    "endless alias": b"metadata: &a {name: x, labels: *a}",
    "unknown alias": b"metadata: *nobody",
    "python object": b"metadata: !!python/object/apply:os.system ['true']",
    "invalid utf-8": b"metadata:\n  name: \xff\xfe",
    "control character": b"metadata:\n  name: \x07",
    "scalar": b"x",
    "list": b"- metadata:\n    name: x",
    "open brackets": b"[" * 100_000,
    "deep nesting": b"".join(b" " * n + b"a:\n" for n in range(1500)),
    "name is a number": b"metadata: {name: 5}",
    "list as key": b"{[a, b]: c}",
    "too large": b"metadata: {name: " + b"x" * 4 * MEBIBYTE + b"}",
    "millions of nulls": b"metadata: [" + b",".join([b"~"] * 1_000_000) + b"]",
}
# Refused for their size alone, which takes a while to find out.
HEAVY = (YAML_BODIES["millions of nulls"],)
PATCHES: dict[str, list[bytes]] = {
    "application/json-patch+json": [
        *(b"{}", b"5", b'["x"]', b"[[]]", b'[{"op":"x","path":"/a"}]', b'[{"op":"add"}]'),
        *(b'[{"op":"add","path":"a","value":1}]', b'[{"op":"remove","path":"/nobody"}]'),
        *(b'[{"op":"test","path":"/data","value":1}]', b'[{"op":"replace","path":"/data/0/0"}]'),
        b'[{"op":"copy","from":"/nobody/x","path":"/data"}]',
        b'[{"op":"move","from":"/metadata","path":"/metadata/labels"}]',
        b'[{"op":"replace","path":"","value":5}]',
        b'[{"op":"replace","path":"/metadata","value":[]}]',
        b"[" + b",".join([b'{"op":"test","path":"/kind","value":"ConfigMap"}'] * 10_001) + b"]",
    ],
    "application/merge-patch+json": [
        *(b"[]", b"5", b'"x"', b'{"metadata":5}', b'{"metadata":{"name":"other"}}', b'{"data":[]}'),
        *(b'{"data":{"a":{}}}', b'{"metadata":{"uid":"other"}}', b'{"metadata":{"labels":5}}'),
    ],
    "application/strategic-merge-patch+json": [
        *(b"[]", b"5", b'{"metadata":5}', b'{"data":[]}', b'{"metadata":{"ownerReferences":{}}}'),
        *(b'{"$patch":"x"}', b'{"metadata":{"$patch":5}}', b'{"metadata":{"finalizers":[{}]}}'),
        b'{"metadata":{"$deleteFromPrimitiveList/finalizers":5}}',
        b'{"metadata":{"$retainKeys":5}}',
    ],
    "application/apply-patch+yaml": [
        *(b"[]", b"5", b"metadata: 5", b"{}", b"kind: Pod", b"apiVersion: v1\nkind: Pod"),
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}",
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, managedFields: [{}]}",
        b"apiVersion: v1\nkind: ConfigMap\nunknown: field",
    ],
}
QUERIES: tuple[dict[str, str], ...] = (
    *({"labelSelector": text} for text in ("=", "a in", "a in (", "a=b=c", "a==,", "!", "a b")),
    *({"labelSelector": text} for text in ("a=" + "x" * 64, "x" * 400, "a>x", "/a=b", "a(b)")),
    *({"fieldSelector": text} for text in ("spec.nobody=x", "metadata.name", "a=b=c", "a,b")),
    *({"resourceVersion": text} for text in ("x", "-1", "1.5", "0x1", "9" * 400, " ", "\u0661")),
    *({"continue": text} for text in ("x", "e30", "W10", "%%%", "A" * 20_000, "bnVsbA")),
    *({"limit": text} for text in ("x", "1.5", "9" * 30)),
    *({"timeoutSeconds": text} for text in ("x", "1.5", "9" * 30)),
    *({"resourceVersionMatch": text} for text in ("Exact", "NotOlderThan", "x")),
    {"resourceVersionMatch": "x", "resourceVersion": "1"},
    {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
    {"sendInitialEvents": "true"},
    {"watch": "true", "sendInitialEvents": "true"},
    {"watch": "true", "resourceVersion": "x"},
    {"watch": "true", "labelSelector": "="},
)
CONTENT_TYPES = (
    *("text/plain", "application/xml", "application/octet-stream", "x", "/", "application/json+x"),
    *("multipart/form-data; boundary=x", "application/jsonx", "x" * 10_000, "application/"),
)
# JSON decoders of Go replace what is no Unicode; a name made of it suits hardly any kind.
REPLACED = (b'{"metadata":{"name":"\xff\xfe"}}', b'{"metadata":{"name":"\\ud800"}}')
DELETE_OPTIONS = (
    *(b"{", b"[]", b"5", b'"x"', b"[" * 100_000, b'{"kind":5}'),
    *(b'{"gracePeriodSeconds":"x"}', b'{"gracePeriodSeconds":1.5}', b'{"preconditions":[]}'),
    *(b'{"propagationPolicy":"x"}', b'{"dryRun":["x"]}', b'{"dryRun":"All"}', b'{"apiVersion":1}'),
    *(b'{"preconditions":{"uid":"other"}}', b'{"preconditions":{"resourceVersion":"1"}}'),
    b'{"propagationPolicy":"Orphan","orphanDependents":true}',
)
PATHS = (
    *("/api/v1/namespaces/default/pods/a/b/c/d", "/api/v1/namespaces/default/nobodies"),
    *("/api/v1/namespaces/../pods/x", "/api/v1/namespaces//pods/x", "/apis/apps/v9/deployments/x"),
    *("/api/v1/namespaces/default/pods/" + "x" * 100_000, "/apis/" + "a/" * 10_000),
    *("/api/v1/namespaces/de fault/pods/\x00", "/api/v1/pods/ü", "/api/v1/namespaces/x/pods/%"),
    *("/api/v1/nodes/x/nobody", "/apis/nobody/v1/x", "/nobody"),
    *("/api/v1/namespaces/default/pods/x/exec", "/api/v1/namespaces/default/pods/x/log"),
)
