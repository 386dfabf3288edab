# One image for all roles: the API by default; `rq worker QUEUE` and `sspp …` by their command.
# docs/howto/run_with_compose.md tells how it is built and run.

# Python 3.11 is what the tests run on. The distribution decides which PostgreSQL its pg_dump comes from, and pg_dump must
# not be older than the server in docker-compose.yml: with trixie it is 17.
ARG PYTHON_IMAGE=python:3.11.14-slim-trixie


FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils \
 && python -m pip install --quiet hatchling==1.27.0 && python -m venv --without-pip /opt/sspp
# Dependencies change seldom, and have a layer of their own. Wheels alone: nothing is compiled, no code of theirs runs here.
# What some were compiled from, and what a debugger would ask of them, is a sixth; psycopg's modules were patched to find
# their libraries, and stay as they are. The compiled .pyc stay too: nothing can write them later.
COPY requirements.lock ./
RUN python -m pip --python /opt/sspp install --quiet --only-binary :all: --requirement requirements.lock \
 && find /opt/sspp/lib -name '*.c' -delete -o -name '*.pyx' -delete -o -name '*.pxd' -delete \
      -o -name '*.so' ! -path '*/psycopg_binary/*' -exec strip --strip-debug {} +
COPY pyproject.toml README.md LICENSE ./
COPY api/ api/
COPY common/ common/
COPY infrastructure/ infrastructure/
COPY worker/ worker/
RUN python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m pip --python /opt/sspp install --quiet --no-deps /wheels/*.whl


# The package would bring perl along; the two programs need none of it.
FROM ${PYTHON_IMAGE} AS postgresql-client
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql-client \
 && mkdir /client && cp /usr/lib/postgresql/*/bin/pg_dump /usr/lib/postgresql/*/bin/pg_restore /client/


# Not part of the platform: what the profile `tools` of docker-compose.yml shows RQ's queues with.
FROM ${PYTHON_IMAGE} AS rq-dashboard
WORKDIR /opt/rq-dashboard
COPY infrastructure/compose/rq-dashboard.lock ./
RUN python -m pip install --quiet --no-cache-dir --root-user-action ignore --only-binary :all: -r rq-dashboard.lock
RUN rq-dashboard --help >/dev/null
USER 65534:65534
EXPOSE 9181
CMD ["rq-dashboard"]


FROM ${PYTHON_IMAGE} AS sspp
# What pg_dump links to, and a process 1 that passes signals on, also to a process that has no handler for them yet, and
# that reaps what nobody waits for. No package installer stays behind. A volume at /backups becomes the user's as well.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libpq5 liblz4-1 libzstd1 tini \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && python -m pip uninstall --yes --quiet --root-user-action ignore pip setuptools wheel \
 && groupadd --gid 10001 sspp \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sspp \
 && install -d -o sspp -g sspp -m 0700 /backups
COPY --from=postgresql-client /client/ /usr/local/bin/
COPY --from=builder /opt/sspp/ /opt/sspp/
ENV PATH=/opt/sspp/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RQ_WORKER_CLASS=worker.worker.DrainWorker \
    SSPP_HOST=0.0.0.0 \
    PORT=8000 \
    SSPP_WORKER_METRICS_HOST=0.0.0.0 \
    SSPP_WORKER_METRICS_PORT=9100
WORKDIR /opt/sspp
# A number: Kubernetes cannot tell whether a name is root's.
USER 10001:10001
# What was copied has to run here: a library or a package that is missing ends the build.
RUN pg_dump --version && pg_restore --version && sspp --version \
 && python -c "import api.app, worker.worker, infrastructure.compose.healthcheck, common.tracing.otel"
EXPOSE 8000 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "infrastructure.compose.healthcheck"]
# A process that a SIGTERM ended has ended well: uvicorn lets the signal have its way once its requests are answered.
ENTRYPOINT ["tini", "-e", "143", "--"]
CMD ["python", "-m", "api"]

# Last, as they change with each build.
ARG PYTHON_IMAGE
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=unknown
# An old podman takes a LABEL for built before, whatever the arguments are; a RUN it does not.
RUN : "${VERSION} ${REVISION} ${CREATED}"
LABEL org.opencontainers.image.title="sspp" \
      org.opencontainers.image.description="Sales Signal Processing Platform: API, workers and the sspp command" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
