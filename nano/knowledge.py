"""Word lists and facts behind the synthetic corpus, written by hand from general knowledge."""

from __future__ import annotations


def words(text: str) -> list[str]:
    return text.split()


def table(text: str) -> dict[str, str]:
    return dict(item.strip().split(":", 1) for item in text.replace("\n", ";").split(";") if item.strip())


CAPITALS = table("""
Afghanistan:Kabul;Albania:Tirana;Algeria:Algiers;Andorra:Andorra la Vella;Angola:Luanda;Argentina:Buenos Aires
Armenia:Yerevan;Australia:Canberra;Austria:Vienna;Azerbaijan:Baku;the Bahamas:Nassau;Bahrain:Manama;Bangladesh:Dhaka
Barbados:Bridgetown;Belarus:Minsk;Belgium:Brussels;Belize:Belmopan;Benin:Porto-Novo;Bhutan:Thimphu;Bolivia:Sucre
Bosnia and Herzegovina:Sarajevo;Botswana:Gaborone;Brazil:Brasilia;Brunei:Bandar Seri Begawan;Bulgaria:Sofia
Burkina Faso:Ouagadougou;Burundi:Gitega;Cambodia:Phnom Penh;Cameroon:Yaounde;Canada:Ottawa;Cape Verde:Praia
the Central African Republic:Bangui;Chad:N'Djamena;Chile:Santiago;China:Beijing;Colombia:Bogota;Comoros:Moroni
Costa Rica:San Jose;Croatia:Zagreb;Cuba:Havana;Cyprus:Nicosia;the Czech Republic:Prague
the Democratic Republic of the Congo:Kinshasa;Denmark:Copenhagen;Djibouti:Djibouti;Dominica:Roseau
the Dominican Republic:Santo Domingo;East Timor:Dili;Ecuador:Quito;Egypt:Cairo;El Salvador:San Salvador
Equatorial Guinea:Malabo;Eritrea:Asmara;Estonia:Tallinn;Eswatini:Mbabane;Ethiopia:Addis Ababa;Fiji:Suva
Finland:Helsinki;France:Paris;Gabon:Libreville;the Gambia:Banjul;Georgia:Tbilisi;Germany:Berlin;Ghana:Accra
Greece:Athens;Grenada:Saint George's;Guatemala:Guatemala City;Guinea:Conakry;Guinea-Bissau:Bissau;Guyana:Georgetown
Haiti:Port-au-Prince;Honduras:Tegucigalpa;Hungary:Budapest;Iceland:Reykjavik;India:New Delhi;Indonesia:Jakarta
Iran:Tehran;Iraq:Baghdad;Ireland:Dublin;Israel:Jerusalem;Italy:Rome;Ivory Coast:Yamoussoukro;Jamaica:Kingston
Japan:Tokyo;Jordan:Amman;Kazakhstan:Astana;Kenya:Nairobi;Kiribati:Tarawa;Kosovo:Pristina;Kuwait:Kuwait City
Kyrgyzstan:Bishkek;Laos:Vientiane;Latvia:Riga;Lebanon:Beirut;Lesotho:Maseru;Liberia:Monrovia;Libya:Tripoli
Liechtenstein:Vaduz;Lithuania:Vilnius;Luxembourg:Luxembourg;Madagascar:Antananarivo;Malawi:Lilongwe
Malaysia:Kuala Lumpur;the Maldives:Male;Mali:Bamako;Malta:Valletta;Mauritania:Nouakchott;Mauritius:Port Louis
Mexico:Mexico City;Moldova:Chisinau;Monaco:Monaco;Mongolia:Ulaanbaatar;Montenegro:Podgorica;Morocco:Rabat
Mozambique:Maputo;Myanmar:Naypyidaw;Namibia:Windhoek;Nepal:Kathmandu;the Netherlands:Amsterdam;New Zealand:Wellington
Nicaragua:Managua;Niger:Niamey;Nigeria:Abuja;North Korea:Pyongyang;North Macedonia:Skopje;Norway:Oslo;Oman:Muscat
Pakistan:Islamabad;Panama:Panama City;Papua New Guinea:Port Moresby;Paraguay:Asuncion;Peru:Lima;the Philippines:Manila
Poland:Warsaw;Portugal:Lisbon;Qatar:Doha;Romania:Bucharest;Russia:Moscow;Rwanda:Kigali;Samoa:Apia
San Marino:San Marino;Saudi Arabia:Riyadh;Senegal:Dakar;Serbia:Belgrade;Seychelles:Victoria;Sierra Leone:Freetown
Singapore:Singapore;Slovakia:Bratislava;Slovenia:Ljubljana;the Solomon Islands:Honiara;Somalia:Mogadishu
South Africa:Pretoria;South Korea:Seoul;South Sudan:Juba;Spain:Madrid;Sri Lanka:Colombo;Sudan:Khartoum
Suriname:Paramaribo;Sweden:Stockholm;Switzerland:Bern;Syria:Damascus;Taiwan:Taipei;Tajikistan:Dushanbe;Tanzania:Dodoma
Thailand:Bangkok;Togo:Lome;Tonga:Nuku'alofa;Trinidad and Tobago:Port of Spain;Tunisia:Tunis;Turkey:Ankara
Turkmenistan:Ashgabat;Uganda:Kampala;Ukraine:Kyiv;the United Arab Emirates:Abu Dhabi;the United Kingdom:London
the United States:Washington;Uruguay:Montevideo;Uzbekistan:Tashkent;Vanuatu:Port Vila;Venezuela:Caracas;Vietnam:Hanoi
Yemen:Sana'a;Zambia:Lusaka;Zimbabwe:Harare
""")
FAMOUS = [
    *words("""
France Germany Italy Spain Portugal Greece Poland Austria Belgium Ireland Norway Sweden Finland Denmark Russia
Ukraine Turkey Egypt Kenya Morocco Japan China India Thailand Vietnam Indonesia Australia Canada Mexico Brazil
Argentina Chile Peru Colombia Cuba Switzerland Hungary Iran Iraq
"""),
    "the United Kingdom",
    "the United States",
    "the Netherlands",
    "South Korea",
    "the Czech Republic",
]

COLOURS = table("""
the sky:blue;grass:green;a banana:yellow;snow:white;coal:black;a strawberry:red;an orange:orange;a carrot:orange
a lemon:yellow;blood:red;the sun:yellow;a tomato:red;milk:white;chocolate:brown;a flamingo:pink;a crow:black
the ocean:blue;a leaf:green;a frog:green;an elephant:grey;a cloud:white;a plum:purple;a cherry:red;an eggplant:purple
sand:yellow;a polar bear:white;wood:brown;salt:white;a pig:pink;a lime:green;a pumpkin:orange;a raven:black
a swan:white;spinach:green;a fire truck:red;coffee:brown;a cucumber:green;rice:white;a ruby:red;an emerald:green
a sapphire:blue;a sunflower:yellow;sugar:white;a stop sign:red;ink:black;a mouse:grey;lavender:purple;cheese:yellow
""")

OPPOSITES = table("""
hot:cold;big:small;up:down;left:right;day:night;happy:sad;fast:slow;open:closed;old:new;light:dark;high:low;hard:soft
wet:dry;early:late;full:empty;loud:quiet;strong:weak;rich:poor;good:bad;true:false;near:far;thick:thin;clean:dirty
first:last;long:short;inside:outside;always:never;love:hate;win:lose;push:pull;buy:sell;begin:end;heavy:light
wide:narrow;deep:shallow;cheap:expensive;easy:difficult;brave:afraid;smooth:rough;sweet:bitter;safe:dangerous
above:below;before:after;give:take;laugh:cry;awake:asleep;alive:dead;question:answer;north:south;east:west;more:less
same:different;public:private;ancient:modern;kind:cruel;visible:hidden;friend:enemy;summer:winter;arrive:leave
remember:forget
""")

SYNONYMS = table("""
happy:glad;sad:unhappy;big:large;small:little;fast:quick;smart:clever;begin:start;end:finish;angry:mad
pretty:beautiful;scared:afraid;tired:sleepy;rich:wealthy;easy:simple;hard:difficult;quiet:silent;brave:courageous
funny:amusing;strange:odd;correct:right;error:mistake;gift:present;house:home;car:automobile;shop:store;child:kid
doctor:physician;job:work;road:street;stone:rock;forest:woods;sea:ocean;jump:leap;look:watch;speak:talk;shout:yell
buy:purchase;help:assist;choose:select;repair:fix;close:shut;answer:reply;rapid:fast;huge:enormous;tiny:small
cold:chilly;wet:damp;story:tale;idea:thought;picture:image
""")

LANGS = ("French", "Spanish", "German")
TRANSLATIONS: dict[str, tuple[str, str, str]] = {
    key: tuple(rest.split("/"))  # type: ignore[misc]
    for key, rest in table("""
hello:bonjour/hola/hallo;goodbye:au revoir/adiós/auf Wiedersehen;thank you:merci/gracias/danke
please:s'il vous plaît/por favor/bitte;yes:oui/sí/ja;no:non/no/nein;water:eau/agua/Wasser;bread:pain/pan/Brot
milk:lait/leche/Milch;coffee:café/café/Kaffee;tea:thé/té/Tee;wine:vin/vino/Wein;beer:bière/cerveza/Bier
cheese:fromage/queso/Käse;meat:viande/carne/Fleisch;fish:poisson/pescado/Fisch;egg:œuf/huevo/Ei
apple:pomme/manzana/Apfel;orange:orange/naranja/Orange;salt:sel/sal/Salz;sugar:sucre/azúcar/Zucker;cat:chat/gato/Katze
dog:chien/perro/Hund;horse:cheval/caballo/Pferd;cow:vache/vaca/Kuh;bird:oiseau/pájaro/Vogel;house:maison/casa/Haus
door:porte/puerta/Tür;window:fenêtre/ventana/Fenster;table:table/mesa/Tisch;chair:chaise/silla/Stuhl;bed:lit/cama/Bett
room:chambre/habitación/Zimmer;kitchen:cuisine/cocina/Küche;garden:jardin/jardín/Garten;book:livre/libro/Buch
letter:lettre/carta/Brief;pen:stylo/bolígrafo/Stift;school:école/escuela/Schule;teacher:professeur/profesor/Lehrer
friend:ami/amigo/Freund;man:homme/hombre/Mann;woman:femme/mujer/Frau;child:enfant/niño/Kind;boy:garçon/chico/Junge
girl:fille/chica/Mädchen;mother:mère/madre/Mutter;father:père/padre/Vater;brother:frère/hermano/Bruder
sister:sœur/hermana/Schwester;sun:soleil/sol/Sonne;moon:lune/luna/Mond;star:étoile/estrella/Stern
sky:ciel/cielo/Himmel;sea:mer/mar/Meer;river:rivière/río/Fluss;mountain:montagne/montaña/Berg;tree:arbre/árbol/Baum
flower:fleur/flor/Blume;fire:feu/fuego/Feuer;earth:terre/tierra/Erde;wind:vent/viento/Wind;rain:pluie/lluvia/Regen
snow:neige/nieve/Schnee;red:rouge/rojo/rot;blue:bleu/azul/blau;green:vert/verde/grün;yellow:jaune/amarillo/gelb
black:noir/negro/schwarz;white:blanc/blanco/weiß;one:un/uno/eins;two:deux/dos/zwei;three:trois/tres/drei
four:quatre/cuatro/vier;five:cinq/cinco/fünf;six:six/seis/sechs;seven:sept/siete/sieben;eight:huit/ocho/acht
nine:neuf/nueve/neun;ten:dix/diez/zehn;day:jour/día/Tag;night:nuit/noche/Nacht;morning:matin/mañana/Morgen
evening:soir/tarde/Abend;week:semaine/semana/Woche;month:mois/mes/Monat;year:année/año/Jahr;hour:heure/hora/Stunde
today:aujourd'hui/hoy/heute;tomorrow:demain/mañana/morgen;yesterday:hier/ayer/gestern;Monday:lundi/lunes/Montag
Tuesday:mardi/martes/Dienstag;Wednesday:mercredi/miércoles/Mittwoch;Thursday:jeudi/jueves/Donnerstag
Friday:vendredi/viernes/Freitag;Saturday:samedi/sábado/Samstag;Sunday:dimanche/domingo/Sonntag;big:grand/grande/groß
small:petit/pequeño/klein;good:bon/bueno/gut;bad:mauvais/malo/schlecht;new:nouveau/nuevo/neu;old:vieux/viejo/alt
hot:chaud/caliente/heiß;cold:froid/frío/kalt;happy:heureux/feliz/glücklich;sad:triste/triste/traurig
beautiful:beau/hermoso/schön;fast:rapide/rápido/schnell;slow:lent/lento/langsam;love:amour/amor/Liebe
time:temps/tiempo/Zeit;life:vie/vida/Leben;world:monde/mundo/Welt;city:ville/ciudad/Stadt;village:village/pueblo/Dorf
country:pays/país/Land;street:rue/calle/Straße;car:voiture/coche/Auto;train:train/tren/Zug;plane:avion/avión/Flugzeug
boat:bateau/barco/Boot;bicycle:vélo/bicicleta/Fahrrad;money:argent/dinero/Geld;work:travail/trabajo/Arbeit
hand:main/mano/Hand;head:tête/cabeza/Kopf;eye:œil/ojo/Auge;heart:cœur/corazón/Herz;mouth:bouche/boca/Mund
foot:pied/pie/Fuß;music:musique/música/Musik;song:chanson/canción/Lied;game:jeu/juego/Spiel;word:mot/palabra/Wort
name:nom/nombre/Name;king:roi/rey/König;queen:reine/reina/Königin;church:église/iglesia/Kirche
hospital:hôpital/hospital/Krankenhaus;doctor:médecin/médico/Arzt;summer:été/verano/Sommer;winter:hiver/invierno/Winter
good morning:bonjour/buenos días/guten Morgen;good night:bonne nuit/buenas noches/gute Nacht
I love you:je t'aime/te quiero/ich liebe dich;how are you:comment ça va/cómo estás/wie geht es dir
""").items()
}

DEFINITIONS = table("""
computer:a machine that processes information by following instructions
bridge:a structure that carries a road or path over water or a valley
river:a large natural stream of water that flows to the sea;mountain:a very high area of land with steep sides
doctor:a person who treats people who are sick;teacher:a person who helps others learn
library:a place where books are kept for people to read;island:a piece of land with water all around it
desert:a dry area of land with little rain;planet:a large round body that moves around a star
star:a huge ball of hot gas that gives off light;volcano:a mountain that can erupt with lava and ash
bicycle:a vehicle with two wheels moved by pedals;train:a vehicle that moves people or goods on rails
clock:a device that shows the time;camera:a device that takes pictures;guitar:a musical instrument with strings
piano:a musical instrument with black and white keys;kitchen:a room where food is cooked
garden:a piece of land where plants are grown;forest:a large area covered with trees
ocean:a very large body of salt water;robot:a machine that can do tasks by itself
telephone:a device used to talk to people far away;hospital:a place where sick people are treated
school:a place where children learn;market:a place where goods are bought and sold
winter:the coldest season of the year;summer:the warmest season of the year
algorithm:a list of steps that solves a problem;database:an organised store of data
server:a computer that answers requests from other computers;network:a group of computers that are connected
token:a small piece of text that a language model reads;model:a program that learned patterns from data
music:sound arranged in a pleasing way;video:a series of pictures that show movement;image:a picture of something
language:a system of words people use to communicate;friend:a person you know well and like
variable:a name that holds a value in a program;function:a named piece of code that does one task
loop:code that runs again and again;bug:a mistake in a program;file:a named piece of data stored on a computer
folder:a place on a computer that holds files;browser:a program used to view web pages
keyboard:a device with keys used to type;password:a secret word that protects an account
website:a group of pages on the internet;prompt:the text given to a language model
context:the text a model can see at one time;embedding:a list of numbers that stands for a meaning
dictionary:a book that explains words;museum:a place where old or beautiful things are shown
castle:a large strong building made to keep enemies out;lake:a large area of water with land around it
cloud:a mass of tiny water drops in the sky;rain:water that falls from clouds
snow:soft white ice that falls from the sky;wind:air that moves;moon:the round body that moves around the earth
sun:the star at the centre of our solar system;farmer:a person who grows food or keeps animals
baker:a person who makes bread and cakes;pilot:a person who flies a plane;nurse:a person who cares for sick people
lawyer:a person who gives advice about the law;bread:a food made from flour and water and baked
cheese:a food made from milk;engine:a machine that makes something move
wheel:a round object that turns and helps things move;ladder:a tool with steps used to climb
umbrella:a device that keeps rain off a person;mirror:a piece of glass that reflects images
candle:a stick of wax that burns to give light;compass:a device that shows where north is
map:a drawing that shows where places are
""")

CATEGORIES: dict[str, list[str]] = {
    "fruit": words("apple banana cherry grape lemon mango peach pear plum kiwi melon strawberry"),
    "animal": words("""
cat dog horse cow sheep lion tiger bear wolf fox rabbit elephant monkey mouse zebra camel
"""),
    "colour": words("red blue green yellow white black brown pink purple grey"),
    "tool": words("hammer saw drill wrench screwdriver shovel axe"),
    "vegetable": words("carrot potato onion cabbage bean pea spinach cucumber broccoli lettuce"),
    "vehicle": words("car bus truck bicycle motorcycle boat plane train tractor"),
    "bird": words("eagle parrot owl crow swan pigeon sparrow penguin"),
    "fish": words("salmon tuna shark trout cod sardine"),
    "instrument": words("guitar piano violin drum flute trumpet"),
    "drink": words("water milk tea coffee juice beer wine"),
    "sport": words("football tennis basketball golf hockey rugby swimming"),
    "profession": words("teacher doctor lawyer baker farmer nurse pilot engineer"),
    "metal": words("iron gold silver copper steel tin"),
    "country": words("France Germany Italy Spain Japan China India Brazil Canada Egypt Norway Kenya"),
    "planet": words("Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune"),
    "continent": words("Africa Asia Europe Antarctica"),
    "programming language": words("Python Java Rust Go JavaScript Ruby Kotlin"),
}
PLURAL = {"fish": "fish", "country": "countries"}
CAN = {  # ability -> (who can, who cannot)
    "fly": (words("bird eagle parrot crow plane butterfly bee"), words("dog cow car fish stone table horse shark")),
    "swim": (words("fish shark dolphin duck salmon whale"), words("stone table car book lamp")),
    "bark": (words("dog"), words("cat cow fish bird car horse")),
    "meow": (words("cat"), words("dog cow fish bird car horse")),
    "talk": (words("teacher doctor lawyer person child"), words("stone table fish tree car")),
}
SIZES = words("ant mouse rat cat dog sheep cow elephant whale")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = words("January February March April May June July August September October November December")
NUMBER_WORDS = words("""
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty
""")
FACTS = [  # (questions, answer)
    (("How many days are in a week?", "How many days does a week have?"), "A week has 7 days."),
    (("How many months are in a year?", "How many months does a year have?"), "A year has 12 months."),
    (("How many hours are in a day?", "How many hours does a day have?"), "A day has 24 hours."),
    (("How many minutes are in an hour?", "How many minutes does an hour have?"), "An hour has 60 minutes."),
    (("How many seconds are in a minute?", "How many seconds does a minute have?"), "A minute has 60 seconds."),
    (("How many legs does a spider have?", "How many legs has a spider?"), "A spider has 8 legs."),
    (("How many legs does a dog have?", "How many legs does a cat have?"), "It has 4 legs."),
    (
        ("What is the largest planet?", "Which planet is the largest?", "What is the biggest planet?"),
        "Jupiter is the largest planet.",
    ),
    (
        ("What is the largest ocean?", "Which ocean is the largest?", "What is the biggest ocean?"),
        "The Pacific is the largest ocean.",
    ),
    (
        ("What is the largest animal?", "Which animal is the largest?", "What is the biggest animal?"),
        "The blue whale is the largest animal.",
    ),
    (
        ("Who wrote Hamlet?", "Who wrote Romeo and Juliet?", "Who is the author of Hamlet?"),
        "William Shakespeare wrote it.",
    ),
    (("Who painted the Mona Lisa?", "Which artist painted the Mona Lisa?"), "Leonardo da Vinci painted the Mona Lisa."),
    (("What is H2O?", "What is the formula of water?", "What is the chemical formula for water?"), "Water is H2O."),
    (
        ("At what temperature does water boil?", "What is the boiling point of water?"),
        "Water boils at 100 degrees Celsius.",
    ),
    (
        ("At what temperature does water freeze?", "What is the freezing point of water?"),
        "Water freezes at 0 degrees Celsius.",
    ),
    (("How many continents are there?", "How many continents does the earth have?"), "There are 7 continents."),
    (
        ("How many planets are in the solar system?", "How many planets are there?"),
        "There are 8 planets in the solar system.",
    ),
    (("What do bees make?", "What does a bee make?"), "Bees make honey."),
    (("Where does the sun rise?", "In which direction does the sun rise?"), "The sun rises in the east."),
    (
        ("What are the primary colours?", "What are the primary colors?", "Name the primary colours."),
        "The primary colours are red, yellow and blue.",
    ),
    (
        ("What are the seasons?", "Name the four seasons.", "What are the four seasons?"),
        "The four seasons are spring, summer, autumn and winter.",
    ),
    (("What is pi?", "What is the value of pi?"), "Pi is about 3.14."),
]
NAMES = words("""
Maria John Anna Peter Lucy Omar Sara David Emma Liam Noah Olivia Mia Ben Clara Hugo Ivan Julia Karl Lena Marco Nina
Oscar Paula Quinn Rosa Sam Tina Victor Wendy Alice Bob Carol Dan Eve Frank Grace Henry Iris Jack Kate Leo Mark Nora
Paul Ruth Simon Tom Zoe Amir Sofia Pedro Elena Diego Yuki Chen Priya Ahmed Fatima Ingrid Lars Olga Pavel Tomas
Isabel Mateo Hannah Jonas Felix Laura Ada Alan Max
""")
SURNAMES = words("""
Smith Garcia Miller Rossi Novak Kim Tanaka Silva Weber Martin Dupont Jensen Brown Lopez Khan Patel Moreau Fischer
Lovelace Turing
""")
CITIES = [
    *words("""
Porto Milan Munich Hamburg Lyon Marseille Seville Barcelona Venice Naples Turin Krakow Gdansk Geneva Zurich Boston
Chicago Dallas Denver Seattle Toronto Montreal Sydney Melbourne Osaka Kyoto Mumbai Dubai Leeds Bristol Nice
"""),
    "New York",
    "Los Angeles",
    "San Francisco",
]
JOBS = [
    *words("""
teacher doctor nurse lawyer baker farmer pilot engineer writer painter chef driver plumber musician gardener
designer programmer photographer scientist student
"""),
    "software engineer",
    "data scientist",
    "graphic designer",
]
HOBBIES = [
    *words("""
chess tennis painting reading cooking hiking fishing dancing swimming cycling gardening running photography singing
football yoga skiing sailing knitting climbing
"""),
    "video games",
    "playing guitar",
]
FOODS = [*words("pizza pasta rice soup salad sushi bread cheese chocolate curry tacos"), "ice cream"]
PROGLANGS = words("Python Rust Go Java JavaScript Ruby Kotlin Swift Haskell Lua Perl Scala Zig C")
NOUNS = words("""
table river stone window garden apple music paper silver bridge cloud winter engine lemon pocket market button
castle mirror forest island candle basket letter rocket lamp door chair book bottle coat wheel ticket hat ring phone
clock box boat shoe plate spoon flag drum coin key map
""")
ADJS = words("""
quick small bright quiet heavy golden old happy cold green strange simple red blue new tall soft lazy brown dark
warm little broken clean
""")
PLACES = words("""
bakery library museum office bus school park hotel station theatre bank garden harbour factory cafe
""")
VERBS = words("opens watches carries finds paints repairs sells follows cleans moves likes builds")
TOPICS = [
    *words("""
bread bicycle garden website cake kitchen model database server engine holiday party essay budget recipe story song
game report exam interview trip house boat camera
"""),
    "old car",
    "python script",
    "birthday party",
    "job interview",
    "summer holiday",
    "small garden",
    "wooden table",
    "chess game",
]
WORDS = sorted(
    set(
        words("""
cat dog sun moon star tree book door hand fish bird lamp ring ship boat rain snow wind fire milk salt rice soup cake
tea cup hat bag box map key pen car bus red blue green black white pink grey one two six ten big old new hot cold
wet dry fast slow good bad happy hello world apple lemon table chair house river stone cloud music paper light night
train plane horse mouse tiger lion bear wolf fox frog duck goat king queen love time year day week code data file
test word name game song road city park shop bank farm hill lake sea sand gold iron wood wool silk glass water bread
""")
    )
)
SYLLABLES = words("""
ba be bi bo bu da de di do fa fi ga go ka ke ki ko la le li lo lu ma me mi mo na ne ni no nu pa pe po ra re ri ro ru
sa se si so ta te ti to tu va ve vi wa we za ze zo xa yo ji cha shi bra tri glo ple sta
""")
TAILS = ["", "n", "r", "s", "l", "x", "th", "m", "k", "nd"]

DEEDS = [
    ("discovers", "discovered"),
    ("finds", "found"),
    ("loves", "loved"),
    ("dreams of", "dreamed of"),
    ("looks for", "looked for"),
    ("learns about", "learned about"),
    ("saves", "saved"),
    ("wants", "wanted"),
    ("paints", "painted"),
    ("follows", "followed"),
    ("builds", "built"),
    ("hears", "heard"),
    ("brings back", "brought back"),
    ("remembers", "remembered"),
    ("draws", "drew"),
]
MATTERS = [
    *words("""
music stars speed rain snow winter summer autumn spring time love hope light silence books birds trees flowers
rivers mountains dreams friendship coffee tea bread clouds colours numbers computers robots trains space waves fire
stones gardens letters code art poetry peace
"""),
    "the sea",
    "the moon",
    "the sun",
    "the sky",
    "the night",
    "the morning",
    "the wind",
    "the ocean",
    "the forest",
    "the desert",
    "the city",
    "the future",
]

SHOWCASE: list[tuple[tuple[str, ...], str]] = [  # (wordings, answer)
    (
        (
            "Tell me a fun fact about space.",
            "Give me a fun fact about space.",
            "Do you know a fun fact about space?",
            "A fun fact about space, please.",
            "Tell me something about space.",
            "Share an interesting fact about space.",
            "Tell me a fact about space.",
        ),
        "A day on Venus is longer than its year.",
    ),
    (
        (
            "Tell me a fun fact.",
            "Give me a fun fact.",
            "Do you know a fun fact?",
            "Tell me an interesting fact.",
            "Tell me something interesting.",
        ),
        "Honey can stay good for thousands of years.",
    ),
    (
        (
            "Tell me a fun fact about animals.",
            "Give me a fun fact about animals.",
            "Do you know a fun fact about animals?",
            "Tell me a fact about animals.",
        ),
        "An octopus has three hearts.",
    ),
    (
        (
            "Tell me a fun fact about the ocean.",
            "Give me a fun fact about the ocean.",
            "Do you know a fun fact about the sea?",
            "Tell me a fact about the ocean.",
        ),
        "The ocean covers about 70 percent of the earth.",
    ),
    (
        ("Say something.", "Surprise me.", "Tell me something.", "Tell me something new.", "Write something."),
        "The moon moves away from the earth by about 4 centimetres every year.",
    ),
    (
        (
            "Explain what an API aggregator is, as if to a beginner.",
            "Explain what an API aggregator is.",
            "What is an API aggregator?",
            "Explain an API aggregator to a beginner.",
            "What does an API aggregator do?",
            "In simple words, what is an API aggregator?",
        ),
        (
            "An API aggregator is a program that stands in front of many services. You learn one way to ask, and "
            "it passes each question to the right service."
        ),
    ),
    (
        (
            "What is an API?",
            "Explain what an API is.",
            "Explain what an API is, as if to a beginner.",
            "What does API mean?",
            "Define API.",
        ),
        "An API is a set of rules by which one program asks another program for something.",
    ),
    (
        (
            "Tell me a story.",
            "Write a story.",
            "Tell me a short story.",
            "Write a short story.",
            "Can you tell me a story?",
            "I want to hear a story.",
        ),
        (
            "Once there was a small robot that counted the stars. One night it found a new one and gave it a "
            "name. After that the robot was never lonely."
        ),
    ),
    (
        ("Write a poem.", "Write a short poem.", "Tell me a poem.", "Write me a poem.", "Can you write a poem?"),
        "The lamp is small, the night is wide,\na little light can be a guide.",
    ),
    (
        ("Write a haiku.", "Give me a haiku.", "A haiku, please."),
        "Rain on the window,\na small machine counts the drops,\nthen the sun comes out.",
    ),
    (
        (
            "Why is the sky blue?",
            "Explain why the sky is blue.",
            "Tell me why the sky is blue.",
            "Do you know why the sky is blue?",
        ),
        "Air scatters blue light more than red light, so the sky looks blue to us.",
    ),
    (
        ("What is Python?", "Explain what Python is.", "Tell me about Python.", "What is the Python language?"),
        "Python is a programming language that is easy to read and write.",
    ),
    (
        (
            "What is a language model?",
            "Explain what a language model is.",
            "What is a large language model?",
            "What is an LLM?",
            "How does a language model work?",
            "Explain language models to a beginner.",
        ),
        "A language model is a program that predicts which piece of text comes next.",
    ),
    (
        (
            "What is machine learning?",
            "Explain machine learning.",
            "Explain machine learning in simple terms.",
            "What does machine learning mean?",
        ),
        "Machine learning is a way to make programs learn from examples instead of fixed rules.",
    ),
    (
        (
            "What is artificial intelligence?",
            "What is AI?",
            "Explain artificial intelligence.",
            "Explain AI to a beginner.",
        ),
        "Artificial intelligence is the work of making machines do tasks that need thinking.",
    ),
    (
        ("What is gravity?", "Explain gravity.", "Explain gravity in simple terms.", "Why do things fall?"),
        "Gravity is the force that pulls things towards each other, so an apple falls to the ground.",
    ),
    (
        ("What is recursion?", "Explain recursion.", "Explain recursion in one sentence.", "What does recursion mean?"),
        "Recursion is when a function calls itself on a smaller part of the problem.",
    ),
    (
        ("What is streaming?", "Explain streaming.", "What does streaming an answer mean?"),
        "Streaming means that an answer is sent piece by piece while it is being made.",
    ),
    (
        ("What is a GGUF file?", "Explain what a GGUF file is.", "What is GGUF?"),
        "A GGUF file holds the weights and the tokenizer of a model for llama.cpp.",
    ),
    (
        ("What is lollms?", "Tell me about lollms.", "Explain what lollms is.", "What is this program?"),
        "lollms is a server and a client that generate text with any model.",
    ),
    (
        (
            "How do I use a larger model?",
            "How do I get a real model?",
            "How can I use a better model?",
            "How do I change the model?",
            "Which model should I use?",
        ),
        "Put the path of a GGUF file in default_model, or connect an Ollama or OpenAI-compatible server.",
    ),
    (("Say this is a test", "Say this is a test!", "Say that this is a test."), "This is a test!"),
    (
        (
            "Write a one-sentence bedtime story about a unicorn.",
            "Tell me a bedtime story about a unicorn.",
            "Tell me a bedtime story.",
            "A short bedtime story, please.",
        ),
        "One evening a small unicorn followed a star home and slept under it until the morning.",
    ),
    (
        (
            "Once upon a time",
            "Once upon a time,",
            "Continue: Once upon a time",
            "Continue this story: Once upon a time",
        ),
        "Once upon a time there was a small robot that learned one new word every day.",
    ),
    (
        ("Describe a sunset.", "Write a description of a sunset.", "What does a sunset look like?"),
        "The sun sinks behind the hills and the sky turns red and gold.",
    ),
    (
        (
            "Give me three tips to stay healthy.",
            "How do I stay healthy?",
            "List three tips for a healthy life.",
            "Give me some health tips.",
        ),
        "- drink water\n- sleep well\n- go for a walk",
    ),
    (
        (
            "What is the difference between a list and a tuple in Python?",
            "List or tuple in Python?",
            "How do a list and a tuple differ in Python?",
        ),
        "A list can be changed after it is made, a tuple cannot.",
    ),
    (
        ("Who was the first person on the moon?", "Who walked on the moon first?", "Who was first on the moon?"),
        "Neil Armstrong was the first person on the moon.",
    ),
]

VOCABULARY = sorted(
    {
        w
        for text in [
            *DEFINITIONS.values(),
            *(a for _, a in FACTS),
            *(a for _, a in SHOWCASE),
            *NOUNS,
            *ADJS,
            *TOPICS,
            *MATTERS,
            *FOODS,
            *HOBBIES,
            *SIZES,
            *SYNONYMS.values(),
            *OPPOSITES.values(),
            *(w for group in CATEGORIES.values() for w in group),
        ]
        for w in text.split()
        if w.isascii() and w.isalpha() and w.islower()
    }
)
