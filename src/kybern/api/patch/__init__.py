"""The patch formats of the API: JSON patch, merge patch and strategic merge patch.

Each is a pure function from a document and a patch to a new document, called by the patch verb
inside its compare-and-swap loop; the inputs stay untouched. Server-side apply is its own room,
``managed_fields``.
"""
