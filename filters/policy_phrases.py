"""Phrases that name terms of use, a privacy policy or cookies, by language, for C4's line rule.

The English list is that of the code that made C4. The others are ours: what sites write for the same things in that
language, two words or more, or one long one, so that prose about privacy or biscuits holds none of them.
"""

_LISTS = {
    "en": "terms of use|privacy policy|cookie policy|uses cookies|use of cookies|"
    "use cookies",  # TFDS c4_utils, _POLICY_SUBSTRINGS
    "ar": "شروط الاستخدام|سياسة الخصوصية|ملفات تعريف الارتباط|سياسة ملفات",  # ours
    "de": "nutzungsbedingungen|datenschutzerklärung|datenschutzbestimmungen|cookie-richtlinie|verwendet cookies|"
    "verwenden cookies|verwendung von cookies|nutzt cookies|einsatz von cookies",  # ours
    "es": "términos de uso|condiciones de uso|política de privacidad|política de cookies|utiliza cookies|usa cookies|"
    "uso de cookies|utilizamos cookies|usamos cookies",  # ours
    "fr": "conditions d'utilisation|conditions d’utilisation|politique de confidentialité|utilise des cookies|"
    "utilisons des cookies|politique de cookies|utilisation de cookies|utilisation des cookies",  # ours
    "hi": "उपयोग की शर्तें|गोपनीयता नीति|कुकी नीति|कुकीज़ का उपयोग|कुकीज का उपयोग",  # ours
    "it": "termini di utilizzo|condizioni d'uso|informativa sulla privacy|utilizza cookie|utilizza i cookie|"
    "uso dei cookie|politica sui cookie",  # ours
    "ja": "利用規約|プライバシーポリシー|クッキーポリシー|cookieを使用|クッキーを使用",  # ours
    "pt": "termos de uso|política de privacidade|política de cookies|utiliza cookies|usa cookies|uso de cookies|"
    "utilizamos cookies|usamos cookies",  # ours
    "ru": "условия использования|пользовательское соглашение|политика конфиденциальности|"
    "политику конфиденциальности|политикой конфиденциальности|использует cookie|использует файлы cookie|"
    "использование файлов cookie|использования файлов cookie",  # ours
    "ur": "استعمال کی شرائط|رازداری کی پالیسی|پرائیویسی پالیسی|کوکیز کا استعمال",  # ours
    "zh": "使用条款|使用條款|服务条款|服務條款|隐私政策|隱私政策|隐私权政策|隱私權政策|使用cookie|使用 cookie",  # ours
}
POLICY_PHRASES: dict[str, tuple[str, ...]] = {language: tuple(text.split("|")) for language, text in _LISTS.items()}
