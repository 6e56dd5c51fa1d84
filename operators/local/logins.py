"""Who may log in to Airflow: people and machines, each with a role and a password that is made here.

They are a setting of the platform, beside its secrets; docs/roles.md says what each role may do.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from operators.local.credentials import Credentials
from operators.local.layout import Layout, PlatformError, write_private

ROLES = {"viewer": "viewer", "operator": "user", "admin": "admin"}
"""Our roles by Airflow's: its `op` may change connections, which hold every key, so an operator here is its `user`."""

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """One who may log in."""

    name: str
    role: str
    """One of `ROLES`."""
    password: str = field(repr=False)


def load_logins(layout: Layout, credentials: Credentials) -> tuple[Login, ...]:
    """Return everybody who may log in, the platform's own administrator first.

    Raises:
        PlatformError: The file of the others is damaged; it is never overwritten then.
    """
    own = Login(name=credentials.ui_user, role="admin", password=credentials.ui_password)
    return (own, *_others(layout))


def set_login(layout: Layout, credentials: Credentials, name: str, role: str) -> Login:
    """Return a login that has the role from now on; one that was there keeps its password.

    Raises:
        PlatformError: The name cannot be one, is the platform's own, or there is no such role.
    """
    if name == credentials.ui_user:
        raise PlatformError(f"{name} is the platform's own login and stays an admin: name another")
    if not _NAME.fullmatch(name):
        raise PlatformError(
            f"{name!r} cannot be a name: a small letter, then up to 63 of small letters, digits, '.', '_' and '-'"
        )
    if role not in ROLES:
        raise PlatformError(f"{role!r} is no role: {', '.join(ROLES)}")
    before = {one.name: one for one in _others(layout)}
    password = before[name].password if name in before else secrets.token_urlsafe(12)
    login = Login(name=name, role=role, password=password)
    _write(layout, {**before, name: login}.values())
    return login


def remove_login(layout: Layout, name: str) -> None:
    """Have nobody log in by this name.

    Raises:
        PlatformError: Nobody does, or it is the platform's own.
    """
    before = {one.name: one for one in _others(layout)}
    if name not in before:
        raise PlatformError(f"there is no login {name!r} that could go; `nightshift logins` lists them")
    _write(layout, [one for one in before.values() if one.name != name])


def as_airflow_users(logins: Iterable[Login]) -> str:
    """Return the names with their roles as Airflow's setting `simple_auth_manager_users` has them."""
    return ",".join(f"{one.name}:{ROLES[one.role]}" for one in logins)


def as_passwords(logins: Iterable[Login]) -> str:
    """Return the document that Airflow reads passwords from."""
    return json.dumps({one.name: one.password for one in logins}) + "\n"


def _others(layout: Layout) -> tuple[Login, ...]:
    path = layout.logins
    if not path.exists():
        return ()
    try:
        found = tuple(Login(name=name, **login) for name, login in json.loads(path.read_text()).items())
    except (TypeError, ValueError, AttributeError) as error:
        raise PlatformError(f"{path} cannot be read ({type(error).__name__}): put your copy back") from None
    if wrong := [one.name for one in found if one.role not in ROLES or not _NAME.fullmatch(one.name)]:
        raise PlatformError(f"{path}: {', '.join(wrong)} has no name or role that there is: {', '.join(ROLES)}")
    return found


def _write(layout: Layout, logins: Iterable[Login]) -> None:
    document = {one.name: {"role": one.role, "password": one.password} for one in logins}
    write_private(layout.logins, json.dumps(document, indent=1) + "\n")
