"""The table of channels that comes with adloom."""
