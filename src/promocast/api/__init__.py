"""The HTTP API: contract section 2. One file per resource; `app.create` puts them together."""
