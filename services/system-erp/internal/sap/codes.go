package sap

import (
	"maps"
	"strings"
)

// codes translates between canonical codes and those of one SAP system. It is immutable.
type codes struct {
	// toRegion is by country and subdivision ("DE-BY"), fromRegion by country and SAP's region ("DE-09").
	toRegion, fromRegion map[string]string
	// own are the countries whose regions in SAP are a table of their own; elsewhere the codes are the same.
	own map[string]bool
	// toUnit leads from Rec 20 to ISO codes in SAP; fromUnit leads from those, and from internal and English units, to Rec 20.
	toUnit, fromUnit map[string]string
	// external is by ISO code the unit in the logon language, for releases that take no other.
	external map[string]string
	// toTax leads from schemes to types, fromTax back; eu_vat is not in them.
	toTax, fromTax map[string]string
}

// units are ISO code, internal unit, English unit and Rec 20. A piece is C62 in our contract.
func units() [][4]string {
	return [][4]string{
		{"PCE", "ST", "PC", "C62"},
		{"EA", "EA", "EA", "EA"},
		{"KGM", "KG", "KG", "KGM"},
		{"GRM", "G", "G", "GRM"},
		{"TNE", "TO", "TO", "TNE"},
		{"LTR", "L", "L", "LTR"},
		{"MTR", "M", "M", "MTR"},
		{"CT", "KAR", "CAR", "CT"},
		{"PK", "PAK", "PAC", "PK"},
		{"PR", "PAA", "PAA", "PR"},
		{"HUR", "STD", "H", "HUR"},
	}
}

// germany and austria are the regions that SAP numbers in its own way.
const (
	germany = "SH=01 HH=02 NI=03 HB=04 NW=05 HE=06 RP=07 BW=08 BY=09 SL=10 BE=11 BB=12 MV=13 SN=14 ST=15 TH=16"
	austria = "1=B 2=K 3=NOE 4=OOE 5=S 6=ST 7=T 8=V 9=W"
)

func newCodes(c Config) *codes {
	t := &codes{
		toRegion: map[string]string{}, fromRegion: map[string]string{}, own: map[string]bool{}, toUnit: map[string]string{}, fromUnit: map[string]string{},
		external: map[string]string{}, toTax: maps.Clone(c.TaxTypes), fromTax: map[string]string{},
	}
	add := func(country, iso, region string) {
		t.toRegion[country+"-"+iso], t.fromRegion[country+"-"+region], t.own[country] = region, iso, true
	}
	for country, table := range map[string]string{"DE": germany, "AT": austria} {
		for pair := range strings.FieldsSeq(table) {
			iso, region, _ := strings.Cut(pair, "=")
			add(country, iso, region)
		}
	}
	for k, region := range c.Regions {
		country, iso, _ := strings.Cut(k, "-")
		add(country, iso, region)
	}
	for _, u := range units() {
		t.toUnit[u[3]], t.external[u[0]] = u[0], u[2]
		for _, code := range u[:3] {
			t.fromUnit[code] = u[3]
		}
	}
	for rec, iso := range c.Units {
		t.toUnit[rec], t.fromUnit[iso] = iso, rec
	}
	for scheme, kind := range c.TaxTypes {
		t.fromTax[kind] = scheme
	}
	return t
}

// region translates a subdivision; false when SAP has none like it.
func (t *codes) region(country, iso string) (string, bool) {
	if iso == "" {
		return "", true
	}
	if t.own[country] {
		r, ok := t.toRegion[country+"-"+iso]
		return r, ok
	}
	return iso, len(iso) <= 3 && iso == strings.ToUpper(iso)
}

// subdivision translates a region back; an unknown one stays as it is.
func (t *codes) subdivision(country, region string) string {
	if iso, ok := t.fromRegion[country+"-"+region]; ok {
		return iso
	}
	return region
}

// rec20 translates a unit of SAP; an unknown one stays as it is, so that nothing is taken for something else.
func (t *codes) rec20(unit string) string {
	if rec, ok := t.fromUnit[unit]; ok {
		return rec
	}
	return unit
}

// vat is the scheme of the value added tax numbers of the EU; their types in SAP are the country with a zero.
const vat = "eu_vat"

// taxType is SAP's type of a tax number; false when there is none.
func (t *codes) taxType(scheme, value string) (string, bool) {
	if scheme != vat {
		kind, ok := t.toTax[scheme]
		return kind, ok
	}
	if len(value) < 4 || len(value) > 20 || strings.Trim(value[:2], "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || strings.ContainsAny(value, " .-/") {
		return "", false
	}
	switch country := value[:2]; country {
	case "EL":
		return "GR0", true
	default:
		return country + "0", true
	}
}

// scheme is ours of a type; false when we have none.
func (t *codes) scheme(kind, value string) (string, bool) {
	if s, ok := t.fromTax[kind]; ok {
		return s, true
	}
	if len(kind) == 3 && kind[2] == '0' && len(value) > 2 && (value[:2] == kind[:2] || kind == "GR0" && value[:2] == "EL") {
		return vat, true
	}
	return "", false
}
