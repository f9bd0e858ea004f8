package fold

import (
	"maps"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// What was sent is remembered until it is known to have arrived, so that it is not taken for somebody's word when it
// comes back. What nobody has answered may still arrive long after we have written something else.

// maxLate bounds what is remembered per field of writes that may still arrive, lateFor for how long they may.
const (
	maxLate = 8
	lateFor = 24 * time.Hour
)

// intentFor returns what was sent to the record, with what was sent when it was being created. It owns its maps.
func (u *Unit) intentFor(row *store.Source) store.Intent {
	k := intentKey{row.Ref.System, row.GoldenID, row.Ref.RecordID}
	in, ok := u.intents[k]
	if !ok {
		in = store.Intent{System: k.system, GoldenID: k.golden, RecordID: k.record, At: u.now}
	}
	in.Sent, in.Late = maps.Clone(in.Sent), maps.Clone(in.Late)
	if in.Sent == nil {
		in.Sent = map[string][]store.Sent{}
	}
	if in.Late == nil || u.now.Sub(in.At) > lateFor {
		in.Late = map[string][]string{}
	}
	// The golden record that it was made for may have been merged since.
	if id := source.GoldenIDOf(row.ExternalID); source.IsFirst(row.ExternalID) && u.follow(id) == row.GoldenID && u.created(&in, id) {
		u.putIntent(in)
	}
	return in
}

// created moves what was sent when a record of a golden record had no id yet to what was sent to it. It reports whether there was any.
func (u *Unit) created(in *store.Intent, id golden.ID) bool {
	c, ok := u.intents[intentKey{in.System, id, ""}]
	if !ok || in.RecordID == "" || (len(c.Sent) == 0 && len(c.Late) == 0) {
		return false
	}
	for field, list := range c.Sent {
		in.Sent[field] = append(slices.Clone(list), in.Sent[field]...)
	}
	for field, list := range c.Late {
		in.Late[field] = append(slices.Clone(list), in.Late[field]...)
	}
	c.Sent, c.Late = nil, nil
	u.putIntent(c)
	return true
}

// acked notes that what was sent has arrived. A system that tells versions needs no memory of it: whatever is older
// has a lower version. One that does not may still show the values of before, and ours after them.
func (u *Unit) acked(p *Plan, row *store.Source, res source.Result) {
	in := u.intentFor(row)
	if p.Row == nil {
		u.created(&in, p.GoldenID) // intentFor has done so already if the external id says so
	}
	for field, value := range p.Sent {
		at := lastSent(in.Sent[field], value)
		switch {
		case at < 0:
		case res.Version > 0:
			settle(&in, field, at)
		default:
			list := slices.Clone(in.Sent[field])
			for i := range list[:at] {
				if !list[i].Acked {
					late(&in, field, list[i].Value)
				}
				list[i].Acked = true
			}
			list[at].Acked = true
			in.Sent[field] = list
		}
	}
	if res.Version > 0 {
		// What was sent before about other fields, without an answer, has arrived by now or is refused for its version.
		for field := range in.Sent {
			if _, now := p.Sent[field]; !now {
				overtake(&in, field)
			}
		}
	}
	u.putIntent(in)
}

// settle forgets what was sent up to and including an entry that is known to have arrived or to be over. What had no
// answer may still be under way.
func settle(in *store.Intent, field string, at int) {
	list := in.Sent[field]
	for i, s := range list[:at+1] {
		if s.Open || (!s.Acked && i < at) {
			late(in, field, s.Value)
		}
	}
	if at+1 >= len(list) {
		delete(in.Sent, field)
	} else {
		in.Sent[field] = slices.Clone(list[at+1:])
	}
}

// overtake forgets everything that was sent to a field. What had no answer may still be under way.
func overtake(in *store.Intent, field string) {
	for _, s := range in.Sent[field] {
		if s.Open || !s.Acked {
			late(in, field, s.Value)
		}
	}
	delete(in.Sent, field)
}

// past notes that the field was seen with another value than those sent without an answer. They were replaced, or are
// still under way; in either case only a change that the system says is ours shows one of them as ours.
func past(in *store.Intent, field string) bool {
	changed := false
	list := slices.Clone(in.Sent[field])
	for i := range list {
		if !list[i].Acked && !list[i].Past {
			list[i].Past, changed = true, true
		}
	}
	if changed {
		in.Sent[field] = list
	}
	return changed
}

// late notes a value that may still arrive.
func late(in *store.Intent, field, value string) {
	list := in.Late[field]
	if slices.Contains(list, value) {
		return
	}
	if len(list) >= maxLate {
		list = list[1:]
	}
	in.Late[field] = append(slices.Clone(list), value)
}

// Send notes that a plan is about to be written, so that its echo is known whatever becomes of the answer.
func (u *Unit) Send(p *Plan) {
	if p.Row != nil && (p.Delete || p.Row.Removed) {
		u.removing(p, p.Delete)
	}
	if p.Delete {
		return
	}
	k := intentKey{p.Write.Ref.System, p.GoldenID, p.Write.Ref.RecordID}
	in, ok := u.intents[k]
	if !ok {
		in = store.Intent{System: k.system, GoldenID: k.golden, RecordID: k.record}
	}
	in.Sent, in.At = maps.Clone(in.Sent), u.now
	if in.Sent == nil {
		in.Sent = map[string][]store.Sent{}
	}
	for field, value := range p.Sent {
		list := slices.Clone(in.Sent[field])
		if n := len(list); n > 0 && list[n-1].Value == value && !list[n-1].Acked && !list[n-1].Past {
			if !list[n-1].Open { // it was sent before, and nobody has answered
				list[n-1].Open = true
				p.opened = append(p.opened, field)
			}
			in.Sent[field] = list
			continue
		}
		if len(list) >= maxSent {
			list = list[1:]
		}
		in.Sent[field] = append(list, store.Sent{Value: value})
		p.added = append(p.added, field)
	}
	u.putIntent(in)
}

// Unsend takes back what Send noted, after proof that nothing was written.
func (u *Unit) Unsend(p *Plan) {
	if p.Delete {
		u.removing(p, false)
		return
	}
	k := intentKey{p.Write.Ref.System, p.GoldenID, p.Write.Ref.RecordID}
	in, ok := u.intents[k]
	if !ok {
		return
	}
	in.Sent = maps.Clone(in.Sent)
	for _, field := range p.added {
		list := in.Sent[field]
		n := len(list)
		if n == 0 || list[n-1].Value != p.Sent[field] || list[n-1].Acked {
			continue
		}
		if n == 1 {
			delete(in.Sent, field)
		} else {
			in.Sent[field] = slices.Clone(list[:n-1])
		}
	}
	for _, field := range p.opened {
		if n := len(in.Sent[field]); n > 0 && in.Sent[field][n-1].Value == p.Sent[field] {
			in.Sent[field] = slices.Clone(in.Sent[field])
			in.Sent[field][n-1].Open = false
		}
	}
	u.putIntent(in)
}

// overtaken reports whether an entry is of a call that nobody has answered and that something acknowledged has come after:
// whoever sees its value sees either what was before that, or a late arrival.
func overtaken(in *store.Intent, field string, at int) bool {
	list := in.Sent[field]
	return at >= 0 && at < len(list)-1 && list[len(list)-1].Acked && slices.Contains(in.Late[field], list[at].Value)
}

// mayArrive reports whether a value was sent by a call that nobody has answered and that something else was seen after, or
// acknowledged: it may still arrive at any time.
func mayArrive(in *store.Intent, field, value string) bool {
	return slices.Contains(in.Late[field], value) ||
		slices.ContainsFunc(in.Sent[field], func(s store.Sent) bool { return s.Value == value && ((s.Past && !s.Acked) || (s.Open && s.Acked)) })
}

// lastSent returns the position of the last entry with a value; -1 when there is none.
func lastSent(list []store.Sent, value string) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Value == value {
			return i
		}
	}
	return -1
}

// lastAcked returns the position of the last entry that was acknowledged; -1 when there is none.
func lastAcked(list []store.Sent) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Acked {
			return i
		}
	}
	return -1
}

// maxSent bounds what is remembered per field.
const maxSent = 8
