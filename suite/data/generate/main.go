// Command generate selects the sample data: whole customers, with every row that either system has of them, so that the
// sample overlaps, contradicts and repeats itself exactly as the full set does.
//
// The selection depends only on the ids in the full set: running it again gives the same files.
//
//	go run ./data/generate -from DIR -to data/sample
package main

import (
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/suite/data"
)

func main() {
	from := flag.String("from", "", "directory with the full accounts.csv and contacts.csv")
	to := flag.String("to", "", "directory to write the sample to")
	accounts := flag.Int("salesforce", 300, "Salesforce accounts to select")
	customers := flag.Int("erp", 250, "ERP customers to select")
	contacts := flag.Int("contacts", 500, "contacts to select, both sides together")
	flag.Parse()
	if err := run(*from, *to, *accounts, *customers, *contacts); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(from, to string, accounts, customers, contacts int) error {
	if from == "" || to == "" {
		return errors.New("both -from and -to are needed")
	}
	full, err := data.Read(os.DirFS(from))
	if err != nil {
		return err
	}
	picked := pick(full, accounts, customers, contacts)
	rows := [][]string{{"source", "record_id", "truth_id", "name", "street", "city", "postcode", "country", "phone", "website", "vat_id"}}
	for _, a := range picked.Accounts {
		rows = append(rows, []string{a.Source, a.RecordID, a.TruthID, a.Name, a.Street, a.City, a.Postcode, a.Country, a.Phone, a.Website, a.VATID})
	}
	if err := write(filepath.Join(to, "accounts.csv"), rows); err != nil {
		return err
	}
	rows = [][]string{{"source", "record_id", "truth_id", "first_name", "last_name", "email", "phone", "mobile", "title", "account_id", "account_name", "city"}}
	for _, c := range picked.Contacts {
		rows = append(rows, []string{c.Source, c.RecordID, c.TruthID, c.FirstName, c.LastName, c.Email, c.Phone, c.Mobile, c.Title, c.AccountID, c.AccountName, c.City})
	}
	return write(filepath.Join(to, "contacts.csv"), rows)
}

// pick takes customers in the order of their ids' hashes, each with all its rows, as long as neither side gets too many.
func pick(full *data.Set, accounts, customers, contacts int) data.Set {
	rows := map[string][]data.Account{}
	var ids []string
	for _, a := range full.Accounts {
		if rows[a.TruthID] == nil {
			ids = append(ids, a.TruthID)
		}
		rows[a.TruthID] = append(rows[a.TruthID], a)
	}
	slices.SortFunc(ids, byHash)
	left := map[string]int{data.Salesforce: accounts, data.ERP: customers}
	taken := map[string]bool{}
	var out data.Set
	for _, id := range ids {
		need := map[string]int{}
		for _, a := range rows[id] {
			need[a.Source]++
		}
		if need[data.Salesforce] > left[data.Salesforce] || need[data.ERP] > left[data.ERP] {
			continue
		}
		for _, a := range rows[id] {
			left[a.Source]--
			taken[a.Source+a.RecordID] = true
			out.Accounts = append(out.Accounts, a)
		}
	}
	for _, c := range full.Contacts {
		if taken[c.Source+c.AccountID] {
			out.Contacts = append(out.Contacts, c)
		}
	}
	slices.SortFunc(out.Contacts, func(a, b data.Contact) int { return byHash(a.RecordID, b.RecordID) })
	out.Contacts = out.Contacts[:min(contacts, len(out.Contacts))]
	slices.SortFunc(out.Accounts, func(a, b data.Account) int { return strings.Compare(a.Source+a.RecordID, b.Source+b.RecordID) })
	slices.SortFunc(out.Contacts, func(a, b data.Contact) int { return strings.Compare(a.Source+a.RecordID, b.Source+b.RecordID) })
	return out
}

func byHash(a, b string) int {
	hash := func(s string) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(s)) // never fails
		x := h.Sum64()
		x ^= x >> 33 // FNV leaves the high bits of near ids close together
		x *= 0xff51afd7ed558ccd
		return x ^ x>>33
	}
	if x, y := hash(a), hash(b); x != y {
		if x < y {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

func write(path string, rows [][]string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	return errors.Join(w.WriteAll(rows), f.Close())
}
