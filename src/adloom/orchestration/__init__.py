"""The machinery behind the Prefect flows: purchases as task runs, artifacts, states, approval, and `make up`.

The only room, with `flows/`, that imports Prefect. May import every room but cli.
"""
