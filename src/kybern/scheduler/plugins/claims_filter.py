"""Which nodes a pod's resource claims admit, and which devices its waiting claims get there."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from kybern.api.node_fit import term_matches
from kybern.api.resource_claims import is_allocated
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask, Rows, Values
from kybern.scheduler.devices.allocated import allocated
from kybern.scheduler.devices.allocator import Allocator, Chosen
from kybern.scheduler.devices.extended_resources import ExtendedClaim
from kybern.scheduler.devices.plan import DevicePlan
from kybern.scheduler.devices.pools import Reaches, Slices
from kybern.scheduler.devices.requests import (
    MAX_ALTERNATIVES,
    AllocationError,
    InvalidPools,
    alternatives,
)
from kybern.scheduler.node_selector import SelectorMask
from kybern.scheduler.plugin import (
    Basis,
    Filter,
    Score,
    Verdict,
    default_normalise,
    row_numbers,
)

Obj = dict[str, Any]

NOT_ALLOCATED = "cannot allocate all claims"
ELSEWHERE = "resourceclaim not available on the node"


class ClaimsFilter(Filter):
    """Rests on facts of nodes: with any change of claims or slices the class is made anew."""

    basis = Basis.NODE

    def __init__(
        self,
        cluster: ClusterColumns,
        slices: Slices,
        claims: Sequence[Obj],
        extended: ExtendedClaim | None = None,
    ) -> None:
        self._extended = extended
        self._nodes, self._classes = cluster.nodes, cluster.storage.device_classes
        self.claims = claims
        self.waiting = [claim for claim in claims if not is_allocated(claim)]
        self._places = [
            SelectorMask(cluster.nodes, {}, selector["nodeSelectorTerms"])
            for claim in claims
            if is_allocated(claim)
            and (selector := claim["status"]["allocation"].get("nodeSelector"))
        ]
        storage, searches = cluster.storage, bool(self.waiting or extended)
        self.is_costly = searches
        self._slices = slices
        self._taken = allocated(storage.resource_claims.values() if searches else ())
        # Nodes that see the same slices and lack the same extended resources get the same answer.
        self._answers: dict[Hashable, list[list[Chosen]] | None] = {}

    def feasible(self, rows: Any) -> Mask:
        result = self._are_here(rows)
        if not self.waiting and self._extended is None:
            return result
        positions = self._nodes.positions(rows)
        for index in np.flatnonzero(result).tolist():
            result[index] = self.devices(int(positions[index])) is not None
        return result

    def verdicts(self, plugin: str, rows: Rows) -> list[Verdict]:
        here = self._are_here(rows)
        parts = ((rows[~here], ELSEWHERE), (rows[here], self._reason(rows[here])))
        return [Verdict(plugin, (why,), True, part) for part, why in parts if len(part)]

    def plan(self, row: int) -> DevicePlan:
        """What the waiting claims get on a feasible row."""
        found = self.devices(row) or []
        claims, mappings = self._waiting_on(row)
        return DevicePlan(tuple(zip(claims, found, strict=True)), self._classes, mappings)

    def keeps_off(self) -> bool:
        """Allocated claims are out of reach from some node."""
        rows = np.fromiter(self._nodes.rows.values(), dtype=np.intp)
        return not bool(self._are_here(rows).all())

    def score(self) -> "AlternativesScore":
        return AlternativesScore(self)

    def devices(self, row: int) -> list[list[Chosen]] | None:
        """The devices of each waiting claim on the row, None if there are not enough."""
        try:
            return self._searched(row)
        except InvalidPools:
            return None
        except AllocationError as error:
            raise AllocationError(f'running "DynamicResources" filter plugin: {error}') from error

    def _searched(self, row: int) -> list[list[Chosen]] | None:
        node = self._nodes.objects[row]
        assert node is not None
        reaches = _reaches(node)
        lacking = self._extended.lacking(self._nodes, row) if self._extended is not None else ()
        slices = self._slices.near(node["metadata"]["name"])
        key = (lacking, slices.signature(reaches))
        if key not in self._answers:
            pools = slices.pools(reaches)
            claims, _ = self._waiting_on(row)
            found = Allocator(pools, self._classes, self._taken).allocate(claims)
            if slices.choose_nodes_by_device:
                return found
            self._answers[key] = found
        return self._answers[key]

    def _waiting_on(self, row: int) -> tuple[list[Obj], list[Obj]]:
        """The claims that wait for devices, with that of what the node does not offer itself, and
        whose requests that one serves."""
        lacking = self._extended.lacking(self._nodes, row) if self._extended is not None else ()
        if self._extended is None or not lacking:
            return self.waiting, []
        claim, mappings = self._extended.claim(lacking)
        return [*self.waiting, claim], mappings

    def _reason(self, rows: Rows) -> str:
        for row in rows.tolist()[:1]:
            try:
                self._searched(row)
            except InvalidPools as error:
                return str(error)
        return NOT_ALLOCATED

    def _are_here(self, rows: Any) -> Mask:
        result: Mask = np.ones(self._nodes.count(rows), dtype=np.bool_)
        for place in self._places:
            result &= place.over(rows)
        return result


class AlternativesScore(Score):
    """The earlier the alternatives that a node serves requests with, the better (KEP 4816)."""

    normalises = True

    def __init__(self, judge: ClaimsFilter) -> None:
        self._judge = judge

    def raw(self, rows: Any) -> Values:
        return np.array([self.raw_one(row) for row in row_numbers(rows)], dtype=np.int64)

    def raw_one(self, row: int) -> int:
        given = {
            (claim["metadata"]["uid"], chosen.request.full_name)
            for claim, devices in zip(
                self._judge.waiting, self._judge.devices(row) or [], strict=False
            )
            for chosen in devices
        }
        given |= {
            (claim["metadata"]["uid"], result["request"])
            for claim in self._judge.claims
            if is_allocated(claim)
            for result in claim["status"]["allocation"]["devices"].get("results") or ()
        }
        return sum(
            MAX_ALTERNATIVES - position
            for claim in self._judge.claims
            for ways in alternatives(claim)
            for position, way in enumerate(ways)
            if way.parent and (claim["metadata"]["uid"], way.full_name) in given
        )

    def normalised(self, raw: Values, rows: Rows) -> Values:
        return default_normalise(raw, reverse=False)


def _reaches(node: Obj) -> Reaches:
    """Whether the node is among those that a slice or a device names."""
    name = node["metadata"]["name"]

    def reaches(place: Obj) -> bool:
        if place.get("nodeName"):
            return bool(place["nodeName"] == name)
        if place.get("allNodes"):
            return True
        terms = (place.get("nodeSelector") or {}).get("nodeSelectorTerms") or ()
        return any(term_matches(term, node) for term in terms)

    return reaches
