# SPDX-License-Identifier: Apache-2.0
"""Passkeys: how a human proves to control who they are, and signs what they grant.

* ``passkeys``: makes and verifies WebAuthn ceremonies, over the library ``webauthn``;
* ``evidence``: checks a signed grant offline, later, with nothing of the library;
* ``accounts``: who has which passkeys, one-time links to add one, all of it in control's log;
* ``store_sqlite``: where they are kept.
"""
