"""The files that a campaign is read from: YAML, CSV and workbooks, on this machine or in a bucket, within limits.

May import what ``campaign`` may, but nothing of ``campaign`` itself except ``problems``.
"""
