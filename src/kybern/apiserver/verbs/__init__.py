"""The API's verbs, one file each: what happens to a classified and authorized call.

Routing picks the verb; every verb takes a :class:`~kybern.apiserver.call.Call` and returns a
response or raises a StatusError.
"""
