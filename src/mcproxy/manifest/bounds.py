"""How much ``search`` may be asked for, and how much it says: every bound in one place.

The arguments' check, their description for models and the reply itself read them here.
"""

NAMES, SERVERS, TOOLS, SCHEMAS = range(4)  # the depths
DEFAULT_DEPTH, MAX_DEPTH = TOOLS, SCHEMAS
MAX_LIMIT = 50  # tools

# Without a limit a reply has so many bytes, some 450 tokens. Where there is more to show, it has
# lines of the best tools, and then the names alone of more, which take a fifth of a line. A tool
# whose score is a smaller share of the best one's only costs the reader time.
READING_BYTES, BYTES_OF_NAMES, CLEAR_DROP = 2_150, 1_000, 0.25
# So many tools where each takes more than a line, or only its server is shown.
FEW_TOOLS = 10

# Bytes of a whole reply as JSON: a base and a part for each server.
BUDGETS = {NAMES: (300, 30), SERVERS: (300, 120), TOOLS: (14_000, 0), SCHEMAS: (24_000, 0)}
# Bytes kept free for the member "truncated"; where it does not come, they stay unused.
TRUNCATED_BYTES = {NAMES: 75, SERVERS: 75, TOOLS: 260, SCHEMAS: 260}
# The echo of a long query may take this part of the reply, and this many bytes in any case.
ECHO_PART, MIN_ECHO_BYTES = 4, 60

SUMMARY_BYTES = 70
# A description at depth 3 is for reading; the rest of 100 kB is not.
DESCRIPTION_BYTES, SHORT_DESCRIPTION_BYTES = 6_000, 1_000
# A schema is not cut below this: it would say nothing.
MIN_CUT_BYTES = 200

MAX_SUGGESTED_TOOLS, MAX_SUGGESTED_SERVERS = 3, 8

# A longer query, or one with more names, is a text: its head says what it is about. This bounds
# the time too.
MAX_QUERY_CHARS, MAX_NAMES = 2_000, 20
# Words beyond these add time and no meaning.
MAX_QUERY_WORDS = 40
# Tools beyond these are counted and not rated to the end.
MAX_MATCHES = 2 * MAX_LIMIT
