# SPDX-License-Identifier: Apache-2.0
"""The app that Splunk SOAR loads: its actions are made from Holdfast's catalogue of actions."""

from soar_sdk.abstract import SOARClient

from . import actions as actions
from . import polling as polling
from .adapter import Asset, app, check_connection

__all__ = ["app"]


@app.test_connectivity()
def test_connectivity(soar: SOARClient, asset: Asset) -> None:
    """Reach control, verify its certificate, and learn which operator and permissions we have."""
    # What is printed is the progress that the platform shows.
    print(check_connection(asset))  # noqa: T201


if __name__ == "__main__":
    app.cli()
