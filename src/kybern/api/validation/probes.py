"""Validation of probes and lifecycle handlers."""

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.validation.fields import not_negative, port_or_name
from kybern.api.validation.names import is_http_header_name

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_COUNTS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
_WINDOWS_SIGNALS = ("SIGKILL", "SIGTERM")
_SIGNALS = (
    "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT RTMAX RTMIN "
    "SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ"
)
_REALTIME = [f"RTMIN+{n}" for n in range(1, 16)] + [f"RTMAX-{n}" for n in range(1, 15)]
_LINUX_SIGNALS = tuple(sorted("SIG" + name for name in [*_SIGNALS.split(" "), *_REALTIME]))


def probes(container: Obj, grace: int | None, path: str) -> list[FieldError]:
    """The three probes of a container."""
    errors: list[FieldError] = []
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is None:
            continue
        at = f"{path}.{name}"
        errors += _probe(probe, grace, at)
        if name == "readinessProbe":
            seconds = probe.get("terminationGracePeriodSeconds")
            if seconds is not None:
                text = "must not be set for readinessProbes"
                errors.append(invalid_value(f"{at}.terminationGracePeriodSeconds", seconds, text))
        elif probe.get("successThreshold") != 1:
            value = probe.get("successThreshold", 0)
            errors.append(invalid_value(f"{at}.successThreshold", value, "must be 1"))
    return errors


def _probe(probe: Obj, grace: int | None, path: str) -> list[FieldError]:
    errors = _handler(probe, grace, path)
    for name in _COUNTS:
        errors += not_negative(probe.get(name), f"{path}.{name}")
    seconds = probe.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds <= 0:
        at = f"{path}.terminationGracePeriodSeconds"
        errors.append(invalid_value(at, seconds, "must be greater than 0"))
    return errors


def lifecycle(hooks: Obj, grace: int | None, os: Obj | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in ("postStart", "preStop"):
        if hooks.get(name) is not None:
            errors += _handler(hooks[name], grace, f"{path}.{name}")
    signal = hooks.get("stopSignal")
    if signal is not None:
        errors += _stop_signal(signal, os, f"{path}.stopSignal")
    return errors


def _stop_signal(signal: str, os: Obj | None, path: str) -> list[FieldError]:
    if os is None:
        return [field_forbidden(path, "may not be set for containers with empty `spec.os.name`")]
    known = _WINDOWS_SIGNALS if os.get("name") == "windows" else _LINUX_SIGNALS
    return [] if signal in known else [not_supported(path, signal, known)]


def _handler(holder: Obj, grace: int | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    found = False
    for name in _HANDLERS:
        action = holder.get(name)
        if action is None:
            continue
        if found:
            text = "may not specify more than 1 handler type"
            errors.append(field_forbidden(f"{path}.{name}", text))
            continue
        found = True
        errors += _action(name, action, grace, f"{path}.{name}")
    if not found:
        errors.append(required(path, "must specify a handler type"))
    return errors


def _action(name: str, action: Obj, grace: int | None, path: str) -> list[FieldError]:
    match name:
        case "exec":
            return [] if action.get("command") else [required(f"{path}.command")]
        case "httpGet":
            return _http_get(action, path)
        case "sleep":
            seconds = action.get("seconds", 0)
            if seconds < 0 or (grace is not None and seconds > grace):
                text = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                return [invalid_value(path, seconds, text)]
            return []
    return port_or_name(action.get("port", 0), f"{path}.port")


def _http_get(action: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not action.get("path"):
        errors.append(required(f"{path}.path"))
    errors += port_or_name(action.get("port", 0), f"{path}.port")
    scheme = action.get("scheme", "")
    if scheme not in ("HTTP", "HTTPS"):
        errors.append(not_supported(f"{path}.scheme", scheme, ("HTTP", "HTTPS")))
    for header in action.get("httpHeaders") or ():
        for message in is_http_header_name(header.get("name", "")):
            errors.append(invalid_value(f"{path}.httpHeaders", header.get("name", ""), message))
    return errors
