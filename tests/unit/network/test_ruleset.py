"""Transactions: the smallest change, claims of several owners, and agreement with the whole."""

import re

from hypothesis import given
from hypothesis import strategies as st

from kybern.network.nftables.ruleset import EMPTY, Fragment, Ruleset
from kybern.network.nftables.table import Skeleton

SKELETON = Skeleton("10.244.0.0/16", "10.96.0.0/16", "10.244.1.0/24")


def fragment(
    chains: dict[str, tuple[str, ...]], key: str = "", value: str | None = None
) -> Fragment:
    return Fragment(chains=chains, elements={("node-ports", key): value} if key else {})


def test_nothing_new_is_no_transaction() -> None:
    ruleset = Ruleset(SKELETON)
    ruleset.change({"a": fragment({"one": ("accept",)}, "tcp . 1", "goto one")})
    assert ruleset.change({"a": fragment({"one": ("accept",)}, "tcp . 1", "goto one")}) == ""
    assert ruleset.change({"b": EMPTY}) == ""


def test_only_what_differs_is_in_the_transaction() -> None:
    ruleset = Ruleset(SKELETON)
    ruleset.change({"a": fragment({"one": ("accept",), "two": ("drop",)}, "tcp . 1", "goto one")})
    changed = fragment({"one": ("drop",), "two": ("drop",)}, "tcp . 1", "goto two")
    assert ruleset.change({"a": changed}).splitlines() == [
        "flush chain ip kybern one",
        "add rule ip kybern one drop",
        "delete element ip kybern node-ports { tcp . 1 }",
        "add element ip kybern node-ports { tcp . 1 : goto two }",
    ]


def test_chains_are_emptied_at_once_and_deleted_later() -> None:
    ruleset = Ruleset(SKELETON)
    ruleset.change({"a": fragment({"one": ("accept",)}, "tcp . 1", "goto one")})
    assert ruleset.change({"a": EMPTY}).splitlines() == [
        "delete element ip kybern node-ports { tcp . 1 }",
        "flush chain ip kybern one",
    ]
    assert ruleset.sweep() == "delete chain ip kybern one\n"
    assert ruleset.sweep() == ""


def test_a_chain_that_comes_back_in_time_is_not_deleted() -> None:
    ruleset = Ruleset(SKELETON)
    ruleset.change({"a": fragment({"one": ("accept",)})})
    ruleset.change({"a": EMPTY})
    ruleset.change({"a": fragment({"one": ("drop",)})})
    assert ruleset.sweep() == ""


def test_of_two_claims_the_first_owner_s_counts_and_the_other_follows() -> None:
    ruleset = Ruleset(SKELETON)
    ruleset.change({"b": fragment({}, "tcp . 1", "goto bee")})
    assert "goto ay" in ruleset.change({"a": fragment({}, "tcp . 1", "goto ay")})
    assert ruleset.change({"b": fragment({}, "tcp . 1", "goto other")}) == ""
    assert "goto other" in ruleset.change({"a": EMPTY})


def test_an_element_moves_between_owners_in_one_transaction() -> None:
    ruleset = Ruleset(SKELETON)
    ruleset.change({"a": fragment({}, "tcp . 1", "goto one")})
    moved = {"a": EMPTY, "b": fragment({}, "tcp . 1", "goto one")}
    assert ruleset.change(moved) == ""


FRAGMENTS = st.builds(
    lambda rule, key, value: Fragment(
        chains={f"chain-{rule}": (rule,)},
        elements={("node-ports", f"tcp . {key}"): f"goto {value}"},
    ),
    st.sampled_from(["accept", "drop", "return"]),
    st.integers(1, 4),
    st.sampled_from(["x", "y"]),
)


class Kernel:
    """Carries out the commands that the ruleset uses, and refuses what the kernel would."""

    def __init__(self) -> None:
        self.chains: dict[str, list[str]] = {}
        self.elements: dict[str, str] = {}

    def run(self, commands: str) -> None:
        for line in commands.splitlines():
            verb, kind, _, _, name, *rest = line.split(maxsplit=5)
            text = rest[0] if rest else ""
            match verb, kind:
                case "add", "chain":
                    self.chains.setdefault(name, [])
                case "add", "rule":
                    self.chains[name].append(text)
                case "flush", "chain":
                    self.chains[name].clear()
                case "delete", "chain":
                    assert not self.chains.pop(name)
                case "delete", "element":
                    for key in text.strip("{} ").split(", "):
                        del self.elements[key]
                case "add", "element":
                    for key, value in re.findall(r"([^,{]+) : ([^,}]+)", text):
                        assert key.strip() not in self.elements
                        self.elements[key.strip()] = value.strip()
                case other:
                    raise AssertionError(other)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | FRAGMENTS, st.booleans())))
def test_any_sequence_of_changes_gives_the_same_table_as_the_whole(
    steps: list[tuple[str, Fragment | None, bool]],
) -> None:
    ruleset, kernel = Ruleset(SKELETON), Kernel()
    skeleton = len(SKELETON.lines())
    for owner, wanted, sweep in steps:
        named = (
            Fragment({f"{owner}-{n}": r for n, r in wanted.chains.items()}, {}, wanted.elements)
            if wanted
            else EMPTY
        )
        swept = ruleset.sweep() if sweep else ""
        kernel.run(swept + ruleset.change({owner: named}))
    kernel.run(ruleset.sweep())
    whole = Kernel()
    whole.run("".join(f"{line}\n" for line in ruleset.render().splitlines()[skeleton:]))
    assert kernel.chains == whole.chains
    assert kernel.elements == whole.elements
