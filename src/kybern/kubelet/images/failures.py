"""What a failed pull is called: the reason and the words that events and statuses show. Pure."""

from collections.abc import Sequence

from kybern.rpc.client import RpcError

PULL = "ErrImagePull"
# Causes that a runtime may put first into its message, and how they are told.
_CAUSES = {
    "RegistryUnavailable": "the registry is unavailable",
    "SignatureValidationFailed": "the signature validation failed",
}


class PullFailed(Exception):
    """The runtime refused a pull, once for each credential that was tried; the text says why."""

    def __init__(self, refusals: Sequence[RpcError]) -> None:
        told = list(dict.fromkeys(_told(refusal) for refusal in refusals))
        super().__init__(told[0] if len(told) == 1 else f"[{', '.join(told)}]")

    def waiting(self, image: str) -> tuple[str, str]:
        """The reason and message of the container that waits for the image."""
        text = str(self)
        for cause, words in _CAUSES.items():
            if text.startswith(cause):
                rest = text.removeprefix(cause)
                return cause, f"image pull failed for {image} because {words}{rest}"
        return PULL, text


def _told(refusal: RpcError) -> str:
    """A code that says nothing is not shown."""
    return refusal.message if refusal.code == "UNKNOWN" else str(refusal)
