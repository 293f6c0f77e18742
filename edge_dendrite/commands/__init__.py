"""One file a command: its flags, what it calls, what it prints.

Imports of torch stay inside the functions that need it, so that help and `boards` answer at once.
"""
