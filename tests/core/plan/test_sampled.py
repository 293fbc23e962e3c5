from __future__ import annotations

from core.plan import choose
from core.stage import Unit


def units(**counts: int) -> list[Unit]:
    names = [name for name, count in counts.items() for _ in range(count)]
    return [Unit(n, {"shard": name}, str(n)) for n, name in enumerate(names)]


def test_a_share_of_every_source_is_drawn() -> None:
    listed = units(arxiv=100, wiki=40, book=1)
    chosen = choose(listed, 0.1, seed=1)
    by_source = [listed[n].payload["shard"] for n in chosen]
    assert {name: by_source.count(name) for name in set(by_source)} == {
        "arxiv": 10,
        "wiki": 4,
        "book": 1,
    }
    assert chosen == sorted(set(chosen))


def test_two_units_at_least_since_one_has_no_spread() -> None:
    assert len(choose(units(arxiv=50), 0.001, seed=1)) == 2


def test_all_of_it() -> None:
    assert choose(units(arxiv=7, wiki=3), 1.0, seed=1) == list(range(10))


def test_the_seed_decides() -> None:
    listed = units(arxiv=100)
    assert choose(listed, 0.1, seed=1) == choose(listed, 0.1, seed=1)
    assert choose(listed, 0.1, seed=1) != choose(listed, 0.1, seed=2)
