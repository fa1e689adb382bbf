"""The same few sentences in many scripts, code, and other things that are no prose; for tests of tokenizers."""

# ruff: noqa: E501  sentences are not broken

from __future__ import annotations

SAMPLES: dict[str, str] = {
    "english": "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood. When the rain had stopped, the old fisherman mended his nets by the harbour wall and told the children stories of whales, lighthouses and ships that never came back.",
    "german": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen. Die Geschwindigkeitsbegrenzung auf der Landstraße wurde nach den Bauarbeiten wieder aufgehoben, worüber sich die Anwohner allerdings beschwerten.",
    "french": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit de fraternité. L'été dernier, nous avons traversé la forêt à pied jusqu'au vieux château où personne n'habite plus depuis longtemps.",
    "spanish": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y conciencia, deben comportarse fraternalmente los unos con los otros. Mañana por la mañana iremos al mercado a comprar pescado, tomates y un poco de pan para la cena de los niños.",
    "polish": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa. Wczoraj wieczorem poszliśmy nad rzekę, żeby zobaczyć, jak zachodzi słońce za starym młynem.",
    "vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi. Mọi con người đều được tạo hóa ban cho lý trí và lương tâm và cần phải đối xử với nhau trong tình bằng hữu.",
    "turkish": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler ve birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler. Dün akşam arkadaşlarımızla birlikte deniz kenarında uzun bir yürüyüş yaptık.",
    "russian": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны поступать в отношении друг друга в духе братства. Вечером мы долго гуляли по набережной и разговаривали о книгах, которые читали в детстве.",
    "greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι προικισμένοι με λογική και συνείδηση, και οφείλουν να συμπεριφέρονται μεταξύ τους με πνεύμα αδελφοσύνης.",
    "arabic": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا بروح الإخاء. ذهبنا مساء أمس إلى البحر وجلسنا نتحدث عن الأيام القديمة.",
    "hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון, לפיכך חובה עליהם לנהוג איש ברעהו ברוח של אחווה.",
    "hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए।",
    "thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    "chinese": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。昨天晚上我们沿着河边散步,谈起小时候读过的书和那些再也没有回来的朋友。",
    "japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。昨日の夜、私たちは川沿いを歩きながら子供のころに読んだ本の話をした。",
    "korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다. 어제저녁에 우리는 강가를 걸으며 어릴 때 읽은 책 이야기를 했다.",
    "python": 'def fold(batches: Iterable[Batch]) -> Reply:\n    """Add up what came."""\n    text: list[str] = []\n    for batch in batches:\n        for event in batch:\n            if isinstance(event, TextDelta) and event.text != "":\n                text.append(event.text)\n    return Reply("".join(text), usage=None)\n\n\nclass Lease:\n    __slots__ = ("_held", "_names")\n\n    async def __aenter__(self) -> "Lease":\n        await self._wait(timeout=2.5)\n        return self\n',
    "c": "static int copy_line(char *dst, size_t n, const char *src)\n{\n\tsize_t i = 0;\n\n\twhile (i + 1 < n && src[i] != '\\0' && src[i] != '\\n') {\n\t\tdst[i] = src[i];\n\t\ti++;\n\t}\n\tdst[i] = '\\0';\n\treturn (int)i;\n}\n",
    "json": '{"id": 1207, "name": "lighthouse", "open": true, "position": {"lat": 54.3201, "lon": 10.1355}, "tags": ["sea", "tower", "old"], "visited": ["2024-05-01T10:00:00Z", "2025-11-21T03:18:23Z"], "owner": null}',
    "numbers": "2024-05-01 12:30:45 1234567890 3.14159265 42 1000000 0xdeadbeef 17, 23, 29, 31, 37, 41, 43",
    "emoji": "See you tomorrow 😀🎉 bring cake 🍰 and flowers 🌸🌺 ok? 👍🏽",
}
