"""English words that say nothing about the subject of a text."""

STOP_WORDS = frozenset(
    """
    a about above after again against ain ain't all also although always am among an and any are
    aren aren't as at away back be because been before being below between both but by can can't
    cannot could couldn couldn't did didn didn't do does doesn doesn't doing don don't done down
    during each either else even ever every few for from further get gets got had hadn hadn't has
    hasn hasn't have haven haven't having he he'd he'll he's hence her here here's hers herself
    him himself his how how's however i i'd i'll i'm i've if in into is isn isn't it it'd it'll
    it's its itself just let let's ll like made make many may me might mightn more most mostly
    much must mustn mustn't my myself need needn needn't neither never no nor not now of off often
    on once one only onto or other others otherwise our ours ourselves out over own per perhaps
    quite rather re really said same say says shall shan shan't she she'd she'll she's should
    shouldn shouldn't since so some such than that that'll that's the their theirs them themselves
    then there there's therefore these they they'd they'll they're they've this those though
    through thus to together too toward towards under until up upon us ve very was wasn wasn't we
    we'd we'll we're we've well were weren weren't what what's when when's where where's whether
    which while who who's whole whom whose why why's will with within without won won't would
    wouldn wouldn't yet you you'd you'll you're you've your yours yourself yourselves
    """.split()  # noqa: SIM905 - three hundred quotes are no gain
)
