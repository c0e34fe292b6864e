"""The numbers that commands take: each has a least and a greatest value, and NaN and infinity are refused by name."""

import math

import typer

from codesage import cli


def commands(group, name="codesage"):
    for part, command in group.commands.items():
        yield from commands(command, f"{name} {part}") if hasattr(command, "commands") else [(f"{name} {part}", command)]


def numbers():
    """(name, command, parameter) of all that is read as a number."""
    cli._mount()
    for name, command in commands(typer.main.get_command(cli.app)):
        for parameter in command.params:
            kinds = getattr(parameter.type, "types", [parameter.type])
            if any(isinstance(kind.name, str) and kind.name.startswith(("int", "float")) for kind in kinds):
                yield name, command, parameter


def refusal(name, command, parameter, value):
    """What a command says of the value of an option."""
    try:
        command.make_context(name, [parameter.opts[0], value])
    except typer.BadParameter as refused:
        return refused.format_message()
    except Exception as error:
        return f"accepted: {error!r}"
    return "accepted"


def faults(name, command, parameter):
    """What is wrong with the bounds of a number."""
    option = f"{name} {parameter.opts[0]}"
    least, most = (getattr(parameter.type, bound, None) for bound in ("min", "max"))
    if least is None or most is None or not math.isfinite(least) or not math.isfinite(most):
        yield f"{option} has no least or no greatest value"
        return
    wrong = [str(least - 1), str(most + 1), str(10**30)]
    wrong += ["nan", "inf", "-inf"] if parameter.type.name.startswith("float") else []
    for value in wrong:
        said = refusal(name, command, parameter, value)
        if parameter.opts[0] not in said or "Invalid value" not in said or "\n" in said:
            yield f"{option} {value}: {said}"
    if parameter.default is not None and not least <= parameter.default <= most:
        yield f"{option} is {parameter.default} by default"


def test_each_number_has_bounds_and_its_refusal_names_the_option():
    found = list(numbers())
    assert len(found) > 75
    assert not [fault for one in found for fault in faults(*one)]
