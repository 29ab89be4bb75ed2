"""What fails in the conformance suite, and why that is right, or not ours.

By revision: ``scenario: check`` to its reason. The test compares exactly: what newly fails and what
newly passes are both told, so that this list stays true.
"""

from collections.abc import Mapping

_TASKS = """tasks are an extension of the protocol, which the server with the other fixtures does
not offer; the suite runs its scenarios, and does not score them"""

_TASK_CHECKS = (
    "tasks-capability-negotiation: TasksExtensionAdvertised",
    "tasks-capability-negotiation: TasksMethodsGatedWithoutExtension",
    "tasks-capability-negotiation: TasksPerRequestMetaOptIn",
    "tasks-capability-negotiation: TasksToolsCallWithoutExtensionSync",
    "tasks-dispatch-and-envelope: TasksGetUnknownTaskIdRejected",
    "tasks-dispatch-and-envelope: TasksImmediateResultShortcut",
    "tasks-dispatch-and-envelope: TasksLegacyTaskParamIgnored",
    "tasks-dispatch-and-envelope: TasksResultTypeCompleteOnNonTaskResponses",
    "tasks-dispatch-and-envelope: TasksServerDirectedCreationNoHint",
    "tasks-dispatch-and-envelope: TasksStrongConsistencyImmediateGet",
    "tasks-lifecycle: TasksCancelEmptyAck",
    "tasks-lifecycle: TasksCancelTerminalIdempotentAck",
    "tasks-lifecycle: TasksGetDuringWorking",
    "tasks-lifecycle: TasksGetTerminalInlinedResult",
    "tasks-lifecycle: TasksProtocolErrorFailedShape",
    "tasks-lifecycle: TasksServerTaskCreation",
    "tasks-lifecycle: TasksSyncToolCall",
    "tasks-lifecycle: TasksToolErrorCompletedIsError",
    "tasks-mrtr-composition: Sep2663MrtrSynchronousBeforeTaskCreation",
    "tasks-mrtr-input: TasksMRTRInputRequestsOnTasksGet",
    "tasks-mrtr-input: TasksMRTRPartialFulfillment",
    "tasks-mrtr-input: TasksMRTRTasksUpdateResumes",
    "tasks-request-headers: Sep2663RoutingHeadersAcceptedOnTasksGet",
    "tasks-request-headers: Sep2663ServerRejectsMismatchedMcpNameOnTasksGet",
    "tasks-request-headers: TasksHeadersTolerateMcpMethodOnToolsCall",
    "tasks-request-state-removal: TasksRequestStateRemovalSetup",
    "tasks-required-task-error: Sep2663ServerReturnsMissingCapabilityWhenRequired",
    "tasks-status-notifications: TasksStatusNotificationsScenario",
    "tasks-wire-fields: TasksNoEarlyTtlExpiry",
    "tasks-wire-fields: TasksNoRelatedTaskMetaOnInlinedResult",
    "tasks-wire-fields: TasksWireFieldRenames",
)

SERVER: Mapping[str, Mapping[str, str]] = {
    "2025-11-25": {},
    "2026-07-28": {
        **dict.fromkeys(_TASK_CHECKS, _TASKS),
        "http-header-validation: ServerAcceptsWhitespaceHeaderValue": (
            "the SDK takes the blanks after a header's value for a part of it"
        ),
    },
}
"""Of the server with the suite's fixtures, asked directly."""

GATEWAY: Mapping[str, Mapping[str, str]] = {
    "2025-11-25": {},
    "2026-07-28": {
        "tasks-required-task-error: Sep2663ServerReturnsMissingCapabilityWhenRequired": (
            "a client that knows no tasks need not be refused: the gateway awaits the task for it"
        ),
        "tasks-status-notifications: TasksStatusNotificationsScenario": (
            "they may be left out; the suite skips it"
        ),
    },
}
"""Of the gateway in front of it, and of one that makes tasks, in direct mode."""
