"""Every promise of the README and the documentation, by id; tests carry the ids."""

REQUIREMENTS: dict[str, str] = {
    "demo.both_eras": (
        "both bundled servers serve the SDK client in auto, legacy and 2026-07-28 modes"
    ),
    "demo.any_directory": (
        "the bundled servers start from any working directory, whatever lies there"
    ),
    "config.comments": (
        "comments, trailing commas and keys that begin with _ are ignored everywhere"
    ),
    "config.variables": "${VAR} and ${VAR:-default} are filled in any string value",
    "config.dotenv": ".env beside the configuration is read and never overrides the environment",
    "config.unconfigured": "a variable missing in a server's definition stops that server only",
    "config.problems": "each fault of a configuration is told with path, words and did-you-mean",
    "config.all_at_once": "all faults of a configuration are told at once",
    "config.documented": "the documented configuration blocks load as written",
    "config.default_path": "config/mcp-servers.json, else mcproxy.json, else the bundled demo",
    "config.migrate": "a version 1 file becomes a version 2 file with all its comments",
    "config.v1_runs": "a version 1 file runs as it is, with one line that names mcproxy migrate",
    "cli.schema": "the published JSON Schema accepts the documented configurations",
    "sandbox.allowed_hosts_refused": "allowed_hosts entries that can never be public are refused",
    "namespaces.reach": "a namespace reaches its own servers and those of its ancestors",
    "namespaces.merge": "settings merge key by key: server, namespace, parents, defaults",
    "namespaces.require_auth": "require_auth holds for all namespaces that extend a guarded one",
    "namespaces.default": "the default namespace always exists and takes the servers of no other",
    "groups.reach": "a group reaches each server through the first member that has it",
    "access.tokens": "a token opens the namespaces that it lists, and no others",
    "access.refused": "refusals have the promised HTTP status",
    "access.same_words": "a guarded namespace and one that does not exist are refused alike",
    "access.origins": "allowed_origins decides which origins may use a namespace",
    "access.namespaces": "a guarded namespace opens over HTTP for its token only",
    "rate.burst": "a quarter of a minute's calls may come at once, at least one",
    "rate.retry_after": "waiting as long as told is enough",
    "upstream.restart": (
        "at most three restarts in a row, after 1, 2 and 4 s; a minute up counts anew"
    ),
    "upstream.stdio": "a call reaches a stdio server and its whole result comes back",
    "upstream.isolation": "a server that cannot start hides none of the others",
    "upstream.lenient": "banners, chatter on stderr, odd schemas and slow starts do no harm",
    "upstream.pages": "every page of tools/list is read",
    "upstream.list_changed": "a changed tool list is read again",
    "upstream.lines": "lines up to 16 MiB are read; a longer one fails its call only",
    "upstream.crash": "a dying server fails its calls at once, with its last words, and comes back",
    "upstream.timeout": "a tool that takes too long times out alone",
    "upstream.environment": "a stdio server gets a clean environment",
    "upstream.group": "no server, and nothing that it started, survives the gateway",
    "upstream.eras": (
        "servers of both protocol eras, and servers that nobody here wrote, are used alike"
    ),
    "meta.two_tools": "tools/list has the same two tools, whatever is behind",
    "meta.arguments": (
        "faults in arguments are results that say what to do; numbers may come as text"
    ),
    "http.batch": "batches are answered with arrays, notifications with 202",
    "http.faults": (
        "malformed requests get the JSON-RPC error that fits, and the next request works"
    ),
    "http.not_found": "unknown paths name the real endpoints",
    "http.too_large": "a body over 4 MiB is refused",
    "http.rebinding": "foreign Host and Origin headers are refused on a loopback bind",
    "http.health": "/health tells how each server is, and hides what the caller may not see",
    "execute.concurrent": "ten scripts at once leave the gateway responsive",
    "execute.inline": "the value of a call comes back inline, in every way to write the call",
    "execute.errors": (
        "faults of scripts are told by type and message, without the gateway's insides"
    ),
    "execute.limits": "a script that never ends is ended at its limit",
    "execute.stdout": "output over 256 KiB is cut with a mark",
    "execute.preview": "a result over 64 KiB comes as a preview, one over 1 MiB is refused",
    "execute.blocks": "images returned by a script come out as content blocks",
    "execute.api": "a script can see the manifest, search, and read a tool's schema",
    "search.found": "search finds a tool by what it does and says how to call it",
    "stdio.sdk": "the official SDK client works over --stdio in both eras",
    "stdio.clean": "stdout carries protocol only; at the end of input running calls are finished",
    "stdio.cancel": "a request that the client cancels is stopped and gets no reply",
    "search.depths": "each search depth adds its members",
    "search.result": "the reply to search repeats the question and counts tools",
    "search.exact_name": "an exact tool name comes first, at depth 3 alone",
    "search.typos": "typos and word forms find the tool",
    "search.languages": "queries in other scripts and with accents work",
    "search.no_match": "a query without match gives suggestions, no noise",
    "search.empty_query": "an empty query lists every server",
    "search.arguments": "bad arguments of search are refused with advice",
    "search.limit": "limit takes the best tools over all servers",
    "search.budgets": "replies of search keep their budget",
    "search.giant_schema": "a giant schema is cut at its deepest levels, and said so",
    "search.state": "servers that are not well are marked",
    "search.visibility": "a server that the caller may not see leaves no trace",
    "search.call_line": "`call` is Python that can be used",
    "api.name_forms": "repos.list, repos_list, repos-list and reposList are one name",
    "api.schema": "api.schema gives the whole definition",
    "api.manifest": "api.manifest gives servers with their tool names",
    "errors.did_you_mean": "unknown names come with suggestions",
    "namespaces.unseen_is_unknown": "what may not be reached is unknown in the same words",
    "upstream.odd_schemas": "odd schemas are mended, or that one tool is set aside",
    "readme.curl": "the curl lines of the README answer what it shows",
    "readme.configuration": "the configuration in the README loads",
    "meta.budget": "both tools and the instructions take at most 900 tokens",
}
