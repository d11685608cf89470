"""The scheduling queue: order, backoff, hints, gates, the pool's time limit."""

from typing import Any

from kybern.scheduler.events import (
    ASSIGNED_POD_ADD,
    ASSIGNED_POD_DELETE,
    NODE_ADD,
    Registration,
    always,
    queue_if,
)
from kybern.scheduler.plugins.scheduling_gates import SchedulingGates
from kybern.scheduler.queue import MAX_UNSCHEDULABLE_SECONDS, SchedulingQueue

Obj = dict[str, Any]


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def pod(name: str, priority: int = 0, **spec: Any) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"containers": [], "priority": priority, **spec},
    }


def make(time: Time | None = None) -> SchedulingQueue:
    gates = SchedulingGates(None, {})  # type: ignore[arg-type]
    registrations = {
        "Fit": (Registration(ASSIGNED_POD_DELETE), Registration(NODE_ADD)),
        "Picky": (Registration(NODE_ADD, lambda pod, old, new: queue_if(new == {"good": 1})),),
        "SchedulingGates": tuple(gates.registrations()),
    }

    def gate(one: Obj) -> tuple[str, str] | None:
        why = gates.gate(one)
        return None if why is None else ("SchedulingGates", why)

    return SchedulingQueue(time or Time(), {"default-scheduler": registrations}, gate)


def popped(queue: SchedulingQueue) -> list[str]:
    names = []
    while (queued := queue.pop()) is not None:
        names.append(queued.uid)
        queue.done(queued.uid)
    return names


def test_higher_priority_goes_first_then_the_older_pod() -> None:
    queue = make()
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        queue.add(pod(name, priority))
    assert popped(queue) == ["b", "d", "a", "c"]


def test_a_rejected_pod_waits_for_an_event_that_its_plugin_registered_for() -> None:
    queue = make()
    queue.add(pod("a"))
    queued = queue.pop()
    assert queued is not None
    queue.add_unschedulable(queued, ("Fit",))
    queue.move(ASSIGNED_POD_ADD, None, pod("other"))
    assert queue.counts()["unschedulable"] == 1
    assert queue.pop() is None
    queue.move(ASSIGNED_POD_DELETE, pod("other"), None)
    assert queue.counts()["unschedulable"] == 0
    assert popped(queue) == ["a"]


def test_a_hint_that_skips_leaves_the_pod_where_it_is() -> None:
    queue = make()
    queue.add(pod("a"))
    queued = queue.pop()
    assert queued is not None
    queue.add_unschedulable(queued, ("Picky",))
    queue.move(NODE_ADD, None, {"bad": 1})
    assert queue.pop() is None
    queue.move(NODE_ADD, None, {"good": 1})
    assert popped(queue) == ["a"]


def test_an_event_during_the_attempt_is_replayed_when_the_pod_comes_back() -> None:
    queue = make()
    queue.add(pod("a"))
    queue.move(ASSIGNED_POD_DELETE, pod("before"), None)
    queued = queue.pop()
    assert queued is not None
    queue.move(NODE_ADD, None, {"good": 1})
    queue.add_unschedulable(queued, ("Picky",))
    assert queue.counts()["unschedulable"] == 0
    assert popped(queue) == ["a"]


def test_an_event_before_the_attempt_is_not_replayed() -> None:
    queue = make()
    queue.add(pod("a"))
    queue.move(NODE_ADD, None, {"good": 1})
    queued = queue.pop()
    assert queued is not None
    queue.add_unschedulable(queued, ("Picky",))
    assert queue.counts()["unschedulable"] == 1


def test_an_error_backs_off_from_one_second_doubling_to_ten() -> None:
    time = Time()
    queue = make(time)
    queue.add(pod("a"))
    waits = []
    for _ in range(6):
        queued = queue.pop()
        assert queued is not None
        queue.add_unschedulable(queued, ())
        flush_at = queue.next_flush()
        assert flush_at is not None
        waits.append(flush_at - time.now)
        time.now = flush_at - 0.01
        assert queue.pop() is None
        time.now = flush_at
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_rejected_pod_in_backoff_is_tried_when_there_is_nothing_else_to_do() -> None:
    queue = make()
    queue.add(pod("a"))
    queued = queue.pop()
    assert queued is not None
    queue.add_unschedulable(queued, ("Fit",))
    queue.move(ASSIGNED_POD_DELETE, pod("other"), None)
    assert queue.counts()["backoff"] == 1
    queue.add(pod("b"))
    assert popped(queue) == ["b", "a"]


def test_the_pool_is_left_after_five_minutes() -> None:
    time = Time()
    queue = make(time)
    queue.add(pod("a"))
    queued = queue.pop()
    assert queued is not None
    queue.add_unschedulable(queued, ("Fit",))
    assert queue.next_flush() == time.now + MAX_UNSCHEDULABLE_SECONDS
    time.now += MAX_UNSCHEDULABLE_SECONDS - 1
    assert queue.pop() is None
    time.now += 1
    assert popped(queue) == ["a"]


def test_a_gated_pod_enters_when_its_last_gate_is_removed() -> None:
    queue = make()
    gated = pod("a", schedulingGates=[{"name": "x"}])
    queue.add(gated)
    assert queue.counts() == {"active": 0, "backoff": 0, "unschedulable": 0, "gated": 1}
    queue.move(ASSIGNED_POD_DELETE, pod("other"), None)
    assert queue.pop() is None
    queue.update(gated, pod("a"))
    assert popped(queue) == ["a"]


def test_a_deleted_pod_is_forgotten_wherever_it_waits() -> None:
    queue = make()
    for name in "abc":
        queue.add(pod(name))
    queued = queue.pop()
    assert queued is not None and queued.uid == "a"
    queue.add_unschedulable(queued, ("Fit",))
    queue.delete("a")
    queue.delete("b")
    queue.move(ASSIGNED_POD_DELETE, pod("other"), None)
    assert popped(queue) == ["c"]
    assert len(queue) == 0


def test_activate_skips_the_backoff() -> None:
    queue = make()
    queue.add(pod("a"))
    queued = queue.pop()
    assert queued is not None
    queue.add_unschedulable(queued, ())
    assert queue.pop() is None
    queue.activate("a")
    assert popped(queue) == ["a"]


def test_events_kept_for_pods_in_flight_do_not_pile_up() -> None:
    queue = make()
    for name in "ab":
        queue.add(pod(name))
    first, second = queue.pop(), queue.pop()
    assert first is not None and second is not None
    for _ in range(100):
        queue.move(NODE_ADD, None, {"bad": 1})
    queue.done(first.uid)
    queue.done(second.uid)
    assert queue._happened == []
    assert always(pod("a"), None, None).value == "Queue"


def test_what_brought_pods_into_a_part_is_counted() -> None:
    time = Time()
    queue = make(time)
    queue.add(pod("a"))
    queue.add(pod("gated", schedulingGates=[{"name": "wait"}]))
    tried = queue.pop()
    assert tried is not None
    queue.move(ASSIGNED_POD_ADD, None, {})
    queue.move(NODE_ADD, None, {})
    assert queue.events_in_flight() == {"PodPopped": 1, "NodeAdd": 1}
    queue.add_unschedulable(tried, ("Fit",))
    assert queue.rejections() == {
        ("Fit", "default-scheduler"): 1,
        ("SchedulingGates", "default-scheduler"): 1,
    }
    tried = queue.pop()
    assert tried is not None
    queue.add_unschedulable(tried, ("Picky",))
    time.now += MAX_UNSCHEDULABLE_SECONDS
    assert queue.pop() is tried and tried.flushed
    assert queue.incoming == {
        ("active", "UnschedulablePodAdd"): 1,
        ("unschedulable", "UnschedulablePodAdd"): 1,
        ("backoff", "ScheduleAttemptFailure"): 1,
        ("active", "PopFromBackoffQ"): 1,
        ("unschedulable", "ScheduleAttemptFailure"): 1,
        ("active", "UnschedulableTimeout"): 1,
    }
