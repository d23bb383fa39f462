"""Where state lives: Delta tables with their declared schemas, the IO manager, the calendar file, the append-only record.

What belongs here: reading and writing, atomically. What the columns mean is declared in the domain.
"""
