# The page in a container.
#
#   docker build --tag ovseg-demo .                          for a CPU
#   docker build --tag ovseg-demo --build-arg TORCH=cu132 .  for CUDA 13.2; run it with --gpus all
#   docker run --publish 7860:7860 ovseg-demo
#
# docs/how-to/deploy.md tells the options. Nothing is compiled, and nothing is fetched when it starts.
FROM python:3.11-slim

# Which of PyTorch's builds: cpu, or one of its CUDA builds.
ARG TORCH=cpu

WORKDIR /app
COPY constraints.txt requirements.txt ./
RUN pip install --no-cache-dir --no-deps -c constraints.txt \
        --index-url "https://download.pytorch.org/whl/${TORCH}" torch torchvision \
    && pip install --no-cache-dir -r requirements.txt -c constraints.txt

COPY app.py LICENSE ./
COPY ovseg_demo ovseg_demo
COPY examples examples
COPY weights weights

# Visitors' files go to /tmp, downloaded weights to a volume; the program itself belongs to root.
RUN useradd --create-home --uid 1000 visitor && mkdir /weights && chown visitor /weights
USER visitor
VOLUME /weights
ENV OVSEG_HOST=0.0.0.0 \
    OVSEG_PORT=7860 \
    OVSEG_WEIGHTS_DIR=/weights \
    GRADIO_ANALYTICS_ENABLED=False \
    HF_HUB_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1
EXPOSE 7860

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"OVSEG_PORT\"]}/gradio_api/app_id', timeout=4)"]

CMD ["python", "app.py"]
