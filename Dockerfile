# Two container images:
#
#   docker build -t clpm-execd .                               docker run --env-file .env clpm-execd
#   docker build -t clpm-execd-telegraf --target telegraf .    docker run --env-file .env clpm-execd-telegraf
#
# The first runs clpm-execd --direct, which writes to InfluxDB itself. The second runs Telegraf with the plugin. Neither
# runs as root. Both work with a read-only root file system: their data is in the volume /var/lib/clpm-execd.
# A release takes its own wheel in place of the stage "wheel", by --build-context wheel=FOLDER with FOLDER/wheel/*.whl.
# To build for several processor architectures:
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t clpm-execd .

# What the package requires, from pyproject.toml alone. While that file stays the same, a build takes these layers from
# the cache and installs only the package.
FROM --platform=$BUILDPLATFORM python:3.13-slim-bookworm AS requirements
WORKDIR /src
COPY pyproject.toml ./
RUN mkdir /dist && python -c "import tomllib; settings = tomllib.load(open('pyproject.toml', 'rb')); \
        print(*settings['build-system']['requires'], sep='\n', file=open('build.txt', 'w')); \
        print(*settings['project']['dependencies'], sep='\n', file=open('/dist/requirements.txt', 'w'))" \
    && pip install --no-cache-dir --requirement build.txt \
    && pip download --no-cache-dir --no-deps --dest /dist/pip pip

# The wheel that both images install. It is pure Python, so it is built once, on the build machine's architecture.
FROM requirements AS wheel
COPY README.md ./
COPY clpm_execd clpm_execd
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .


# The Telegraf image has no Python. Install Debian's, and build the environment with a pip that is not in the image.
FROM telegraf:1.39 AS telegraf-python
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

FROM telegraf-python AS telegraf-environment
COPY --from=requirements /dist /dist
RUN python3 -m venv --without-pip /opt/clpm-execd \
    && /opt/clpm-execd/bin/python "$(ls /dist/pip/*.whl)/pip" install --no-cache-dir --requirement /dist/requirements.txt

# The package alone, below /package: a new release is then a small layer over what it requires.
FROM telegraf-environment AS telegraf-package
COPY --from=wheel /wheel /wheel
RUN /opt/clpm-execd/bin/python "$(ls /dist/pip/*.whl)/pip" install --no-cache-dir --no-deps --root /package /wheel/*.whl

FROM telegraf-python AS telegraf
COPY --from=telegraf-environment /opt/clpm-execd /opt/clpm-execd
COPY --from=telegraf-package /package /
COPY telegraf/telegraf.conf /etc/telegraf/telegraf.conf
RUN install -d -o telegraf -g telegraf -m 0700 /var/lib/clpm-execd
ENV PATH=/opt/clpm-execd/bin:$PATH CLPM_STATE=/var/lib/clpm-execd
VOLUME /var/lib/clpm-execd
USER telegraf
# Healthy means that Telegraf has the plugin running. Whether the points reach InfluxDB is in Telegraf's own metrics.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["sh", "-c", "grep -qsz '[c]lpm-execd' /proc/[0-9]*/cmdline"]
# Entry point and command are those of the Telegraf image.


FROM python:3.13-slim-bookworm AS environment
COPY --from=requirements /dist /dist
RUN python -m venv --without-pip /opt/clpm-execd \
    && pip --python /opt/clpm-execd/bin/python install --no-cache-dir --requirement /dist/requirements.txt

FROM environment AS package
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/clpm-execd/bin/python install --no-cache-dir --no-deps --root /package /wheel/*.whl

# The last target is the default.
FROM python:3.13-slim-bookworm AS direct
# A numeric user id, which Kubernetes can verify not to be root.
RUN useradd --uid 10001 --user-group --create-home --home-dir /var/lib/clpm-execd clpm
COPY --from=environment /opt/clpm-execd /opt/clpm-execd
COPY --from=package /package /
ENV PATH=/opt/clpm-execd/bin:$PATH CLPM_STATE=/var/lib/clpm-execd PYTHONUNBUFFERED=1
# Log file, checkpoint and delivery queue are here.
WORKDIR /var/lib/clpm-execd
VOLUME /var/lib/clpm-execd
USER 10001
# Healthy means that InfluxDB acknowledged points within the last minute.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["clpm-execd", "health"]
ENTRYPOINT ["clpm-execd", "--direct"]
