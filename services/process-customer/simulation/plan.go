package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// The systems of every story.
const (
	salesforce = "salesforce"
	erp        = "erp"
)

const (
	customers = 4 // numbered from 1
	contacts  = 2 // of each customer
)

// planner draws a story.
type planner struct {
	r     *rand.Rand
	on    map[Act]bool
	story *Story
	value int
}

// optional are the acts that only some stories have: a story about few things at a time finds more than one about all.
var optional = []Act{
	Retype, Touch, Delete, Move, Order, Say, Crash, FailStore, LoseCommit, Fault, Refuse, Down, Hold, Twice, Again, Lose, Expire, Overflow, Poison, Spoil, Meanwhile,
}

// Plan returns the story of a seed.
func Plan(seed uint64) Story {
	s := Story{Seed: seed, Processes: 1}
	p := &planner{r: rand.New(rand.NewPCG(seed, 0x5e1f5a3e)), on: map[Act]bool{}, story: &s} //nolint:gosec // a story, not a secret
	s.Late, s.Coarse = p.one(3) || p.one(2), p.one(2)
	s.Skew = []time.Duration{0, 0, 7 * time.Second, -7 * time.Second}[p.r.IntN(4)]
	if p.one(3) {
		s.Processes = 2
	}
	for _, a := range optional {
		p.on[a] = p.one(3)
	}
	if p.on[Delete] {
		s.Deletes = deletes(seed)
	}
	for n := range 1 + p.r.IntN(3) {
		s.Steps = append(s.Steps, p.create(p.system(), n+1, 0))
	}
	if !p.one(3) {
		s.Steps = append(s.Steps, p.rounds()...)
	}
	length := 8 + p.r.IntN(28)
	if p.one(6) {
		length += 50
	}
	for range length {
		s.Steps = append(s.Steps, p.step(0))
	}
	merges(&s)
	return s
}

// deletes draws whose deletions are final, apart from everything else: the steps of a story are the same under either rule.
func deletes(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 0xde1e7e)) //nolint:gosec // a story, not a secret
	return []string{"", salesforce, erp, erp + ", " + salesforce}[r.IntN(4)]
}

func (p *planner) one(in int) bool { return p.r.IntN(in) == 0 }

func (p *planner) system() string {
	if p.one(2) {
		return erp
	}
	return salesforce
}

func (p *planner) process() int { return p.r.IntN(p.story.Processes) }

// who prefers customer 1: what happens to one record at a time is what goes wrong.
func (p *planner) who() int {
	if !p.one(3) {
		return 1
	}
	return 1 + p.r.IntN(customers-1)
}

func (p *planner) text(field string) string {
	p.value++
	return fmt.Sprintf("%s %d", field, p.value)
}

// rounds is some undisturbed work, so that a story does not have to begin with a first sync.
func (p *planner) rounds() []Step {
	var out []Step
	for range 2 {
		for _, act := range []Act{Read, Deliver} {
			for _, sys := range []string{salesforce, erp} {
				out = append(out, Step{Act: act, System: sys})
			}
		}
		out = append(out, Step{Act: Wait, N: 10})
	}
	return out
}

func (p *planner) create(system string, who, person int) Step {
	return Step{Act: Create, System: system, Who: who, Person: person, Value: p.text(golden.Phone)}
}

// person is which contact of a customer is meant; 0 is the customer.
func (p *planner) person() int {
	if p.one(3) {
		return 1 + p.r.IntN(contacts)
	}
	return 0
}

func (p *planner) field(person int) string {
	fields := []string{golden.Phone, golden.Phone, golden.Phone, golden.Website, golden.Street, golden.City, golden.Email}
	if person > 0 {
		fields = []string{golden.Phone, golden.Title, golden.Mobile}
	}
	return fields[p.r.IntN(len(fields))]
}

// step draws one step; depth counts how many others it is inside of.
func (p *planner) step(depth int) Step {
	work := func() Step {
		act := Read
		if p.one(2) {
			act = Deliver
		}
		return Step{Act: act, System: p.system(), Process: p.process()}
	}
	n := p.r.IntN(20)
	switch {
	case n < 6:
		return work()
	case n < 11:
		return p.people()
	case n < 12 && depth == 0:
		return Step{Act: Wait, N: []int{1, 2, 10, 40, 120}[p.r.IntN(5)]}
	}
	if s, ok := p.trouble(depth); ok {
		return s
	}
	if p.one(2) {
		return work()
	}
	return p.people()
}

func (p *planner) people() Step {
	s := Step{System: p.system(), Who: p.who(), Person: p.person()}
	s.Field = p.field(s.Person)
	acts := []Act{Create, Edit, Edit, Edit, Edit, Edit, Edit}
	for _, a := range []Act{Retype, Touch, Delete, Move, Order, Say} {
		if p.on[a] {
			acts = append(acts, a)
		}
	}
	if p.on[Delete] {
		acts = append(acts, Undelete)
	}
	if p.story.Deletes != "" { // what this story is about
		acts = append(acts, Delete, Delete, Delete, Undelete, Undelete)
	}
	s.Act = acts[p.r.IntN(len(acts))]
	switch s.Act {
	case Create, Order:
		s.Who = 1 + p.r.IntN(customers)
		s.Value = p.text(golden.Phone)
	case Edit:
		if !p.one(8) {
			s.Value = p.text(s.Field)
		}
	case Say:
		s.Person, s.Field, s.Value = 0, golden.Phone, p.text(golden.Phone)
	case Retype:
		s.N = p.r.IntN(8)
	case Move:
		s.Person, s.N = max(1, s.Person), p.who()
	}
	if s.Act == Order || s.Act == Say {
		s.Process = p.process()
	}
	return s
}

// trouble draws something that goes wrong, if the story has any such.
func (p *planner) trouble(depth int) (Step, bool) {
	var acts []Act
	for _, a := range optional {
		if p.on[a] && !slices.Contains([]Act{Retype, Touch, Delete, Move, Order, Say}, a) && (a != Meanwhile || depth == 0) {
			acts = append(acts, a)
		}
	}
	if len(acts) == 0 {
		return Step{}, false
	}
	s := Step{Act: acts[p.r.IntN(len(acts))], System: p.system(), Process: p.process(), Who: p.who()}
	pick := func(of ...string) string { return of[p.r.IntN(len(of))] }
	switch s.Act {
	case Crash:
		s.N = 1 + p.r.IntN([]int{6, 30, 120}[p.r.IntN(3)])
	case FailStore:
		s.N = 1 + p.r.IntN(60)
	case LoseCommit:
		s.N = 1 + p.r.IntN(5)
	case Fault:
		s.Kind = pick(LoseRequest, LoseAnswer, LoseAnswer, Unsure, Straggle, Straggle, Quota, SomeLocked, SomeUnsure, SomeConflict, HalfWritten)
		if s.Kind == Straggle && p.one(2) {
			s.Act, s.Kind = Land, ""
		}
	case Refuse, Lose, Overflow, Again:
		s.N = 1 + p.r.IntN(4)
	case Down:
		if p.one(2) {
			s.Act = Up
		}
	case Hold:
		if p.one(2) {
			s.Act, s.N = Release, p.r.IntN(1000)
		}
	case Poison:
		s.Kind = pick(RefusesRecord, RefusesWholeCall)
	case Spoil:
		s.Field = golden.Website
	case Meanwhile:
		s.Kind, s.After = pick(WhileWriting, WhileWriting, WhileFetching, WhileListing, WhileWatching), p.one(2)
		then := p.step(depth + 1)
		s.Then = &then
	}
	return s, true
}
