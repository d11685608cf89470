"""Who owns which field: managedFields for every write, and server-side apply.

``track`` records ordinary writes, ``apply`` merges an applied configuration. Both compute with the
sets of ``field_set`` over the type graph of a schema: ``elements`` divides a value into fields,
``compare`` says what changed, ``merge`` combines and removes, ``managers`` keeps the entries.
"""

from kybern.api.managed_fields.apply import apply
from kybern.api.managed_fields.tracking import track

__all__ = ["apply", "track"]
