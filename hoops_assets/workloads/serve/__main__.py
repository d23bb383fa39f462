"""The server in a container: `python -m hoops_assets.workloads.serve [serve] [--host HOST] [--port PORT]`.

What belongs here: the environment that a container's platform gives.

- HOOPS_BUNDLE: folder of the one bundle (SageMaker unpacks a model to /opt/ml/model, Vertex AI names it in
  AIP_STORAGE_URI and leaves the download to the image, Azure ML in AZUREML_MODEL_DIR). Without it HOOPS_HOME/serving is
  served.
- HOOPS_AUTHENTICATED_BY: the platform that has authenticated every request; without it a key is needed, unless the
  server is bound to the loopback.
- AIP_HTTP_PORT, AIP_HEALTH_ROUTE, AIP_PREDICT_ROUTE: Vertex AI's; SageMaker asks port 8080.
- HOOPS_RECORD_URL: where the served predictions go. A container's own disk ends with it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from hoops_assets.errors import HoopsError
from hoops_assets.settings import load_settings
from hoops_assets.workloads.serve.app import ServerConfig
from hoops_assets.workloads.serve.run import serve

PORT = 8080


def container_config() -> ServerConfig:
    """What the environment says. Raises HoopsError."""
    settings = load_settings()
    bundle = os.environ.get("HOOPS_BUNDLE")
    return ServerConfig(
        home=settings.home,
        record_url=settings.record,
        bundle=Path(bundle) if bundle else None,
        authenticated_by=os.environ.get("HOOPS_AUTHENTICATED_BY") or None,
        health_route=os.environ.get("AIP_HEALTH_ROUTE") or None,
        predict_route=os.environ.get("AIP_PREDICT_ROUTE") or None,
        log={"policy": settings.serving_log_policy, "high_water": settings.serving_log_bytes},
    )


def main() -> None:
    """Serves until it is told to end."""
    parser = argparse.ArgumentParser(
        prog="python -m hoops_assets.workloads.serve", description="The prediction server in a container."
    )
    parser.add_argument("what", nargs="?", choices=["serve"], help="as SageMaker calls a container")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=int(os.environ.get("AIP_HTTP_PORT") or PORT))
    arguments = parser.parse_args()
    try:
        serve(container_config(), arguments.host, arguments.port, _tell)
    except HoopsError as error:
        sys.exit(f"error: {error}")


def _tell(address: str) -> None:
    sys.stderr.write(f"serving at {address}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
