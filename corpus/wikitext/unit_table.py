"""Units of ``{{convert}}``: symbol, names, scale to the base of their kind, default output.

Scales and defaults follow Wikipedia's Module:Convert/data as far as articles on astronomy,
geography and engineering need them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A unit of measure.

    Args:
        kind: quantity; only units of one kind convert into each other.
        symbol: as shown after a number.
        name: singular, spelled out; empty: the symbol always shows.
        scale: how many base units one of it is.
        default: code of what it converts to when none is asked for.
        plural: spelled-out plural where not name + s.
        american: singular in American spelling.
        offset: zero point in its own units (temperatures).
        power: which power of ten the code prefixes, e.g. 6 for ``e6km``.
    """

    kind: str
    symbol: str
    name: str
    scale: float
    default: str = ""
    plural: str = ""
    american: str = ""
    offset: float = 0.0
    power: int = 0

    def spelled(self, one: bool, american: bool) -> str:
        """Returns the unit's name in singular or plural."""
        name = self.american if american and self.american else self.name
        if not name:
            return self.symbol
        if one:
            return name
        if self.plural:
            plural = self.plural
            return (
                plural.replace("metre", "meter").replace("litre", "liter") if american else plural
            )
        head, per, tail = name.partition(" per ")
        return f"{head}s{per}{tail}"


# kind | code and aliases | symbol | name | plural if odd | scale | default
_ROWS = """
length|m|m|metre||1|ft
length|km|km|kilometre||1e3|mi
length|cm|cm|centimetre||0.01|in
length|mm|mm|millimetre||1e-3|in
length|um,μm,µm|μm|micrometre||1e-6|in
length|nm|nm|nanometre||1e-9|in
length|pm|pm|picometre||1e-12|in
length|dm|dm|decimetre||0.1|in
length|Mm|Mm|megametre||1e6|mi
length|Gm|Gm|gigametre||1e9|mi
length|Tm|Tm|terametre||1e12|mi
length|angstrom,Å|Å|ångström||1e-10|in
length|ft,foot,feet|ft|foot|feet|0.3048|m
length|in,inch,inches|in|inch|inches|0.0254|mm
length|yd,yard,yards|yd|yard||0.9144|m
length|mi,mile,miles|mi|mile||1609.344|km
length|nmi,nautical mile|nmi|nautical mile||1852|km mi
length|furlong|furlong|furlong||201.168|ft m
length|chain|chain|chain||20.1168|ft m
length|rod|rod|rod||5.0292|ft m
length|fathom|fathom|fathom||1.8288|ft m
length|hand|hand|hand||0.1016|in cm
length|league|league|league||4828.032|km
length|thou,mil|thou|thou|thou|2.54e-5|mm
length|AU,au|au|astronomical unit||149597870700|km mi
length|ly|ly|light-year||9460730472580800|AU
length|kly|kly|kilolight-year||9460730472580800e3|pc
length|Mly|Mly|megalight-year||9460730472580800e6|kpc
length|Gly|Gly|gigalight-year||9460730472580800e9|Mpc
length|pc|pc|parsec||30856775814671900|ly
length|kpc|kpc|kiloparsec||30856775814671900e3|kly
length|Mpc|Mpc|megaparsec||30856775814671900e6|Mly
length|Gpc|Gpc|gigaparsec||30856775814671900e9|Gly
length|Solar radius,solar radius,R_Sun,R_solar,solar radii|R☉|solar radius|solar radii|695700e3|km
length|Earth radius,R_Earth|R🜨|Earth radius|Earth radii|6378100|km
length|Jupiter radius,R_J|RJ|Jupiter radius|Jupiter radii|71492e3|km
length|ls,light-second|light-second|light-second||299792458|km
length|LD|LD|lunar distance||384399e3|km
area|m2,sqm|m²|square metre||1|sqft
area|km2,sqkm|km²|square kilometre||1e6|sqmi
area|cm2,sqcm|cm²|square centimetre||1e-4|sqin
area|mm2|mm²|square millimetre||1e-6|sqin
area|ha,hectare|ha|hectare||1e4|acre
area|acre,acres|acre|acre||4046.8564224|ha
area|sqft,ft2|sq ft|square foot|square feet|0.09290304|m2
area|sqin,in2|sq in|square inch|square inches|6.4516e-4|cm2
area|sqmi,mi2|sq mi|square mile||2589988.110336|km2
area|sqyd,yd2|sq yd|square yard||0.83612736|m2
area|sqnmi|sq nmi|square nautical mile||3429904|km2 sqmi
volume|m3|m³|cubic metre||1|cuft
volume|km3|km³|cubic kilometre||1e9|cumi
volume|cm3,cc|cm³|cubic centimetre||1e-6|cuin
volume|L,l,litre,liter|L|litre||1e-3|impgal USgal
volume|mL,ml|mL|millilitre||1e-6|impfloz USfloz
volume|cL|cL|centilitre||1e-5|impfloz USfloz
volume|hL|hL|hectolitre||0.1|impgal USgal
volume|USgal,gal,U.S.gal|US gal|US gallon||0.003785411784|L impgal
volume|impgal|imp gal|imperial gallon||0.00454609|L USgal
volume|USfloz|US fl oz|US fluid ounce||2.95735295625e-5|mL
volume|impfloz|imp fl oz|imperial fluid ounce||2.84130625e-5|mL
volume|USpt,pt|US pt|US pint||0.000473176473|L
volume|imppt|imp pt|imperial pint||0.00056826125|L
volume|USqt,qt|US qt|US quart||0.000946352946|L
volume|USbbl|US bbl|US barrel||0.119240471196|m3
volume|oilbbl,bbl|bbl|barrel||0.158987294928|m3
volume|cuft,ft3|cu ft|cubic foot|cubic feet|0.028316846592|m3
volume|cuin,in3|cu in|cubic inch|cubic inches|1.6387064e-5|cm3
volume|cuyd,yd3|cu yd|cubic yard||0.764554857984|m3
volume|cumi,mi3|cu mi|cubic mile||4168181825.440579584|km3
volume|acre-ft,acre.ft,acreft,acre·ft|acre⋅ft|acre-foot|acre-feet|1233.48183754752|m3
volume|USbsh|US bsh|US bushel||0.03523907016688|L
mass|kg|kg|kilogram||1|lb
mass|g|g|gram||1e-3|oz
mass|mg|mg|milligram||1e-6|gr
mass|ug,μg|μg|microgram||1e-9|gr
mass|t,MT,tonne|t|tonne||1000|LT ST
mass|kt|kt|kilotonne||1e6|LT ST
mass|Mt|Mt|megatonne||1e9|LT ST
mass|lb,lbs,pound,pounds|lb|pound||0.45359237|kg
mass|oz|oz|ounce||0.028349523125|g
mass|ozt,troy oz|ozt|troy ounce||0.0311034768|g
mass|st,stone|st|stone|stone|6.35029318|lb kg
mass|LT,long ton,longton|long ton|long ton||1016.0469088|t
mass|ST,short ton,shortton|short ton|short ton||907.18474|t
mass|cwt,long cwt|cwt|hundredweight|hundredweight|50.80234544|lb kg
mass|gr,grain|gr|grain||6.479891e-5|g
mass|carat|carat|carat||2e-4|g
mass|Solar mass,solar mass,M_Sun,M☉|M☉|solar mass|solar masses|1.98855e30|kg
mass|Earth mass,M_Earth|M🜨|Earth mass|Earth masses|5.9722e24|kg
mass|Jupiter mass,M_J|MJ|Jupiter mass|Jupiter masses|1.898e27|kg
mass|amu,Da,u|Da|dalton||1.66053906660e-27|g
speed|m/s,mps|m/s|metre per second||1|ft/s
speed|km/h,kph,kmh|km/h|kilometre per hour||0.277777777777778|mph
speed|km/s|km/s|kilometre per second||1000|mi/s
speed|cm/s|cm/s|centimetre per second||0.01|in/s
speed|mm/s|mm/s|millimetre per second||0.001|in/s
speed|mph,mi/h|mph|mile per hour||0.44704|km/h
speed|mi/s|mi/s|mile per second||1609.344|km/s
speed|ft/s,fps|ft/s|foot per second|feet per second|0.3048|m/s
speed|ft/min|ft/min|foot per minute|feet per minute|0.00508|m/min
speed|m/min|m/min|metre per minute||0.0166666666666667|ft/min
speed|in/s|in/s|inch per second|inches per second|0.0254|cm/s
speed|kn,knot,knots,kt speed|kn|knot||0.514444444444444|km/h mph
speed|c|c|||299792458|km/s
speed|mm/yr,mm/a,mm/year|mm/year|millimetre per year||3.1688087814e-11|in/yr
speed|cm/yr,cm/year|cm/year|centimetre per year||3.1688087814e-10|in/yr
speed|in/yr,in/a|in/year|inch per year|inches per year|8.048774304767e-10|mm/yr
temperature|C,°C,degC|°C|degree Celsius|degrees Celsius|1|F
temperature|F,°F,degF|°F|degree Fahrenheit|degrees Fahrenheit|0.555555555555556|C
temperature|K|K|kelvin||1|C F
temperature|R,°R|°R|degree Rankine|degrees Rankine|0.555555555555556|K F C
degrees|C-change,C change|°C|degree Celsius change||1|F-change
degrees|F-change,F change|°F|degree Fahrenheit change||0.555555555555556|C-change
degrees|K-change|K|kelvin change||1|F-change
pressure|Pa|Pa|pascal||1|psi
pressure|hPa|hPa|hectopascal||100|inHg
pressure|kPa|kPa|kilopascal||1000|psi
pressure|MPa|MPa|megapascal||1e6|ksi
pressure|GPa|GPa|gigapascal||1e9|psi
pressure|bar|bar|bar||1e5|kPa
pressure|mbar|mbar|millibar||100|hPa
pressure|dbar|dbar|decibar||1e4|kPa
pressure|kbar|kbar|kilobar||1e8|psi
pressure|atm|atm|standard atmosphere||101325|kPa
pressure|psi|psi|pound per square inch|pounds per square inch|6894.757293168|kPa
pressure|ksi|ksi|kilopound per square inch|kilopounds per square inch|6894757.293168|MPa
pressure|inHg|inHg|inch of mercury|inches of mercury|3386.388640341|kPa
pressure|mmHg|mmHg|millimetre of mercury|millimetres of mercury|133.322387415|kPa
pressure|torr,Torr|Torr|torr|torr|133.322368421053|kPa
pressure|lb/sqft,psf|lb/sq ft|pound per square foot|pounds per square foot|47.88025898|kPa
energy|J|J|joule||1|cal
energy|kJ|kJ|kilojoule||1000|kcal
energy|MJ|MJ|megajoule||1e6|kWh
energy|GJ|GJ|gigajoule||1e9|kWh
energy|TJ|TJ|terajoule||1e12|TNT
energy|PJ|PJ|petajoule||1e15|TNT
energy|erg|erg|erg||1e-7|J
energy|eV|eV|electronvolt||1.602176634e-19|J
energy|keV|keV|kiloelectronvolt||1.602176634e-16|J
energy|MeV|MeV|megaelectronvolt||1.602176634e-13|J
energy|GeV|GeV|gigaelectronvolt||1.602176634e-10|J
energy|TeV|TeV|teraelectronvolt||1.602176634e-7|J
energy|cal|cal|calorie||4.184|J
energy|kcal,Cal|kcal|kilocalorie||4184|kJ
energy|kWh,kW.h|kWh|kilowatt-hour||3.6e6|MJ
energy|MWh|MWh|megawatt-hour||3.6e9|GJ
energy|BTU,Btu|BTU|British thermal unit||1055.05585262|kJ
energy|ftlbf,ft.lbf|ft⋅lbf|foot-pound force|foot-pounds force|1.3558179483314|J
energy|kilotonTNT,ktTNT|kt TNT|kiloton of TNT|kilotons of TNT|4.184e12|TJ
energy|MtTNT,megatonTNT|Mt TNT|megaton of TNT|megatons of TNT|4.184e15|PJ
energy|TNT,tTNT|tonne of TNT|tonne of TNT|tonnes of TNT|4.184e9|GJ
power|W|W|watt||1|hp
power|mW|mW|milliwatt||1e-3|hp
power|kW|kW|kilowatt||1000|hp
power|MW|MW|megawatt||1e6|hp
power|GW|GW|gigawatt||1e9|hp
power|hp|hp|horsepower|horsepower|745.69987158227|kW
power|PS|PS|metric horsepower|metric horsepower|735.49875|kW
power|bhp|bhp|brake horsepower|brake horsepower|745.69987158227|kW
force|N|N|newton||1|lbf
force|mN|mN|millinewton||1e-3|lbf
force|kN|kN|kilonewton||1000|lbf
force|MN|MN|meganewton||1e6|lbf
force|lbf|lbf|pound-force|pounds-force|4.4482216152605|N
force|kgf|kgf|kilogram-force|kilograms-force|9.80665|N lbf
force|tf|tf|tonne-force|tonnes-force|9806.65|kN
torque|Nm,N.m|N⋅m|newton-metre||1|lbft
torque|lbft,lb.ft,lbf.ft|lb⋅ft|pound-foot|pound-feet|1.3558179483314|Nm
density|kg/m3|kg/m³|kilogram per cubic metre||1|lb/cuyd
density|g/cm3|g/cm³|gram per cubic centimetre||1000|lb/cuin
density|g/L|g/L|gram per litre||1|lb/cuin
density|lb/cuft,lb/ft3|lb/cu ft|pound per cubic foot|pounds per cubic foot|16.018463373960142|g/cm3
density|lb/cuin,lb/in3|lb/cu in|pound per cubic inch|pounds per cubic inch|27679.90471020|g/cm3
density|lb/cuyd|lb/cu yd|pound per cubic yard|pounds per cubic yard|0.593276421258|kg/m3
acceleration|m/s2|m/s²|metre per second squared|metres per second squared|1|ft/s2
acceleration|ft/s2|ft/s²|foot per second squared|feet per second squared|0.3048|m/s2
acceleration|cm/s2|cm/s²|centimetre per second squared|centimetres per second squared|0.01|ft/s2
acceleration|g0,g-force|g0|standard gravity|standard gravities|9.80665|m/s2
time|s,second|s|second||1|min
time|min,minute|min|minute||60|s
time|h,hour|h|hour||3600|s
time|d,day|d|day||86400|h
time|year,yr,a|yr|year||31557600|
frequency|Hz|Hz|hertz|hertz|1|
frequency|kHz|kHz|kilohertz|kilohertz|1e3|
frequency|MHz|MHz|megahertz|megahertz|1e6|
frequency|GHz|GHz|gigahertz|gigahertz|1e9|
angle|deg,°|°|degree||1|
flow|m3/s|m³/s|cubic metre per second||1|cuft/s
flow|cuft/s,ft3/s,cufts|cu ft/s|cubic foot per second|cubic feet per second|0.028316846592|m3/s
flow|L/s|L/s|litre per second||1e-3|cuft/s
flow|USgal/min,USgpm|US gal/min|US gallon per minute||6.30901964e-5|L/s
population|/sqkm,/km2,PD/sqkm|/km²|=/= kilometre|=/= kilometre|1e-6|/sqmi
population|/sqmi,PD/sqmi|/sq mi|=/= mile|=/= mile|3.86102158542446e-7|/km2
population|/ha|/ha|per hectare|per hectare|1e-4|/acre
population|/acre|/acre|per acre|per acre|2.471053814671653e-4|/ha
massline|kg/m|kg/m|kilogram per metre||1|lb/yd
massline|lb/yd|lb/yd|pound per yard|pounds per yard|0.49605465|kg/m
fuel|g/km|g/km|gram per kilometre||1|oz/mi
fuel|oz/mi|oz/mi|ounce per mile||17.6155|g/km
areamass|kg/m2|kg/m²|kilogram per square metre||1|
gradient|ft/mi|ft/mi|foot per mile|feet per mile|0.000189393939|m/km
gradient|m/km|m/km|metre per kilometre|metres per kilometre|0.001|ft/mi
"""
_OFFSETS = {"C": -273.15, "F": -459.67}


def _read() -> dict[str, Measure]:
    table: dict[str, Measure] = {}
    people = "inhabitants per square"
    for row in _ROWS.strip().split("\n"):
        kind, codes, symbol, name, plural, scale, default = row.replace("=/=", people).split("|")
        names = codes.split(",")
        american = name.replace("metre", "meter").replace("litre", "liter")
        measure = Measure(
            kind,
            symbol,
            name,
            float(scale),
            default,
            plural,
            american if american != name else "",
            _OFFSETS.get(names[0], 0.0),
        )
        for code in names:
            table[code] = measure
    return table


UNITS: dict[str, Measure] = _read()
POWERS = {"e3": 3, "e6": 6, "e9": 9, "e12": 12, "e15": 15}
POWER_NAMES = {3: "thousand", 6: "million", 9: "billion", 12: "trillion", 15: "quadrillion"}


def find_unit(code: str) -> Measure | None:
    """Returns the unit of a code, ``e6km`` and the like included; None where unknown."""
    code = code.strip().replace("&nbsp;", " ").replace("²", "2").replace("³", "3")
    found = UNITS.get(code)
    if found is not None:
        return found
    for prefix, power in POWERS.items():
        if code.startswith(prefix) and (base := UNITS.get(code[len(prefix) :])):
            default = " ".join(f"{prefix}{part}" for part in base.default.split())
            return Measure(base.kind, base.symbol, base.name, base.scale * 10.0**power, default,
                           base.plural, base.american, base.offset, power)  # fmt: skip
    return _SPELLED.get(code.lower())


_SPELLED = {
    word: measure
    for measure in UNITS.values()
    if measure.name
    for word in (measure.spelled(True, False).lower(), measure.spelled(False, False).lower(),
                 measure.spelled(True, True).lower(), measure.spelled(False, True).lower())
}  # fmt: skip
