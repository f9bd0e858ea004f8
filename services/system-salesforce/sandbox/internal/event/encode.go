package event

import (
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// Commit carries what all events of one transaction share.
type Commit struct {
	Time   time.Time
	User   string
	Origin string
	// Key is the transaction key, Number the commit number.
	Key    string
	Number int64
}

// Encode makes the payload of one change; sequence counts from 1 inside the
// transaction.
func (l *Layout) Encode(c Commit, sequence int, ch store.Change) ([]byte, error) {
	changed, nulled := newFieldSet(), newFieldSet()
	values := map[string]any{}
	for i := range l.fields {
		l.fields[i].fill(i+1, ch, values, changed, nulled)
	}
	none := []string{}
	head := map[string]any{
		"entityName": l.object.Name, "recordIds": []string{ch.New.ID}, "changeType": kindName(ch.Kind),
		"changeOrigin": c.Origin, "transactionKey": c.Key, "sequenceNumber": int32(sequence),
		"commitTimestamp": c.Time.UnixMilli(), "commitNumber": c.Number, "commitUser": c.User,
		"nulledFields": none, "diffFields": none, "changedFields": none,
	}
	if ch.Kind == store.Update {
		head["changedFields"], head["nulledFields"] = changed.bitmaps(), nulled.bitmaps()
	}
	values["ChangeEventHeader"] = head
	b, err := l.codec.Encode(values)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", l.Name, err)
	}
	return b, nil
}

func kindName(k store.Kind) string {
	return [...]string{"CREATE", "UPDATE", "DELETE", "UNDELETE"}[k]
}

// fill adds a field to the payload if this kind of change shows it.
func (f field) fill(index int, ch store.Change, values map[string]any, changed, nulled *fieldSet) {
	if ch.Kind == store.Delete {
		return
	}
	if f.parts == nil {
		v := ch.New.Get(f.Field)
		if ch.Kind == store.Update {
			if ch.Old.Get(f.Field) == v && f.Sys != schema.SysModified {
				return
			}
			changed.add(index)
			if v == nil {
				nulled.add(index)
			}
		}
		if v != nil {
			values[f.Name] = avroValue(f.Field, v)
		}
		return
	}
	nested := map[string]any{}
	for j, p := range f.parts {
		if p.Field == nil {
			continue
		}
		v := ch.New.Get(p.Field)
		if ch.Kind == store.Update {
			if ch.Old.Get(p.Field) == v {
				continue
			}
			changed.addPart(index, j)
			if v == nil {
				nulled.addPart(index, j)
			}
		}
		if v != nil {
			nested[p.name] = v
		}
	}
	if len(nested) > 0 {
		values[f.Name] = nested
	}
}

func avroValue(f *schema.Field, v any) any {
	if n, ok := v.(float64); ok && f.Type == schema.Int {
		return int32(n)
	}
	return v
}

// fieldSet collects the fields of changedFields or nulledFields.
type fieldSet struct {
	top    []int
	nested map[int][]int
	order  []int
}

func newFieldSet() *fieldSet { return &fieldSet{nested: map[int][]int{}} }

func (s *fieldSet) add(i int) { s.top = append(s.top, i) }

func (s *fieldSet) addPart(i, j int) {
	if s.nested[i] == nil {
		s.order = append(s.order, i)
	}
	s.nested[i] = append(s.nested[i], j)
}

// bitmaps writes the set as Salesforce does: one bitmap over the top level,
// then "<index>-<bitmap>" for each compound with affected members. A top-level
// bitmap always comes first if there is anything, because one widely used
// decoder understands nothing else in that place.
func (s *fieldSet) bitmaps() []string {
	out := []string{}
	if len(s.top)+len(s.order) == 0 {
		return out
	}
	out = append(out, bitmap(s.top))
	for _, i := range s.order {
		out = append(out, fmt.Sprintf("%d-%s", i, bitmap(s.nested[i])))
	}
	return out
}

// bitmap writes a set of bit numbers as upper-case hex, most significant byte
// first, in whole bytes.
func bitmap(bits []int) string {
	n := new(big.Int)
	for _, b := range bits {
		n.SetBit(n, b, 1)
	}
	hex := strings.ToUpper(n.Text(16))
	if len(hex)%2 == 1 {
		hex = "0" + hex
	}
	return "0x" + hex
}
