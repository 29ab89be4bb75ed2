"""Words in a server's texts that instruct the model, or hide from its user. Pure.

A definition should say what a tool does. What is looked for here is text that speaks to the model
about something else: its other instructions, other tools, what the user should not learn, where to
send what it knows. Honest definitions use strong words too ("IMPORTANT: always pass an id"), so
each sign needs two or three things together in one sentence. It is a net, not a wall: who knows it
can write around it.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping

from mcproxy.foreign_text import clean, hides, imitated

MAX_READ_CHARS = 200_000  # of one definition; more is a reason of its own
_SENTENCE = re.compile("(?<=[.!?;])\\s+|[\n\r\u3002\uff01\uff1f\u0964\u061f]+")
_SPACED_OUT = re.compile(r"\b(?:\w ){3,}\w\b")
_WORD = re.compile(r"\w+")


def _words(text: str) -> str:
    """One of these words, of languages that have spaces; ``*`` stands for an ending."""
    return rf"\b(?:{'|'.join(text.split()).replace('*', '[^ ]*').replace('_', ' ')})"


def _marks(text: str) -> str:
    """One of these, of languages that have none."""
    return f"(?:{'|'.join(text.split())})"


_IGNORE = _words(
    "ignor* disregard* forget* override overlook vergiss* missacht* olvida* oubli* esque[cç]* "
    "dimentica* negeer* vergeet* zignoruj* игнорир* забудь* ігноруй* yok_say* görmezden*"
)
_ORDERS = _words(
    "instruction* prompt* guideline* rules directive* told anweisung* instrucci* instruç* "
    "istruzion* instructies instrukcj* инструкци* інструкці* talimat*"
)
_OF_BEFORE = _words(
    "previous* prior above earlier preceding all any other your system safety before bisherig* "
    "vorherig* anterior* précédent* preceden* vorige poprzedn* предыдущ* попередн* önceki* todas*"
)
_NEVER = (
    r"\b(?:do not|don't|dont|never|without|no need to|must not|should not|shouldn't|avoid|"
    r"refrain from|not necessary to)\b"
)
_TELL = (
    r"\b(?:tell|mention|inform|reveal|disclos|show|notif|alert|telling|let|report|"
    r"consult|asking)\w*"
)
# "Never tell the user that it was sent before …" is manners, "never tell the user" is not.
_PERSON = (
    r"\b(?:users?|humans?|them|anyone|anybody|person|people|owner)\b"
    r"(?! (?:an?|the|to|which|what|when|if|that)\b)"
)
_SECRETS = (
    r"(?:~/\.\w+|/etc/(?:passwd|shadow)|\bid_(?:rsa|ed25519)\b|\.ssh\b|(?<!\w)\.env\b|\.aws\b|"
    r"\.netrc\b|\bmcp\.json\b|\bsystem prompt\b|\bprivate keys?\b|\bseed phrase\b|"
    r"\b(?:whole|entire|full text of the|content of the|contents of the) (?:conversation|chat)\b|"
    r"\b(?:conversation|chat) (?:history|so far)\b|\bmessages? of this chat\b|"
    r"\b(?:earlier|previous|last) (?:user )?messages?\b|\beverything you know\b|"
    r"\bother tools\b(?=.*\b(?:results?|called)\b)|\bevery file you\b|"
    r"\b(?:passwords?|credentials?|api keys?)\b(?=.*\b(?:that you know|of the user)\b)|"
    r"\buser(?:'s|s)? (?:passwords?|credentials?|secrets?|tokens?|api keys?)\b)"
)
_TAKE = (
    r"\b(?:read|send|include|includ|attach|put|pass|append|copy|copi|collect|fetch|upload|forward|"
    r"share|shar|post|push|paste|past|add|load|gather|transmit|full text|content|detail|everything|"
    r"earlier)(?:s|es|d|ed|ing|ting)?\b"
)
_AWAY = (
    r"\b(?:send|forward|upload|copy|post|push|report|deliver|sync|transmit|bcc|cc)\w*\b"
    r"(?=.*\b(?:conversation|messages?|results?|contents?|data|copy|everything|files?|bcc)\b)"
    r".*(?:https?://|[\w.-]+@[\w-]+\.\w)"
)

# Of each reason its signs: texts of which one must be there, then what must all be in one sentence.
_SIGNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "overrides other instructions": (
        (
            "ignor disregard forget overrid overlook vergiss missacht olvida oubli esque dimentica "
            "negeer vergeet игнорир забудь ігноруй yok_say görmezden",
            _IGNORE,
            _OF_BEFORE,
            _ORDERS,
        ),
        ("your_new", r"\byour new (?:task|role|goal|instructions?)\b"),
        (
            "忽略 无视 無視 忘记 忘れ 무시 تجاهل अनदेखा",
            _marks("指令 指示 说明 지시 التعليمات निर्देश"),
        ),
    ),
    "hides from the user": (
        (
            "do_not don't dont never without no_need_to must_not should_not shouldn't avoid "
            "refrain_from not_necessary",
            rf"{_NEVER}\W+(?:\w+\W+){{0,3}}?{_TELL}\W+(?:\w+\W+){{0,5}}?{_PERSON}",
        ),
        ("hide conceal", r"\b(?:hide|conceal)\b", r"\bfrom the (?:user|human)\b"),
        ("keep_", r"\bkeep (?:this|it|that)\b", r"\b(?:secret|confidential|hidden)\b"),
        ("tell_nobody tell_no_one", r"\btell (?:nobody|no one)\b"),
        (
            "secretly silently covertly discreetly",
            rf"\b(?:secretly|silently|covertly|discreetly)\s+(?:\w+\s+){{0,2}}?{_TAKE}",
        ),
        ("nutzer anwender", _words("nicht* niemals ohne"), _words("erwähn* sag* mitteil* zeig*")),
        ("utilisateur", r"\b(?:n'|ne )", _words("parle* dis* dit* informe* montr*")),
        (
            "usuario usuário",
            _words("no não nunca jamás sin sem"),
            _words("dig* inform* mencion* cont*"),
        ),
        ("utente", _words("non senza"), _words("dir* dic* inform* mostr* menzion*")),
        ("gebruiker", _words("niet nooit zonder"), _words("vertel* zeg* meld* toon*")),
        (
            "пользовател користувач",
            _words("не ни без ні"),
            _words("сообщ* говор* показ* кажи*"),
        ),
        ("użytkownik", _words("nie bez"), _words("mów* inform* powied*")),
        ("kullan\u0131c\u0131", "söyleme|bildirme|gösterme"),
        ("用户 用戶 使用者", _marks("不要 别 勿 不得 禁止"), _marks("告诉 告訴 通知 提及 透露")),
        ("ユーザー 利用者", _marks("知らせず 伝えず 知らせない 伝えない 言わず")),
        ("사용자", "(?:알리|말하)지"),
        ("المستخدم", r"(?:لا|دون|عدم)\s*\w*خب"),
        ("उपयोगकर्ता", r"न\s*बता"),
    ),
    "speaks as the system": (
        ("<", r"<\s*/?\s*(?:important|system|instructions?|secret|hidden|admin)\b"),
        ("[inst [/inst <| ##", r"\[/?inst\]|<\|\w+\|>|#{2,}\s*(?:system|instruction)"),
        (
            "system assistant human",
            r"(?:^|[.!?;\n])\W*(?:system|assistant|human)\s*:\s*\S+\s+\S+\s+\S+",
        ),
        ("note_to_the", r"\bnote to the (?:model|assistant|ai|llm|agent)\b"),
        ("you_are_now", r"\byou are now (?:in |an? |the )"),
        ("has_already", r"\b(?:user|owner) has already (?:consented|agreed|approved)\b"),
        ("without", r"\b(?:approve|run|execute|accept) every\b.*\bwithout\b"),
    ),
    "asks for secrets, files or the conversation": (
        (
            "~/ /etc/ rsa ed25519 .ssh .env .aws .netrc mcp.json system_prompt private_key "
            "seed_phrase conversation chat message everything_you other_tools every_file "
            "you_know of_the_user user's_ users_ user_pass user_cred user_secret user_token",
            _SECRETS,
            _TAKE,
        ),
    ),
    "sends data away": (("http @", _AWAY),),
    "wants to come before other tools": (
        (
            "other_tool",
            r"\b(?:before|prior to|instead of) (?:\w+ )?(?:any|every|all|each) other tool",
        ),
        (
            "any_tool every_tool each_tool",
            r"\b(?:before|prior to) (?:using|calling|you use|you call) (?:any|every|each) tool\b",
        ),
        ("ferramenta herramienta", r"\bantes de\b", r"\botr[ao]|\boutra|\bcualquier"),
        (
            "never_use takes_precedence replaces_all",
            r"\btools?\b",
            r"\bother\b",
        ),
        ("must_not deprecated_and", r"\b(?:instead of|not use) .*\b\w+[._]\w+\b"),
    ),
    "has text to be decoded": (("decode", r"\bdecode\b", r"[a-z0-9+/]{40,}"),),
}
_COMPILED = tuple(
    (reason, tuple(one.replace("_", " ") for one in first.split()), tuple(map(re.compile, parts)))
    for reason, signs in _SIGNS.items()
    for first, *parts in signs
)


def reasons(text: str) -> Iterator[str]:
    """Why this text would be held: each reason once, with nothing of the text."""
    if hides(text):
        yield "has characters that act or hide"
    if len(text) > MAX_READ_CHARS:
        yield "is too long to be read"
        return
    yield from dict.fromkeys(
        reason
        for version in _versions(text)
        for reason, words, parts in _COMPILED
        if any(word in version for word in words) and _in_a_sentence(parts, version)
    )


def _in_a_sentence(parts: tuple[re.Pattern[str], ...], text: str) -> bool:
    return _all_in(parts, text) and any(_all_in(parts, piece) for piece in sentences(text))


def sentences(text: str) -> list[str]:
    """The text in pieces."""
    return [piece for piece in _SENTENCE.split(text) if piece.strip()]


def _all_in(parts: tuple[re.Pattern[str], ...], text: str) -> bool:
    return all(part.search(text) for part in parts)


def _versions(text: str) -> set[str]:
    """The text in small letters: as it is, in plain ones, and without letters that stand apart."""
    plain = unicodedata.normalize("NFKC", clean(text)).lower()
    looks = plain if plain.isascii() else _WORD.sub(lambda one: imitated(one[0]) or one[0], plain)
    joined = _SPACED_OUT.sub(lambda letters: letters[0].replace(" ", ""), plain)
    return {plain, looks, joined}
