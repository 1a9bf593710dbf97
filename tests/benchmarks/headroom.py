"""What the price could gain over the batch of its rule at most, and what it is certain of with the records of one pool.

    python tests/benchmarks/headroom.py RUN [RUN ...]

Each RUN has mgral (representation growth, prior adaptive) among its strategies. A line for each first pool: how many
images of the rule's batch exchanges replace and the gain over it that the price expects then,

- with the weights that all records of the run give: the most that records could bring here;
- with those of the pool's own first table, with certainty 0.95: what would be chosen; and what the records of all
  other seeds expect of that batch.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from pooled_records import first_price, fitted, tables_of

from mgral.reward import exchanges
from mgral.reward.batch_price import BatchPrice
from mgral.reward.bayes import Weights
from mgral.reward.growth import World
from mgral.reward.safe_choice import choose, rule_batch

PASSES = 10
LEAST = 0.95


def gain(world: World, weights: Weights, batch: Sequence[int], rule: Sequence[int]) -> str:
    """The expected gain of a batch over the rule's, and its deviation, in mAP."""
    one, two = world.features([batch, rule])
    (expected,), (deviation,) = weights.predict((one - two)[None])
    return f"{expected:+.4f} ± {deviation:.4f}"


def lines(run: Path, size: int) -> list[str]:
    """A line of the table for each seed."""
    tables, found = tables_of(run), []
    of_all = functools.cache(lambda prior: fitted(tables, prior).weights)
    for seed in sorted({table.seed for table in tables}):
        price, prior = first_price(run, seed)
        everyone = of_all(prior)
        own = fitted([table for table in tables if (table.seed, table.cycle) == (seed, 0)], prior).weights
        others = fitted([table for table in tables if table.seed != seed], prior).weights
        rule = rule_batch(price.world, prior.feature, size)
        best = exchanges.polish(BatchPrice(price.world, everyone), rule, PASSES)
        mine = BatchPrice(price.world, own)
        certain = choose(mine, exchanges.polish(mine, rule, PASSES), LEAST, PASSES).ids
        found.append(
            f"| {run.name} {seed} | {len(set(best) - set(rule))} | {gain(price.world, everyone, best, rule)} | "
            f"{len(set(certain) - set(rule))} | {gain(price.world, own, certain, rule)} | "
            f"{gain(price.world, others, certain, rule)} |"
        )
    return found


def main() -> None:
    """Print the table."""
    print("| pool | exchanged | by all records | exchanged | certain by its own | by the others' |")
    print("|---" * 6 + "|")
    for word in sys.argv[1:]:
        run = Path(word)
        chosen = next(run.glob("mgral/seed-*/cycle-0/selected.json"))
        print("\n".join(lines(run, chosen.read_text().count('"id"'))))


if __name__ == "__main__":
    main()
