# The workers of a run on Dataflow, and what submits it (README, On Dataflow):
#   docker build --tag REGION-docker.pkg.dev/PROJECT/REPOSITORY/lustrate:0.1.0 .
FROM python:3.11-slim-bookworm
COPY --from=apache/beam_python3.11_sdk:2.77.0 /opt/apache/beam /opt/apache/beam

# A C compiler: Triton compiles what starts a kernel where there is a GPU.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /lustrate
COPY requirements-gcp.lock ./
RUN pip install --no-cache-dir "uv==0.13.*" \
    && uv pip install --system --no-cache --compile-bytecode --require-hashes -r requirements-gcp.lock

COPY LICENSE README.md pyproject.toml ./
COPY pipeline pipeline
COPY filters filters
COPY dedup dedup
COPY tokenizer tokenizer
COPY model model
COPY kernels kernels
RUN uv pip install --system --no-cache --no-deps --no-build-isolation -e .

# Kernels are compiled here, for any x86 with AVX2 instead of the machine that builds: else every worker would
# compile them for itself. LOCAL_RANK lets a process that finds a GPU score on it, as torchrun would; the driver of a
# machine with one is put where NVIDIA's own images look for it.
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64 \
    PATH=/usr/local/nvidia/bin:$PATH \
    NUMBA_CACHE_DIR=/lustrate/compiled \
    NUMBA_CPU_NAME=x86-64-v3 \
    NUMBA_CPU_FEATURES="" \
    OMP_NUM_THREADS=1 \
    LOCAL_RANK=0
RUN python -m pipeline.run --output /tmp/demo --direct_num_workers=1 \
    && python -c "from pipeline.config import Config; from pipeline.formats.html import main_text; \
from pipeline.ingest import PLAIN, load_kernels; load_kernels(Config()); main_text('<article><p>' + PLAIN)" \
    && rm -r /tmp/demo

ENTRYPOINT ["/opt/apache/beam/boot"]
