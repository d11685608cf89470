"""The file of the embedded store: an append log in SQLite, its lock, compaction and upkeep.

Blocking; the writer thread owns it (``writer.py``), and readers of old revisions open a second,
read-only connection. One row is one change. A row that a later one replaces, and a deletion, are
dropped by compaction, so that what remains up to the compacted revision is just what was live then.

synchronous is FULL: with NORMAL a power cut loses the commits since the last checkpoint, and their
revisions would be issued again with other content.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import apsw

from kybern.store.interface import Entry, StoreClosed
from kybern.store.timeline import prefix_end

# "Kybr" in ASCII marks the file as ours; the version counts incompatible schemas.
APPLICATION_ID = 0x4B796272
SCHEMA_VERSION = 1

# What the revision is before anything is written; etcd's is the same.
FIRST_REVISION = 1

BUSY_MILLISECONDS = 5_000
PASSIVE_CHECKPOINT_PAGES = 1_000
RESTART_CHECKPOINT_PAGES = 8_000
JOURNAL_SIZE_LIMIT = 64 * 1024 * 1024
VACUUM_PAGES = 512

_SCHEMA = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    value BLOB,
    create_revision INTEGER NOT NULL,
    previous_revision INTEGER NOT NULL
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('compacted_revision', {FIRST_REVISION});
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


class Row(NamedTuple):
    """One change as stored: ``value`` is None for a deletion, ``previous_revision`` 0 for none."""

    revision: int
    key: str
    value: bytes | None
    create_revision: int
    previous_revision: int

    def entry(self) -> Entry | None:
        """The live value that this row makes, if it is not a deletion."""
        if self.value is None:
            return None
        return Entry(self.key, self.value, self.create_revision, self.revision)


class SqliteFile:
    """The open file; raises StoreClosed if it is in use, too new, or not ours."""

    def __init__(self, path: Path, vfs: str = "") -> None:
        self.path = path
        self._vfs = vfs
        self._wal_pages = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
            # Secrets are in it, so it is the owner's alone; SQLite gives its journal the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreClosed(f"{path} cannot be opened: {error}") from error
        try:
            self._connection = self._connect()
        except BaseException:
            os.close(self._lock)
            raise

    def _connect(self) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self.path), vfs=self._vfs or None)
            connection.set_busy_timeout(BUSY_MILLISECONDS)
            _prepare(connection, self.path)
        except apsw.Error as error:
            raise StoreClosed(f"{self.path} cannot be opened: {error}") from error
        connection.set_wal_hook(self._note_wal)
        return connection

    def reader(self) -> "SqliteReader":
        """A second connection, for another thread."""
        return SqliteReader(self.path, self._vfs)

    def compacted_revision(self) -> int:
        query = "SELECT value FROM meta WHERE name = 'compacted_revision'"
        return _number(self._connection, query)

    def rows(self) -> Iterator[Row]:
        """All rows in order, for loading."""
        return map(
            Row._make,
            self._connection.execute(
                "SELECT revision, key, value, create_revision, previous_revision"
                " FROM log ORDER BY revision"
            ),
        )

    def append(self, rows: Sequence[Row]) -> None:
        """Commit rows as one transaction: one statement, because every step hands the GIL over."""
        values = [value for row in rows for value in row]
        self._connection.execute(_insert(len(rows)), values)
        self._checkpoint_if_due()

    def compact(self, after: int, upto: int) -> None:
        """Drop what the changes in ``(after, upto]`` have replaced, in one transaction."""
        with self._connection as transaction:
            transaction.execute(
                "DELETE FROM log WHERE revision IN (SELECT previous_revision FROM log"
                " WHERE revision > ? AND revision <= ? AND previous_revision > 0)",
                (after, upto),
            )
            transaction.execute(
                "DELETE FROM log WHERE revision > ? AND revision <= ? AND value IS NULL",
                (after, upto),
            )
            transaction.execute(
                "UPDATE meta SET value = ? WHERE name = 'compacted_revision'", (upto,)
            )
        self._checkpoint_if_due()

    def shrink(self) -> bool:
        """Give some free pages back to the disk; whether there is more to give."""
        self._connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
        self._checkpoint_if_due()
        return self.has_spare_pages()

    def has_spare_pages(self) -> bool:
        """Whether more than a quarter of the file is free, so that shrinking it pays."""
        free = _number(self._connection, "PRAGMA freelist_count")
        return 4 * free > _number(self._connection, "PRAGMA page_count")

    def close(self) -> None:
        """Fold the journal into the file and release both."""
        try:
            self._connection.set_wal_hook(None)
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except apsw.Error:
            pass  # The journal stays beside the file and is read at the next start.
        finally:
            self._connection.close()
            os.close(self._lock)

    def _note_wal(self, connection: apsw.Connection, database: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint_if_due(self) -> None:
        """Move the journal into the file; a long one waits for readers, to start it over."""
        if self._wal_pages < PASSIVE_CHECKPOINT_PAGES:
            return
        restart = self._wal_pages >= RESTART_CHECKPOINT_PAGES
        mode = apsw.SQLITE_CHECKPOINT_RESTART if restart else apsw.SQLITE_CHECKPOINT_PASSIVE
        try:
            self._connection.wal_checkpoint(mode=mode)
        except (apsw.BusyError, apsw.LockedError):
            return  # A reader is at it; the next commit tries again.
        self._wal_pages = 0


class SqliteReader:
    """Reads what the memory no longer holds; blocking, on a thread of its own."""

    def __init__(self, path: Path, vfs: str = "") -> None:
        flags = apsw.SQLITE_OPEN_READONLY
        self._connection = apsw.Connection(str(path), flags=flags, vfs=vfs or None)
        self._connection.set_busy_timeout(BUSY_MILLISECONDS)

    def changes(self, prefix: str, after: int, limit: int) -> list[tuple[Row, Entry | None]]:
        """Changes under a prefix above a revision, each with what it replaced."""
        found = []
        for *fields, value, create_revision in self._connection.execute(
            "SELECT c.revision, c.key, c.value, c.create_revision, c.previous_revision,"
            " p.value, p.create_revision"
            " FROM log c LEFT JOIN log p ON p.revision = c.previous_revision"
            " WHERE c.revision > ? AND c.key >= ? AND c.key < ? ORDER BY c.revision LIMIT ?",
            (after, prefix, prefix_end(prefix), limit),
        ):
            row = Row._make(fields)
            previous = None
            if value is not None:
                previous = Entry(row.key, value, create_revision, row.previous_revision)
            found.append((row, previous))
        return found

    def range(self, prefix: str, start: str, revision: int) -> list[Entry]:
        """The live entries under a prefix at a revision that is not compacted."""
        entries = []
        # SQLite takes the other columns from the row that holds the maximum.
        for key, value, create_revision, newest in self._connection.execute(
            "SELECT key, value, create_revision, max(revision) FROM log"
            " WHERE revision <= ? AND key >= ? AND key < ? GROUP BY key ORDER BY key",
            (revision, max(prefix, start), prefix_end(prefix)),
        ):
            if value is not None:
                entries.append(Entry(key, value, create_revision, newest))
        return entries

    def close(self) -> None:
        self._connection.close()


@lru_cache(maxsize=128)
def _insert(count: int) -> str:
    return "INSERT INTO log VALUES " + ",".join(["(?,?,?,?,?)"] * count)


def _lock(path: Path) -> int:
    """Take the file for this process; the kernel releases it when the process dies."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreClosed(f"{path} is in use by another process") from None
    return descriptor


def _prepare(connection: apsw.Connection, path: Path) -> None:
    """Create the schema in an empty file, refuse what is not ours, set the connection up."""
    if connection.readonly("main"):
        raise StoreClosed(f"{path} is read-only")
    version = _number(connection, "PRAGMA user_version")
    tables = _number(connection, "SELECT count(*) FROM sqlite_schema")
    if version == 0 and tables == 0:
        connection.execute(_SCHEMA).fetchall()
    elif _number(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise StoreClosed(f"{path} is a database of another program")
    elif version > SCHEMA_VERSION:
        raise StoreClosed(
            f"{path} was written by a newer Kybern (schema {version}, "
            f"this one reads up to {SCHEMA_VERSION}): upgrade, or restore an older backup"
        )
    connection.execute("PRAGMA synchronous = FULL").fetchall()
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT}").fetchall()


def _number(connection: apsw.Connection, query: str) -> int:
    """The only value that a query gives."""
    ((value,),) = connection.execute(query).fetchall()
    assert isinstance(value, int), "the query counts something"
    return value
