# SPDX-License-Identifier: Apache-2.0
"""Arguments that name programs and files, for tools whose schema says so.

An argument property with ``format: holdfast-argv`` is a command as a list of words, and one with
``format: holdfast-path`` is a file. Shell text has no format: nobody here understands shell, so it
is an opaque string that only its exact fingerprint can allow.
"""

from sidecar.arguments.executables import (
    ExecutableIdentity,
    resolve_executable,
    verify_executable,
)
from sidecar.arguments.formats import (
    ARGV_FORMAT,
    PATH_FORMAT,
    FormatFindings,
    FormatRules,
    check_formats,
)
from sidecar.arguments.paths import check_path

__all__ = [
    "ARGV_FORMAT",
    "PATH_FORMAT",
    "ExecutableIdentity",
    "FormatFindings",
    "FormatRules",
    "check_formats",
    "check_path",
    "resolve_executable",
    "verify_executable",
]
