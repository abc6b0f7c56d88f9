"""Workbooks (.xlsx) as tables, streamed and bounded: a small file must not become a large one."""
