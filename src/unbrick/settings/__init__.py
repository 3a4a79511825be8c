"""Reads what people hand to unbrick in files: the settings of a station, lists exported as CSV.

Never passes over what it does not understand.
Read `station_file.py` first.
"""
