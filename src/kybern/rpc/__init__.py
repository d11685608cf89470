"""gRPC: the .proto declarations that Kybern speaks, and a thin async client for them.

``proto.py`` reads a declaration at import and hands on message classes; ``client.py`` calls the
services that it names. There is no code generator and nothing generated.
"""
