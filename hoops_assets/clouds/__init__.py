"""One module a cloud: session, clients, what its errors mean, names and tags.

What belongs here: what every step that runs on a cloud shares. Nothing is imported from an SDK before it is used.
"""
