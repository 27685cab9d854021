# cnn-image: everything in one container, for people with Docker and no cluster.
#   docker run -p 8002:8002 cnn-image:0.1.0  is `make run`: train if nothing was, then serve on port 8002
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS tools
WORKDIR /src
# uv comes from the lock like everything else, its hash checked by pip.
COPY constraints.txt ./
RUN python3 -m venv /opt/tools \
 && awk '/^[a-z]/ {wanted = /^(uv|setuptools)==/} wanted' constraints.txt > tools.txt \
 && /opt/tools/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r tools.txt \
 && python3 -m venv --without-pip /opt/cnn-image
ENV PATH=/opt/tools/bin:$PATH VIRTUAL_ENV=/opt/cnn-image UV_LINK_MODE=copy

FROM tools AS dependencies
ARG TRAIN=train
COPY pyproject.toml ./
RUN uv pip install --quiet --compile-bytecode --require-hashes -c constraints.txt -r pyproject.toml --extra ${TRAIN} --extra serve \
 && echo /opt/app > /opt/cnn-image/lib/python3.11/site-packages/cnn-image.pth

FROM tools AS triton
COPY kserve/triton_server/requirements.txt ./
RUN python3 -m venv --without-pip /opt/triton \
 && VIRTUAL_ENV=/opt/triton uv pip install --quiet --compile-bytecode --no-deps --require-hashes -r requirements.txt

FROM tools AS project
COPY pyproject.toml README.md ./
COPY model model
COPY export export
COPY jobs jobs
COPY kserve kserve
RUN uv build --quiet --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir /dist . \
 && uv pip install --quiet --no-deps --compile-bytecode --target /opt/app /dist/*.whl

# Triton sets the run bit of its Python stub itself, so the backends' folder belongs to the user it runs as.
FROM triton AS triton-ready
COPY --from=project /opt/app /opt/app
RUN PYTHONPATH=/opt/app python3 -c 'from pathlib import Path; from triton_server.environment import find_environment; find_environment(Path("/opt/triton")).backends()' \
 && chown -R 1000:1000 /opt/triton/lib/python3.11/site-packages/pytriton/tritonserver/backends-*

FROM ${PYTHON_IMAGE}
# A name for user 1000, which MLflow asks for; /work takes what a run writes, so the root can be read-only.
RUN echo 'cnn-image:x:1000:1000::/work:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'cnn-image:x:1000:' >> /etc/group \
 && install -d -o 1000 -g 1000 /work
COPY --from=dependencies /opt/cnn-image /opt/cnn-image
COPY --from=triton-ready /opt/triton /opt/triton
COPY --from=project /opt/app /opt/app
ARG COMMIT=unknown
ENV PATH=/opt/app/bin:/opt/cnn-image/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CNN_IMAGE_COMMIT=${COMMIT} \
    CNN_IMAGE_TRITON_VENV=/opt/triton
LABEL org.opencontainers.image.title="cnn-image" org.opencontainers.image.revision=${COMMIT}
WORKDIR /work
USER 1000:1000
# var/ with the trained versions lies in /work: keep it with -v cnn-image:/work
EXPOSE 8002 8003
ENTRYPOINT ["cnn-image"]
CMD ["run"]
