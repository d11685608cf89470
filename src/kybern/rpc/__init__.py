"""gRPC: message definitions of our own and thin async clients (CRI first)."""
