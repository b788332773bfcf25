# SPDX-License-Identifier: Apache-2.0
"""Control's methods once more, as JSON over HTTPS: for platforms that cannot have gRPC.

* ``decode``, ``encode``: one JSON text is one message, or it is refused;
* ``errors``: what goes wrong, in the Connect protocol's form;
* ``api``: which request becomes which call, behind the same ``Admission`` as gRPC;
* ``listener``, ``pacing``: what strangers and crowds can cost, which is bounded;
* ``openc2``, ``openc2_message``: an OpenC2 consumer that maps commands to the same calls;
* ``generate``: the OpenAPI 3.1 and Swagger 2.0 documents, made from the protos by ``make gen``.
"""
