# One image for every process: web (the default command), workers, migrations. compose.yaml and docs/operating.md run it.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
WORKDIR /srv/hub
COPY requirements.lock ./
# Wheels only: nothing is compiled, so neither stage needs a compiler.
RUN /opt/venv/bin/python -m pip install --require-hashes --only-binary :all: -r requirements.lock
COPY . .
# Settings do not load without secrets; these are made for this command and thrown away with it.
RUN SECRET_KEY="$(/opt/venv/bin/python -c 'import secrets; print(secrets.token_urlsafe(50))')" \
    FIELD_ENCRYPTION_KEYS="$(/opt/venv/bin/python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())')" \
    HUB_ENV_FILE="" DATABASE_URL=sqlite:///:memory: \
    /opt/venv/bin/python manage.py collectstatic --noinput \
    && /opt/venv/bin/python -m compileall -q imessage_hub messaging provisioning routing

FROM python:${PYTHON}
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HUB_ENV_FILE="" HUB_MEDIA_ROOT=/var/lib/hub/media HUB_IMPORT_ROOT=/var/lib/hub/imports
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/hub --no-create-home hub \
    && install -d -o hub -g hub -m 0700 /var/lib/hub
COPY --from=build /opt/venv /opt/venv
# Owned by root: the process cannot change its own code.
COPY --from=build /srv/hub /srv/hub
WORKDIR /srv/hub
USER 10001
VOLUME /var/lib/hub
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "deploy/health.py"]
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--no-ws", "--workers", "2", \
     "--blocking-threads", "4", "--workers-kill-timeout", "20", "imessage_hub.wsgi:application"]
