package event

import (
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/twmb/avro"

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

// content is what a change event says about a record, without what makes the
// event differ from others of its transaction.
type content struct {
	kind                   string
	nulled, diffs, changed []string
	body                   []byte
}

// gap is the content of an event that names records only.
func gap(kind string) content {
	return content{kind: kind, nulled: []string{}, diffs: []string{}, changed: []string{}}
}

// content encodes one change.
func (l *Layout) content(ch store.Change) (content, error) {
	sets := &fieldSets{nulled: newFieldSet(), diffs: newFieldSet(), changed: newFieldSet()}
	values := map[string]any{}
	for i := range l.fields {
		l.fields[i].fill(i+1, ch, values, sets)
	}
	out := content{kind: kindName(ch.Kind), nulled: []string{}, diffs: []string{}, changed: []string{}}
	if ch.Kind == store.Update {
		out.nulled, out.diffs, out.changed = sets.nulled.bitmaps(), sets.diffs.bitmaps(), sets.changed.bitmaps()
	}
	var err error
	if out.body, err = l.body.Encode(values); err != nil {
		return content{}, fmt.Errorf("encode %s: %w", l.Name, err)
	}
	return out, nil
}

// blank is the body of an event without fields: one null for each.
func (l *Layout) blank() []byte { return make([]byte, len(l.fields)) }

// encode puts the header in front of a content. The header is the first field
// of every change event, so its encoding comes first.
func (l *Layout) encode(head *avro.Schema, c Commit, sequence int, ids []string, what content) ([]byte, error) {
	b, err := head.Encode(map[string]any{
		"entityName": l.Object.Name, "recordIds": ids, "changeType": what.kind,
		"changeOrigin": c.Origin, "transactionKey": c.Key, "sequenceNumber": int32(sequence),
		"commitTimestamp": c.Time.UnixMilli(), "commitNumber": c.Number, "commitUser": c.User,
		"nulledFields": what.nulled, "diffFields": what.diffs, "changedFields": what.changed,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the header of %s: %w", l.Name, err)
	}
	if what.body == nil {
		return append(b, l.blank()...), nil
	}
	return append(b, what.body...), nil
}

func kindName(k store.Kind) string {
	return [...]string{"CREATE", "UPDATE", "DELETE", "UNDELETE", "PUBLISH"}[k]
}

// fieldSets are the three lists of fields in a header.
type fieldSets struct{ nulled, diffs, changed *fieldSet }

// fill adds a field to the payload if this kind of change shows it.
func (f field) fill(index int, ch store.Change, values map[string]any, sets *fieldSets) {
	if ch.Kind == store.Delete {
		return
	}
	changed, nulled := sets.changed, sets.nulled
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
			if d, ok := textDiff(f.Field, ch.Old.Get(f.Field), v); ok {
				sets.diffs.add(index)
				v = d
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
