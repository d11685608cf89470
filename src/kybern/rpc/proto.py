"""Reads a ``.proto`` file beside this module into protobuf message classes, at import.

Every protocol of the house (``cri.proto`` first) is a plain proto3 declaration that holds the
messages and fields that Kybern uses, with upstream's numbers. :func:`load` compiles it through
protobuf's own descriptor pool, so that no generator runs and no generated code is kept. The parser
knows the part of the language that such declarations need: messages and enums (nested too), maps,
``oneof``, ``repeated``, and services with streaming. Anything else is a :class:`ProtoError`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TOKEN = re.compile(r'"[^"]*"|[A-Za-z_][\w.]*|\d+|[{}()<>\[\]=;,]|\.[\w.]+')
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int64": _Field.TYPE_INT64,
    "uint64": _Field.TYPE_UINT64,
    "int32": _Field.TYPE_INT32,
    "uint32": _Field.TYPE_UINT32,
    "sint64": _Field.TYPE_SINT64,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}


class ProtoError(ValueError):
    """The declaration uses something that this parser does not know."""


@dataclass(frozen=True, slots=True)
class Method:
    """One call of a service: its wire path, its message classes, and what streams."""

    path: str
    request: Any
    response: Any
    client_streams: bool
    server_streams: bool


class Protocol:
    """One loaded declaration: ``protocol.PodSandboxConfig(...)``, ``protocol.services``.

    Top-level messages and enum values are attributes; nested ones hang off their message's class,
    as protobuf has it.
    """

    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        described = pool.FindFileByName(file.name)
        self._names: dict[str, Any] = {}
        for name, message in described.message_types_by_name.items():
            self._names[name] = message_factory.GetMessageClass(message)
        for enum in described.enum_types_by_name.values():
            self._names.update({value.name: value.number for value in enum.values})
        self.services: dict[str, dict[str, Method]] = {
            service.name: {
                method.name: Method(
                    f"/{file.package}.{service.name}/{method.name}",
                    message_factory.GetMessageClass(method.input_type),
                    message_factory.GetMessageClass(method.output_type),
                    method.client_streaming,
                    method.server_streaming,
                )
                for method in service.methods
            }
            for service in described.services_by_name.values()
        }

    def __getattr__(self, name: str) -> Any:
        try:
            return self._names[name]
        except KeyError:
            raise AttributeError(name) from None


def load(name: str) -> Protocol:
    """The protocol that the file ``name`` in this package declares."""
    return parse(name, Path(__file__).with_name(name).read_text())


def parse(name: str, text: str) -> Protocol:
    """The protocol that ``text`` declares."""
    return Protocol(_Parser(name, text).file())


class _Parser:
    def __init__(self, name: str, text: str) -> None:
        self._tokens: Iterator[str] = iter(_TOKEN.findall(_COMMENT.sub("", text)))
        self._file = descriptor_pb2.FileDescriptorProto(name=name, syntax="proto3")
        self._enums: set[str] = set()
        self._unresolved: list[tuple[Any, str]] = []

    def file(self) -> descriptor_pb2.FileDescriptorProto:
        for token in self._tokens:
            if token == "syntax":
                self._expect("=", '"proto3"', ";")
            elif token == "package":
                self._file.package = self._word()
                self._expect(";")
            elif token == "message":
                self._message(self._file.message_type.add(), "")
            elif token == "enum":
                self._enum(self._file.enum_type.add(), "")
            elif token == "service":
                self._service()
            else:
                raise ProtoError(f"unexpected {token!r}")
        for field, type_name in self._unresolved:
            self._resolve(field, type_name)
        return self._file

    def _word(self) -> str:
        return next(self._tokens)

    def _expect(self, *tokens: str) -> None:
        for token in tokens:
            found = self._word()
            if found != token:
                raise ProtoError(f"expected {token!r}, found {found!r}")

    def _message(self, message: Any, scope: str) -> None:
        message.name = self._word()
        path = f"{scope}.{message.name}" if scope else message.name
        self._expect("{")
        while (token := self._word()) != "}":
            if token == "message":
                self._message(message.nested_type.add(), path)
            elif token == "enum":
                self._enum(message.enum_type.add(), path)
            elif token == "oneof":
                message.oneof_decl.add(name=self._word())
                self._expect("{")
                while (inner := self._word()) != "}":
                    field = self._field(message, path, inner)
                    field.oneof_index = len(message.oneof_decl) - 1
            else:
                self._field(message, path, token)

    def _field(self, message: Any, path: str, token: str) -> Any:
        field = message.field.add(label=_Field.LABEL_OPTIONAL)
        if token == "map":
            self._map_type(message, path, field)
        else:
            if token == "repeated":
                field.label = _Field.LABEL_REPEATED
                token = self._word()
            self._set_type(field, token, path)
            field.name = self._word()
        self._expect("=")
        field.number = int(self._word())
        self._expect(";")
        return field

    def _map_type(self, message: Any, path: str, field: Any) -> None:
        """A map is a repeated nested entry message on the wire; protobuf wants it spelt out."""
        self._expect("<")
        key = self._word()
        self._expect(",")
        value = self._word()
        self._expect(">")
        field.name = self._word()
        entry_name = "".join(part.capitalize() for part in field.name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        for number, (name, type_name) in enumerate((("key", key), ("value", value)), start=1):
            inner = entry.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
            self._set_type(inner, type_name, path)
        field.label = _Field.LABEL_REPEATED
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{self._file.package}.{path}.{entry_name}"

    def _set_type(self, field: Any, type_name: str, path: str) -> None:
        scalar = _SCALARS.get(type_name)
        if scalar is not None:
            field.type = scalar
        else:
            self._unresolved.append((field, f"{path}/{type_name}"))

    def _resolve(self, field: Any, scoped: str) -> None:
        """Give a named type its full name: the innermost scope that declares it wins."""
        scope, _, type_name = scoped.partition("/")
        known = self._declared()
        while True:
            candidate = f"{scope}.{type_name}" if scope else type_name
            if candidate in known:
                is_enum = candidate in self._enums
                field.type = _Field.TYPE_ENUM if is_enum else _Field.TYPE_MESSAGE
                field.type_name = f".{self._file.package}.{candidate}"
                return
            if not scope:
                raise ProtoError(f"unknown type {type_name!r}")
            scope = scope.rpartition(".")[0]

    def _declared(self) -> set[str]:
        def walk(messages: Any, scope: str) -> Iterator[str]:
            for message in messages:
                path = f"{scope}.{message.name}" if scope else message.name
                yield path
                yield from walk(message.nested_type, path)

        return set(walk(self._file.message_type, "")) | self._enums

    def _enum(self, enum: Any, scope: str) -> None:
        enum.name = self._word()
        self._enums.add(f"{scope}.{enum.name}" if scope else enum.name)
        self._expect("{")
        while (token := self._word()) != "}":
            self._expect("=")
            enum.value.add(name=token, number=int(self._word()))
            self._expect(";")

    def _service(self) -> None:
        service = self._file.service.add(name=self._word())
        self._expect("{")
        while (token := self._word()) != "}":
            if token != "rpc":
                raise ProtoError(f"expected 'rpc', found {token!r}")
            method = service.method.add(name=self._word())
            method.client_streaming, method.input_type = self._argument()
            self._expect("returns")
            method.server_streaming, method.output_type = self._argument()
            self._expect(";")

    def _argument(self) -> tuple[bool, str]:
        self._expect("(")
        name = self._word()
        streams = name == "stream"
        if streams:
            name = self._word()
        self._expect(")")
        return streams, f".{self._file.package}.{name}"
