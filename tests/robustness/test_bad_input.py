"""Bad input of every sort gets a 4xx Status: no failure of the server's own, and nothing stored."""

import random

import pytest
from hostile_requests import Fuzzer
from judge import judged_server

CASES = 3000
LONG_SEEDS = 40


async def fuzz(seed: int, cases: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    async with judged_server() as judge:
        await Fuzzer(judge, seed).run(cases)
        # Most of it must be wrong, and some of it right, or the fuzzing has lost its bite.
        refused = sum(count for code, count in judge.codes.items() if code >= 400)
        assert cases * 0.3 < refused < cases * 0.95, judge.codes
        assert set(judge.codes) >= {200, 201, 400, 404, 405, 409, 422} - {404, 405, 409}


async def test_random_requests_are_answered_or_refused() -> None:
    await fuzz(random.SystemRandom().randrange(2**32), CASES)


@pytest.mark.long
async def test_many_random_requests_are_answered_or_refused() -> None:
    for _ in range(LONG_SEEDS):
        await fuzz(random.SystemRandom().randrange(2**32), CASES)
