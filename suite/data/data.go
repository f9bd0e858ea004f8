// Package data reads customers and contacts as two systems keep them, from CSV files.
//
// A data set is a directory with accounts.csv and contacts.csv. The rows of both systems stand in one file, told apart by
// the column source ("SF" or "ERP"); truth_id says which rows are the same customer or person. It is for measuring only:
// nothing that Selfsame does may read it.
//
// Invariant: a Set that was read is complete: every contact's account exists on the same side, ids are unique per side.
// A directory that breaks this is refused as a whole, with every error's file, line and column.
package data

import (
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The two sides of a data set.
const (
	Salesforce = "SF"
	ERP        = "ERP"
)

// maxErrors is how many errors are reported before reading stops.
const maxErrors = 50

//go:embed sample/*.csv
var sample embed.FS

// Account is a customer as one system keeps it.
type Account struct {
	Source, RecordID, TruthID, Name, Street, City, Postcode, Country, Phone, Website, VATID string
}

// Contact is a person as one system keeps them.
type Contact struct {
	Source, RecordID, TruthID, FirstName, LastName, Email, Phone, Mobile, Title, AccountID, AccountName, City string
}

// Set is a data set, in the order of its files.
type Set struct {
	Accounts []Account
	Contacts []Contact
}

// Error is one thing wrong with a data set.
type Error struct {
	// File is the file's name without its directory.
	File string
	// Line counts from 1; zero when the file as a whole is meant.
	Line int
	// Column is the column's name; empty when the line as a whole is meant.
	Column string
	// Reason is for people and holds no value of a field.
	Reason string
}

// Error implements error.
func (e *Error) Error() string {
	at := e.File
	if e.Line > 0 {
		at += ":" + strconv.Itoa(e.Line)
	}
	if e.Column != "" {
		at += ": " + e.Column
	}
	return at + ": " + e.Reason
}

// Sample returns the data set that comes with Selfsame.
func Sample() (*Set, error) {
	sub, err := fs.Sub(sample, "sample")
	if err != nil {
		return nil, fmt.Errorf("open sample data: %w", err)
	}
	return Read(sub)
}

// Read reads the data set in a directory. Its error joins up to 50 errors of type *Error.
func Read(dir fs.FS) (*Set, error) {
	r := &reader{dir: dir, accounts: map[string]bool{}}
	set := &Set{}
	contacts := map[string]bool{}
	r.file("accounts.csv", accountColumns, func(row row) {
		a := row.account()
		if r.accounts[a.Source+a.RecordID] {
			row.refuse("record_id", "stands in the file twice")
		}
		r.accounts[a.Source+a.RecordID] = true
		set.Accounts = append(set.Accounts, a)
	})
	r.file("contacts.csv", contactColumns, func(row row) {
		c := row.contact()
		if contacts[c.Source+c.RecordID] {
			row.refuse("record_id", "stands in the file twice")
		}
		contacts[c.Source+c.RecordID] = true
		if c.AccountID != "" && !r.accounts[c.Source+c.AccountID] {
			row.refuse("account_id", "names no account of the same source")
		}
		set.Contacts = append(set.Contacts, c)
	})
	if len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	return set, nil
}

// column is what a field must look like. Limits are those of the narrower of the two systems, in characters. Whether an
// e-mail address or a phone number is a sensible one is left to the systems: real data has bad ones, and so have the files.
type column struct {
	name     string
	max      int
	required bool
	form     *regexp.Regexp
	says     string
}

var (
	formSource  = regexp.MustCompile(`^(SF|ERP)$`)
	formCountry = regexp.MustCompile(`^([A-Z]{2})?$`)

	accountColumns = []column{
		{name: "source", max: 3, required: true, form: formSource, says: "must be SF or ERP"},
		{name: "record_id", max: 40, required: true},
		{name: "truth_id", max: 64},
		{name: "name", max: 255, required: true},
		{name: "street", max: 255},
		{name: "city", max: 40},
		{name: "postcode", max: 20},
		{name: "country", max: 2, form: formCountry, says: "must be a two-letter code in capitals"},
		{name: "phone", max: 40},
		{name: "website", max: 255},
		{name: "vat_id", max: 32},
	}
	contactColumns = []column{
		{name: "source", max: 3, required: true, form: formSource, says: "must be SF or ERP"},
		{name: "record_id", max: 40, required: true},
		{name: "truth_id", max: 64},
		{name: "first_name", max: 40},
		{name: "last_name", max: 80, required: true},
		{name: "email", max: 80},
		{name: "phone", max: 40},
		{name: "mobile", max: 40},
		{name: "title", max: 128},
		{name: "account_id", max: 40},
		{name: "account_name", max: 255},
		{name: "city", max: 40},
	}
)

// reader reads one data set and collects what is wrong with it.
type reader struct {
	dir      fs.FS
	accounts map[string]bool
	errs     []error
}

// row is one line, checked.
type row struct {
	r    *reader
	file string
	line int
	at   map[string]int
	vals []string
}

func (w row) get(name string) string { return strings.TrimSpace(w.vals[w.at[name]]) }

func (w row) refuse(column, reason string) { w.r.fail(w.file, w.line, column, reason) }

func (w row) account() Account {
	return Account{
		Source: w.get("source"), RecordID: w.get("record_id"), TruthID: w.get("truth_id"), Name: w.get("name"),
		Street: w.get("street"), City: w.get("city"), Postcode: w.get("postcode"), Country: w.get("country"),
		Phone: w.get("phone"), Website: w.get("website"), VATID: w.get("vat_id"),
	}
}

func (w row) contact() Contact {
	return Contact{
		Source: w.get("source"), RecordID: w.get("record_id"), TruthID: w.get("truth_id"),
		FirstName: w.get("first_name"), LastName: w.get("last_name"), Email: w.get("email"), Phone: w.get("phone"),
		Mobile: w.get("mobile"), Title: w.get("title"), AccountID: w.get("account_id"), AccountName: w.get("account_name"),
		City: w.get("city"),
	}
}

func (r *reader) fail(file string, line int, column, reason string) {
	if len(r.errs) < maxErrors {
		r.errs = append(r.errs, &Error{File: file, Line: line, Column: column, Reason: reason})
	}
}

// file reads one file and calls fn with every line that has the right shape.
func (r *reader) file(name string, columns []column, fn func(row)) {
	f, err := r.dir.Open(name)
	if err != nil {
		reason := "cannot be opened"
		if errors.Is(err, fs.ErrNotExist) {
			reason = "does not exist"
		}
		r.fail(name, 0, "", reason)
		return
	}
	defer f.Close()
	in := csv.NewReader(f)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		r.fail(name, 1, "", "is not a line of CSV with the names of the columns")
		return
	}
	at, ok := r.header(name, slices.Clone(header), columns)
	if !ok {
		return
	}
	for len(r.errs) < maxErrors {
		vals, err := in.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		line, _ := in.FieldPos(0)
		if err != nil {
			var bad *csv.ParseError
			if !errors.As(err, &bad) {
				r.fail(name, 0, "", "cannot be read")
				return
			}
			r.fail(name, bad.Line, "", bad.Err.Error())
			if !errors.Is(err, csv.ErrFieldCount) {
				return // where the next line begins is not known
			}
			continue
		}
		w := row{r: r, file: name, line: line, at: at, vals: vals}
		if w.check(columns) {
			fn(w)
		}
	}
}

// header finds the columns, in any order. Columns that are not known are left alone.
func (r *reader) header(name string, header []string, columns []column) (map[string]int, bool) {
	at := map[string]int{}
	for i, h := range header {
		at[strings.TrimSpace(strings.TrimPrefix(h, "\ufeff"))] = i
	}
	ok := true
	for _, c := range columns {
		if _, have := at[c.name]; !have {
			r.fail(name, 1, c.name, "the column is missing")
			ok = false
		}
	}
	return at, ok
}

func (w row) check(columns []column) bool {
	before := len(w.r.errs)
	for _, c := range columns {
		v := w.get(c.name)
		switch {
		case !utf8.ValidString(v):
			w.refuse(c.name, "is not UTF-8")
		case v == "" && c.required:
			w.refuse(c.name, "is empty")
		case utf8.RuneCountInString(v) > c.max:
			w.refuse(c.name, fmt.Sprintf("is longer than %d characters", c.max))
		case c.form != nil && !c.form.MatchString(v):
			w.refuse(c.name, c.says)
		}
	}
	return len(w.r.errs) == before
}

// Of returns the accounts and contacts of one side.
func (s *Set) Of(source string) Set {
	var out Set
	for _, a := range s.Accounts {
		if a.Source == source {
			out.Accounts = append(out.Accounts, a)
		}
	}
	for _, c := range s.Contacts {
		if c.Source == source {
			out.Contacts = append(out.Contacts, c)
		}
	}
	return out
}
