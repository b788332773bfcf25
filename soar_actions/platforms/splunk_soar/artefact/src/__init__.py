# SPDX-License-Identifier: Apache-2.0
"""Holdfast's app for Splunk SOAR."""
