"""What ``/metrics`` shows of priority and fairness, under upstream's names."""

from collections.abc import Callable, Iterator

from kybern.apiserver.flow_control.flow_control import FlowControl
from kybern.apiserver.flow_control.levels import PriorityLevel
from kybern.apiserver.flow_control.queue_set import QueueSet
from kybern.apiserver.flow_control.statistics import FlowStatistics
from kybern.component.histogram import Histogram

_PREFIX = "apiserver_flowcontrol_"
# Labels, level and counters of one FlowSchema.
_Row = tuple[str, PriorityLevel, FlowStatistics]
_LEVEL_GAUGES: tuple[tuple[str, str, Callable[[PriorityLevel], float]], ...] = (
    ("nominal_limit_seats", "Seats that a level has by its shares.", lambda level: level.nominal),
    ("lower_limit_seats", "Seats that a level never lends.", lambda level: level.lower),
    (
        "upper_limit_seats",
        "Seats that a level has with all it may borrow.",
        lambda level: level.upper,
    ),
    ("current_limit_seats", "Seats that a level has for now.", lambda level: level.current),
    ("target_seats", "Seats that a level is meant to get.", lambda level: level.target),
    (
        "demand_seats_high_watermark",
        "Most seats wanted in the last period.",
        lambda level: level.queue_set.demand.high_watermark,
    ),
    (
        "demand_seats_average",
        "Seats wanted on average in the last period.",
        lambda level: level.queue_set.demand.average,
    ),
    (
        "demand_seats_stdev",
        "Spread of the seats wanted in the last period.",
        lambda level: level.queue_set.demand.deviation,
    ),
    (
        "demand_seats_smoothed",
        "Seats wanted, smoothed over several periods.",
        lambda level: level.queue_set.demand.smoothed,
    ),
    ("current_r", "The progress meter of a level.", lambda level: level.queue_set.current_r),
    (
        "dispatch_r",
        "The progress meter at the last dispatch from a queue.",
        lambda level: level.queue_set.last_dispatch.r,
    ),
    (
        "latest_s",
        "The start of the request that was dispatched last.",
        lambda level: level.queue_set.last_dispatch.start,
    ),
)
_BOUNDS: tuple[tuple[str, str, Callable[[QueueSet], tuple[float, float]]], ...] = (
    (
        "next_s_bounds",
        "Least and greatest start of the oldest requests of all queues.",
        lambda queues: (queues.last_dispatch.lowest, queues.last_dispatch.highest),
    ),
    (
        "next_discounted_s_bounds",
        "The same, less the work that is under way.",
        lambda queues: (
            queues.last_dispatch.lowest_discounted,
            queues.last_dispatch.highest_discounted,
        ),
    ),
)
_FLOW_VALUES: tuple[tuple[str, str, str, Callable[[FlowStatistics], int]], ...] = (
    ("dispatched_requests_total", "counter", "Requests carried out.", lambda f: f.dispatched),
    ("current_inqueue_requests", "gauge", "Requests in queues.", lambda f: f.in_queue),
    (
        "current_inqueue_seats",
        "gauge",
        "Seats that queued requests want.",
        lambda f: f.seats_in_queue,
    ),
    (
        "request_dispatch_no_accommodation_total",
        "counter",
        "Times that the next request found too few seats.",
        lambda f: f.unaccommodated,
    ),
)


def exposition(control: FlowControl) -> Iterator[str]:
    """The lines, in Prometheus' text format."""
    levels = [control.levels[name] for name in sorted(control.levels)]
    for name, help_text, value in _LEVEL_GAUGES:
        yield from _head(name, "gauge", help_text)
        for level in levels:
            yield f'{_PREFIX}{name}{{priority_level="{level.name}"}} {value(level)}'
    for name, help_text, bounds in _BOUNDS:
        yield from _head(name, "gauge", help_text)
        for level in levels:
            for bound, number in zip(("min", "max"), bounds(level.queue_set), strict=True):
                yield f'{_PREFIX}{name}{{bound="{bound}",priority_level="{level.name}"}} {number}'
    yield from _head("seat_fair_frac", "gauge", "Part of its target that each level gets.")
    yield f"{_PREFIX}seat_fair_frac {control.levels.fair_fraction}"
    flows = [
        (f'flow_schema="{schema}",priority_level="{level.name}"', level, statistics)
        for level in levels
        for schema, statistics in sorted(level.statistics.items())
    ]
    for name, kind, help_text, count in _FLOW_VALUES:
        yield from _head(name, kind, help_text)
        for labels, _, statistics in flows:
            yield f"{_PREFIX}{name}{{{labels}}} {count(statistics)}"
    yield from _executing(flows)
    yield from _head("rejected_requests_total", "counter", "Requests turned away.")
    for labels, _, statistics in flows:
        for reason, number in statistics.rejected.items():
            yield f'{_PREFIX}rejected_requests_total{{{labels},reason="{reason}"}} {number}'
    yield from _histograms(flows)


def _executing(flows: list[_Row]) -> Iterator[str]:
    """What is under way, counted when it is asked for; seats are held while work lingers."""
    requests: dict[FlowStatistics, int] = {}
    seats: dict[FlowStatistics, int] = {}
    for queues in dict.fromkeys(level.queue_set for _, level, _ in flows):
        for ticket in queues.executing:
            held = ticket.flow.statistics
            requests[held] = requests.get(held, 0) + 1
        for ticket in (*queues.executing, *queues.lingering):
            held = ticket.flow.statistics
            seats[held] = seats.get(held, 0) + ticket.work.seats
    for name, help_text, counts in (
        ("current_executing_requests", "Requests under way.", requests),
        ("current_executing_seats", "Seats of requests under way.", seats),
    ):
        yield from _head(name, "gauge", help_text)
        for labels, _, statistics in flows:
            yield f"{_PREFIX}{name}{{{labels}}} {counts.get(statistics, 0)}"


def _histograms(flows: list[_Row]) -> Iterator[str]:
    yield from _head("request_wait_duration_seconds", "histogram", "Time spent in a queue.")
    for labels, level, statistics in flows:
        if not level.exempt:
            at_once = statistics.dispatched - sum(statistics.waited.counts)
            yield from _histogram(
                "request_wait_duration_seconds",
                f'execute="true",{labels}',
                statistics.waited,
                at_once,
                0,
            )
            if sum(statistics.waited_in_vain.counts):
                yield from _histogram(
                    "request_wait_duration_seconds",
                    f'execute="false",{labels}',
                    statistics.waited_in_vain,
                )
    yield from _head("request_execution_seconds", "histogram", "Time of being carried out.")
    for labels, _, statistics in flows:
        for kind, execution in statistics.execution.items():
            if sum(execution.counts):
                yield from _histogram(
                    "request_execution_seconds", f'{labels},type="{kind}"', execution
                )
    yield from _head(
        "work_estimated_seats", "histogram", "Seats that requests were thought to take."
    )
    for labels, _, statistics in flows:
        single = statistics.dispatched + statistics.in_queue - sum(statistics.seats.counts)
        yield from _histogram("work_estimated_seats", labels, statistics.seats, max(single, 0), 1)
    yield from _head(
        "request_queue_length_after_enqueue", "histogram", "Length of the queue that was joined."
    )
    for labels, level, statistics in flows:
        if level.queue_set.queues_wanted:
            alone = statistics.dispatched + statistics.in_queue
            alone -= sum(statistics.queue_lengths.counts)
            yield from _histogram(
                "request_queue_length_after_enqueue",
                labels,
                statistics.queue_lengths,
                max(alone, 0),
                1,
            )


def _histogram(
    name: str, labels: str, held: Histogram, further: int = 0, value: float = 0
) -> Iterator[str]:
    """``further`` observations of ``value`` were not counted one by one."""
    total = 0
    for bound, count in zip((*held.bounds, float("inf")), held.counts, strict=True):
        total += count
        shown = "+Inf" if bound == float("inf") else str(bound)
        above = further if bound >= value else 0
        yield f'{_PREFIX}{name}_bucket{{{labels},le="{shown}"}} {total + above}'
    yield f"{_PREFIX}{name}_sum{{{labels}}} {held.sum + further * value:.9g}"
    yield f"{_PREFIX}{name}_count{{{labels}}} {total + further}"


def _head(name: str, kind: str, help_text: str) -> tuple[str, str]:
    return f"# HELP {_PREFIX}{name} {help_text}", f"# TYPE {_PREFIX}{name} {kind}"
