"""What can go wrong between a trained model and a stored version; each message is one sentence for a user."""


class ExportError(Exception):
    """Base of every error this room raises: what happened and what to do, in one sentence."""


class ParityError(ExportError):
    """The exported graph does not answer as the trained model does."""


class NoAnswerError(ExportError):
    """Triton does not answer; it may on another try."""


class StoreError(ExportError):
    """The store could not do what was asked."""


class ExistsError(StoreError):
    """An object that is written only once is already there."""


class AbsentError(StoreError):
    """There is no such object or version."""


class ChangedError(StoreError):
    """The object is no longer the one that was read."""


class IntegrityError(StoreError):
    """What the store holds is not what was published: a digest, a size, a path or a manifest is wrong."""


class OtherModelError(StoreError):
    """The store is another model's."""


class LostRaceError(StoreError):
    """Someone else appended to the ledger first; read it again and decide again."""


class LeaseHeldError(StoreError):
    """Someone else holds the lease."""


class LeaseLostError(StoreError):
    """The lease ran out, or someone else holds it now."""


class UnreachableError(StoreError):
    """The store does not answer."""


class TlsError(UnreachableError):
    """The store's certificate is not trusted, or it does not speak TLS."""


class ProxyError(StoreError):
    """The proxy on the way to the store cannot be used."""


class CredentialsError(StoreError):
    """There are no credentials, or the store does not know them."""


class SessionError(CredentialsError):
    """The session of temporary credentials has ended; with a renewed one another try is worth it."""


class AccessError(StoreError):
    """The credentials are known but may not do this."""


class BucketError(StoreError):
    """There is no such bucket."""


class ClockSkewError(StoreError):
    """This machine's clock is too far from the store's for a signature to count."""
