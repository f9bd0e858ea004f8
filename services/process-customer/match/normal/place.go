package normal

import (
	"slices"
	"strings"
	"unicode"
)

// Street is a street address in normal form.
type Street struct {
	// Name is the street without the number, its kind written out: "Hauptstr." is haupt strasse.
	Name string
	// Number is the house number with its letter, such as 12a; of a range, the first. Empty when there is none.
	Number string
}

// Address parses the line of an address that holds street and house number.
func Address(s string) Street {
	words := postbox(Words(s))
	number := -1
	// The number is the last word with a digit in most of Europe, the first in America and Britain.
	for i, w := range words {
		if !startsWithDigit(w) || ordinal(w) {
			continue
		}
		if i == 0 || number < 0 || number > 0 {
			number = i
		}
		if i == 0 {
			break
		}
	}
	var st Street
	var name []string
	for i, w := range words {
		if i == number {
			st.Number = w
			continue
		}
		// "12 a" is 12a.
		if number > 0 && i == number+1 && len(w) == 1 && unicode.IsLetter(rune(w[0])) && i == len(words)-1 {
			st.Number += w
			continue
		}
		if i+1 == number && numberSign(w, name) {
			continue // "Gazi Cad. No: 5", "Rua Direita n.º 5"
		}
		name = append(name, streetWord(w, len(name), i, len(words))...)
	}
	for len(name) > 1 && needlessKind(name[0]) {
		name = name[1:]
	}
	for len(st.Number) > 1 && st.Number[0] == '0' && startsWithDigit(st.Number[1:]) {
		st.Number = st.Number[1:]
	}
	st.Name = strings.Join(name, " ")
	return st
}

// boxes are names of a box at the post office.
var boxes = [][]string{
	{"po", "box"},
	{"postbox"},
	{"postbus"},
	{"postboks"},
	{"box"},
	{"apartado", "postal"},
	{"apartado", "de", "correos"},
	{"apartado"},
	{"boite", "postale"},
	{"case", "postale"},
	{"casella", "postale"},
	{"caixa", "postal"},
	{"skrytka", "pocztowa"},
	{"skr", "poczt"},
	{"pk"},
	{"posta", "kutusu"},
	{"postilokero"},
	{"pl", "box"},
	{"tth"},
}

// postbox writes what a box at the post office is called in other languages as one word.
func postbox(words []string) []string {
	for _, box := range boxes {
		// Behind it there is nothing but its number: "Box Lane 4" is a street.
		if n := len(box); len(words) == n+1 && startsWithDigit(words[n]) && equalWords(words[:n], box) {
			return []string{"postfach", words[n]}
		}
	}
	return words
}

// numberSign reports whether a word behind the name of a street announces the number. The Russian "dom" is a cathedral elsewhere.
func numberSign(w string, name []string) bool {
	switch w {
	case "no", "nr", "num", "numero", "nro":
		return true
	case "d", "dom":
		return len(name) > 1 && slices.ContainsFunc(name, func(k string) bool {
			return k == "ulica" || k == "ulitsa" || k == "prospekt" || k == "pereulok"
		})
	default:
		return false
	}
}

// needlessKind reports whether a word in front of a street's name says only that it is one, and is often left out.
func needlessKind(w string) bool {
	switch w {
	case "ulica", "odos", "ulitsa":
		return true
	default:
		return false
	}
}

func startsWithDigit(w string) bool { return w[0] >= '0' && w[0] <= '9' }

// ordinal reports whether a word is a number such as 5th.
func ordinal(w string) bool {
	for _, suffix := range []string{"st", "nd", "rd", "th"} {
		if number, ok := strings.CutSuffix(w, suffix); ok {
			return number != "" && strings.Trim(number, "0123456789") == ""
		}
	}
	return false
}

// streetWord writes out the kind of a street. German kinds grow onto the name, so they are parted from it.
func streetWord(w string, at, i, n int) []string {
	for _, suffix := range []string{"strasse", "strase", "str"} {
		if stem, ok := strings.CutSuffix(w, suffix); ok && len(stem) >= 3 {
			return append(streetWord(stem, at, i, n), "strasse")
		}
	}
	for _, suffix := range []string{"platz", "allee", "gasse", "weg", "ring", "damm", "ufer", "straat", "laan", "gatan", "vaegen"} {
		if stem, ok := strings.CutSuffix(w, suffix); ok && len(stem) >= 3 {
			return append(streetWord(stem, at, i, n), suffix)
		}
	}
	if w == "st" && at == 0 && i < n-1 {
		return []string{"saint"}
	}
	if full, ok := streetKinds[w]; ok {
		return []string{full}
	}
	return []string{w}
}

var streetKinds = map[string]string{
	"str": "strasse", "strase": "strasse", "pl": "platz",
	"st": "street", "rd": "road", "ave": "avenue", "av": "avenue", "avda": "avenida", "avd": "avenida", "blvd": "boulevard",
	"blv": "boulevard", "boul": "boulevard", "bd": "boulevard", "dr": "drive", "ln": "lane", "crt": "court", "ct": "court", "cres": "crescent",
	"cr": "crescent", "cct": "circuit", "cl": "close", "sq": "square", "hwy": "highway", "pkwy": "parkway", "pde": "parade",
	"ter": "terrace", "tce": "terrace", "grv": "grove", "gdns": "gardens", "mt": "mount", "apt": "apartment", "ste": "suite",
	"fl": "floor", "n": "north", "s": "south", "e": "east", "w": "west", "ne": "northeast", "nw": "northwest", "se": "southeast",
	"sw": "southwest", "btw": "between", "bet": "between", "vle": "viale", "pza": "plaza", "c": "calle", "ul": "ulica",
	"cad": "caddesi", "cd": "caddesi", "sok": "sokak", "sk": "sokak", "sokagi": "sokak", "mah": "mahallesi",
	"al": "aleja", "aleje": "aleja", "os": "osiedle", "r": "rua", "tv": "travessa", "trav": "travessa", "lgo": "largo", "pca": "praca", "estr": "estrada",
	"leof": "leoforos", "leoforo": "leoforos", "prosp": "prospekt", "per": "pereulok", "nam": "namesti", "tr": "trida", "u": "utca",
	"pzza": "piazza", "chem": "chemin", "fbg": "faubourg", "rte": "route", "imp": "impasse", "postfach": "pobox", "pob": "pobox",
}

// City returns the name of a place; the common foreign names of large cities become the local one.
func City(s string) string {
	words := Words(s)
	if len(words) == 0 {
		return ""
	}
	if local, ok := cities[strings.Join(words, " ")]; ok {
		return local
	}
	// "Frankfurt am Main", "Frankfurt/M." and "Frankfurt (Main)" are one, "Berlin 12" is Berlin.
	for i, w := range words {
		if i > 0 && (w == "am" || w == "an" || w == "a" || w == "im" || w == "m" || w == "main" || startsWithDigit(w)) {
			words = words[:i]
			break
		}
	}
	t := strings.Join(words, " ")
	if local, ok := cities[t]; ok {
		return local
	}
	return t
}

var cities = map[string]string{
	"munich": "muenchen", "munchen": "muenchen", "cologne": "koeln", "koln": "koeln", "nuremberg": "nuernberg", "nurnberg": "nuernberg",
	"zurich": "zuerich", "geneva": "geneve", "genf": "geneve", "vienna": "wien", "prague": "praha", "prag": "praha",
	"warsaw": "warszawa", "warschau": "warszawa", "milan": "milano", "mailand": "milano", "rome": "roma", "rom": "roma",
	"turin": "torino", "florence": "firenze", "florenz": "firenze", "venice": "venezia", "venedig": "venezia", "naples": "napoli",
	"neapel": "napoli", "genoa": "genova", "genua": "genova", "lisbon": "lisboa", "lissabon": "lisboa", "seville": "sevilla",
	"brussels": "bruxelles", "brussel": "bruxelles", "bruessel": "bruxelles", "antwerp": "antwerpen", "anvers": "antwerpen",
	"ghent": "gent", "gand": "gent", "the hague": "den haag", "gravenhage": "den haag", "copenhagen": "koebenhavn",
	"kopenhagen": "koebenhavn", "gothenburg": "goeteborg", "goteborg": "goeteborg", "moscow": "moskva", "moskau": "moskva",
	"saint petersburg": "sankt peterburg", "athens": "athina", "athen": "athina", "bucharest": "bucuresti", "bukarest": "bucuresti",
	"belgrade": "beograd", "belgrad": "beograd", "krakow": "krakow", "cracow": "krakow", "krakau": "krakow",
	"dusseldorf": "duesseldorf", "hanover": "hannover", "brunswick": "braunschweig", "basle": "basel", "bale": "basel",
	"berne": "bern", "lucerne": "luzern", "strassburg": "strasbourg", "nice": "nice", "nizza": "nice", "nyc": "new york",
	"new york city": "new york", "la": "los angeles", "sf": "san francisco", "philly": "philadelphia", "lv": "las vegas",
	"mexico city": "ciudad de mexico", "peking": "beijing", "bombay": "mumbai", "calcutta": "kolkata", "madras": "chennai",
	"st petersburg": "sankt peterburg", "arhus": "aarhus", "alborg": "aalborg", "elsinore": "helsingoer", "ho chi minh city": "ho chi minh",
	"saigon": "ho chi minh", "tp ho chi minh": "ho chi minh", "hanoi": "ha noi", "danang": "da nang", "haiphong": "hai phong", "thessalonica": "thessaloniki",
	"salonica": "thessaloniki", "saloniki": "thessaloniki", "patras": "patra", "heraklion": "irakleio", "iraklio": "irakleio", "larissa": "larisa",
	"piraeus": "peiraias", "ekaterinburg": "yekaterinburg", "oporto": "porto", "breslau": "wroclaw", "danzig": "gdansk", "posen": "poznan",
	"lodsch": "lodz", "stettin": "szczecin", "constantinople": "istanbul", "smyrna": "izmir", "helsingfors": "helsinki", "abo": "turku",
	"s gravenhage": "den haag", "flushing": "vlissingen", "kyiv": "kiev", "kiew": "kiev", "sofia": "sofija", "zagabria": "zagreb", "laibach": "ljubljana",
	"pressburg": "bratislava", "bruenn": "brno", "pilsen": "plzen", "saragossa": "zaragoza", "la coruna": "a coruna", "bilbo": "bilbao", "malmo": "malmoe",
	"padua": "padova", "mantua": "mantova", "leghorn": "livorno", "st louis": "saint louis", "st gallen": "sankt gallen", "luettich": "liege", "luik": "liege",
}

// Postcode returns a postal code without spaces, in upper case, without the prefix of its country: D-10115 is 10115.
func Postcode(s string) string {
	c := strings.ToUpper(Compact(s))
	for _, p := range []string{"CH", "AT", "DE", "D", "A", "F", "B", "L", "I", "NL"} {
		if rest, ok := strings.CutPrefix(c, p); ok && len(rest) >= 4 && len(rest) <= 5 && strings.Trim(rest, "0123456789") == "" {
			return rest
		}
	}
	// The extension of an American code is left off.
	if len(c) == 9 && strings.Trim(c, "0123456789") == "" {
		return c[:5]
	}
	return c
}

// Country returns the ISO 3166 code of two letters for codes and common names, and other text as it is.
func Country(s string) string {
	c := Compact(s)
	if code, ok := countries[c]; ok {
		return code
	}
	return strings.ToUpper(c)
}

var countries = map[string]string{
	"germany": "DE", "deutschland": "DE", "allemagne": "DE", "deu": "DE", "ger": "DE", "d": "DE",
	"austria": "AT", "oesterreich": "AT", "autriche": "AT", "aut": "AT",
	"switzerland": "CH", "schweiz": "CH", "suisse": "CH", "svizzera": "CH", "che": "CH",
	"france": "FR", "frankreich": "FR", "fra": "FR", "f": "FR",
	"italy": "IT", "italien": "IT", "italia": "IT", "ita": "IT", "i": "IT",
	"spain": "ES", "spanien": "ES", "espana": "ES", "esp": "ES",
	"portugal": "PT", "prt": "PT", "netherlands": "NL", "niederlande": "NL", "nederland": "NL", "holland": "NL", "nld": "NL", "thenetherlands": "NL",
	"belgium": "BE", "belgien": "BE", "belgique": "BE", "belgie": "BE", "bel": "BE", "luxembourg": "LU", "luxemburg": "LU", "lux": "LU",
	"unitedkingdom": "GB", "uk": "GB", "greatbritain": "GB", "england": "GB", "gbr": "GB", "scotland": "GB", "wales": "GB",
	"ireland": "IE", "irland": "IE", "irl": "IE", "unitedstates": "US", "unitedstatesofamerica": "US", "usa": "US", "america": "US",
	"canada": "CA", "kanada": "CA", "can": "CA", "mexico": "MX", "mexiko": "MX", "mex": "MX", "brazil": "BR", "brasil": "BR", "brasilien": "BR", "bra": "BR",
	"poland": "PL", "polen": "PL", "polska": "PL", "pol": "PL", "czechrepublic": "CZ", "czechia": "CZ", "tschechien": "CZ", "cze": "CZ",
	"slovakia": "SK", "slowakei": "SK", "hungary": "HU", "ungarn": "HU", "hun": "HU", "sweden": "SE", "schweden": "SE", "sverige": "SE", "swe": "SE",
	"norway": "NO", "norwegen": "NO", "norge": "NO", "nor": "NO", "denmark": "DK", "daenemark": "DK", "danmark": "DK", "dnk": "DK",
	"finland": "FI", "finnland": "FI", "suomi": "FI", "fin": "FI", "greece": "GR", "griechenland": "GR", "grc": "GR", "el": "GR",
	"romania": "RO", "rumaenien": "RO", "bulgaria": "BG", "bulgarien": "BG", "croatia": "HR", "kroatien": "HR", "slovenia": "SI", "slowenien": "SI",
	"vietnam": "VN", "vnm": "VN", "ukraine": "UA", "serbia": "RS", "serbien": "RS", "estonia": "EE", "estland": "EE", "latvia": "LV", "lettland": "LV",
	"lithuania": "LT", "litauen": "LT", "iceland": "IS", "island": "IS", "argentina": "AR", "chile": "CL", "colombia": "CO", "southafrica": "ZA", "rus": "RU", "tur": "TR",
	"turkey": "TR", "tuerkei": "TR", "turkiye": "TR", "russia": "RU", "russland": "RU", "japan": "JP", "jpn": "JP", "china": "CN", "chn": "CN",
	"india": "IN", "indien": "IN", "ind": "IN", "australia": "AU", "australien": "AU", "aus": "AU", "newzealand": "NZ", "singapore": "SG", "singapur": "SG",
}
