"""Built-in admission: one file per plugin, under upstream's names, in upstream's order.

A verb makes :class:`AdmissionAttributes`, asks the :class:`AdmissionChain` to ``admit`` it (which
may change the object), prepares and validates the object, and asks to ``validate`` it. ``chain.py``
builds the chain from the server's flags.
"""

from kybern.apiserver.admission.attributes import (
    CONNECT,
    CREATE,
    DELETE,
    UPDATE,
    AdmissionAttributes,
)
from kybern.apiserver.admission.plugin import AdmissionChain, Plugin

__all__ = [
    "CONNECT",
    "CREATE",
    "DELETE",
    "UPDATE",
    "AdmissionAttributes",
    "AdmissionChain",
    "Plugin",
]
