"""Proposes names for identifiers in obfuscated or badly named code.

Data flow: `units.py` finds what can be renamed and what must stay. `windows.py` hides the occurrences of a name and cuts the
windows around them, and `filler.py` asks a Stage I model for the hidden tokens. `surroundings.py` describes what stands around
a name, `derived.py` takes names from the file, `table.py` knows which names are usual there, and `joint.py` scores all of them.
Without a table, `beam.py` fills the sub-tokens of a name together. `propose.py` chooses the names of a file, `rename.py` writes
the file and checks it, `commands.py` is the command.
"""
