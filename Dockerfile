# cnn-image: everything in one container, for people with Docker and no cluster.
#   docker run -p 8002:8002 cnn-image        is `make run`: train if nothing was, then serve on port 8002
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ARG TRAIN=train
WORKDIR /src
# uv comes from the lock like everything else, its hash checked by pip.
COPY constraints.txt pyproject.toml ./
RUN python3 -m venv /opt/tools \
 && awk '/^[a-z]/ {wanted = /^(uv|setuptools)==/} wanted' constraints.txt > tools.txt \
 && /opt/tools/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r tools.txt
RUN python3 -m venv --without-pip /opt/cnn-image \
 && VIRTUAL_ENV=/opt/cnn-image /opt/tools/bin/uv pip install --quiet --link-mode=copy --compile-bytecode \
    --require-hashes -c constraints.txt -r pyproject.toml --extra ${TRAIN} --extra serve
COPY kserve/triton_server/requirements.txt triton-requirements.txt
RUN python3 -m venv --without-pip /opt/triton \
 && VIRTUAL_ENV=/opt/triton /opt/tools/bin/uv pip install --quiet --link-mode=copy --compile-bytecode \
    --no-deps --require-hashes -r triton-requirements.txt
COPY README.md ./
COPY model model
COPY export export
COPY jobs jobs
COPY kserve kserve
RUN VIRTUAL_ENV=/opt/cnn-image /opt/tools/bin/uv build --quiet --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir /dist . \
 && VIRTUAL_ENV=/opt/cnn-image /opt/tools/bin/uv pip install --quiet --no-deps --compile-bytecode /dist/*.whl
# Triton sets the run bit of its Python stub itself, so the backends' folder belongs to the user it runs as.
RUN /opt/cnn-image/bin/python -c 'from pathlib import Path; from triton_server.environment import find_environment; find_environment(Path("/opt/triton")).backends()' \
 && chown -R 1000:1000 /opt/triton/triton-backends

FROM ${PYTHON_IMAGE}
RUN echo 'cnn-image:x:1000:1000::/work:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'cnn-image:x:1000:' >> /etc/group \
 && install -d -o 1000 -g 1000 /work
COPY --from=build /opt/cnn-image /opt/cnn-image
COPY --from=build /opt/triton /opt/triton
ARG COMMIT=unknown
ENV PATH=/opt/cnn-image/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CNN_IMAGE_COMMIT=${COMMIT} \
    CNN_IMAGE_TRITON_VENV=/opt/triton
LABEL org.opencontainers.image.title="cnn-image" \
      org.opencontainers.image.revision=${COMMIT}
# var/ with the trained versions: keep it with -v cnn-image:/work
WORKDIR /work
USER 1000:1000
EXPOSE 8002 8003
ENTRYPOINT ["cnn-image"]
CMD ["run"]
