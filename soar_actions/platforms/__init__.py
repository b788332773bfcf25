# SPDX-License-Identifier: Apache-2.0
"""One folder per platform: what is made from the catalogue, what is written by hand, how it is packed.

Platforms know the catalogue and not each other. What runs inside one (``artefact/``) is not imported
from here: it belongs to the platform's interpreter and libraries.
"""
