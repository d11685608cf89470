"""``--token-auth-file``: tokens, users, uids and groups in a CSV file that is read at start."""

import csv
from pathlib import Path

from kybern.api.user import UserInfo, authenticated


class StaticTokens:
    """Users by token; each line is ``token,user,uid[,"group,group"]``."""

    def __init__(self, path: Path) -> None:
        self._users: dict[str, UserInfo] = {}
        with path.open(newline="") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if not row:
                    continue
                if len(row) < 3:
                    raise ValueError(
                        f"token file '{path}' must have at least 3 columns "
                        f"(token, user name, user uid), found {len(row)} in line {number}"
                    )
                if row[0]:
                    self._users[row[0]] = _user(row)

    async def authenticate(self, token: str) -> UserInfo | None:
        return self._users.get(token)


def _user(row: list[str]) -> UserInfo:
    groups = tuple(group.strip() for group in row[3].split(",")) if len(row) > 3 else ()
    return authenticated(UserInfo(row[1], tuple(filter(None, groups)), row[2]))
