"""Who sent a NATS message, by the stamp of the server and its proof: a typed identity, or nobody.

docs/proofs.md has the rules, which are the same in all languages.
"""

from ._errors import Anonymous
from ._identify import Identity, forward, forwarded, identify
from ._trust import Trust

__all__ = ["Anonymous", "Identity", "Trust", "forward", "forwarded", "identify"]
