FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/worker.txt /requirements.txt
# wheels only: nothing is compiled, so no stage needs a compiler; pip stays behind
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r /requirements.txt \
    && /opt/venv/bin/python -m pip uninstall --quiet --yes setuptools pip

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 otpreport \
    && useradd --uid 10001 --gid otpreport --create-home --shell /usr/sbin/nologin otpreport
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY otpreport otpreport
COPY config config
COPY providers providers
COPY tasks tasks
COPY worker worker
COPY simulator simulator
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# a container's own network is not the host's: whoever publishes a port says where
ENV OTPREPORT_METRICS_HOST=*
# the user below can't write here, so without this each start would compile everything again
RUN python -m compileall -q .
# as a number, so that an orchestrator can see that it is not root
USER 10001:10001
EXPOSE 9807 9808
STOPSIGNAL SIGTERM
# the port that is set, else a worker's default if somebody listens there, else the exporter's; http.client, for it asks no proxy
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, socket, sys; p = os.environ.get('OTPREPORT_METRICS_PORT') or (9807 if socket.socket().connect_ex(('127.0.0.1', 9808)) else 9808); c = http.client.HTTPConnection('127.0.0.1', int(p), timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "worker"]
CMD ["run"]
