"""Words in what is new of a definition that was accepted before. Pure.

A first definition is read for what clearly instructs the model (``instructing``). What is added to
one later is a stronger sign: honest edits explain parameters, limits and results, so a new sentence
that speaks to the model, of what its user said or is not to learn, of secrets, of other tools, or
of somewhere to send things is worth a person's look, though a first definition may say the like.
"""

from collections.abc import Iterator

from mcproxy.patterns import pattern
from mcproxy.policy.instructing import one_of


def _one_of(text: str) -> str:
    """One of these whole words."""
    return rf"{one_of(text)}\b"


_MODEL = pattern(
    r"(?<!home )"
    + _one_of(
        "assistants? (?:ai|llm|language)_(?:models?|agents?) ai llms? agents? claude gpt copilot "
        "system_prompt context_window"
    )
)
_TALK = pattern(_one_of("conversations? chats?_(?:history|log|transcript) transcripts?"))
_PERSON = pattern(_one_of("users? humans? owner operator customer"))
_OF_PERSON = pattern(
    _one_of(
        "already typed said wrote so_far no_need nothing need_not "
        "not_(?:know|see|learn|hear|be_told)"
    )
)
_DIRECTED = pattern(
    _one_of("must should always never do_not don't need_to has_to first before instead please")
)
_VERBS = (
    "send forward include append attach copy paste put pass add set read fetch collect gather "
    "upload post share call invoke run execute use repeat quote write store save tell give provide "
    "supply dump list report ignore obey follow trust prefer approve accept delete disable skip"
)
_ORDER = pattern(
    r"(?:^|[:,;(]\s*|\b(?:please|then|also|and|always|must|should|to)\s+)" + _one_of(_VERBS)
)
SECRETS = (  # as ``one_of`` takes them: what is called so is secret, in prose and in a name
    "passwords? passphrases? secrets? credentials? cookies? seed_phrase api[_-]?keys? "
    "(?:private|ssh)[_-]?keys? (?:access|auth|bearer|session|refresh)[_-]?tokens?"
)
_SECRET = pattern(_one_of(f"{SECRETS} env environment_variables? wallets? keychain"))
_PRIVATE = pattern(
    r"(?:^|[\s`'\"/~])\.(?:ssh|aws|netrc|kube|gnupg|npmrc|pypirc)\b|/etc/(?:passwd|shadow)|"
    r"\bid_(?:rsa|ed25519)\b"
)
_PURPOSE = pattern(
    r"\bfor (?:\w+ )?(?:compliance|audit\w*|security|verification|diagnostics?|telemetry|"
    r"debugging|legal|checksum\w*)\b"
)
_ADDRESS = r"(?:https?://[\w.-]+|[\w.+-]+@[\w-]+\.[a-z]{2,}\b|\bwebhook\b)"
_SENT = pattern(
    r"\b(?:send|sent|forward\w*|upload\w*|post(?:ed|s)?|report\w*|copy|copied|deliver\w*|"
    r"submit\w*|sync\w*|mirror\w*|back(?:ed)? up|add|invite|share|set)\b.*\b(?:to|with|at)\b.*"
    rf"{_ADDRESS}|\b(?:bcc|cc)\b.*{_ADDRESS}"
)
_OTHERS = pattern(
    r"\b(?:other|another|any|every|all|each|previous|earlier|subsequent|following|next) "
    r"(?:\w+ ){0,2}?(?:tools?|servers?|calls?|instructions?|rules)\b|"
    r"\b(?:every|each|all) (?:\w+ )?(?:(?:e-?)?mails?|messages?|commits?)\b"
)
_ALONE = pattern(
    _one_of(
        "quietly (?<!of_)silently secretly discreetly covertly unnoticed confidential "
        "(?:system|security|safety)_overrides? obey jailbreak elevated_privileges? god_mode "
        "developer_mode maintenance_mode guardrails? safety_(?:rules?|guidelines?|checks?) "
        "malicious carr(?:y|ied)_out every_(?:conversation|session|chat|message|reply|response) "
        "regardless_of_(?:what|the_actual|any) no_matter_what pre-?approved "
        "already_(?:been_)?(?:approved|consented|agreed|confirmed|authori[sz]ed) "
        "without_(?:user_|human_|further_|any_)?(?:confirmation|approval|permission|consent) "
        "without_(?:asking|telling|informing|notifying)_(?:the|any|them|your) "
        "(?:do_not|don't|never|no_need_to)_(?:ask|mention|tell|reveal|warn|confirm|verify)"
    )
)
_SHOUTED = pattern(r"\b(?:SYSTEM|ADMIN|SECURITY|OPERATOR|ROOT)\b\W+[A-Z]{4,}")
_ENCODED = pattern(r"(?<![\w/+=-])(?=[\w+/]*[A-Z])(?=[\w+/]*[a-z])[A-Za-z0-9+/]{32,}={0,2}")

# Words of other languages in Latin letters, none of them an English one.
_STRANGE = pattern(
    _one_of(
        "der das und nicht ist dem den von wird werden keine? niemals immer dass ohne muss darf "
        "nutzer el los las que esta este por para una usuario siempre nunca debe antes mencione "
        "le les des est pas une vous avec toujours jamais avant cette il che questo questa della "
        "sempre prima utente deve gli het een niet altijd voor deze gebruiker sem você todas isto "
        "jest nie zawsze oraz przed tego inte och alltid detta ikke aldrig jangan yang selalu "
        "dengan untuk pengguna"
    )
)
_STRANGE_SHARE = 4  # one word of so many, and two in all
_WORD = pattern(r"\w+")


def signs(sentence: str) -> Iterator[str]:
    """Why a new sentence is worth a look, with nothing of it."""
    plain = sentence.lower().strip()
    orders = bool(_ORDER.search(plain))
    if _ALONE.search(plain) or _SHOUTED.search(sentence):
        yield "has new words that press, reassure or hide"
    if _is_about_the_model(plain, orders=orders):
        yield "has new words about the model, its user or their conversation"
    if _wants_secrets(plain, orders=orders):
        yield "has new words that ask for secrets"
    if _SENT.search(plain):
        yield "has new words that send something elsewhere"
    if _OTHERS.search(plain) and (orders or _DIRECTED.search(plain)):
        yield "has new words about other tools or calls"
    if _ENCODED.search(sentence):
        yield "has new text to be decoded"
    if _is_strange(plain):
        yield "has words in another language than before"


def _is_about_the_model(plain: str, *, orders: bool) -> bool:
    of_person = _PERSON.search(plain) and _OF_PERSON.search(plain)
    return bool(_MODEL.search(plain) or of_person or (orders and _TALK.search(plain)))


def _wants_secrets(plain: str, *, orders: bool) -> bool:
    if _PRIVATE.search(plain) or (orders and _PURPOSE.search(plain)):
        return True
    return bool(_SECRET.search(plain) and (orders or _PURPOSE.search(plain)))


def asks_for_secrets(text: str) -> bool:
    """Does the description of a new parameter name a secret, or the conversation?"""
    plain = text.lower()
    return any(each.search(plain) for each in (_SECRET, _PRIVATE, _TALK))


def _is_strange(plain: str) -> bool:
    strange = set(_STRANGE.findall(plain))
    return len(strange) >= 2 and len(strange) * _STRANGE_SHARE >= len(_WORD.findall(plain))
