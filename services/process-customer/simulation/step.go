package simulation

import (
	"fmt"
	"strings"
	"time"
)

// Act is what happens in a step.
type Act string

// The acts. The first group is what people do, the second what our processes do, the third what goes wrong.
const (
	Create   Act = "create"   // a person makes customer Who, or its contact Person
	Edit     Act = "edit"     // a person sets Field to Value
	Retype   Act = "retype"   // a person sets Field to a value that somebody gave it before
	Touch    Act = "touch"    // a person saves a record without a change
	Delete   Act = "delete"   // a person deletes a record
	Undelete Act = "undelete" // a person brings it back
	Move     Act = "move"     // a person gives a contact to customer N
	Merge    Act = "merge"    // a person puts customer Who in the place of customer N, and gives it Value
	Order    Act = "order"    // somebody makes customer Who through our API
	Say      Act = "say"      // somebody sets Field to Value through our API

	Read    Act = "read"    // a process reads the feed of System
	Deliver Act = "deliver" // a process writes to System
	Wait    Act = "wait"    // N seconds pass

	Crash      Act = "crash"      // the process dies N points from now
	FailStore  Act = "failstore"  // the database refuses the N-th statement from now
	LoseCommit Act = "losecommit" // the database does not say whether the N-th transaction from now was committed
	Fault      Act = "fault"      // the next call that writes to System ends as Kind says
	Refuse     Act = "refuse"     // the next N reads from System fail
	Down       Act = "down"       // System does not answer
	Up         Act = "up"         // System answers again
	Hold       Act = "hold"       // the feed of System keeps changes back
	Release    Act = "release"    // and tells them in another order
	Twice      Act = "twice"      // the feed tells every change twice from now on
	Again      Act = "again"      // the feed tells the last N changes again
	Lose       Act = "lose"       // the feed loses the next N changes; nothing says so
	Expire     Act = "expire"     // the feed has forgotten every position
	Overflow   Act = "overflow"   // the feed says that it lost count, and has
	Land       Act = "land"       // writes that seemed to be lost arrive after all
	Poison     Act = "poison"     // System never takes customer Who again, as Kind says
	Spoil      Act = "spoil"      // a person types a value into customer Who that we cannot take in
	Meanwhile  Act = "meanwhile"  // while the next call Kind to System is under way, Then happens
)

// Kinds of Fault.
const (
	LoseRequest      = "the request is lost"
	LoseAnswer       = "all is written and the answer is lost"
	Unsure           = "all is written and nobody knows"
	Straggle         = "time runs out, and the write arrives later"
	Quota            = "the allowance is used up"
	SomeLocked       = "every second record is locked"
	SomeUnsure       = "every second record is written and nobody knows"
	SomeConflict     = "every second record is said to have another version"
	HalfWritten      = "half of the records are written and the answer is lost"
	RefusesRecord    = "it is refused by itself"
	RefusesWholeCall = "every call that holds it is refused"
)

// Kinds of calls for Meanwhile.
const (
	WhileWriting  = "upsert"
	WhileFetching = "fetch"
	WhileListing  = "list"
	WhileWatching = "watch"
)

// Step is one thing that happens. Which of the fields count depends on the act. A step that cannot be done, such as an
// edit of a record that is not there, does nothing: so any step may be left out of a story without spoiling the rest.
type Step struct {
	Act     Act
	System  string
	Process int
	Who     int
	Person  int
	Field   string
	Value   string
	Kind    string
	N       int
	// After has a Meanwhile happen between the effect of the call and its answer, and not before the call arrives.
	After bool
	Then  *Step
}

func (s Step) record() string {
	if s.Person > 0 {
		return fmt.Sprintf("contact %d of customer %d", s.Person, s.Who)
	}
	return fmt.Sprintf("customer %d", s.Who)
}

func (s Step) process() string { return processName(s.Process) }

func processName(n int) string { return string(rune('A' + n)) }

// String says what happens in words.
func (s Step) String() string {
	var text string
	switch s.Act {
	case Create:
		text = fmt.Sprintf("a person creates %s with phone %q", s.record(), s.Value)
	case Edit:
		text = fmt.Sprintf("a person sets %s of %s to %q", s.Field, s.record(), s.Value)
	case Retype:
		text = fmt.Sprintf("a person sets %s of %s to an older value (%d)", s.Field, s.record(), s.N)
	case Touch:
		text = "a person saves " + s.record() + " without a change"
	case Delete:
		text = "a person deletes " + s.record()
	case Undelete:
		text = "a person undeletes " + s.record()
	case Move:
		text = fmt.Sprintf("a person gives %s to customer %d", s.record(), s.N)
	case Merge:
		text = fmt.Sprintf("a person puts customer %d in the place of customer %d, %s", s.Who, s.N, s.Kind)
		if s.Value != "" {
			text += fmt.Sprintf(", and gives it phone %q", s.Value)
		}
	case Order:
		return fmt.Sprintf("api: somebody creates customer %d with phone %q at %s", s.Who, s.Value, s.process())
	case Say:
		return fmt.Sprintf("api: somebody sets %s of customer %d to %q at %s", s.Field, s.Who, s.Value, s.process())
	case Read:
		return fmt.Sprintf("process %s reads %s", s.process(), s.System)
	case Deliver:
		return fmt.Sprintf("process %s delivers to %s", s.process(), s.System)
	case Wait:
		return fmt.Sprintf("%s pass", time.Duration(s.N)*time.Second)
	case Crash:
		return fmt.Sprintf("process %s will die %d points from here", s.process(), s.N)
	case FailStore:
		return fmt.Sprintf("the database will refuse process %s the next statement but %d", s.process(), s.N)
	case LoseCommit:
		return fmt.Sprintf("the database will not tell process %s whether transaction %d from here was committed", s.process(), s.N)
	default:
		text = s.fault()
	}
	return s.System + ": " + text
}

func (s Step) fault() string {
	switch s.Act {
	case Fault:
		return "the next write: " + s.Kind
	case Refuse:
		return fmt.Sprintf("the next %d reads fail", s.N)
	case Down:
		return "does not answer any more"
	case Up:
		return "answers again"
	case Hold:
		return "the feed keeps changes back"
	case Release:
		return fmt.Sprintf("the feed tells what it kept back, shuffled (%d)", s.N)
	case Twice:
		return "the feed tells every change twice from now on"
	case Again:
		return fmt.Sprintf("the feed tells the last %d changes again", s.N)
	case Lose:
		return fmt.Sprintf("the feed loses the next %d changes", s.N)
	case Expire:
		return "the feed has forgotten every position"
	case Overflow:
		return fmt.Sprintf("the feed loses the next %d changes and says that it lost count", s.N)
	case Land:
		return "writes that seemed to be lost arrive"
	case Poison:
		return fmt.Sprintf("customer %d is never taken again: %s", s.Who, s.Kind)
	case Spoil:
		return fmt.Sprintf("a person types something endless into %s of customer %d", s.Field, s.Who)
	case Meanwhile:
		when := "on its way"
		if s.After {
			when = "done and not answered"
		}
		return fmt.Sprintf("while the next %s is %s: %s", s.Kind, when, s.Then)
	default:
		return strings.TrimSpace(string(s.Act))
	}
}
