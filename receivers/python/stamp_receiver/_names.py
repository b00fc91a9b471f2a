"""Names of headers. x_user, X.User and X-USER are spellings of one name."""

import hashlib
import re
import string
from typing import Dict, Iterable, List, Optional, Tuple

TOKEN = frozenset("!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters)
_FOLDED = {ord(upper): lower for upper, lower in zip(string.ascii_uppercase, string.ascii_lowercase)}
_FOLDED.update({ord("_"): "-", ord("."): "-"})
_NOT_TOKEN = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


def is_token(name: str) -> bool:
    return name != "" and TOKEN.issuperset(name)


def fold(name: str) -> str:
    """The form that all spellings of a name have in common."""
    return _NOT_TOKEN.sub("", name).translate(_FOLDED)


def entry_of(folded: str) -> int:
    """How a proof writes a folded name: 23 bits."""
    return int.from_bytes(hashlib.sha256(folded.encode()).digest()[:3], "big") & 0x7FFFFF


class Group:
    """All lines whose names are spellings of one."""

    def __init__(self, folded: str, spelling: str) -> None:
        self.folded = folded
        self.spelling = spelling  # of the first line
        self.crowded = False  # another line has another spelling
        self.values: List[str] = []


def groups_of(headers: Iterable[Tuple[str, str]]) -> Dict[str, Group]:
    groups: Dict[str, Group] = {}
    before: Optional[str] = None
    folded = ""
    for name, value in headers:
        # A forwarded proof has a name once for all its values.
        if name != before:
            before, folded = name, fold(name)
        if folded == "":
            continue
        group = groups.get(folded)
        if group is None:
            group = groups[folded] = Group(folded, name)
        group.crowded = group.crowded or group.spelling != name
        group.values.append(value)
    return groups
