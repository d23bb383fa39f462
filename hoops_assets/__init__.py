"""hoops_assets: basketball win probabilities as one Dagster asset graph, from the laptop to the cloud.

What belongs here: the version, and the one switch that keeps every library's telemetry off.
"""

import os

__version__ = "0.1.0"

for _name, _value in {
    "DAGSTER_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_USAGE_LOGGING": "true",
}.items():
    os.environ.setdefault(_name, _value)
