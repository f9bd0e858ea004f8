package data

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const (
	accountsHead = "source,record_id,truth_id,name,street,city,postcode,country,phone,website,vat_id\n"
	contactsHead = "source,record_id,truth_id,first_name,last_name,email,phone,mobile,title,account_id,account_name,city\n"
	account      = "SF,001,O1,Acme GmbH,Weg 1,Berlin,10115,DE,+49 30 1,www.acme.example,DE1\n"
	contact      = "SF,003,P1,Ada,Lang,ada@acme.example,,,CTO,001,Acme GmbH,Berlin\n"
)

func TestSample(t *testing.T) {
	t.Parallel()
	set, err := Sample()
	require.NoError(t, err)
	sf, erp := set.Of(Salesforce), set.Of(ERP)
	require.Len(t, sf.Accounts, 300)
	require.Len(t, erp.Accounts, 250)
	require.Len(t, set.Contacts, 500)
	require.Len(t, set.Contacts, len(sf.Contacts)+len(erp.Contacts))

	sides, rows := map[string]map[string]int{}, 0
	for _, a := range set.Accounts {
		if sides[a.TruthID] == nil {
			sides[a.TruthID] = map[string]int{}
		}
		sides[a.TruthID][a.Source]++
		rows++
	}
	both, repeated := 0, 0
	for _, s := range sides {
		if s[Salesforce] > 0 && s[ERP] > 0 {
			both++
		}
		if s[Salesforce] > 1 || s[ERP] > 1 {
			repeated++
		}
	}
	require.Equal(t, []int{253, 179, 93}, []int{len(sides), both, repeated}, "PROVENANCE.md says these numbers")
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := func(accounts, contacts string) fs.FS {
		return fstest.MapFS{"accounts.csv": {Data: []byte(accounts)}, "contacts.csv": {Data: []byte(contacts)}}
	}

	t.Run("columns are found by name in any order and unknown ones are left alone", func(t *testing.T) {
		t.Parallel()
		set, err := Read(dir("\ufeffname,record_id,source,truth_id,street,city,postcode,country,phone,website,vat_id,note\nAcme, 7 ,ERP,,,,,,,,,x\n", contactsHead))
		require.NoError(t, err)
		require.Equal(t, []Account{{Source: ERP, RecordID: "7", Name: "Acme"}}, set.Accounts)
	})

	t.Run("every problem is reported with file, line and column", func(t *testing.T) {
		t.Parallel()
		_, err := Read(dir(accountsHead+account+"XX,002,O1,,Weg 1,Berlin,10115,de,,,\n", contactsHead+strings.Replace(contact, "001", "009", 1)))
		require.Equal(t, []string{
			"accounts.csv:3: source: must be SF or ERP",
			"accounts.csv:3: name: is empty",
			"accounts.csv:3: country: must be a two-letter code in capitals",
			"contacts.csv:2: account_id: names no account of the same source",
		}, strings.Split(err.Error(), "\n"))
		var first *Error
		require.ErrorAs(t, err, &first)
		require.Equal(t, Error{File: "accounts.csv", Line: 3, Column: "source", Reason: "must be SF or ERP"}, *first)
	})

	for name, c := range map[string]struct{ accounts, contacts, want string }{
		"a missing column":                {strings.Replace(accountsHead, ",vat_id", "", 1), contactsHead, "accounts.csv:1: vat_id: the column is missing"},
		"an empty file":                   {"", contactsHead, "accounts.csv:1: is not a line of CSV with the names of the columns"},
		"a line that is too short":        {accountsHead + "SF,001\n" + account, contactsHead + contact, "accounts.csv:2: wrong number of fields"},
		"a quote that is never closed":    {accountsHead + "SF,\"001,O1\n", contactsHead, "accounts.csv:2: extraneous or missing \" in quoted-field"},
		"an id that stands twice":         {accountsHead + account + account, contactsHead, "accounts.csv:3: record_id: stands in the file twice"},
		"text that is not UTF-8":          {accountsHead + strings.Replace(account, "Acme", "Acm\xe9", 1), contactsHead, "accounts.csv:2: name: is not UTF-8"},
		"a name that is too long":         {accountsHead + strings.Replace(account, "Acme", strings.Repeat("ü", 256), 1), contactsHead, "accounts.csv:2: name: is longer than 255 characters"},
		"an account of the other system":  {accountsHead + account, contactsHead + strings.Replace(contact, "SF", "ERP", 1), "contacts.csv:2: account_id: names no account of the same source"},
		"a contact without a family name": {accountsHead + account, contactsHead + strings.Replace(contact, "Lang", " ", 1), "contacts.csv:2: last_name: is empty"},
		"a value that is quoted wrongly":  {accountsHead + "SF,0\"1,O1,a,,,,,,,\n", contactsHead, "accounts.csv:2: bare \" in non-quoted-field"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			t.Parallel()
			_, err := Read(dir(c.accounts, c.contacts))
			require.EqualError(t, err, c.want)
		})
	}

	t.Run("a missing file is refused by its name", func(t *testing.T) {
		t.Parallel()
		_, err := Read(fstest.MapFS{"accounts.csv": {Data: []byte(accountsHead)}})
		require.EqualError(t, err, "contacts.csv: does not exist")
	})

	t.Run("a file full of mistakes is given up after fifty", func(t *testing.T) {
		t.Parallel()
		_, err := Read(dir(accountsHead+strings.Repeat("XX,002,O1,a,,,,,,,\n", 500), contactsHead))
		joined, ok := err.(interface{ Unwrap() []error })
		require.True(t, ok)
		require.Len(t, joined.Unwrap(), 50)
	})
}

func FuzzRead(f *testing.F) {
	f.Add(accountsHead+account, contactsHead+contact)
	f.Add("source", "\"")
	f.Fuzz(func(t *testing.T, accounts, contacts string) {
		set, err := Read(fstest.MapFS{"accounts.csv": {Data: []byte(accounts)}, "contacts.csv": {Data: []byte(contacts)}})
		if err != nil {
			var typed *Error
			require.ErrorAs(t, err, &typed)
			return
		}
		for _, a := range set.Accounts {
			require.NotEmpty(t, a.RecordID)
		}
	})
}
