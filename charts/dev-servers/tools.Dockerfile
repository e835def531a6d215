# The command line, for a pod beside the services: topics, definitions, releases of models, a shift of a zone.
FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml constraints.txt scripts/requirements_of.py ./
RUN python requirements_of.py > requirements.txt \
 && pip install --no-cache-dir --requirement requirements.txt --constraint constraints.txt \
 && useradd --system --uid 10001 corkboard \
 && mkdir .corkboard && chown corkboard .corkboard
RUN for extra in cli indexer quota; do python requirements_of.py $extra; done > requirements.txt \
 && pip install --no-cache-dir --requirement requirements.txt --constraint constraints.txt
COPY chassis/ chassis/
COPY protos/ protos/
COPY sequences/ sequences/
COPY modeling/ modeling/
COPY definitions/ definitions/
COPY services/ services/
COPY corkboard/ corkboard/
USER 10001
ENV PYTHONDONTWRITEBYTECODE=1 CORKBOARD_HOME=/tmp/corkboard
ENTRYPOINT ["python", "-m", "corkboard"]
