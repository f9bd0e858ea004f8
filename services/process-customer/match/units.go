package match

import (
	"slices"
	"strings"
)

// isUnit reports whether word i of a name tells parts of a group of companies apart: names that differ in nothing else are sister
// companies.
func (v *value) isUnit(i int) bool {
	return (i < 64 && v.units&(1<<i) != 0) || unitClass(v.words[i]) != 0
}

// unitClass returns what a word says that tells parts of a group apart wherever it is found; 0 when it is none. Deutschland and
// Germany are one class: names that have one each are no sisters. Which other words do so, is learned: see learnUnits. It forgives
// two letters that have changed places and, in a long word, other typing errors and an end that a short field has cut off; many a
// surname is near to a short one.
func unitClass(w string) int {
	if c := unitWords[w]; c != 0 || len(w) < longUnit {
		return c
	}
	for _, u := range longUnits[w[0]] {
		if transposed(w, u) || (len(w) > 9 && near(w, u)) || (len(w) > 8 && len(w) < len(u) && u[:len(w)] == w) {
			return unitWords[u]
		}
	}
	return 0
}

// longUnit is how many letters a word has at least for which an error is forgiven.
const longUnit = 7

// transposed reports whether two words differ by two letters that have changed places.
func transposed(x, y string) bool {
	if len(x) != len(y) {
		return false
	}
	i := 0
	for i < len(x)-2 && x[i] == y[i] {
		i++
	}
	return x[i] == y[i+1] && x[i+1] == y[i] && x[i+2:] == y[i+2:]
}

// pairUnits pairs off what is left over of two names and says the same in other words: Gruppe and Group.
func (o *overlap) pairUnits(a, b *value, usedA, usedB *uint32, na, nb int) {
	var classes [32]int
	for i := range na {
		if *usedA&(1<<i) == 0 {
			classes[i] = unitClass(a.words[i])
		}
	}
	if classes == [32]int{} {
		return
	}
	for j := range nb {
		if *usedB&(1<<j) != 0 {
			continue
		}
		c := unitClass(b.words[j])
		if i := slices.Index(classes[:na], c); c != 0 && i >= 0 {
			*usedA |= 1 << i
			*usedB |= 1 << j
			classes[i] = 0
			o.same += min(weight(a, i), weight(b, j))
		}
	}
}

var (
	unitWords = byClass(unitList)
	longUnits = byFirst(unitWords)
)

func byClass(list string) map[string]int {
	by, class := map[string]int{}, 0
	for line := range strings.Lines(list) {
		class++
		for w := range strings.FieldsSeq(line) {
			by[w] = class
		}
	}
	return by
}

// byFirst lists the words that a longer one can be taken for, by their first letter.
func byFirst(words map[string]int) (by [256][]string) {
	for w := range words {
		if len(w) >= longUnit {
			by[w[0]] = append(by[w[0]], w)
		}
	}
	for i := range by {
		slices.Sort(by[i])
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

// Words in many languages for what a part of a group does or where it is: a line for each meaning. What is as often the trade of a
// company of its own, such as trading or consulting, is left to be learned.
//
//nolint:misspell // they are not English
const unitList = `
academy akademia akademie akademija
aluguer arrendamento rent rental verhuur vermietung
befektetesi beleggingen ependyseis inversiones invest investering investeringen investeringer investice investicie investicije investimenti investimentos investissement investissements investment investments inwestycje yatirim yatirimlari
beheer beheermaatschappij gestao gestion gestione management sprava spravni verwaltung verwaltungs verwaltungsgesellschaft zarzadzanie
besitz grundbesitz
beteiligung beteiligungen beteiligungs beteiligungsgesellschaft
branch filiale niederlassung oddzial subsidiary sucursal zweigniederlassung
dagitim dianomi distribucao distribucija distribucion distribuicao distribuidora distributie distribution distribuzione dystrybucja
diensten dienstleistungen dienstverlening hizmetleri huolto palvelut service services servicio servicios servicos servis servisi servizi serwis szolgaltato tjaenster tjanster tjenester ypiresies
export exports
finance finances financial financiera financni finans finanse finanz finanzas
foersaeljning forsaljning myynti sales salg vendas vendita vendite ventas ventes verkoop vertrieb vertriebs vertriebsgesellschaft
fondation fondazione foundation fundacao fundacion fundacja stichting stiftelse stiftelsen stiftung vakif
global worldwide
groep group groupe grubu grup grupa grupo grupp gruppa gruppe gruppen gruppo omilos
holding holdinggesellschaft holdings
import imports
internacional international internationale intl
isletmesi
kapital
leasing lizing
logistica logisticas logistics logistiek logistik logistika logistiki logistique logistyka lojistik
pazarlama
plant werk
producao produccion production productions produkcja produktion produktions produzione
vermoegensverwaltung
ypostirixi
zagranica
africa
america americas usa
asia
austria oesterreich osterreich
balkan
baltic
belgie belgique belgium
benelux
brasil brazil
canada
cesko czechia
china
danmark
deutschland germany
east ost
eesti
emea
espana spain
europa europe
finland suomi
france
hrvatska
hungary magyarorszag
iberia iberica
india
ireland
italia italy
japan
latvija
lietuva
luxembourg
mexico
nederland netherlands
nord norte north sever
nordic nordics
norge
poland polska
portugal
romania
russia
schweiz suisse svizzera switzerland
slovakia slovensko
slovenija
south sud sued sur
sverige sweden
taiwan
turkey turkiye
uk
ukraine
vietnam
west zapad
`
