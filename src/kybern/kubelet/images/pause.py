"""The sandbox ("pause") image: a static program of a few instructions that Kybern writes itself.

It holds a pod's namespaces and does nothing else, so no registry is needed to run the first pod.
The program ignores SIGCHLD, which makes the kernel reap orphans where containers share its process
namespace, and then sleeps for ever. The runtime ends it with SIGKILL.
"""

import platform
import struct

from kybern.kubelet.images.archive import Entry, Image

REFERENCE = "kybern.io/pause:1"

_BASE = 0x400000
_HEADERS = 64 + 56
# The kernel's sigaction for SIGCHLD: SIG_IGN, no flags, no restorer, no mask.
_IGNORE = struct.pack("<QQQQ", 1, 0, 0, 0)

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MACHINES = {"amd64": 62, "arm64": 183}


def _amd64() -> bytes:
    size = 33
    action = _BASE + _HEADERS + size
    code = b"\xb8" + struct.pack("<I", 13)  # eax = rt_sigaction
    code += b"\xbf" + struct.pack("<I", 17)  # edi = SIGCHLD
    code += b"\xbe" + struct.pack("<I", action)  # esi = the action
    code += b"\x31\xd2"  # edx = 0, no old action
    code += b"\x41\xba" + struct.pack("<I", 8)  # r10d = size of a signal mask
    code += b"\x0f\x05"  # syscall
    code += b"\xb8" + struct.pack("<I", 34)  # again: eax = pause
    code += b"\x0f\x05"  # syscall
    code += b"\xeb\xf7"  # jump to again
    code = code.ljust(size, b"\x90")
    return code + _IGNORE


def _arm64() -> bytes:
    action_distance = 11 * 4  # from the adr instruction to the action behind the code
    words = [
        0xD28010C8,  # x8 = rt_sigaction (134)
        0xD2800220,  # x0 = SIGCHLD (17)
        0x10000001 | (action_distance >> 2) << 5,  # x1 = the action
        0xD2800002,  # x2 = 0, no old action
        0xD2800103,  # x3 = size of a signal mask
        0xD4000001,  # supervisor call
        0xD2800928,  # again: x8 = ppoll (73)
        0xD2800000,  # x0 = 0, no descriptors
        0xD2800001,  # x1 = 0 of them
        0xD2800002,  # x2 = 0, no timeout
        0xD2800003,  # x3 = 0, no mask
        0xD4000001,  # supervisor call
        0x17FFFFFA,  # branch to again
    ]
    return struct.pack(f"<{len(words)}I", *words) + _IGNORE


def program(architecture: str) -> bytes:
    """The program as an ELF executable; raises KeyError for an unknown architecture."""
    machine = _MACHINES[architecture]
    body = _amd64() if architecture == "amd64" else _arm64()
    size = _HEADERS + len(body)
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header += struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    # One segment, readable and executable, aligned for the largest pages that arm64 uses.
    header += struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return header + body


def pause_image(machine: str = "") -> Image:
    """The image for a machine (``platform.machine()``; this one by default)."""
    architecture = ARCHITECTURES[machine or platform.machine()]
    return Image(
        REFERENCE,
        [Entry("pause", program(architecture), 0o755)],
        entrypoint=["/pause"],
        user="65535:65535",
        architecture=architecture,
    )
