# One image for every kind of process; the command says which.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
COPY workers workers
COPY config config
RUN pip install --no-cache-dir --prefix=/install -c constraints.txt .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/promocast promocast
COPY --from=build /install /usr/local
COPY config /etc/promocast
ENV PROMOCAST_CONFIG=/etc/promocast/promocast.toml \
    PROMOCAST_DATA_DIR=/var/lib/promocast/data \
    PROMOCAST_API__HOST=0.0.0.0 \
    PROMOCAST_METRICS__HOST=0.0.0.0
USER promocast
WORKDIR /var/lib/promocast
EXPOSE 8080 9464
CMD ["promocast", "api"]
