# The three images, a target each: `train`, `transformer`, and, when none is named, everything in one. images/build builds
# them; by hand: docker build --target train -t cnn-image-train:0.1.0 .
ARG PYTHON_IMAGE=python:3.11-slim

# ------------------------------------------------------------------ what the images are made of

FROM ${PYTHON_IMAGE} AS tools
WORKDIR /src
# uv comes from the lock like everything else, its hash checked by pip.
COPY constraints.txt ./
RUN python3 -m venv /opt/tools \
 && awk '/^[a-z]/ {wanted = /^(uv|setuptools)==/} wanted' constraints.txt > tools.txt \
 && /opt/tools/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r tools.txt \
 && python3 -m venv --without-pip /opt/cnn-image
ENV PATH=/opt/tools/bin:$PATH VIRTUAL_ENV=/opt/cnn-image UV_LINK_MODE=copy

# What of pyproject.toml says which packages are needed: a changed setting of a linter installs nothing anew.
FROM tools AS requirements
COPY pyproject.toml all.toml
RUN awk '/^\[/ {wanted = /^\[project/} wanted' all.toml > pyproject.toml

# TRAIN=gpu takes TensorFlow with CUDA in place of the CPU build.
FROM tools AS train-packages
ARG TRAIN=train
COPY --from=requirements /src/pyproject.toml ./
RUN uv pip install --quiet --compile-bytecode --require-hashes -c constraints.txt -r pyproject.toml --extra ${TRAIN} --extra pretrained \
 && echo /opt/app > /opt/cnn-image/lib/python3.11/site-packages/cnn-image.pth

FROM tools AS serve-packages
COPY --from=requirements /src/pyproject.toml ./
# Left out is what nothing here imports, 220 MB: the packages' own tests, Kubernetes' and KServe's clients for asyncio and their
# cryptography, gRPC's compiler, a second page of documentation, and the sources of Kubernetes' client, 29 MB beside their bytecode.
RUN cd /opt/cnn-image/lib/python3.11/site-packages \
 && uv pip install --quiet --require-hashes -c /src/constraints.txt -r /src/pyproject.toml --extra serve \
 && uv pip uninstall --quiet grpcio-tools setuptools cryptography cffi pycparser pyasn1 websockets \
      aiohttp aiohttp-retry aiohappyeyeballs aiosignal frozenlist multidict propcache yarl \
 && rm -r kubernetes/aio fastapi_offline/static/redoc.standalone.js \
 && find . -type d -name tests -prune -exec rm -r {} + \
 && /opt/cnn-image/bin/python -m compileall -q -j 0 . \
 && /opt/cnn-image/bin/python -m compileall -q -j 0 -b -f kubernetes \
 && find kubernetes -name '*.py' -delete && find kubernetes -name __pycache__ -prune -exec rm -r {} + \
 && echo /opt/app > cnn-image.pth

FROM tools AS project
COPY pyproject.toml README.md NOTICE cnn_image_entry.py ./
COPY model model
COPY export export
COPY jobs jobs
COPY kserve kserve
RUN uv build --quiet --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir /dist . \
 && uv pip install --quiet --no-deps --compile-bytecode --target /opt/app /dist/*.whl

FROM tools AS triton
COPY kserve/triton_server/requirements.txt ./
RUN python3 -m venv --without-pip /opt/triton \
 && VIRTUAL_ENV=/opt/triton uv pip install --quiet --compile-bytecode --no-deps --require-hashes -r requirements.txt
# Triton sets the run bit of its Python stub itself, so the backends' folder belongs to the user it runs as.
COPY --from=project /opt/app /opt/app
RUN PYTHONPATH=/opt/app python3 -c 'from pathlib import Path; from triton_server.environment import find_environment; find_environment(Path("/opt/triton")).backends()' \
 && chown -R 1000:1000 /opt/triton/lib/python3.11/site-packages/pytriton/tritonserver/backends-*

FROM ${PYTHON_IMAGE} AS runtime
# A name for user 1000, which MLflow asks for; /work takes what a run writes, so the root can be read-only, and no module
# is looked for in it (PYTHONSAFEPATH). Nothing of what is run here is told to the makers of MLflow and ONNX Runtime.
RUN echo 'cnn-image:x:1000:1000::/work:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'cnn-image:x:1000:' >> /etc/group \
 && install -d -o 1000 -g 1000 /work
ENV PATH=/opt/app/bin:/opt/cnn-image/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /work
USER 1000:1000

FROM runtime AS train-runtime
COPY --from=train-packages /opt/cnn-image /opt/cnn-image

# ------------------------------------------------------------------ the images

# What runs to completion (training, export, gate, promotion), and MLflow's server.
FROM train-runtime AS train
COPY --from=project /opt/app /opt/app
ARG COMMIT=unknown
ENV CNN_IMAGE_COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="cnn-image-train" org.opencontainers.image.revision=${COMMIT}
ENTRYPOINT ["cnn-image"]
CMD ["--help"]

# Decodes images in front of Triton. No TensorFlow, ready in about a second.
FROM runtime AS transformer
COPY --from=serve-packages /opt/cnn-image /opt/cnn-image
COPY --from=project /opt/app /opt/app
ARG COMMIT=unknown
ENV CNN_IMAGE_COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="cnn-image-transformer" org.opencontainers.image.revision=${COMMIT}
EXPOSE 8080 8081
ENTRYPOINT ["python", "-m", "image_transformer"]

# Everything in one, for people with Docker and no cluster: `docker run -p 8002:8002 cnn-image:0.1.0` is `make run`. It is the
# train image with what is missing there. What it makes lies in /work: keep it with -v cnn-image:/work
FROM train-runtime AS all-in-one
USER root
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,source=constraints.txt,target=/src/constraints.txt \
    --mount=type=bind,from=requirements,source=/src/pyproject.toml,target=/src/pyproject.toml \
    cd /src \
 && VIRTUAL_ENV=/opt/cnn-image UV_LINK_MODE=copy /opt/tools/bin/uv pip install --quiet --compile-bytecode --no-cache \
      --require-hashes -c constraints.txt -r pyproject.toml --extra serve
USER 1000:1000
COPY --from=triton /opt/triton /opt/triton
COPY --from=project /opt/app /opt/app
ARG COMMIT=unknown
ENV CNN_IMAGE_COMMIT=${COMMIT} CNN_IMAGE_IN_CONTAINER=true CNN_IMAGE_TRITON_VENV=/opt/triton
LABEL org.opencontainers.image.title="cnn-image" org.opencontainers.image.revision=${COMMIT}
EXPOSE 8002 8003
ENTRYPOINT ["cnn-image"]
CMD ["run"]
