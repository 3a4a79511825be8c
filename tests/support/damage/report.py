"""A run in words: what was damaged, what each command said, what is wrong, and how to run it again."""

from __future__ import annotations

from dataclasses import replace

from support.damage.run import Outcome


def shown(outcome: Outcome) -> str:
    """A run in a few lines."""
    plan = outcome.plan
    options = " --reset-log" * plan.reset_log + " --discard-hibernation" * plan.discard_hibernation
    lines = [f"seed {plan.seed}: {plan.base}, {plan.state}{options} ({outcome.seconds:.1f} s)"]
    lines += [f"    start   {outcome.begun}"] * bool(outcome.begun)
    lines += [f"    damage  {one}" for one in outcome.damages]
    lines += [
        f"    {name:<17} {said}{': ' if outcome.errors[name] else ''}{outcome.errors[name]}"
        for name, said in outcome.said.items()
    ]
    lines += [f"    WRONG   {one}" for one in outcome.wrong]
    if outcome.wrong:
        lines.append(f"    again   {replace(plan, damages=tuple(outcome.used), count=len(outcome.used))}")
    return "\n".join(lines)
