"""Commands about who may log in to Airflow: logins, login, token."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from operators.cli.answer import Answer, WrongUse
from operators.cli.commands import Commands
from operators.cli.places import platform_layout
from operators.local.logins import ROLES

if TYPE_CHECKING:
    from operators.local.layout import Layout
    from operators.local.logins import Login


def add_commands(commands: Commands) -> None:
    """Add this module's commands to the parser."""
    words = "List who may log in to Airflow, and with which role."
    commands.add("logins", logins, words, asks_which_store=False)
    login = commands.add(
        "login",
        admit,
        "Let a person or a program log in to Airflow with a role. The password is made here, and told again when the "
        "command is repeated.",
        examples=("login ada --role operator", "login ada --remove"),
        asks_which_store=False,
    )
    login.add_argument("name", help="small letters, digits, '.', '_' and '-'")
    what = login.add_mutually_exclusive_group()
    what.add_argument(
        "--role", choices=ROLES, default="viewer", help="what they may do, see docs/roles.md (default %(default)s)"
    )
    what.add_argument("--remove", action="store_true", help="let nobody log in by this name any more")
    words = "Print a token with which a program acts for a login. Airflow ends it after a day."
    given = commands.add("token", token, words, examples=("token dashboard",), asks_which_store=False)
    given.add_argument("name", help="of the login")


def logins(options: argparse.Namespace) -> Answer:
    """Return every login; no password."""
    known = {one.name: one.role for one in _known(platform_layout())}
    return Answer(document=known, lines=tuple(f"{name}: {role}" for name, role in known.items()))


def admit(options: argparse.Namespace) -> Answer:
    """Have a login with the role, or none by that name, and the API server know it."""
    layout = platform_layout()
    answer = _dismissed(layout, options.name) if options.remove else _admitted(layout, options.name, options.role)
    return Answer(document=answer.document, lines=(*answer.lines, _made_known(layout)))


def _admitted(layout: Layout, name: str, role: str) -> Answer:
    from operators.local.credentials import load_credentials
    from operators.local.logins import set_login

    login = set_login(layout, load_credentials(layout), name, role)
    document = {"name": login.name, "role": login.role, "password": login.password}
    return Answer(document=document, lines=(f"{login.name}, {login.role}; password {login.password}",))


def _dismissed(layout: Layout, name: str) -> Answer:
    from operators.local.logins import remove_login

    remove_login(layout, name)
    told = f"{name} is gone. A token that was given out before ends within a day."
    return Answer(document={"name": name, "role": None}, lines=(told,))


def token(options: argparse.Namespace) -> Answer:
    """Log in and return the token."""
    from operators.local import airflow, ports
    from operators.local.layout import PlatformError
    from operators.local.rest import AirflowRest

    layout = platform_layout()
    login = next((one for one in _known(layout) if one.name == options.name), None)
    if login is None:
        raise WrongUse(f"there is no login {options.name!r}; `nightshift logins` lists them")
    try:
        given = AirflowRest(airflow.ui_url(ports.load(layout)), login.name, login.password, 5.0).token()
    except PlatformError as error:
        raise WrongUse(f"{error}; is the platform up? `make run` starts it") from error
    return Answer(document={"token": given}, lines=(given,))


def _known(layout: Layout) -> tuple[Login, ...]:
    from operators.local.credentials import load_credentials
    from operators.local.logins import load_logins

    return load_logins(layout, load_credentials(layout))


def _made_known(layout: Layout) -> str:
    """Have the API server read the logins anew where it runs; say what is left to do."""
    from operators.local.ports import load
    from operators.local.services import all_services, renew_logins
    from operators.local.supervisor import Supervisor
    from operators.local.waiting import wait_for_service

    if not layout.airflow_environment.exists():  # of containers, whose files `make containers` makes
        return "`make containers` puts that into the files that containers mount; then start the API server again."
    renew_logins(layout)
    supervisor = Supervisor(layout)
    if not supervisor.is_up():
        return "The platform is down; it knows once it is up."
    supervisor.stop(["api-server"])
    supervisor.start(["api-server"])
    served = {one.name: one for one in all_services(layout, load(layout))}
    wait_for_service(supervisor, layout, served["api-server"])
    return "The API server was started again and knows; tasks that run waited for it."
