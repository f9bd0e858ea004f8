package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"buf.build/go/protovalidate"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/match/normal"
)

// leadColumns are what a file of leads may say, by the name of the column in lower case without anything but letters; the
// names of an export of Salesforce are among them.
var leadColumns = map[string]func(*customerv1.Lead, string){
	"company":    func(l *customerv1.Lead, s string) { l.Company = s },
	"firstname":  func(l *customerv1.Lead, s string) { l.FirstName = s },
	"lastname":   func(l *customerv1.Lead, s string) { l.LastName = s },
	"email":      func(l *customerv1.Lead, s string) { l.Email = s },
	"phone":      func(l *customerv1.Lead, s string) { l.Phone = s },
	"website":    func(l *customerv1.Lead, s string) { l.Website = s },
	"taxid":      func(l *customerv1.Lead, s string) { l.TaxId = s },
	"street":     func(l *customerv1.Lead, s string) { l.Address.Street = s },
	"city":       func(l *customerv1.Lead, s string) { l.Address.City = s },
	"postalcode": func(l *customerv1.Lead, s string) { l.Address.PostalCode = s },
	"state":      func(l *customerv1.Lead, s string) { l.Address.Region = s },
	"region":     func(l *customerv1.Lead, s string) { l.Address.Region = s },
	"country":    func(l *customerv1.Lead, s string) { l.Address.Country = country(s) },
}

// leadBatch is how many leads are asked about by one call.
const leadBatch = 100

// lead is a lead of a file.
type lead struct {
	id string // its id column, or its line
	*customerv1.Lead
}

// checkedLead is what is known about one.
type checkedLead struct {
	id string
	*customerv1.LeadAnswer
}

// matchLeads says which leads of a file are about known customers, before anybody imports them.
func matchLeads(ctx context.Context, a *App, args []string) error {
	c := a.flags("match leads").withAddr()
	rest, err := c.parse(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("give one CSV file of leads")
	}
	leads, err := readLeads(rest[0])
	if err != nil {
		return err
	}
	return c.operations(ctx, func(o customerv1.OperationsServiceClient) error {
		var all []checkedLead
		failed := func(err error) error { return errors.Join(a.leads(c.output, all), err) } // what is known is said all the same
		for len(leads) > 0 {
			n := min(len(leads), leadBatch)
			req := &customerv1.CheckLeadsRequest{}
			for _, l := range leads[:n] {
				req.Leads = append(req.Leads, l.Lead)
			}
			res, err := o.CheckLeads(ctx, req)
			if err != nil {
				return failed(fmt.Errorf("leads %s to %s: %w", leads[0].id, leads[n-1].id, err))
			}
			if len(res.GetAnswers()) != n {
				return failed(fmt.Errorf("%d answers about %d leads", len(res.GetAnswers()), n))
			}
			for i, answer := range res.GetAnswers() {
				all = append(all, checkedLead{leads[i].id, answer})
			}
			leads = leads[n:]
		}
		return a.leads(c.output, all)
	})
}

func (a *App) leads(output string, all []checkedLead) error {
	count := map[string]int{}
	res := &customerv1.CheckLeadsResponse{}
	rows := [][]string{{"LEAD", "ANSWER", "PROBABILITY", "CUSTOMER", "", "CONTACT"}}
	for _, l := range all {
		count[l.GetAnswer()]++
		res.Answers = append(res.Answers, l.LeadAnswer)
		row := []string{l.id, l.GetAnswer(), "-", "-", "", or(l.GetContactId(), "-")}
		if len(l.GetCandidates()) > 0 {
			best := l.GetCandidates()[0]
			row[2], row[3], row[4] = fmt.Sprintf("%.4f", best.GetProbability()), "customer/"+best.GetCustomer().GetCustomerId(), named(best.GetCustomer())
		}
		rows = append(rows, row)
	}
	if output == "json" {
		return a.json(res)
	}
	if err := a.table(rows); err != nil {
		return err
	}
	return a.printf("%d leads: %d are known customers, %d may be, %d are new\n", len(all), count["EXISTS"], count["ASK"], count["NEW"])
}

// readLeads reads a CSV file with a header.
func readLeads(name string) ([]lead, error) {
	f, err := os.Open(name) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	set := make([]func(*customerv1.Lead, string), len(head))
	id, company := -1, false
	for i, column := range head {
		key := onlyLetters(column)
		if set[i] = leadColumns[key]; key == "company" {
			company = true
		} else if key == "id" {
			id = i
		}
	}
	if !company {
		return nil, usagef("%s has no column Company", name)
	}
	var out []lead
	var bad []string
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			if len(bad) > 0 {
				return nil, usagef("%s: rows that cannot be checked:\n%s", name, strings.Join(bad, "\n"))
			}
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		line, _ := r.FieldPos(0)
		l := lead{fmt.Sprintf("line %d", line), &customerv1.Lead{Address: &customerv1.Address{}}}
		for i, value := range row {
			if set[i] != nil {
				set[i](l.Lead, strings.TrimSpace(value))
			}
		}
		if id >= 0 {
			l.id = row[id]
		}
		if err := protovalidate.Validate(l.Lead); err != nil { // one bad row would have all answers of its batch refused
			bad = append(bad, fmt.Sprintf("line %d: %v", line, err))
		}
		out = append(out, l)
	}
}

// country returns the code of a country, however it is written; empty when it is not known.
func country(s string) string {
	if code := strings.ToUpper(normal.Country(s)); len(code) == 2 {
		return code
	}
	return ""
}

func onlyLetters(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, strings.ToLower(s))
}
