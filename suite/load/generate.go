package load

import (
	"fmt"
	"strconv"

	"github.com/selfsame-io/selfsame/suite/data"
)

var (
	streets = []string{"Hauptstraße", "Gartenstraße", "Bahnhofstraße", "Rue de la Gare", "Mühlenweg", "Church Ave", "Kirchplatz"}
	towns   = []string{"Leipzig", "Linz", "Bremen", "Lyon", "Graz", "Köln", "Basel", "Utrecht"}
	lands   = []string{"DE", "AT", "DE", "FR", "AT", "DE", "CH", "NL"}
	trades  = []string{"Immobile", "Medizintechnik", "Elektro", "Textil", "Maschinenbau", "Logistik", "Optik"}
	forms   = []string{"GmbH", "AG", "KG", "SA", "e.K."}
	given   = []string{"Chiara", "Lukas", "Klaus", "Anna", "Marie", "Jonas", "Paul", "Lea", "Noah", "Ida"}
	family  = []string{"Schröder", "Schreiber", "Böhm", "Weber", "Koch", "Lehmann", "Schmidt", "Fischer"}
)

// Generate returns a data set of n different customers, always the same for the same n: half of them stand in both
// systems, a quarter only in Salesforce and a quarter only in the ERP. Every second customer has a contact. Where a
// customer stands in both, the two disagree about the phone number, and the ERP writes the name in capitals: so every
// such pair has to be matched, merged and written back. After the sync each system holds n accounts and n/2 contacts.
//
// Nothing in it is random and no two customers resemble each other: how good matching is, is measured elsewhere.
func Generate(n int) *data.Set {
	set := &data.Set{}
	for i := range n {
		sf, erp := i%4 != 3, i%4 != 2
		if sf {
			set.Accounts = append(set.Accounts, account(i, data.Salesforce))
		}
		if erp {
			set.Accounts = append(set.Accounts, account(i, data.ERP))
		}
		if i%8 >= 4 {
			continue
		}
		if sf {
			set.Contacts = append(set.Contacts, contact(i, data.Salesforce))
		}
		if erp {
			set.Contacts = append(set.Contacts, contact(i, data.ERP))
		}
	}
	return set
}

func recordID(source, kind string, i int) string {
	if source == data.ERP {
		return fmt.Sprintf("B%s%07d", kind, i)
	}
	return fmt.Sprintf("S%s%07d", kind, i)
}

func account(i int, source string) data.Account {
	town := i % len(towns)
	a := data.Account{
		Source: source, RecordID: recordID(source, "P", i), TruthID: "O" + strconv.Itoa(i),
		Name:   fmt.Sprintf("%s %s %d %s", family[i%len(family)], trades[i%len(trades)], i, forms[i%len(forms)]),
		Street: fmt.Sprintf("%s %d", streets[i%len(streets)], i%240+1),
		City:   towns[town], Postcode: fmt.Sprintf("%05d", 10000+i%89999), Country: lands[town],
		Phone: fmt.Sprintf("+49 30 %08d", i), Website: fmt.Sprintf("https://www.customer-%d.example", i),
		VATID: fmt.Sprintf("DE%09d", 100000000+i),
	}
	if source == data.ERP {
		a.Name, a.Phone = capitals(a.Name), fmt.Sprintf("030 / %08d", i)
	}
	return a
}

func contact(i int, source string) data.Contact {
	return data.Contact{
		Source: source, RecordID: recordID(source, "C", i), TruthID: "P" + strconv.Itoa(i),
		FirstName: given[i%len(given)], LastName: family[(i/3)%len(family)],
		Email: fmt.Sprintf("person.%d@customer-%d.example", i, i), Phone: fmt.Sprintf("+49 30 %08d", i),
		Mobile: fmt.Sprintf("+49 171 %07d", i), Title: "CEO",
		AccountID: recordID(source, "P", i), City: towns[i%len(towns)],
	}
}

// capitals leaves what is not ASCII as it is, as old systems do.
func capitals(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}
