# clpm-execd in a container, two ways:
#
#   docker build -t clpm-execd .                            and    docker run --env-file .env clpm-execd
#   docker build -t clpm-execd-telegraf --target telegraf . and    docker run --env-file .env clpm-execd-telegraf
#
# The first writes to InfluxDB itself, the second is Telegraf with the plugin inside. Neither runs as root.

# The wheel, which both install.
FROM python:3.13-slim-bookworm AS wheel
WORKDIR /src
COPY pyproject.toml README.md ./
COPY clpm_execd clpm_execd
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .


# Telegraf's image has no Python: Debian's own, and an environment built with it so that pip stays behind.
FROM telegraf:1.39 AS telegraf-python
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM telegraf-python AS telegraf-environment
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --without-pip /opt/clpm-execd
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist python3 -m venv /tmp/pip \
    && /tmp/pip/bin/pip --python /opt/clpm-execd/bin/python install --no-cache-dir /dist/*.whl

FROM telegraf-python AS telegraf
COPY --from=telegraf-environment /opt/clpm-execd /opt/clpm-execd
COPY telegraf/telegraf.conf /etc/telegraf/telegraf.conf
ENV PATH=/opt/clpm-execd/bin:$PATH
USER telegraf
# Entry point and command are those of Telegraf's image.


FROM python:3.13-slim-bookworm AS environment
RUN python -m venv --without-pip /opt/clpm-execd
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    pip --python /opt/clpm-execd/bin/python install --no-cache-dir /dist/*.whl

# The last target, and so the default.
FROM python:3.13-slim-bookworm AS direct
RUN useradd --system --user-group --create-home --home-dir /var/lib/clpm-execd clpm
COPY --from=environment /opt/clpm-execd /opt/clpm-execd
ENV PATH=/opt/clpm-execd/bin:$PATH PYTHONUNBUFFERED=1
# The log file, and whatever the writer has to keep, stand here.
WORKDIR /var/lib/clpm-execd
VOLUME /var/lib/clpm-execd
USER clpm
ENTRYPOINT ["clpm-execd", "--direct"]
