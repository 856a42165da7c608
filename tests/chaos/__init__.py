"""The fault run: a whole hub, killed, frozen, cut off and lied to, has to lose nothing and send nothing twice.

`python -m tests.chaos --help`; `make chaos`. It uses processes, HTTP and the database only, whatever the engine inside.
"""
