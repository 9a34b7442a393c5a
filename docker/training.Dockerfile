# syntax=docker/dockerfile:1
# Training, calibration, export and evaluation on a CPU. From the top of the repository:
#   docker build --file docker/training.Dockerfile --tag humwatch-training --build-arg PIP_EXTRA_INDEX_URL=... .
# Without an index of CPU builds, `torch` of pip's own index brings CUDA's libraries with it on x86 (gigabytes that
# this image does not use): give the index that has the CPU build of the pinned version, or a mirror of it.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
# Which build of torch; with an index that has several, for example `torch==2.13.0+cpu`.
ARG TORCH=torch==2.13.0
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN pip install pip==26.3 setuptools==84.2.1 \
    && python -m venv --without-pip /opt/humwatch
COPY pyproject.toml constraints.txt docker/requirements.py ./
RUN pip --python /opt/humwatch/bin/python install --constraint constraints.txt "${TORCH}"
RUN python requirements.py pyproject.toml training > requirements.txt \
    && pip --python /opt/humwatch/bin/python install --constraint constraints.txt --requirement requirements.txt
COPY README.md ./
COPY core core
COPY service service
COPY training training
COPY docs/runbooks docs/runbooks
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
    && pip --python /opt/humwatch/bin/python install --no-deps --no-index /wheels/*.whl

FROM ${PYTHON_IMAGE} AS training
RUN groupadd --gid 10001 humwatch \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin humwatch \
    && install --directory --owner=humwatch --group=humwatch --mode=0750 /runs
ENV PATH=/opt/humwatch/bin:$PATH \
    HOME=/tmp \
    TMPDIR=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/humwatch /opt/humwatch
# Runs are written below here; recordings are mounted beside, models where they are to be exported to.
WORKDIR /runs
USER 10001:10001
VOLUME ["/runs"]
STOPSIGNAL SIGTERM
# A command that ends is no service: there is nothing to ask.
HEALTHCHECK NONE
ENTRYPOINT ["humwatch-train"]
CMD ["--help"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="humwatch-training" \
    org.opencontainers.image.description="Trains, calibrates, exports and evaluates Humwatch's models" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.documentation="docs/deployment.md"
