"""What every process shares: the HTTP edge, TLS, flags, logging, health, metrics, the clock."""
