// Package matrix holds what every client is asked to do and how it went.
//
// The problem: a certification that loses a case looks like one that passed it.
//
// Invariant: each capability of each client has exactly one of three outcomes:
// it passed, it failed, or the client has no such thing and the reason is
// written down beforehand. A case that did not report has failed.
//
// It does not run anything.
package matrix

import "fmt"

// Capability is one thing a client does with Salesforce. ID is the name of the
// case, Title the row of the table.
type Capability struct {
	ID    string
	Title string
}

// Capabilities are all of them, in the order of the table.
func Capabilities() []Capability {
	return []Capability{
		{"login-jwt", "Log in: JWT bearer"},
		{"login-client-credentials", "Log in: client credentials"},
		{"login-password", "Log in: user name and password over OAuth"},
		{"login-soap", "Log in: user name and password over SOAP"},
		{"login-session", "Take over the session of another program"},
		{"relogin", "Go on after the session expired"},
		{"identity", "Ask who is logged in"},
		{"describe", "Describe objects"},
		{"query", "Query, several pages"},
		{"records", "Create, read, update, upsert, delete a record"},
		{"refusal", "Understand why a record was refused"},
		{"collections", "Collections with a refused record"},
		{"composite", "Composite"},
		{"compression", "Compressed requests and answers"},
		{"bulk-load", "Bulk 2.0 load with a refused row, result files"},
		{"bulk-query", "Bulk 2.0 query"},
		{"bulk-classic", "Bulk 1.0 load in serial mode"},
		{"publish-rest", "Publish a platform event over REST"},
		{"topic", "Read a topic and its schema"},
		{"subscribe", "Subscribe and decode change events"},
		{"replay", "Subscribe again after a replay id"},
		{"publish", "Publish a platform event and receive it"},
		{"publish-stream", "Publish a stream of platform events"},
		{"managed", "Managed subscription with commits"},
	}
}

// Client is one program that is certified.
type Client struct {
	Name     string
	Version  string
	Language string
	// Absent says for each capability that the client does not have why it
	// does not.
	Absent map[string]string
}

// Outcome is the result of one capability of one client.
type Outcome struct {
	Passed bool
	// Absent means that the client has no such thing; Reason says why.
	Absent bool
	// Reason is why it failed or is absent, one line.
	Reason string
}

// Row is a client with one outcome for each capability.
type Row struct {
	Client   Client
	Outcomes map[string]Outcome
}

// Result is what a case reported.
type Result struct {
	Capability string
	Passed     bool
	Reason     string
}

// Judge turns what the cases of a client reported into its row. stopped is why
// the run of its cases ended early, if it did. A result of an unknown
// capability, of one that the client was said not to have, or a second result of
// the same one, is an error in the certification itself.
func Judge(c Client, results []Result, stopped error) (Row, error) {
	row := Row{Client: c, Outcomes: map[string]Outcome{}}
	for _, r := range results {
		switch _, known := find(r.Capability); {
		case !known:
			return row, fmt.Errorf("%s: case %q is no capability", c.Name, r.Capability)
		case c.Absent[r.Capability] != "":
			return row, fmt.Errorf("%s: case %q exists although the client is said not to support it", c.Name, r.Capability)
		}
		if _, twice := row.Outcomes[r.Capability]; twice {
			return row, fmt.Errorf("%s: case %q reported twice", c.Name, r.Capability)
		}
		row.Outcomes[r.Capability] = Outcome{Passed: r.Passed, Reason: r.Reason}
	}
	for _, k := range Capabilities() {
		if _, done := row.Outcomes[k.ID]; done {
			continue
		}
		out := Outcome{Reason: "the case did not report"}
		if stopped != nil {
			out.Reason = "the case did not report: " + stopped.Error()
		}
		if why := c.Absent[k.ID]; why != "" {
			out = Outcome{Absent: true, Reason: why}
		}
		row.Outcomes[k.ID] = out
	}
	return row, nil
}

func find(id string) (Capability, bool) {
	for _, c := range Capabilities() {
		if c.ID == id {
			return c, true
		}
	}
	return Capability{}, false
}

// Count returns how many cases passed and failed.
func Count(rows []Row) (passed, failed int) {
	for _, r := range rows {
		for _, o := range r.Outcomes {
			switch {
			case o.Absent:
			case o.Passed:
				passed++
			default:
				failed++
			}
		}
	}
	return passed, failed
}
