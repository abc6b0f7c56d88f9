"""A campaign file, CSV or workbook becomes rows, or one report of everything that is wrong with it.

May import edges and core. Nothing is sent or written here.
"""
