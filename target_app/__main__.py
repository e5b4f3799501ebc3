"""Start the app: `python -m target_app`, on HOST and PORT."""

from __future__ import annotations

import uvicorn

from target_app.main import create_app, settings_or_exit


def main() -> None:
    """Serve until stopped."""
    settings = settings_or_exit()
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, access_log=False)


if __name__ == "__main__":
    main()
