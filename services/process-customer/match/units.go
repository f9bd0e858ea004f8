package match

import (
	"slices"
	"strings"
)

// isUnit reports whether word i of a name tells parts of a group of companies apart: names that differ in nothing else are sister
// companies.
func (v *value) isUnit(i int) bool { return i < 64 && v.units&(1<<i) != 0 }

// unitWord reports whether a word tells parts of a group apart wherever it is found. Which others do so, is learned: see
// learnUnits. It forgives a typing error, and an end that a short field has cut off.
func unitWord(w string) bool {
	if w == "" {
		return false
	}
	for _, u := range unitWords[w[0]] {
		if w == u || (len(w) > 6 && (near(w, u) || (len(w) < len(u) && u[:len(w)] == w))) {
			return true
		}
	}
	return false
}

var unitWords = byFirst(unitList)

func byFirst(list string) (by [256][]string) {
	for w := range strings.FieldsSeq(list) {
		by[w[0]] = append(by[w[0]], w)
	}
	return by
}

// unit reports whether a word was learned to tell parts of a group apart.
func (f *Frequencies) unit(name, word string) bool {
	if len(f.Units[name]) == 0 {
		return false
	}
	_, found := slices.BinarySearch(f.Units[name], hashWord(word))
	return found
}

// Words in many languages for what a part of a group does or where it is. What is as often the trade of a company of its own,
// such as trading or consulting, is left to be learned.
//
//nolint:misspell // they are not English
const unitList = `
academy africa akademia akademie akademija aluguer america americas arrendamento asia austria balkan baltic befektetesi
beheer beheermaatschappij beleggingen belgie belgique belgium benelux besitz beteiligung beteiligungen beteiligungs
beteiligungsgesellschaft branch brasil brazil canada cesko china czechia dagitim danmark deutschland dianomi diensten
dienstleistungen dienstverlening distribucao distribucija distribucion distribuicao distribuidora distributie distribution
distribuzione dystrybucja east eesti emea ependyseis espana europa europe export exports filiale finance finances financial
financiera financni finans finanse finanz finanzas finland foersaeljning fondation fondazione forsaljning foundation france
fundacao fundacion fundacja germany gestao gestion gestione global groep group groupe grubu grundbesitz grup grupa grupo
grupp gruppa gruppe gruppen gruppo hizmetleri holding holdinggesellschaft holdings hrvatska hungary huolto iberia iberica
import imports india internacional international internationale intl inversiones invest investering investeringen
investeringer investice investicie investicije investimenti investimentos investissement investissements investment
investments inwestycje ireland isletmesi italia italy japan kapital latvija leasing lietuva lizing logistica logisticas
logistics logistiek logistik logistika logistiki logistique logistyka lojistik luxembourg magyarorszag management mexico
myynti nederland netherlands niederlassung nord nordic nordics norge norte north oddzial oesterreich omilos ost osterreich
palvelut pazarlama plant poland polska portugal producao produccion production productions produkcja produktion produktions
produzione rent rental romania russia sales salg schweiz service services servicio servicios servicos servis servisi servizi
serwis sever slovakia slovenija slovensko south spain sprava spravni stichting stiftelse stiftelsen stiftung subsidiary
sucursal sud sued suisse suomi sur sverige svizzera sweden switzerland szolgaltato taiwan tjaenster tjanster tjenester turkey
turkiye uk ukraine usa vakif vendas vendita vendite ventas ventes verhuur verkoop vermietung vermoegensverwaltung vertrieb
vertriebs vertriebsgesellschaft verwaltung verwaltungs verwaltungsgesellschaft vietnam werk west worldwide yatirim
yatirimlari ypiresies ypostirixi zagranica zapad zarzadzanie zweigniederlassung
`
