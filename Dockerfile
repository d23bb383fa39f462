# The one image of the platform: training jobs, endpoints and transform jobs on SageMaker run it with `train` or `serve`.
#   docker build --build-arg COMMIT=$(git rev-parse HEAD) -t hoops .
FROM python:3.11-slim

ARG COMMIT=
ENV HOOPS_COMMIT=${COMMIT} \
    HOOPS_HOME=/tmp/hoops \
    OMP_NUM_THREADS=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /srv/hoops
COPY constraints.txt pyproject.toml setup.cfg README.md LICENSE ./
COPY hoops_assets ./hoops_assets
RUN pip install -c constraints.txt .

# SageMaker owns /opt/ml as root and starts the container so.
EXPOSE 8080
ENTRYPOINT ["python", "-m", "hoops_assets.workloads.container"]
