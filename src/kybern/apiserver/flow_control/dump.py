"""``/debug/api_priority_and_fairness/dump_*``: levels, queues and requests as upstream's tables."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime

from kybern.api.user import UserInfo
from kybern.apiserver.flow_control.flow_control import FlowControl, FlowPlace
from kybern.apiserver.flow_control.queue_set import AnyTicket, Queue, QueueSet
from kybern.apiserver.request_info import RequestInfo
from kybern.component.duration import go_duration
from kybern.component.http.messages import Request, Response

Endpoint = Callable[[Request, RequestInfo, UserInfo], Awaitable[Response]]
Row = Sequence[object]

_PATH = "/debug/api_priority_and_fairness/"
_NARROWEST = 8
_NEVER = "0001-01-01T00:00:00Z"
_LEVELS = (
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
)
_QUEUES = (
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
)
_REQUESTS = (
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
)
_DETAILS = (
    "UserName",
    "Verb",
    "APIPath",
    "Namespace",
    "Name",
    "APIVersion",
    "Resource",
    "SubResource",
)


def dumps(control: FlowControl) -> dict[str, Endpoint]:
    """The endpoints by their paths."""

    def endpoint(rows: Callable[[RequestInfo], Iterator[Row]]) -> Endpoint:
        async def answer(request: Request, info: RequestInfo, user: UserInfo) -> Response:
            body = _table(list(rows(info))).encode()
            return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, body)

        return answer

    return {
        _PATH + "dump_priority_levels": endpoint(lambda info: _levels(control)),
        _PATH + "dump_queues": endpoint(lambda info: _queues(control)),
        _PATH + "dump_requests": endpoint(
            lambda info: _requests(control, bool(info.param("includeRequestDetails")))
        ),
    }


def _levels(control: FlowControl) -> Iterator[Row]:
    yield _LEVELS
    for name in sorted(control.levels):
        level = control.levels[name]
        queues = level.queue_set
        yield (
            name,
            sum(1 for queue in queues.queues if queue.waiting),
            _go(queues.idle),
            _go(level.quiescing),
            queues.waiting,
            len(queues.executing),
            sum(held.dispatched for held in level.statistics.values()),
            queues.rejected,
            0,
            queues.cancelled,
        )


def _queues(control: FlowControl) -> Iterator[Row]:
    yield _QUEUES
    for name, level in control.levels.items():
        for queue in level.queue_set.queues:
            works = [ticket.work for ticket in queue.waiting]
            yield (
                name,
                queue.index,
                len(works),
                queue.executing,
                queue.seats_in_use,
                f"{queue.next_r:.8f}ss",
                sum(work.initial_seats for work in works),
                sum(work.seats for work in works),
                f"{queue.waiting_work:.8f}ss",
            )


def _requests(control: FlowControl, with_details: bool) -> Iterator[Row]:
    yield (*_REQUESTS, *_DETAILS) if with_details else _REQUESTS
    epoch = control.clock.time() - control.clock.monotonic()
    for name, level in control.levels.items():
        for ticket, queue, position in _tickets(level.queue_set):
            assert isinstance(ticket, FlowPlace), "the server's requests hold places of flows"
            yield (
                name,
                ticket.flow.schema.name,
                queue.index if queue is not None else -1,
                position,
                ticket.flow.distinguisher,
                _time(epoch + ticket.arrived),
                ticket.work.initial_seats,
                ticket.work.final_seats,
                go_duration(ticket.work.linger_seconds),
                _time(epoch + ticket.started) if ticket.executing else _NEVER,
                *(_details(ticket) if with_details else ()),
            )


def _tickets(queues: QueueSet) -> Iterator[tuple[AnyTicket, Queue | None, int]]:
    """Every request with its queue and its position there; -1 when it is being carried out."""
    for queue in queues.queues:
        for position, ticket in enumerate(queue.waiting):
            yield ticket, queue, position
    for ticket in queues.executing:
        yield ticket, ticket.queue, -1


def _details(place: FlowPlace) -> Row:
    info = place.info
    return (
        place.user.name,
        info.verb,
        info.path,
        info.namespace,
        info.name,
        f"{info.group}/{info.version}" if info.group else info.version,
        info.resource,
        info.subresource,
    )


def _table(rows: Sequence[Row]) -> str:
    """Columns padded with blanks; the last one is as long as it is."""
    texts = [[f"{value}," for value in row[:-1]] + [str(row[-1])] for row in rows]
    widths = [
        max(_NARROWEST, *(len(row[column]) + 1 for row in texts))
        for column in range(len(texts[0]) - 1)
    ]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        + row[-1]
        + "\n"
        for row in texts
    )


def _go(value: bool) -> str:
    return "true" if value else "false"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
