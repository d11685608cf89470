"""Reading .proto declarations."""

import pytest

from kybern.rpc.client import RpcError
from kybern.rpc.proto import ProtoError, load, parse

DECLARATION = """
// A comment.
syntax = "proto3";
package lab.v1;
service Lab { rpc Try(Outer) returns (stream Outer.Inner); }
enum Color { RED = 0; BLUE = 2; }
message Outer {
  /* Another
     one. */
  message Inner { string text = 1; }
  enum Kind { A = 0; B = 1; }
  repeated Inner inner = 1;
  map<string, Inner> by_name = 2;
  Kind kind = 3;
  Color color = 4;
  oneof choice {
    int64 number = 5;
    bytes data = 6;
  }
}
"""


def test_a_declaration_becomes_working_messages() -> None:
    lab = parse("lab.proto", DECLARATION)
    made = lab.Outer(inner=[lab.Outer.Inner(text="x")], kind=lab.Outer.B, color=lab.BLUE, number=7)
    made.by_name["k"].text = "v"
    made.data = b"wins"
    read = lab.Outer.FromString(made.SerializeToString())
    assert read == made
    assert read.WhichOneof("choice") == "data"
    assert read.inner[0].text == "x"
    method = lab.services["Lab"]["Try"]
    assert method.path == "/lab.v1.Lab/Try"
    assert (method.client_streams, method.server_streams) == (False, True)


@pytest.mark.parametrize(
    "text", ["import x;", 'syntax = "proto2";', "message M { Nothing n = 1; }", "service S { x }"]
)
def test_what_the_parser_does_not_know_is_an_error(text: str) -> None:
    with pytest.raises(ProtoError):
        parse("bad.proto", text)


@pytest.mark.parametrize("name", ["cri.proto", "containerd.proto", "health.proto"])
def test_every_declaration_of_the_house_loads(name: str) -> None:
    assert load(name).services


def test_field_numbers_are_the_interfaces() -> None:
    cri = load("cri.proto")
    made = cri.PodSandboxMetadata(name="n", uid="u", namespace="s", attempt=1)
    assert made.SerializeToString() == b"\x0a\x01n\x12\x01u\x1a\x01s\x20\x01"


def test_errors_read_like_upstreams() -> None:
    error = RpcError("DEADLINE_EXCEEDED", "too slow")
    assert str(error) == "rpc error: code = DeadlineExceeded desc = too slow"
