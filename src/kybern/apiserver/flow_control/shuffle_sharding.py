"""Which queues a flow may wait in: a small hand out of a large deck, dealt by the flow's hash.

Two flows seldom hold the same hand, so a flow that fills its queues leaves others a free one.
"""

import hashlib


def flow_hash(schema: str, distinguisher: str) -> int:
    """64 bits that name a flow."""
    digest = hashlib.sha256(f"{schema}\0{distinguisher}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def deal(entropy: int, deck: int, hand: int) -> tuple[int, ...]:
    """``hand`` different cards out of ``range(deck)``, every hand being equally likely.

    Validation sees to it that a deck and a hand need no more than 60 bits of entropy.
    """
    dealt: list[int] = []
    picked: list[int] = []
    for taken in range(hand):
        entropy, card = divmod(entropy, deck - taken)
        picked.append(card)
        # The number counts only the cards that are left: step over each that is gone.
        for earlier in reversed(picked[:-1]):
            if card >= earlier:
                card += 1
        dealt.append(card)
    return tuple(dealt)
