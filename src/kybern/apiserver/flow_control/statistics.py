"""What is counted about the requests of one FlowSchema at one priority level.

The queues and ``flow_control.py`` count; ``exposition.py`` shows it at ``/metrics``. The number
of these is bounded by the number of FlowSchemas and levels that exist.
"""

from kybern.component.histogram import Histogram

WAIT_BUCKETS = (0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)
LENGTH_BUCKETS = (0, 10, 25, 50, 100, 250, 500, 1000)
SEAT_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 100)


class FlowStatistics:
    """Counters under upstream's names, without their prefix.

    A request that neither waits nor takes more than a seat is only counted as ``dispatched``;
    where the histograms of waiting, queue lengths and seats are shown, it is added to them.
    """

    def __init__(self) -> None:
        self.dispatched = 0
        self.rejected: dict[str, int] = {}
        self.in_queue = self.seats_in_queue = 0
        self.unaccommodated = 0
        self.waited = Histogram(WAIT_BUCKETS)
        self.waited_in_vain = Histogram(WAIT_BUCKETS)
        self.queue_lengths = Histogram(LENGTH_BUCKETS)
        self.seats = Histogram(SEAT_BUCKETS)
        self.execution = {"regular": Histogram(WAIT_BUCKETS), "watch": Histogram(WAIT_BUCKETS)}

    def queued(self, seats: int, length: int) -> None:
        self.in_queue += 1
        self.seats_in_queue += seats
        self.queue_lengths.observe(length)

    def unqueued(self, seats: int) -> None:
        self.in_queue -= 1
        self.seats_in_queue -= seats

    def reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
