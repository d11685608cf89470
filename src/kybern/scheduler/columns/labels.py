"""One node label as a column of small ids: the values of a key, interned.

Node affinity turns a requirement into a truth table over ids and gathers it over rows; topology
plugins use the same ids as domains. Id -1 says that the node has no such label.
"""

from kybern.scheduler.columns.column import Column

MISSING = -1


class LabelColumn:
    """The values of one label key over all node rows.

    Ids are for the moment: nobody keeps one, because values that no node has any more are dropped
    when they outnumber the rows, and the others renumbered.
    """

    __slots__ = ("_ids", "domains", "key", "values")

    def __init__(self, key: str, capacity: int) -> None:
        self.key = key
        self.domains = Column(capacity, MISSING)
        self.values: list[str] = []
        self._ids: dict[str, int] = {}

    def set(self, row: int, value: str | None) -> None:
        if value is None:
            self.domains.cells[row] = MISSING
            return
        found = self._ids.get(value)
        if found is None:
            if len(self.values) > 2 * len(self.domains.values):
                self._renumber()
            found = self._ids[value] = len(self.values)
            self.values.append(value)
        self.domains.cells[row] = found

    def id(self, value: str) -> int:
        """The id of a value, or -1 if no node ever had it."""
        return self._ids.get(value, MISSING)

    def grow(self, capacity: int) -> None:
        self.domains.grow(capacity)

    def _renumber(self) -> None:
        """Keep the values in use, in the order of their rows."""
        old, self.values, self._ids = self.values, [], {}
        cells = self.domains.cells
        for row, domain in enumerate(self.domains.values.tolist()):
            if domain == MISSING:
                continue
            value = old[domain]
            if value not in self._ids:
                self._ids[value] = len(self.values)
                self.values.append(value)
            cells[row] = self._ids[value]
