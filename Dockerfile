# clpm-execd in a container, two ways:
#
#   docker build -t clpm-execd .                            and    docker run --env-file .env clpm-execd
#   docker build -t clpm-execd-telegraf --target telegraf . and    docker run --env-file .env clpm-execd-telegraf
#
# The first writes to InfluxDB itself, the second is Telegraf with the plugin inside. Neither runs as root, both run with
# a read-only root: what they keep stands in the volume /var/lib/clpm-execd. For other processors:
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t clpm-execd .

# The wheel, which both install: pure Python, so built once, on the machine's own processor.
FROM --platform=$BUILDPLATFORM python:3.13-slim-bookworm AS wheel
WORKDIR /src
COPY pyproject.toml README.md ./
COPY clpm_execd clpm_execd
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist . \
    && pip download --no-cache-dir --no-deps --dest /dist/pip pip


# Telegraf's image has no Python: Debian's own, and an environment built with it by a pip that stays behind.
FROM telegraf:1.39 AS telegraf-python
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

FROM telegraf-python AS telegraf-environment
RUN python3 -m venv --without-pip /opt/clpm-execd
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    /opt/clpm-execd/bin/python "$(ls /dist/pip/*.whl)/pip" install --no-cache-dir /dist/*.whl

FROM telegraf-python AS telegraf
COPY --from=telegraf-environment /opt/clpm-execd /opt/clpm-execd
COPY telegraf/telegraf.conf /etc/telegraf/telegraf.conf
RUN install -d -o telegraf -g telegraf -m 0700 /var/lib/clpm-execd
ENV PATH=/opt/clpm-execd/bin:$PATH CLPM_STATE=/var/lib/clpm-execd
VOLUME /var/lib/clpm-execd
USER telegraf
# Telegraf, process 1 here, has the plugin running; what becomes of its points is Telegraf's to say.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["sh", "-c", "grep -qsz '[c]lpm-execd' /proc/[0-9]*/cmdline"]
# Entry point and command are those of Telegraf's image.


FROM python:3.13-slim-bookworm AS environment
RUN python -m venv --without-pip /opt/clpm-execd
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    pip --python /opt/clpm-execd/bin/python install --no-cache-dir /dist/*.whl

# The last target, and so the default.
FROM python:3.13-slim-bookworm AS direct
# By its number, which Kubernetes can tell from root.
RUN useradd --uid 10001 --user-group --create-home --home-dir /var/lib/clpm-execd clpm
COPY --from=environment /opt/clpm-execd /opt/clpm-execd
ENV PATH=/opt/clpm-execd/bin:$PATH CLPM_STATE=/var/lib/clpm-execd PYTHONUNBUFFERED=1
# The log file, and whatever the writer has to keep, stand here.
WORKDIR /var/lib/clpm-execd
VOLUME /var/lib/clpm-execd
USER 10001
# InfluxDB has acknowledged points lately.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["clpm-execd", "health"]
ENTRYPOINT ["clpm-execd", "--direct"]
