"""A run's name, made of its settings, so that every table and figure finds the runs that it shares with others."""

from minifl import own
from minifl.runs.settings import LOOKING, Settings, choices, settings_for

ALWAYS = ("data", "model", "setting", "algorithm", "norm")
LAST = ("rounds", "seed")


def run_name(settings: Settings) -> str:
    """Data, model, setting, method and norm, then whatever is not the default beside these, rounds and seed."""
    return f"{stem(settings)}-rounds{settings.rounds}-seed{settings.seed}"


def stem(settings: Settings) -> str:
    """A run's name without rounds and seed."""
    chosen = {name: getattr(settings, name) for name in ALWAYS}
    usual = settings_for(settings.data, {name: chosen[name] for name in ALWAYS[1:]})
    parts = list(chosen.values())
    for name in choices():
        value = getattr(settings, name)
        if value is not None and value != getattr(usual, name) and name not in (*LOOKING, *LAST):
            parts.append(f"{name.replace('_', '-')}{value}")
    return "-".join(map(own.label, parts))
