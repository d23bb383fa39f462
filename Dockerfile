# The one image of the platform. SageMaker's training jobs, endpoints, transform and processing jobs run it with one word:
# train, serve, evaluate, judge or drift. Elsewhere: python -m hoops_assets.workloads.serve (Vertex AI, Azure ML, a server),
# python -m hoops_assets.workloads.train FOLDER, python -m hoops_assets.workloads.drift IN OUT.
#
#   docker build --build-arg COMMIT=$(git rev-parse HEAD) -t hoops .
#
# It runs as a user without rights. SageMaker mounts /opt/ml for root alone and gives its containers nothing else to write
# to, so the image for SageMaker is built with --build-arg RUN_AS=root; SageMaker isolates each job in a machine of its own.
FROM python:3.11.13-slim-bookworm

WORKDIR /srv/hoops
COPY constraints.txt pyproject.toml setup.cfg README.md LICENSE ./
COPY hoops_assets ./hoops_assets
RUN pip install --no-cache-dir --no-compile -c constraints.txt ".[aws,server]" \
    && useradd --system --uid 10001 --create-home --home-dir /home/hoops hoops

ARG COMMIT=
ENV HOOPS_COMMIT=${COMMIT} \
    HOOPS_HOME=/tmp/hoops \
    OMP_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

ARG RUN_AS=hoops
USER ${RUN_AS}
EXPOSE 8080
ENTRYPOINT ["python", "-m", "hoops_assets.workloads.container"]
