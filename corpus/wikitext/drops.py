"""Templates that leave nothing: boxes, notices, references, navigation.

Names first, then patterns, since editors name such templates alike (``Infobox …``, ``… navbox``,
``Use … dates``, ``… stub``, ``… needed``).
"""

from __future__ import annotations

import re

from corpus.wikitext.wordlists import names

_NAMES = frozenset(
    names(
        """
    reflist, refs, references, notes, note list, refbegin, refend, efn, efn-ua, efn-lr, efn-la,
    efn-ur, efn-lg, efn-uk, refn, ref, rp, r, #tag:ref, note, cref, cref2, cnote, ref label,
    note label, efn note, ran, listref, rfn, reference page, ref name, main, main article, main
    list, main category, see, see also, see details, further, further information, further ill,
    details, cat main, catmain, seealso, details of, about, for, for2, for-multi, for multi,
    redirect, redirect2, redirects here, redirect-multi, redirect-several, redirect-distinguish,
    distinguish, distinguish2, confuse, not to be confused with, hatnote, hatnote group,
    broader, similar names, technical reasons, correct title, this, dablink, rellink, selfref,
    self reference, other, contrast, crossreference, portal, portal bar, portal-inline, portal
    inline, portalbar, subject bar, sister project links, sisterlinks, sister project,
    sister-inline, sister links, commons, commonscat, commonscat-inline, commons-inline, commons
    category, commons category-inline, commons and category, wikt, wiktionary,
    wiktionary-inline, wiktionary pipe, wikiquote, wikiquote-inline, wikisource,
    wikisource-inline, wikisource author, wikibooks, wikiversity, wikinews, wikinews category,
    wikispecies, wikispecies-inline, wikivoyage, wikidata, commonscatinline, authority control,
    authority control (arts), taxonbar, portalbox, tocright, toc, toc right, toc left, tocleft,
    toc limit, toclimit, toc hidden, compact toc, compacttoc, horizontal toc, toc top,
    alphanumeric toc, atoz, a-z, good article, featured article, featured list, ga, fa, ga icon,
    fa icon, good topic, featured topic, pp, pp-vandalism, short description, shortdescription,
    short desc, italic title, italictitle, displaytitle, italic dab, lowercase title, lowercase,
    title language, defaultsort, coi, contains special characters, special characters, contains
    chemical formulae, ipa notice, contains ipa, clear, clr, -, clear left, clear right,
    clearleft, clearright, stack, stack begin, stack end, fix bunching, fixbunching,
    fix-bunching, plain image with caption, orphan, cleanup, npov, pov, copyedit, copy edit,
    unreferenced, refimprove, more citations, no footnotes, more footnotes, one source, single
    source, primary sources, original research, tone, update, outdated, expand, globalize,
    weasel, advert, fansite, multiple issues, article issues, merge, technical, context,
    inappropriate tone, very long, in-universe, plot, confusing, essay-like, story, debate,
    synthesis, hoax, notability, disputed, overly detailed, abbreviations, peacock, third-party,
    self-published, refexample, lead rewrite, lead extra info, lead missing, cleanup rewrite,
    more medical citations, recentism, unbalanced, unfocused, repetition, prose, bare urls, bare
    url inline, citation style, cite check, bare url pdf, bare url non-pdf, tooshort, undue
    weight, sections, condense, citation needed, better source, cn, fact, citation-needed, cb,
    citeneeded,
    clarify, clarification, clarify inline, when, who, whom, by whom, by who, which, where, why,
    how, what, vague, according to whom, says who, attribution needed, verification, verify
    source, verify, dubious, page number, page numbers, full, dead link, deadlink, dead,
    cbignore, webarchive, bots, nobots, unreliable source?, unreliable source, unreliable source
    inline, unreliable medical source, self-published inline, self-published source, sps, medcn,
    medrs, medical citation needed, nonspecific, relevance inline, importance, importance
    inline, importance-inline, examples, update after, update inline, specify, contradict,
    contradict inline, contradictory inline, contradiction inline, or, quantify, time fact,
    definition, discuss, failed verification, not in source, not in citation given, nocite,
    request quotation, inconsistent, buzz, permanent dead link, registration required,
    subscription required, subscription, paywall, closed access, open access, free access,
    registration, link note, user-generated source, user-generated inline, tertiary source
    inline, uncited, jargon, sic-inline, contentious label, lopsided, editorializing,
    speculation inline, off topic, chronology citation needed, multiple image, triple image,
    double image, image array, image stack, photomontage, css image crop, auto images, annotated
    image, annotated image 4, superimpose, overlay, image frame, image label, image label begin,
    image label end, image label small, panorama, wide image, tall image, listen, audio,
    audio-ipa, listen image, video, external media, external image, external images, external
    video, external videos, external audio, location map, location map many, location map+,
    location map~, osm location map, mapframe, maplink, attached kml, kml, graph:chart,
    graph:lines, graph:line chart, chart, familytree, family tree, chart top, chart bottom, tree
    chart, tree list, linechart, climate chart, weather box, weatherbox, climate chart/, clade,
    clade gallery, cladex, barbox, bar box, pie chart, pie chart 3, bar chart, side box,
    timeline, horizontal timeline, graphical timeline, simple horizontal timeline, anchor,
    anchors, shortcut, void, void template, null, disambiguation, disambig, disamb, dab, geodis,
    hndis, mathdab, schooldis, surname, given name, sia, set index, set index article, human
    name disambiguation, letter-number combination, roaddis, shipindex, mountainindex, letter
    disambiguation, letter–number combination disambiguation, wiktionary redirect, chemistry
    index, spoken wikipedia, spoken article, spoken wikipedia-2, nasa-image, source-attribution,
    icon, flagicon, flag icon, flagdeco, flagicon image, external links, find a grave, imdb
    name, imdb title, imdb, official website, official, official url, curlie, dmoz, twitter,
    facebook, youtube, nybgl, internet archive author, gutenberg author, librivox author, ohg,
    tfd, inflation/fn, inflation-fn, inflation-year, under construction, in use, current, coord
    missing, ombox, mbox, ambox, imbox, cmbox, tmbox, fmbox, asbox, cite quote, cnspan-end,
    paragraph break, subpages, skip to top and bottom, skip to top, skip to bottom, skip to
    talk, skip to section, sfn, sfnp, sfnm, sfnmp, sfnref, harvid, citeref, wikicite,
    doi-inline, cs1 config, bibleref2-nb, hidden begin, hidden end, coi editnotice, afd,
    prod, prod blp, proposed deletion, db, speedy, userspace draft, draft, inuse, user,
    unsigned, talk header, nomobile, noprint, template link, tl, tlx, para, color box, colorbox,
    colour box, legend inline color, legend0, sort under, center block, sort title, rh, rh2,
    sticky header, sticky header top, table alignment, static row numbers, mw-datatable, row
    hover highlight, sort-under, sticky table start, sticky table end, sticky-header, sort mode,
    medal, medalsport, medalcountry, medalcompetition, performance key, navigation, navplate,
    nav bar, navbar, v-d-e, tnavbar, collapse bottom, end, s-start, s-end, s-bef, s-aft, s-ttl,
    s-off, s-hou, start box, end box, succession box, incumbent succession box, ipac-en,
    ipac-de, ipa-en, pron-en, pronunciation, respell, respelling, ipa soundbox, audio nl, ipa
    audio link, refname rules, toccolours, sky, wikisky, sky view, in title, look from, intitle,
    annotated link/none, in lang, language icon, en icon, birthday, isbn missing, issn missing,
    featured, ill-wd, wdib, wikidata icon, edit at wikidata, edit on wikidata, ei, reli source,
    spaceflight sidebar
"""
    )
)

# Regular expressions at the start of a name, and at its end.
_STARTS = r"""
    cite\b; literatur$; internetquelle; webarchiv; ouvrage$; lien\sweb; article$; cita\s;
    hauptartikel; siehe\sauch; article\sd[ée]taill; voir\b; citation$; citation\s/; vcite;
    vancite; sfn\w*$; efn; infobox; \w+\sinfobox; taxobox; speciesbox;
    automatic\staxobox; subspeciesbox; hybridbox; paraphyletic; virusbox; chembox; drugbox;
    elementbox; planetbox; starbox; orbitbox; navbox; navseasons; sidebar; campaignbox;
    geobox; ahnentafel; commons\b;
    use\s.*(?:english|dates|spelling|harvard|vancouver|list-defined); engvar;
    (?:british|american|australian|canadian|indian)\senglish; pp-; ipa-; ipac-; cleanup;
    expand\s; merg(?:e[\s-]|ing|ed); split[\s-]section; split$; lead\stoo; blp\b; more\s;
    redirect-; redirect\d; two\sother;
    other\s?(?:uses|people|places|ships|hurricanes|persons|meanings); otheruses; portal;
    wiki(?:media|project|source|quote|books|news|versity|species|voyage|pedia|data)\b; s-;
    nihongo\sfoot; r\sfrom; r\sto; tfm; rfd; afd; article\sfor; dated\sprod; proposed\sdel;
    location\s(?:map|mark); osm\b; graph:; tocright; toc\b; compact; country\sdata; flagicon;
    flagdeco; italic\s?title; lowercase\stitle; title\sincomplete; pd-\w; periodic\stable;
    chart/; familytree/; tree\schart/; image\sframe; lacking; unreferenced;
    section\s(?:stub|break); template:; sister\s?; commonscat; editnotice; wikt-; cs1;
    refbegin; refend; end\s?(?:plainlist|flatlist|div|quote)?$; medal; user\s
"""
_ENDS = r"""
    [\s-](?:stub|sidebar|navbox|infobox|portal|notice|icon|talk|series|nav|citation);
    [\s-](?:disambiguation|footer|topics|navigation|editnotice|inline|needed);
    \bnavbox\b.*; \sneeded\sspan; stub; navbox; sidebar; infobox;
    /(?:doc|sandbox|sidebar|footer|header)
"""


def _either(patterns: str) -> str:
    return "|".join("".join(pattern.split()) for pattern in patterns.split(";"))


_PATTERN = re.compile(f"^(?:{_either(_STARTS)})|(?:{_either(_ENDS)})$")


def is_dropped(name: str) -> bool:
    """Says whether a template (name in lower case) shows nothing a reader would miss."""
    return name in _NAMES or _PATTERN.search(name) is not None
