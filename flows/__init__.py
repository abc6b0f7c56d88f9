"""The Prefect flows that prefect.yaml names; with ``orchestration`` the only importers of Prefect."""
