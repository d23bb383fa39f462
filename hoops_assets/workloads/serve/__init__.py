"""The prediction server: one ASGI process, the same on a laptop and in a cloud's container.

What belongs here: the files it reads (`bundle`), what it answers (`api`, `endpoint`), and the process itself (`app`,
`log`, `keys`, `metrics`). Nothing here imports pandas, deltalake, dagster or scikit-learn; `bundle` is also read and
written by the deploying side.
"""
