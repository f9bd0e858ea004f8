package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"buf.build/go/protovalidate"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/match/evaluate"
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
	r := leadReader{file: name, id: -1}
	if err := evaluate.EachRow(name, r.start); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(r.bad) > 0 {
		return nil, usagef("%s: rows that cannot be checked:\n%s", name, strings.Join(r.bad, "\n"))
	}
	return r.leads, nil
}

type leadReader struct {
	file  string
	head  []string
	set   []func(*customerv1.Lead, string) // by column; nil where it is ignored
	id    int                              // the column; -1 when there is none
	leads []lead
	bad   []string // what is wrong with rows
}

// start finds the columns.
func (r *leadReader) start(head []string) (func(line int, row []string) error, error) {
	r.head, r.set = head, make([]func(*customerv1.Lead, string), len(head))
	company := false
	for i, column := range head {
		key := onlyLetters(column)
		if r.set[i] = leadColumns[key]; key == "company" {
			company = true
		} else if key == "id" {
			r.id = i
		}
	}
	if !company {
		return nil, usagef("%s has no column Company", r.file)
	}
	return r.row, nil
}

func (r *leadReader) row(line int, row []string) error {
	if len(row) != len(r.set) { // its values would be taken for others
		r.bad = append(r.bad, fmt.Sprintf("line %d: %d values in %d columns", line, len(row), len(r.set)))
		return nil
	}
	l := lead{fmt.Sprintf("line %d", line), &customerv1.Lead{Address: &customerv1.Address{}}}
	for i, value := range row {
		if r.set[i] == nil && i != r.id {
			continue
		}
		if err := evaluate.CheckLength(line, r.head[i], value); err != nil {
			r.bad = append(r.bad, err.Error())
			return nil
		}
		if r.set[i] != nil {
			r.set[i](l.Lead, strings.TrimSpace(value))
		}
	}
	if r.id >= 0 {
		l.id = row[r.id]
	}
	if err := protovalidate.Validate(l.Lead); err != nil { // one bad row would have all answers of its batch refused
		r.bad = append(r.bad, fmt.Sprintf("line %d: %v", line, err))
	}
	r.leads = append(r.leads, l)
	return nil
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
