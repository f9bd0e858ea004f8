package normal

import (
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// PhoneNumber is a phone number in normal form.
type PhoneNumber struct {
	// Country is the calling code, such as 49; zero when the number does not tell and the country is not known.
	Country int
	// National holds the digits without calling code and trunk zero.
	National string
}

// Phone parses a phone number. Country is the ISO code of the country it is dialled from, for numbers without a calling
// code; it may be empty. A number that no numbering plan knows keeps its digits.
func Phone(s, country string) PhoneNumber {
	text := strings.TrimSpace(s)
	if rest, ok := strings.CutPrefix(text, "00"); ok {
		text = "+" + rest
	}
	region := Country(country)
	if strings.HasPrefix(text, "+") {
		if n, err := phonenumbers.Parse(text, region); err == nil {
			return phone(int(n.GetCountryCode()), phonenumbers.GetNationalSignificantNumber(n))
		}
		return phone(0, Digits(s))
	}
	code, digits := 0, Digits(s)
	if len(region) == 2 {
		code = phonenumbers.GetCountryCodeForRegion(region)
	}
	if code == 1 && len(digits) == 11 && digits[0] == '1' {
		digits = digits[1:]
	}
	return phone(code, digits)
}

// phone leaves off the zeros in front, and all of what cannot be a number.
func phone(code int, digits string) PhoneNumber {
	digits = strings.TrimLeft(digits, "0")
	if len(digits) < 5 || strings.Count(digits, digits[:1]) == len(digits) {
		return PhoneNumber{}
	}
	return PhoneNumber{code, digits}
}

// Mailbox is an e-mail address in normal form.
type Mailbox struct {
	Local, Domain string
	// Role is true when the address belongs to a function such as info@, not to one person: many records share it.
	Role bool
	// Free is true when anybody can have an address of the domain, so that sharing the domain says nothing.
	Free bool
}

// Email parses an e-mail address: lower case, without a +tag, and for the providers that ignore them, without dots.
// Domain is empty for what is not an address; Local then holds the text.
func Email(s string) Mailbox {
	s = strings.ToLower(strings.TrimSpace(s))
	local, domain, ok := strings.Cut(s, "@")
	domain = strings.Trim(domain, ".")
	if !ok || local == "" || domain == "" || strings.ContainsAny(s, " \t|") || strings.Contains(domain, "@") {
		return Mailbox{Local: Text(s)}
	}
	if plain, _, tagged := strings.Cut(local, "+"); tagged && plain != "" {
		local = plain
	}
	if domain == "googlemail.com" {
		domain = "gmail.com"
	}
	if domain == "gmail.com" {
		if plain := strings.ReplaceAll(local, ".", ""); plain != "" {
			local = plain
		}
	}
	return Mailbox{Local: local, Domain: domain, Role: roleMailbox(local), Free: freeMail(domain)}
}

// Domain returns the host of a web site or e-mail address without www; empty for what has no dot.
func Domain(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		s = s[:i]
	}
	for {
		rest, ok := strings.CutPrefix(s, "www.")
		if !ok {
			break
		}
		s = rest
	}
	s = strings.Trim(s, ". ")
	if !strings.Contains(s, ".") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == unicode.ReplacementChar || unicode.IsSpace(r) }) {
		return ""
	}
	return s
}

// DomainName returns the name that was registered, without its top level: acme for www.shop.acme.co.uk.
func DomainName(domain string) string {
	labels := strings.Split(domain, ".")
	n := len(labels)
	if n < 2 {
		return domain
	}
	if n > 2 && len(labels[n-1]) == 2 {
		switch labels[n-2] {
		case "co", "com", "org", "net", "ac", "gov", "or", "ne":
			return labels[n-3]
		}
	}
	return labels[n-2]
}

func roleMailbox(local string) bool {
	switch local {
	case "accounting", "accounts", "accountspayable", "admin", "administration", "ap", "billing", "bookings", "careers", "contact",
		"customerservice", "finance", "hello", "help", "helpdesk", "hr", "info", "information", "invoice", "invoices", "jobs", "mail",
		"marketing", "no-reply", "noreply", "office", "order", "orders", "post", "postmaster", "press", "purchasing", "reception", "sales",
		"service", "support", "team", "webmaster",
		"bewerbung", "buchhaltung", "einkauf", "empfang", "kontakt", "kundenservice", "personal", "rechnung", "rechnungen", "sekretariat",
		"verkauf", "vertrieb", "verwaltung", "zentrale",
		"accueil", "achats", "bureau", "commercial", "compta", "comptabilite", "facturation", "secretariat", "ventes",
		"administracion", "atencioncliente", "comercial", "compras", "contabilidad", "contacto", "facturacion", "oficina", "pedidos", "ventas",
		"acquisti", "amministrazione", "commerciale", "contabilita", "contatti", "fatture", "ordini", "segreteria", "ufficio", "vendite",
		"administracao", "contabilidade", "contato", "encomendas", "faturacao", "geral", "secretaria", "vendas",
		"administratie", "boekhouding", "facturen", "inkoop", "klantenservice", "verkoop",
		"biuro", "faktury", "ksiegowosc", "secretariaat", "sprzedaz", "zakupy", "zamowienia",
		"fakturace", "nakup", "obchod", "objednavky", "podpora", "prodej", "uctarna", "iroda", "ertekesites", "szamlazas",
		"bestilling", "bogholderi", "ekonomi", "faktura", "forsaljning", "indkob", "inkop", "innkjop", "kundeservice", "kundtjanst", "oekonomi",
		"okonomi", "regnskab", "regnskap", "salg", "laskutus", "myynti", "toimisto",
		"bilgi", "destek", "iletisim", "muhasebe", "satinalma", "satis", "grammateia", "logistirio", "poliseis", "buh", "otdel", "zakaz", "zakupki":
		return true
	default:
		return false
	}
}

func freeMail(domain string) bool {
	switch domain {
	case "163.com", "126.com", "abv.bg", "aol.com", "bk.ru", "bluewin.ch", "bol.com.br", "centrum.cz", "citromail.hu", "free.fr", "freemail.hu",
		"inbox.lv", "inbox.ru", "interia.pl", "kpnmail.nl", "list.ru", "mynet.com", "naver.com", "o2.pl", "onet.pl", "op.pl", "otenet.gr", "planet.nl",
		"poczta.onet.pl", "rambler.ru", "sapo.pt", "seznam.cz", "skynet.be", "telenet.be", "telia.com", "telia.se", "terra.com.br", "tlen.pl",
		"uol.com.br", "ukr.net", "vp.pl", "xs4all.nl", "ziggo.nl", "zoho.com", "freenet.de", "gmail.com",
		"icloud.com", "laposte.net", "libero.it", "mac.com", "mail.com", "mail.ru", "mailbox.org", "me.com", "msn.com",
		"orange.fr", "pm.me", "posteo.de", "proton.me", "protonmail.com", "qq.com", "sfr.fr", "t-online.de", "virgilio.it",
		"wanadoo.fr", "web.de", "wp.pl", "yandex.com", "yandex.ru":
		return true
	}
	provider, _, _ := strings.Cut(domain, ".")
	switch provider {
	case "gmx", "hotmail", "live", "outlook", "yahoo", "ymail":
		return true
	default:
		return false
	}
}
