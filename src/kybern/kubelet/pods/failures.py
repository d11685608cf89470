"""Why a pod's step failed, in the words that its status shows."""


class StartFailure(Exception):
    """A container cannot start now: its waiting reason and message.

    ``retry_after`` is in seconds; 0 leaves the time to the pod worker's own back-off.
    """

    def __init__(self, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class SyncFailure(Exception):
    """A step before the containers failed (volumes, network, sandbox); tried again later."""
