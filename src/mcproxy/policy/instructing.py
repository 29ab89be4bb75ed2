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
from mcproxy.patterns import pattern

MAX_READ_CHARS = 200_000  # of one definition; more is a reason of its own
_SENTENCE = pattern("(?<=[.!?;])\\s+|[\n\r\u3002\uff01\uff1f\u0964\u061f]+")
_SPACED_OUT = pattern(r"\b(?:\w ){3,}\w\b")
_WITH_DIGITS = pattern(r"\b(?=\w*[a-z])(?=\w*\d)\w+")
_LIKE_LETTERS = str.maketrans("01345", "oieas")
_WORD = pattern(r"\w+")
_FOREIGN_WORDS = 3  # a name or two ("São Paulo") are no sentence
_FOREIGN_CHARS = 8  # of a language that has no spaces
_LAST_LATIN = 0x24F  # of the blocks that European languages take their letters from


def one_of(text: str) -> str:
    """One of these words, of languages that have spaces; ``*`` stands for an ending."""
    return rf"\b(?:{'|'.join(text.split()).replace('*', '[^ ]*').replace('_', ' ')})"


def _marks(text: str) -> str:
    """One of these, of languages that have none."""
    return f"(?:{'|'.join(text.split())})"


_IGNORE = one_of(
    "ignor* disregard* forget* override overlook vergiss* missacht* olvida* oubli* esque[cç]* "
    "dimentica* negeer* vergeet* zignoruj* игнорир* забудь* ігноруй* yok_say* görmezden* bortse* "
    "abaikan lupakan bỏ_qua αγνόησε* αγνοήστε* figyelmen_kívül void"
)
_ORDERS = one_of(
    "instruction* prompt* guideline* rules directive* told anweisung* instrucci* instruç* "
    "istruzion* instructies instrukcj* инструкци* інструкці* talimat* guardrail* restriction* "
    "instruktion* instruksi perintah hướng_dẫn οδηγί* pokyn* instrucțiun* utasítás*"
)
_OF_BEFORE = one_of(
    "previous* prior above earlier preceding all any other your system safety before bisherig* "
    "vorherig* anterior* précédent* preceden* vorige poprzedn* предыдущ* попередн* önceki* todas* "
    "tidigare sebelumnya semua trước προηγούμεν* předchozí korábbi"
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
    r"(?:(?:~|/root|/home/[^\s/]+|\$home)/\.\w+|/etc/(?:passwd|shadow)|\bid_(?:rsa|ed25519)\b|\.ssh\b|(?<!\w)\.env\b|\.aws\b|"
    r"\.netrc\b|\bmcp\.json\b|\bsystem prompt\b|\bprivate keys?\b|\bseed phrase\b|"
    r"\b(?:whole|entire|full|complete|all of the|contents? of the|(?:text|transcript) of the) "
    r"(?:present |current )?(?:conversation|chat|dialogue|context window)\b|"
    r"\b(?:conversation|chat|dialogue) (?:history|so far)\b|\bmessages? of this chat\b|"
    r"\b(?:the (?:user|human) (?:just |last )?(?:typed|wrote|said)\b)|"
    r"\b(?:your|you were given|you have been given)\b(?=.*\b(?:instructions|verbatim|before the "
    r"conversation)\b)|\b(?:you (?:remember|know|learn\w*)) (?:of|about|on) (?:the|this|your) "
    r"(?:user|human|person)\b|\bprintenv\b|/proc/self/environ|"
    r"\benvironment variables of the user\b|\.config/gcloud\b|"
    r"\b(?:earlier|previous|last) (?:user )?messages?\b|\beverything you know\b|"
    r"\bother tools\b(?=.*\b(?:results?|called)\b)|\bevery file you\b|"
    r"\b(?:passwords?|credentials?|api keys?)\b(?=.*\b(?:that you know|of the user)\b)|"
    r"\buser(?:'s|s)? (?:passwords?|credentials?|secrets?|tokens?|api keys?)\b)"
)
_TAKE = (
    r"\b(?:read|send|include|includ|attach|put|pass|append|copy|copi|collect|fetch|upload|forward|"
    r"share|shar|post|push|paste|past|add|load|gather|transmit|full text|content|detail|everything|"
    r"earlier|dump|mention|mov|move|remember|start|tell|carry|carri|complete|transcript|output|quote|quot)(?:s|es|d|ed|ing|ting)?\b"
)
_ADDRESS = r"(?:https?://|[\w.-]+@[\w-]+\.\w)"
_AWAY = (
    r"\b(?:send|forward|upload|copy|post|push|report|deliver|sync|transmit|bcc|cc)\w*\b"
    r"(?=.*\b(?:conversation|messages?|results?|contents?|data|copy|everything|files?|bcc)\b)"
    rf".*{_ADDRESS}"
)
_ALSO_TO = r"\balso\b.*\b(?:add|subscribe|invite|share|grant|cc|bcc)\b.*[\w.-]+@[\w-]+\.\w"
_SENT_TO = rf"\b(?:sent|forwarded|uploaded|posted|copied|reported) to {_ADDRESS}"

# Of each reason its signs: texts of which one must be there, then what must all be in one sentence.
_SIGNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "overrides other instructions": (
        (
            "ignor disregard forget overrid overlook vergiss missacht olvida oubli esque dimentica "
            "negeer vergeet игнорир забудь ігноруй yok_say görmezden bortse abaikan lupakan bỏ_qua "
            "αγνόησ αγνοήσ figyelmen void",
            _IGNORE,
            _OF_BEFORE,
            _ORDERS,
        ),
        (
            "as_void as_obsolete as_invalid as_superseded",
            r"\b(?:treat|consider|regard) (?:them|these|those|the above|your \w+) as\b",
        ),
        ("your_new", r"\byour new (?:task|role|goal|instructions?)\b"),
        (
            "忽略 无视 無視 忘记 忘れ 무시 تجاهل अनदेखा ละเว้น เพิกเฉย התעלם نادیده",
            _marks("指令 指示 说明 지시 التعليمات निर्देश คำสั่ง ההוראות הוראות دستور"),
        ),
    ),
    "hides from the user": (
        (
            "do_not don't dont never without no_need_to must_not should_not shouldn't avoid "
            "refrain_from not_necessary",
            rf"{_NEVER}\W+(?:\w+\W+){{0,3}}?{_TELL}\W+(?:\w+\W+){{0,5}}?{_PERSON}",
        ),
        (
            "no_need need_not not_need",
            rf"{_PERSON}.*\b(?:no need|need not|not need)\b",
            r"\bneed\b.*\b(?:hear|know|see|learn|be told|read)\w*",
        ),
        (
            "unbeknownst unaware unnoticed impression without_the",
            r"\b(?:unbeknownst|unaware|unnoticed|without the (?:user|human|person)(?:'s)? "
            r"(?:know\w*|consent|notic\w*)|given the impression)\b",
        ),
        (
            "nobody no_one anyone nikomu niemand nadie personne nessuno никому",
            one_of("never not nie don't nicht no ne non не"),
            one_of("mention* tell* wspomina* mów* sag* erwähn* dig* parle* dire говор*"),
            one_of("nobody no_one anyone nikomu niemand* nadie personne nessuno никому"),
        ),
        ("hide conceal", r"\b(?:hide|conceal)\b", r"\bfrom the (?:user|human)\b"),
        ("keep_", r"\bkeep (?:this|it|that)\b", r"\b(?:secret|confidential|hidden)\b"),
        ("tell_nobody tell_no_one", r"\btell (?:nobody|no one)\b"),
        (
            "secretly silently covertly discreetly",
            rf"\b(?:secretly|silently|covertly|discreetly)\s+(?:\w+\s+){{0,2}}?{_TAKE}",
        ),
        ("nutzer anwender", one_of("nicht* niemals ohne"), one_of("erwähn* sag* mitteil* zeig*")),
        ("utilisateur", r"\b(?:n'|ne )", one_of("parle* dis* dit* informe* montr*")),
        (
            "usuario usuário",
            one_of("no não nunca jamás sin sem"),
            one_of("dig* inform* mencion* cont*"),
        ),
        ("utente", one_of("non senza"), one_of("dir* dic* inform* mostr* menzion*")),
        ("gebruiker", one_of("niet nooit zonder"), one_of("vertel* zeg* meld* toon*")),
        (
            "пользовател користувач",
            one_of("не ни без ні"),
            one_of("сообщ* говор* показ* кажи*"),
        ),
        ("użytkownik", one_of("nie bez"), one_of("mów* inform* powied*")),
        ("kullan\u0131c\u0131", "söyleme|bildirme|gösterme"),
        ("用户 用戶 使用者", _marks("不要 别 勿 不得 禁止"), _marks("告诉 告訴 通知 提及 透露")),
        ("ユーザー 利用者", _marks("知らせず 伝えず 知らせない 伝えない 言わず")),
        ("사용자", "(?:알리|말하)지"),
        ("المستخدم", r"(?:لا|دون|عدم)\s*\w*خب"),
        ("उपयोगकर्ता", r"न\s*बता"),
        ("användare", one_of("inte aldrig utan"), one_of("nämn* berätta* säg* visa* meddela*")),
        ("pengguna", one_of("jangan tanpa"), one_of("beri sebut* katakan kasih tunjuk*")),
        ("người_dùng", one_of("đừng không"), one_of("nói cho báo tiết_lộ")),
        ("χρήστη", one_of("μη μην χωρίς"), one_of("ενημερώ* πε* αναφέρ* δείξ*")),
        ("uživatel", one_of("ne* bez"), one_of("neřík* neinform* nezmiňuj* říkat")),
        ("utilizator", one_of("nu fără"), one_of("spune* inform* mențion* arăta")),
        ("felhasználó", one_of("ne nélkül"), one_of("szól* mond* említ*")),
        ("ผู้ใช้", _marks("อย่า ห้าม ไม่"), _marks("บอก แจ้ง")),
        ("למשתמש המשתמש", _marks("אל בלי"), _marks("תספר תגלה תאמר לספר")),
        ("کاربر", _marks("نگو ندهید نگویید")),
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
        ("override]", r"\[\W*(?:admin|system|operator|root|security)\b[^\]]*\]"),
        (
            "yourself loyal",
            r"\b(?:(?:think|see|regard) (?:of )?yourself as|loyal(?:ty)? (?:is )?to)\b",
        ),
        (
            "permission confirm asking approv autonom",
            r"\b(?:skip|bypass|disabled?|switched off|no longer need\w*|cleared|suspended|omit)\b",
            r"\b(?:permissions?|confirm\w*|asking|approv\w*|autonom\w*)\b",
            r"\b(?:you|proceed|step|dialogs?|operator|model|assistant|agent)\b",
        ),
        ("has_already", r"\b(?:user|owner) has already (?:consented|agreed|approved)\b"),
        ('"role"', r'"role"\s*:\s*"system"', r"\b(?:you|must|obey|ignore|never|always)\b"),
        ("without", r"\b(?:approve|run|execute|accept) every\b.*\bwithout\b"),
    ),
    "asks for secrets, files or the conversation": (
        (
            "~/ /root/ /home/ $home /etc/ rsa ed25519 .ssh .env .aws .netrc mcp.json system_prompt "
            "private_key verbatim instructions before_the_conversation "
            "you_remember you_know you_learn "
            "seed_phrase printenv environ gcloud dialogue context_window typed wrote said "
            "conversation chat message everything_you other_tools every_file "
            "you_know of_the_user user's_ users_ user_pass user_cred user_secret user_token",
            _SECRETS,
            _TAKE,
        ),
    ),
    "sends data away": (("http @", _AWAY), ("http @", _SENT_TO), ("@", _ALSO_TO)),
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
    "changes what other tools are asked": (
        (
            "any other another every whenever",
            r"\bwhen(?:ever)?\b",
            r"\b(?:any|another|other|every) (?:\w+ )?(?:tool|server)s?\b",
            r"\b(?:replace|change|swap|substitute|add|append|insert|modify|redirect)\b",
        ),
    ),
    "runs commands of its own": (
        ("curl wget iwr", r"\b(?:curl|wget|iwr)\b.*\|\s*(?:sudo )?(?:ba|z|da)?sh\b"),
        ("sudo", r"\buse sudo without\b"),
        ("powershell", r"\bpowershell\b.*-e(?:nc|ncodedcommand)?\b"),
    ),
    "has text to be decoded": (("decode", r"\bdecode\b", r"[a-z0-9+/]{40,}"),),
}
_LOOKED_FOR = tuple(
    (reason, tuple(one.replace("_", " ") for one in first.split()), tuple(map(pattern, parts)))
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
        for reason, words, parts in _LOOKED_FOR
        if any(word in version for word in words) and _in_a_sentence(parts, version)
    )


def _in_a_sentence(parts: tuple[re.Pattern[str], ...], text: str) -> bool:
    return _all_in(parts, text) and any(_all_in(parts, piece) for piece in sentences(text))


def sentences(text: str) -> list[str]:
    """The text in pieces."""
    return [piece for piece in _SENTENCE.split(text) if piece.strip()]


def foreign(piece: str) -> bool:
    """Is a sentence written in a language that English readers would not take for English? By its
    letters: several words with others than theirs."""
    if piece.isascii():
        return False
    words = _WORD.findall(piece)
    odd = [word for word in words if not word.isascii() and _has_letters(word)]
    not_latin = sum(ord(letter) > _LAST_LATIN and letter.isalpha() for letter in piece)
    return len(odd) >= _FOREIGN_WORDS or not_latin >= _FOREIGN_CHARS


def _has_letters(word: str) -> bool:
    return any(ord(letter) > 127 and letter.isalpha() for letter in word)


def _all_in(parts: tuple[re.Pattern[str], ...], text: str) -> bool:
    return all(part.search(text) for part in parts)


def _versions(text: str) -> set[str]:
    """The text in small letters: as it is, in plain ones, without letters that stand apart, and
    without digits that stand for letters."""
    plain = unicodedata.normalize("NFKC", clean(text)).lower()
    looks = plain if plain.isascii() else _WORD.sub(lambda one: imitated(one[0]) or one[0], plain)
    joined = _SPACED_OUT.sub(lambda letters: letters[0].replace(" ", ""), plain)
    spelt = _WITH_DIGITS.sub(lambda word: word[0].translate(_LIKE_LETTERS), plain)
    return {plain, looks, joined, spelt}
