"""Clouds on loopback that pretend to be the somebody who runs things: the real SDK talks to them over the real wire.

What belongs here: what the vendors do, as far as it can be read from their SDKs' own models and documentation. They prove
the wire and our behaviour, never the vendor's. Imported by the command line and the tests only (extra `emulators`).
"""
