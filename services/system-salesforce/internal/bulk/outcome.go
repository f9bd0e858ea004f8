package bulk

import (
	"fmt"
	"maps"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// State is what became of a row.
type State uint8

// The states. NotProcessed is certain: Salesforce did not touch the row. Uncertain is not: it may be written or not, and may be
// sent again, for it has an external id.
const (
	Succeeded State = iota + 1
	Failed
	Refused
	NotProcessed
	Uncertain
)

// String returns the state as metrics show it.
func (s State) String() string {
	switch s {
	case Succeeded:
		return "succeeded"
	case Failed:
		return "failed"
	case Refused:
		return "refused"
	case NotProcessed:
		return "not_processed"
	case Uncertain:
		return "uncertain"
	}
	return fmt.Sprintf("state_%d", uint8(s))
}

// unknownIndex is the index of a row that is known by its key only.
const unknownIndex = -1

// Outcome is the end of one row.
type Outcome struct {
	// Key is the external id as it was sent; it may be incomplete for a row that was refused because of it.
	Key string
	// Index is the place of the row in the input, from 0, for rows that were refused as they were read; -1 otherwise.
	Index int64
	// State says what became of the row.
	State State
	// ID is the record's id, if it is known.
	ID string
	// Created is true when the load made the record.
	Created bool
	// Refusal says why the row did not succeed.
	Refusal rest.Refusal
	// Round is how often the row was sent, at most.
	Round int
}

// Ledger counts the rows of a load by what became of them, and what it took.
type Ledger struct {
	// Rows is how many were read.
	Rows int64 `json:"rows,omitempty"`
	// Created and Updated are those that succeeded.
	Created int64 `json:"created,omitempty"`
	Updated int64 `json:"updated,omitempty"`
	// Failed were refused by Salesforce, Refused before they were sent.
	Failed  int64 `json:"failed,omitempty"`
	Refused int64 `json:"refused,omitempty"`
	// NotProcessed and Uncertain are as the states of these names.
	NotProcessed int64 `json:"not_processed,omitempty"`
	Uncertain    int64 `json:"uncertain,omitempty"`
	// Jobs is how many jobs were made, Rounds how often a row was sent at most.
	Jobs   int `json:"jobs,omitempty"`
	Rounds int `json:"rounds,omitempty"`
	// Resent is how many rows were sent once more, each time counted, and Reasons why.
	Resent  int64            `json:"resent,omitempty"`
	Reasons map[string]int64 `json:"reasons,omitempty"`
}

// Succeeded is Created and Updated.
func (l Ledger) Succeeded() int64 { return l.Created + l.Updated }

// Balanced reports whether every row that was read has exactly one outcome.
func (l Ledger) Balanced() bool {
	return l.Rows == l.Created+l.Updated+l.Failed+l.Refused+l.NotProcessed+l.Uncertain
}

func (l *Ledger) count(o Outcome) {
	switch o.State {
	case Succeeded:
		if o.Created {
			l.Created++
		} else {
			l.Updated++
		}
	case Failed:
		l.Failed++
	case Refused:
		l.Refused++
	case NotProcessed:
		l.NotProcessed++
	case Uncertain:
		l.Uncertain++
	}
}

func (l *Ledger) resend(reason string) {
	l.Resent++
	if l.Reasons == nil {
		l.Reasons = map[string]int64{}
	}
	l.Reasons[reason]++
}

func (l *Ledger) add(o Ledger) {
	l.Rows += o.Rows
	l.Created += o.Created
	l.Updated += o.Updated
	l.Failed += o.Failed
	l.Refused += o.Refused
	l.NotProcessed += o.NotProcessed
	l.Uncertain += o.Uncertain
	l.Jobs += o.Jobs
	l.Rounds = max(l.Rounds, o.Rounds)
	l.Resent += o.Resent
	sum := maps.Clone(l.Reasons)
	for reason, n := range o.Reasons {
		if sum == nil {
			sum = map[string]int64{}
		}
		sum[reason] += n
	}
	l.Reasons = sum
}

// blame is what a failure says about rows that were to be sent.
func blame(err error) rest.Refusal {
	r := rest.Refusal{
		Kind: fault.KindOf(err), Reason: fault.ReasonOf(err), Text: "the job could not be run", Retryable: fault.Retryable(err),
		Class: rest.ClassOf(err), RetryAfter: fault.RetryAfter(err), Resume: fault.ResumeTime(err),
	}
	if fe, ok := fault.As(err); ok {
		r.Text = fe.Message
	}
	return r
}
