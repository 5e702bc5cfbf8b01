"""Encoders, one file for each way to get vectors of texts, found by ``scheme:name``.

Anything with the protocol of :class:`vecstore.Encoder` serves as well.
"""

from vecstore_ingest.encoders.lookup import LookupEncoder
from vecstore_ingest.encoders.registry import encoder_schemes, open_encoder, register_encoder

__all__ = ["LookupEncoder", "encoder_schemes", "open_encoder", "register_encoder"]
