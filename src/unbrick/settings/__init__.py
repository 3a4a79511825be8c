"""Reads what people hand to unbrick in files: the settings of a station, lists exported as CSV.

Never passes over what it does not understand.
Read `strict.py` first: every YAML file goes through it.
"""
