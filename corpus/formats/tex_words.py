"""What commands of LaTeX and of astronomy's classes say in plain LaTeX.

Entries are ``name: (arguments, replacement)``. Arguments: ``*`` an optional star, ``o`` an optional
argument, ``m`` a mandatory one; ``#n`` in the replacement is the n-th ``m``. Sources: AASTeX 5-7,
``aas_macros.sty``, A&A, MNRAS and REVTeX author guides.
"""

from __future__ import annotations

from corpus.formats.name_set import name_set

# Gone with their arguments: layout, and what stands elsewhere.
_DROPPED = {
    "": """noindent indent centering centerline raggedright raggedleft clearpage newpage pagebreak
    cleardoublepage maketitle tableofcontents listoffigures listoftables smallskip medskip
    bigskip vfill hfill hfil vfil null relax protect leavevmode xspace unskip ignorespaces
    onecolumn twocolumn linenumbers nolinenumbers singlespace doublespace doublespacing
    singlespacing onehalfspacing frenchspacing nonfrenchspacing flushbottom raggedbottom
    sloppy fussy balance rotate startlongtable footnotesize small normalsize scriptsize tiny
    large Large LARGE huge Huge normalfont rmfamily mdseries upshape makeatletter makeatother
    global long outer frontmatter mainmatter backmatter allowbreak nobreak break penalty strut
    phantomsection ExplSyntaxOn ExplSyntaxOff printindex nobibliography bgroup egroup samepage
    begingroup endgroup authorcommentcount expandafter noexpand dosecttoc faketableofcontents
    boldmath unboldmath titlepage tighten suppressfloats FloatBarrier makeglossaries
    printglossaries printglossary nonumber notag allowdisplaybreaks minitoc dominitoc
    nolinebreak unboldmath hrulefill dotfill restoregeometry removeatletter acresetall
    glsresetall newauthor NAT""",
    "*m": """vspace hspace thispagestyle pagestyle enlargethispage tablefontsize cprotect
    bibliographystyle includeonly pagenumbering hypersetup captionsetup usetikzlibrary
    graphicspath DeclareGraphicsExtensions hyphenation lstset sisetup tabletypesize tablewidth
    tablecolumns input include submitjournal received revised accepted published slugcomment
    shorttitle shortauthors lefthead righthead correspondingauthor email altaffiliation
    affiliation affil altaffilmark authorrunning titlerunning offprints institute dates
    dedicated pubyear pagerange jnl journalinfo reportnum preprint pacs msnum inst address
    orcid orcidlink orcidID collaboration authornote thanks bibinfo bibnamefont bibfnamefont
    citenamefont natexlab nocite index glsadd setcitestyle bibpunct copyrightyear allauthors
    figurenum tablenum lastpagefootnotes newpageafter placefigure placetable watermark
    setwatermarkfontsize setwatermarkcolor linespread usepackage RequirePackage documentstyle
    documentclass newcounter stepcounter refstepcounter phantom hphantom vphantom newlength
    newsavebox usebox fancyhf fancyfoot fancyhead lhead rhead chead lfoot rfoot cfoot
    excludecomment includecomment makeindex theoremstyle pgfplotsset tikzset epsscale epsfig
    psfig includegraphics plotone script gridline todo listoftodos leftfig rightfig fig
    boxedfig rotatefig interactive animategraphics includepdf externaldocument citestyle
    bibliography addbibresource typeout PassOptionsToPackage ProvidesPackage NeedsTeXFormat
    jname jvolume jyear corref ead fntext cortext fnref journalname subjclass setminted
    ShortHeadings firstpageno editor runninghead corrauth authormark titlemark""",
    "mm": """setlength addtolength setcounter addtocounter numberwithin rule settowidth settoheight
    setstretch renewlanguage altaffiltext plottwo crefname Crefname aliascntresetthe
    newcolumntype fancypagestyle DeclareFieldFormat restylefloat counterwithin counterwithout
    sethlcolor colorlet""",
    "mmm": "addcontentsline definecolor",
    "omm": "",
    "om": "declaretheorem",
}

DROPPED: dict[str, str] = {name: spec for spec, names in _DROPPED.items() for name in names.split()}
"""Commands without text: how their arguments read."""

for _name in ("includegraphics", "epsfig", "script", "todo", "affiliation", "email"):
    DROPPED[_name] = "*oom"
for _name in ("affil", "altaffiliation", "correspondingauthor", "thanks", "collaboration", "inst"):
    DROPPED[_name] = "om"
DROPPED["fnmsep"] = ""

_KEPT = {
    # The last argument is the text.
    "m": """hbox mbox fbox textrm textnormal textmd textup text uline underline centerline leftline
    rightline hl added ul makecell object objectname colhead twocolhead nohyphens textsf
    textls shortstack thead name lowercase textlf titlecap underbar MakeUppercase
    MakeLowercase""",
    "mm": """textcolor colorbox raisebox rotatebox scalebox hypertarget hyperlink foreignlanguage
    scaleto parbox framebox adjustbox""",
    "mmm": "resizebox multirow fcolorbox",
}

WORDS: dict[str, tuple[str, str]] = {
    name: ("*" + "o".join(spec), f"{{#{len(spec)}}}")
    for spec, names in _KEPT.items()
    for name in names.split()
}
"""Commands that stand for other LaTeX."""

for _name in ("textcolor", "colorbox", "rotatebox", "scalebox", "parbox", "framebox", "raisebox"):
    WORDS[_name] = ("*omoom", "{#2}")
WORDS["raisebox"] = ("moom", "{#2}")
WORDS["parbox"] = ("ooomm", "{#2}")
WORDS["makebox"] = WORDS["framebox"] = ("oom", "{#1}")
WORDS["fcolorbox"] = ("ommm", "{#3}")
WORDS["resizebox"] = ("*mmm", "{#3}")
WORDS["multirow"] = ("omomom", "{#3}")
WORDS |= {
    "mathbfit": ("m", r"\mathbf{#1}"),
    "added": ("om", "{#1}"),
    "deleted": ("om", ""),
    "explain": ("om", ""),
    "edit": ("mm", "{#2}"),
    "enquote": ("*m", "``#1''"),
    "shoveleft": ("m", "{#1}"),
    "shoveright": ("m", "{#1}"),
    "color": ("om", ""),
    "pagecolor": ("om", ""),
    "fontsize": ("mm", ""),
    "texorpdfstring": ("mm", "{#1}"),
    "nolinkurl": ("m", r"\url{#1}"),
    "path": ("m", r"\texttt{#1}"),
    "code": ("m", r"\texttt{#1}"),
    "lstinline": ("om", r"\texttt{#1}"),
    "mintinline": ("omm", r"\texttt{#2}"),
    "dataset": ("om", "{#1}"),
    "doi": ("m", r"\href{https://doi.org/#1}{doi:#1}"),
    "arxiv": ("om", "arXiv:#1"),
    "arXiv": ("om", "arXiv:#1"),
    "tablenotemark": ("m", "$^{#1}$"),
    "tnote": ("m", "$^{#1}$"),
    "tablefootmark": ("m", "$^{#1}$"),
    "footnotemark": ("o", ""),
    "twocolhead": ("m", "{#1}"),
    "nocolhead": ("m", ""),
    "hypertarget": ("mm", "{#2}"),
    "hyperlink": ("mm", "{#2}"),
    "phn": ("", " "),
    "textquotesingle": ("", "'"),
    "slash": ("", "/"),
    "newline": ("", " "),
    "linebreak": ("o", " "),
    "par": ("", "\n\n"),
    "vskip": ("", ""),
    "nodata": ("", "..."),
    "ie": ("", "i.e."),
    "eg": ("", "e.g."),
    "etal": ("", "et al."),
    "IfNoValueT": ("mm", ""),
    "quad": ("", " "),
    "qquad": ("", " "),
    "enspace": ("", " "),
    "thinspace": ("", " "),
    "textsuperscript": ("m", "$^{\\text{#1}}$"),
    "textsubscript": ("m", "$_{\\text{#1}}$"),
    "supit": ("m", "$^{#1}$"),
    "expectation": ("m", r"\langle #1 \rangle"),
    "cmidrule": ("om", ""),
    "subcaption": ("m", r"\caption{#1}"),
    "figcaption": ("om", r"\caption{#1}"),
    "tablecaption": ("m", r"\caption{#1}"),
    "newauthor": ("", ""),
    "colnumbers": ("", ""),
    "decimalcolnumbers": ("", ""),
    "rowcolor": ("om", ""),
    "cellcolor": ("om", ""),
}

# (in text, in math): unit and symbol commands of aas_macros and others that pandoc does not know.
SYMBOLS: dict[str, tuple[str, str]] = {
    "arcsec": ("″", "''"),
    "arcmin": ("′", "'"),
    "arcdeg": ("°", r"^\circ"),
    "degr": ("°", r"^\circ"),
    "degree": ("°", r"^\circ"),
    "deg": ("°", r"\deg"),
    "farcs": (".″", r"\overset{''}{.}"),
    "farcm": (".′", r"\overset{'}{.}"),
    "fdg": (".°", r"\overset{\circ}{.}"),
    "fd": (".ᵈ", r"\overset{d}{.}"),
    "fh": (".ʰ", r"\overset{h}{.}"),
    "fm": (".ᵐ", r"\overset{m}{.}"),
    "fs": (".ˢ", r"\overset{s}{.}"),
    "micron": ("µm", r"\mu\mathrm{m}"),
    "micro": ("µ", r"\mu"),
    "sun": ("$\\odot$", r"\odot"),
    "Sun": ("☉", r"\odot"),
    "earth": ("$\\oplus$", r"\oplus"),
    "Earth": ("⊕", r"\oplus"),
    "jupiter": ("♃", r"\mathrm{Jup}"),
    "Jupiter": ("♃", r"\mathrm{Jup}"),
    "diameter": ("∅", r"\varnothing"),
    "sq": ("□", r"\Box"),
    "la": (r"$\lesssim$", r"\lesssim"),
    "ga": (r"$\gtrsim$", r"\gtrsim"),
    "lta": (r"$\lesssim$", r"\lesssim"),
    "gta": (r"$\gtrsim$", r"\gtrsim"),
    "cor": (r"$\hat{=}$", r"\hat{=}"),
    "Msun": (r"$M_\odot$", r"M_\odot"),
    "msun": (r"$M_\odot$", r"M_\odot"),
    "Rsun": (r"$R_\odot$", r"R_\odot"),
    "rsun": (r"$R_\odot$", r"R_\odot"),
    "Lsun": (r"$L_\odot$", r"L_\odot"),
    "lsun": (r"$L_\odot$", r"L_\odot"),
    "Zsun": (r"$Z_\odot$", r"Z_\odot"),
    "zsun": (r"$Z_\odot$", r"Z_\odot"),
    "ubvr": (r"$UBVR$", "UBVR"),
    "ub": ("$U-B$", "U-B"),
    "bv": ("$B-V$", "B-V"),
    "vr": ("$V-R$", "V-R"),
    "ur": ("$U-R$", "U-R"),
    "AA": ("Å", r"\text{Å}"),
    "angstrom": ("Å", r"\text{Å}"),
    "Angstrom": ("Å", r"\text{Å}"),
    "textdegree": ("°", r"^\circ"),
    "textmu": ("µ", r"\mu"),
    "textmicro": ("µ", r"\mu"),
    "kms": ("km s$^{-1}$", r"\mathrm{km\,s^{-1}}"),
    "textonehalf": ("½", r"\tfrac12"),
    "textregistered": ("®", "®"),
    "texttrademark": ("™", "™"),
    "aap": ("A\\&A", "A\\&A"),
}

_JOURNALS = """aj:AJ araa:ARA\\&A apj:ApJ apjl:ApJL apjs:ApJS apss:Ap\\&SS aapr:A\\&A_Rev.
aaps:A\\&AS azh:AZh baas:BAAS jrasc:JRASC memras:MmRAS mnras:MNRAS nat:Nature
pasp:PASP pasj:PASJ qjras:QJRAS skytel:S\\&T solphys:Sol._Phys. sovast:Soviet_Ast.
ssr:Space_Sci._Rev. zap:ZAp prd:Phys._Rev._D prl:Phys._Rev._Lett. icarus:Icarus
jcap:JCAP jgr:JGR planss:Planet._Space_Sci. procspie:Proc._SPIE physrep:Phys._Rep.
pasa:PASA iaucirc:IAU_Circ. na:New_Astron. nar:New_Astron._Rev. applopt:Appl._Opt.
grl:GRL rmxaa:RMxAA"""
for _entry in _JOURNALS.split():
    _name, _, _title = _entry.partition(":")
    SYMBOLS.setdefault(_name, (_title.replace("_", " "), _title.replace("_", " ")))

# Symbols of math mode that authors write in text; pandoc would drop them there.
MATH_SYMBOLS = name_set(
    """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu
    nu xi pi varpi rho varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma
    Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega pm mp times div cdot ast star circ
    bullet sim simeq approx equiv cong neq ne le leq ge geq ll gg lesssim gtrsim lessapprox
    gtrapprox propto infty partial nabla odot oplus otimes rightarrow leftarrow to
    Rightarrow Leftarrow leftrightarrow longrightarrow mapsto rangle langle ell hbar Re Im
    prime sum prod int sqrt frac perp parallel in notin subset cup cap emptyset forall
    exists neg lbrace rbrace vert Vert mid angle triangle square diamond dagger_ ddagger_
    ddot_ lsim gsim simless simgreat mathcal mathbb mathscr mathfrak mathsf mathtt mathit lt
    gt asymp doteq uparrow downarrow mathrm mathbf boldsymbol bm vec hat bar tilde overline
    widehat dot ddot log ln exp sin cos tan max min"""
)
TAKES_ARGUMENT = name_set(
    """sqrt mathcal mathbb mathscr mathfrak mathsf mathtt mathit mathrm mathbf boldsymbol bm
    vec hat bar tilde overline widehat dot ddot"""
)

# Left to pandoc in text: accents, letters, fonts, lists, code.
PASSED = name_set(
    """textit textbf texttt textsc textsl emph it bf tt sc sl em bfseries itshape ttfamily
    scshape slshape sffamily sf rm item footnote url href o O l L ss ae AE oe OE aa i j S P
    dag ddag dagger ddagger copyright pounds textbackslash textasciitilde textasciicircum
    textbar textless textgreater textunderscore textendash textemdash textquoteright
    textquoteleft textbullet textdollar textellipsis textperiodcentered texteuro dots ldots
    TeX LaTeX today b c d H k r t u v quotedblbase guillemotleft guillemotright
    textquotedblleft textquotedblright si SI num qty ang SIrange numrange qtyrange unit
    SIlist qtylist euro dj DJ th TH ng NG lq rq sout strong"""
)
