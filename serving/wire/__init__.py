"""Requests on the wire, checked before anything is allocated for them: parsing, signatures, tensors."""
