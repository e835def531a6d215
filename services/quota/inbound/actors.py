"""Who takes a step: a name taken at its word, or one that a token of the identity provider proves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import jwt

from chassis.errors import Invalid, PermissionDenied, Unauthenticated

# Signatures with a public key only: with a shared secret every verifier could make tokens.
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
HEADER, SCHEME = "authorization", "bearer "
LEEWAY_S = 30.0  # clocks differ

Context = Any


class Actors(Protocol):
    """Tells who is acting."""

    def of(self, claimed: str, context: Context) -> str:
        """The actor of a call whose message names `claimed`. Raises: Unauthenticated, PermissionDenied."""
        ...


class ClaimedActors:
    """Every caller may give any name: right where only trusted programs can call."""

    def of(self, claimed: str, _context: Context) -> str:
        """The name in the message."""
        return claimed


class ProvenActors:
    """OpenID Connect tokens (RFC 7519) in the metadata `authorization: Bearer ...`, checked without a call to anybody.

    The issuer's public keys are a JWK set (RFC 7517) in a file, which is read again when it changes.
    """

    def __init__(self, keys_path: Path, issuer: str, audience: str, claim: str) -> None:
        """Raises: Invalid naming the field, when the first keys are bad or no issuer is given."""
        if not issuer:
            raise Invalid("actor_keys_path needs actor_issuer, the `iss` of its tokens", field="actor_issuer")
        self._path, self._issuer, self._audience, self._claim = keys_path, issuer, audience, claim
        self._changed_ns, self._keys = _changed_ns(keys_path), _keys(keys_path)

    def of(self, claimed: str, context: Context) -> str:
        """The person that the token names; a message that names another one is refused."""
        token = _token(context.invocation_metadata() or ())
        try:
            key = self._key(jwt.get_unverified_header(token).get("kid", ""))
            facts = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError) as error:  # ValueError: a header that is no JSON object
            raise Unauthenticated(f"the token is not accepted: {error}", field=HEADER, reason="bad_token") from error
        proven = facts.get(self._claim)
        if not isinstance(proven, str) or not proven:
            raise Unauthenticated(f"the token has no claim {self._claim!r}", field=HEADER, reason="bad_token")
        if claimed and claimed != proven:
            raise PermissionDenied(f"the token is of {proven!r}, the message of {claimed!r}", field="actor")
        return proven

    def _key(self, key_id: str) -> jwt.PyJWK:
        """Raises: Unauthenticated for a key that the issuer does not have."""
        if (changed_ns := _changed_ns(self._path)) != self._changed_ns:
            self._changed_ns = changed_ns
            self._keys = _keys(self._path, otherwise=self._keys)
        if key_id not in self._keys:
            raise Unauthenticated(f"no key {key_id!r} of the issuer is known", field=HEADER, reason="unknown_key")
        return self._keys[key_id]


def _token(metadata: Any) -> str:
    found = [str(value) for key, value in metadata if key == HEADER]
    if len(found) != 1 or not found[0].lower().startswith(SCHEME):
        raise Unauthenticated("send one `authorization: Bearer TOKEN` of the identity provider", field=HEADER)
    return found[0][len(SCHEME) :].strip()


def _changed_ns(path: Path) -> int:
    """When the file was changed; 0 while it is away, as in the moment that a secret is replaced."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _keys(path: Path, otherwise: Mapping[str, jwt.PyJWK] | None = None) -> Mapping[str, jwt.PyJWK]:
    """By key id. A file that is no set of keys leaves those `otherwise`. Raises: Invalid when there are none."""
    try:
        found = jwt.PyJWKSet.from_json(path.read_text())
        return {str(key.key_id): key for key in found.keys if key.public_key_use in (None, "sig")}
    except (OSError, ValueError, jwt.PyJWTError) as error:
        if otherwise is not None:
            return otherwise
        raise Invalid(f"{path} is no JWK set: {error}", field="actor_keys_path") from error
