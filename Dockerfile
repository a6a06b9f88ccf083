FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements /requirements
# wheels only: nothing is compiled, so no stage needs a compiler
RUN python -m venv /opt/worker \
    && /opt/worker/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r /requirements/worker.txt
RUN python -m venv /opt/build \
    && /opt/build/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r /requirements/build.txt
COPY pyproject.toml README.md LICENSE /src/
COPY otpreport /src/otpreport
COPY config /src/config
COPY providers /src/providers
COPY tasks /src/tasks
COPY worker /src/worker
COPY simulator /src/simulator
# without an index: what [worker] needs has to be there, from the lock; pip stays behind
RUN /opt/build/bin/python -m pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir /wheel /src \
    && /opt/worker/bin/python -m pip install --quiet --no-index --find-links /wheel "otpreport[worker]" \
    && /opt/worker/bin/python -m pip uninstall --quiet --yes setuptools pip

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 otpreport \
    && useradd --uid 10001 --gid otpreport --create-home --shell /usr/sbin/nologin otpreport
COPY --from=build /opt/worker /opt/worker
WORKDIR /home/otpreport
# pip has compiled all modules; the user below can't write there
ENV PATH=/opt/worker/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# a container's own network is not the host's: whoever publishes a port says where
ENV OTPREPORT_METRICS_HOST=*
# as a number, so that an orchestrator can see that it is not root
USER 10001:10001
EXPOSE 9807 9808
STOPSIGNAL SIGTERM
# the port that is set, else a worker's default if somebody listens there, else the exporter's; http.client, for it asks no proxy
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, socket, sys; p = os.environ.get('OTPREPORT_METRICS_PORT') or (9807 if socket.socket().connect_ex(('127.0.0.1', 9808)) else 9808); c = http.client.HTTPConnection('127.0.0.1', int(p), timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["otpreport"]
CMD ["run"]
