# syntax=docker/dockerfile:1
# The service. From the top of the repository:
#   docker build --file docker/service.Dockerfile --target cpu --tag humwatch:cpu .
#   docker build --file docker/service.Dockerfile --target gpu --tag humwatch:gpu .
# docs/deployment.md says what is pinned, what was tried without a Docker engine, and what was not.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm

# Wheels of everything, so no compiler is needed. pip stays in this stage: the environments are made without it.
FROM ${PYTHON_IMAGE} AS build
# Another index than pip's own is given as a build argument; none is written here.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN pip install pip==26.3 setuptools==84.2.1
COPY pyproject.toml constraints.txt docker/requirements.py docker/gpu-constraints.txt ./

FROM build AS cpu-environment
RUN python requirements.py pyproject.toml service tracing > requirements.txt \
    && python -m venv --without-pip /opt/humwatch \
    && pip --python /opt/humwatch/bin/python install --constraint constraints.txt --requirement requirements.txt

FROM build AS gpu-environment
# CUDA and cuDNN come as wheels, in the versions that ONNX Runtime names: nothing else of CUDA is carried.
RUN python requirements.py pyproject.toml gpu tracing > requirements.txt \
    && python -m venv --without-pip /opt/humwatch \
    && pip --python /opt/humwatch/bin/python install \
        --constraint constraints.txt --constraint gpu-constraints.txt \
        --requirement requirements.txt 'onnxruntime-gpu[cuda,cudnn]'

# The project's own code, as one wheel.
FROM build AS code
COPY README.md ./
COPY core core
COPY service service
COPY training training
COPY docs/runbooks docs/runbooks
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels .

FROM cpu-environment AS cpu-installed
COPY --from=code /wheels /wheels
RUN pip --python /opt/humwatch/bin/python install --no-deps --no-index /wheels/*.whl

FROM gpu-environment AS gpu-installed
COPY --from=code /wheels /wheels
RUN pip --python /opt/humwatch/bin/python install --no-deps --no-index /wheels/*.whl

# What both images share: a user without rights, and nowhere to write but the state, the models and /tmp.
FROM ${PYTHON_IMAGE} AS base
# Versions of Debian packages are those of the pinned image's release; a pin to one would be gone with the next fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libportaudio2 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 humwatch \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin humwatch \
    && install --directory --owner=humwatch --group=humwatch --mode=0750 /var/lib/humwatch
ENV PATH=/opt/humwatch/bin:$PATH \
    HOME=/tmp \
    TMPDIR=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HUMWATCH_HOST=0.0.0.0 \
    HUMWATCH_PORT=8000 \
    HUMWATCH_MODELS_DIR=/app/models \
    HUMWATCH_STATE_DIR=/var/lib/humwatch
WORKDIR /app
# Owned by the user, so that a volume over them can take new versions: calibrations are written there.
COPY --chown=10001:10001 models models
USER 10001:10001
VOLUME ["/var/lib/humwatch"]
EXPOSE 8000
STOPSIGNAL SIGTERM
# Whether the process answers, not whether all of its work can be done: a full disk, or a model that was refused, is not
# cured by a restart, which would break every stream. Whoever sends work asks for readiness, and alerts tell of it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["humwatch", "health", "--live"]
ENTRYPOINT ["humwatch"]
CMD ["serve"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="humwatch" \
    org.opencontainers.image.description="Hears that a machine is failing: learns normal sound, scores what departs from it" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.documentation="docs/deployment.md"

FROM base AS gpu
COPY --from=gpu-installed /opt/humwatch /opt/humwatch
# Where the wheels put their libraries. The driver's own (libcuda) is given by the host's container runtime.
ENV HUMWATCH_PROVIDERS=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/opt/humwatch/lib/python3.11/site-packages/nvidia/cu13/lib:/opt/humwatch/lib/python3.11/site-packages/nvidia/cudnn/lib

# The last stage is what is built when no target is named.
FROM base AS cpu
COPY --from=cpu-installed /opt/humwatch /opt/humwatch
