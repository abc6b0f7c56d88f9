"""Workbooks (.xlsx) as tables, read as a stream and within bounds: a small file must not become a large one."""
