"""The few hundred common words the generated sentences are made of."""

# singular, plural, gender (m, f or n)
PEOPLE = [tuple(w.split()) for w in """
boy boys m|girl girls f|man men m|woman women f|king kings m|queen queens f|father fathers m|mother mothers f
brother brothers m|sister sisters f|uncle uncles m|aunt aunts f|son sons m|daughter daughters f|lady ladies f
gentleman gentlemen m|teacher teachers n|doctor doctors n|farmer farmers n|soldier soldiers n|child children n
friend friends n|neighbour neighbours n|sailor sailors n|painter painters n|student students n|servant servants n
lawyer lawyers n|singer singers n|dancer dancers n|writer writers n|baker bakers n|driver drivers n|guard guards n
nurse nurses n|pilot pilots n|visitor visitors n|guest guests n|clerk clerks n|hunter hunters n|miner miners n
priest priests n|captain captains n|stranger strangers n|tailor tailors n""".replace("\n", "|").strip("|").split("|")]
ANIMALS = [tuple(w.split()) + ("n",) for w in """
dog dogs|cat cats|horse horses|bird birds|cow cows|pig pigs|goat goats|fox foxes|bear bears|mouse mice|rabbit rabbits
duck ducks|lion lions|monkey monkeys|wolf wolves""".replace("\n", "|").strip("|").split("|")]
THINGS = [tuple(w.split()) + ("n",) for w in """
book books|letter letters|box boxes|table tables|chair chairs|cup cups|knife knives|apple apples|cake cakes
picture pictures|key keys|door doors|window windows|clock clocks|hat hats|coat coats|ring rings|stone stones|ball balls
lamp lamps|basket baskets|bottle bottles|map maps|egg eggs|orange oranges|umbrella umbrellas|candle candles|spoon spoons
blanket blankets|drum drums|flower flowers|shoe shoes""".replace("\n", "|").strip("|").split("|")]
PLACES = """garden house church river market shop kitchen field forest bridge school station village hill barn library lake
road hotel tower castle mill""".split()
MASS = "water milk bread sugar sand snow gold smoke wood music rain salt".split()

MALE = "Tom John Peter George Henry Paul James Robert Daniel Simon Martin Edward Frank Oliver Jack Arthur".split()
FEMALE = "Anna Mary Emily Jane Lucy Sarah Alice Rose Helen Clara Laura Ellen Martha Grace Julia Nora".split()

ADJ = """old young small large tall quiet happy tired clever brave kind strange careful gentle honest hungry proud rich poor
busy famous lonely""".split()
ADJ_THING = """old new small large red blue green white black heavy broken wooden round empty cheap dirty clean dark useful
strong""".split()
ADVERBS = "quickly slowly quietly loudly often rarely always never carefully suddenly".split()

# base, third person, past, participle, -ing
def _verbs(text):
    return [tuple(w.split()) for w in text.replace("\n", "|").strip("|").split("|")]


INTRANS = _verbs("""
sleep sleeps slept slept sleeping|laugh laughs laughed laughed laughing|arrive arrives arrived arrived arriving
smile smiles smiled smiled smiling|cough coughs coughed coughed coughing|sneeze sneezes sneezed sneezed sneezing
wait waits waited waited waiting|vanish vanishes vanished vanished vanishing|fall falls fell fallen falling
rest rests rested rested resting|snore snores snored snored snoring|shiver shivers shivered shivered shivering
faint faints fainted fainted fainting|blush blushes blushed blushed blushing|sing sings sang sung singing
dance dances danced danced dancing|run runs ran run running|walk walks walked walked walking
swim swims swam swum swimming|work works worked worked working|shout shouts shouted shouted shouting
jump jumps jumped jumped jumping|cry cries cried cried crying|talk talks talked talked talking""")
# intransitives that never take an object
STRICT = {"sleep", "laugh", "arrive", "smile", "cough", "sneeze", "wait", "vanish", "fall", "snore", "shiver", "faint", "blush"}
# transitives that need their object
TRANS = _verbs("""
find finds found found finding|take takes took taken taking|bring brings brought brought bringing
buy buys bought bought buying|carry carries carried carried carrying|hold holds held held holding
use uses used used using|keep keeps kept kept keeping|make makes made made making|need needs needed needed needing
lose loses lost lost losing|hit hits hit hit hitting|choose chooses chose chosen choosing
steal steals stole stolen stealing|throw throws threw thrown throwing|wear wears wore worn wearing
fetch fetches fetched fetched fetching|mend mends mended mended mending|receive receives received received receiving
destroy destroys destroyed destroyed destroying|discover discovers discovered discovered discovering
draw draws drew drawn drawing|break breaks broke broken breaking|hide hides hid hidden hiding
forget forgets forgot forgotten forgetting|see sees saw seen seeing|touch touches touched touched touching
wash washes washed washed washing""")
# those that are odd without an object even when the context is kind
OBLIGATORY = [v for v in TRANS if v[0] in "find take bring buy carry hold use keep make need fetch mend receive destroy discover wear".split()]
# verbs with a person as object
SOCIAL = _verbs("""
like likes liked liked liking|love loves loved loved loving|know knows knew known knowing|help helps helped helped helping
visit visits visited visited visiting|watch watches watched watched watching|admire admires admired admired admiring
praise praises praised praised praising|follow follows followed followed following|meet meets met met meeting
see sees saw seen seeing|hear hears heard heard hearing|trust trusts trusted trusted trusting
remember remembers remembered remembered remembering|teach teaches taught taught teaching
thank thanks thanked thanked thanking|blame blames blamed blamed blaming|forget forgets forgot forgotten forgetting""")
# what one can do to oneself
SELF = _verbs("""
hurt hurts hurt hurt hurting|wash washes washed washed washing|blame blames blamed blamed blaming
admire admires admired admired admiring|teach teaches taught taught teaching|praise praises praised praised praising
hide hides hid hidden hiding|trust trusts trusted trusted trusting|see sees saw seen seeing
dress dresses dressed dressed dressing|protect protects protected protected protecting|help helps helped helped helping""")
# past and participle differ
IRREGULAR = [v for v in TRANS if v[2] != v[3]] + _verbs("""
eat eats ate eaten eating|write writes wrote written writing|give gives gave given giving""")
FOOD = "apple cake egg orange".split()
