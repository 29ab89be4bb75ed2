"""What the commands that ask a gateway, or its state, do with what was typed; each gives its exit
status. Nothing here prints or exits.

Each imports what it needs when it runs, so that the command line stays quick and the guardian,
which forks first, stays small.
"""

# ruff: noqa: PLC0415

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from mcproxy.commands.chosen import config_path, environment, load_chosen, state
from mcproxy.commands.report import GOOD, WrongUsage
from mcproxy.commands.screen import Screen

if TYPE_CHECKING:
    from mcproxy.commands.decisions import Decide
    from mcproxy.commands.gateway_client import GatewayClient, Work

TOKEN_VARIABLE = "MCPROXY_TOKEN"  # noqa: S105  its name


def _at_gateway(arguments: argparse.Namespace, screen: Screen, work: "Work") -> int:
    """Do the work with the gateway that is meant, else with one that is started for it."""
    from mcproxy.config.running import chosen, running_gateways
    from mcproxy.reaching import GatewayChoice, with_gateway

    path = config_path(arguments)
    named = getattr(arguments, "config", None) is not None
    running = None
    if arguments.url is None:
        running = chosen(running_gateways(state()), path, named=named)
    choice = GatewayChoice(
        partial(load_chosen, path),
        running,
        arguments.url,
        arguments.token or environment().get(TOKEN_VARIABLE),
        arguments.namespace,
    )
    return with_gateway(choice, screen, work)


def status(arguments: argparse.Namespace, screen: Screen) -> int:
    """How the gateway is."""
    from mcproxy.commands import status

    work = partial(status.status, screen=screen, as_json=arguments.json)
    return _at_gateway(arguments, screen, work)


def watch(arguments: argparse.Namespace, screen: Screen) -> int:
    """The same, again and again."""
    from mcproxy.commands import status

    work = partial(
        status.watch,
        screen=screen,
        pause_secs=arguments.every,
        times=arguments.times,
        as_json=arguments.json,
    )
    return _at_gateway(arguments, screen, work)


def search(arguments: argparse.Namespace, screen: Screen) -> int:
    """The tools that a query finds."""
    from mcproxy.commands import ask

    query = " ".join(arguments.any_words)
    depth = (2 if query else 1) if arguments.depth is None else arguments.depth
    work = partial(
        ask.search,
        screen=screen,
        query=query,
        options={"max_depth": depth, "limit": arguments.limit},
        as_json=arguments.json,
    )
    return _at_gateway(arguments, screen, work)


def evaluate(arguments: argparse.Namespace, screen: Screen) -> int:
    """How well search finds the tools there are."""
    from mcproxy.commands.evaluate import evaluated

    work = partial(
        evaluated,
        screen=screen,
        least=arguments.min,
        page=arguments.html,
        as_json=arguments.json,
    )
    return _at_gateway(arguments, screen, work)


def call(arguments: argparse.Namespace, screen: Screen) -> int:
    """The result of one tool."""
    from mcproxy.commands import ask

    try:
        given = ask.arguments_of(arguments.any_words)
    except ValueError as error:
        raise WrongUsage(f"call: {error}") from error
    target = (arguments.server, arguments.tool)
    work = partial(ask.call, screen=screen, target=target, arguments=given, as_json=arguments.json)
    return _at_gateway(arguments, screen, work)


def execute(arguments: argparse.Namespace, screen: Screen) -> int:
    """What a script comes to."""
    from mcproxy.commands import ask

    code = ask.script_of(arguments.file, sys.stdin.read() if arguments.file == "-" else None)
    timeout = {} if arguments.timeout is None else {"timeout_secs": arguments.timeout}
    work = partial(ask.execute, screen=screen, code=code, options=timeout, as_json=arguments.json)
    return _at_gateway(arguments, screen, work)


def logs(arguments: argparse.Namespace, screen: Screen) -> int:
    """The end of a log."""
    from mcproxy.commands.logs import logs

    shown = (arguments.lines, arguments.follow)
    return logs(state(), arguments.server, screen, shown, as_json=arguments.json)


def approvals(arguments: argparse.Namespace, screen: Screen) -> int:
    """The calls that wait for a person."""
    from mcproxy.commands import approvals

    if arguments.action is None:
        return _decide(arguments, screen, approvals.show)
    if arguments.id is None:
        raise WrongUsage(f"approvals {arguments.action}: an ID is needed")
    return _decide(arguments, screen, approvals.settle(arguments.action, arguments.id))


def trust(arguments: argparse.Namespace, screen: Screen) -> int:
    """What servers say now and did not before."""
    from mcproxy.commands.trust import trust

    decide = trust(arguments.server, arguments.name, only_show=arguments.show)
    return _decide(arguments, screen, decide)


def _decide(arguments: argparse.Namespace, screen: Screen, decide: "Decide") -> int:
    """Decide at the gateway that is named, else where the one that is meant keeps it."""
    from mcproxy.commands.decisions import AtGateway, in_store
    from mcproxy.reaching import GatewayChoice, with_gateway
    from mcproxy.store.opening import stores_of

    load = partial(load_chosen, config_path(arguments))
    if arguments.url is None:
        report = in_store(stores_of(load()).decisions, decide)
        return screen.report(report, as_json=arguments.json)

    async def work(gateway: "GatewayClient") -> int:
        return screen.report(await decide(AtGateway(gateway)), as_json=arguments.json)

    token = arguments.token or environment().get(TOKEN_VARIABLE)
    return with_gateway(GatewayChoice(load, url=arguments.url, token=token), screen, work)


def completion(arguments: argparse.Namespace, screen: Screen) -> int:
    """The script for a shell."""
    from mcproxy.commands.completion import SCRIPTS

    screen.raw(SCRIPTS[arguments.shell])
    return GOOD


def complete(arguments: argparse.Namespace, screen: Screen) -> int:
    """What a word that is being typed may become."""
    import glob

    from mcproxy.commands.completion import Known, cached_tools, candidates
    from mcproxy.config.load import read_document
    from mcproxy.errors import ConfigError

    def servers() -> list[str]:
        path = config_path(arguments)
        try:
            found = read_document(path).get("servers") if path else {"notes": {}, "calc": {}}
        except ConfigError:
            return []
        return list(found) if isinstance(found, dict) else []

    def tools(server: str) -> list[str]:
        paths = (state() / "tools").glob(f"{glob.escape(server)}-{'[0-9a-f]' * 16}.json")
        return [name for path in paths for name in cached_tools(path.read_bytes())]

    parsers = arguments.parsers
    for word in candidates(parsers.top, parsers.commands, arguments.words, Known(servers, tools)):
        screen.line(word)
    return GOOD
