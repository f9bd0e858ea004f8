package event

import (
	"crypto/md5"
	"fmt"

	"github.com/twmb/avro"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// newPlatformLayout derives the schema of a platform event. Its two system
// fields are never null; everything else may be.
func newPlatformLayout(o *schema.Object) (*Layout, error) {
	l := &Layout{Name: o.Name, Object: o}
	record := avroRecord{Name: o.Name, Namespace: namespace, Type: "record"}
	for _, f := range o.Fields {
		e := field{Field: f}
		l.fields = append(l.fields, e)
		branches := avroTypes(e, map[string]bool{})
		if f.Sys != schema.NotSystem {
			record.Fields = append(record.Fields, avroField{Name: f.Name, Type: branches[0], Doc: doc(f)})
			continue
		}
		record.Fields = append(record.Fields, nullable(f.Name, doc(f), branches...))
	}
	if err := l.finish(record); err != nil {
		return nil, err
	}
	var err error
	if l.codec, err = avro.Parse(l.JSON); err != nil {
		return nil, fmt.Errorf("event schema of %s: %w", l.Name, err)
	}
	return l, nil
}

// encodePlatform makes the payload of a platform event that was created like a
// record.
func (l *Layout) encodePlatform(r *store.Record) ([]byte, error) {
	values := map[string]any{}
	for _, f := range l.fields {
		if v := r.Get(f.Field); v != nil {
			values[f.Name] = avroValue(f.Field, v)
		}
	}
	b, err := l.codec.Encode(values)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", l.Name, err)
	}
	return b, nil
}

// Accept checks a payload that a publisher encoded.
func (l *Layout) Accept(payload []byte) error {
	var values map[string]any
	rest, err := l.codec.Decode(payload, &values)
	if err != nil {
		return fmt.Errorf("the payload does not match the schema: %w", err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("the payload has %d bytes after the event", len(rest))
	}
	for _, f := range l.fields {
		if f.Required && values[f.Name] == nil {
			return fmt.Errorf("required fields are missing: [%s]", f.Name)
		}
	}
	return nil
}

// PlatformID is the id, as text, of the platform event that was created with a
// record id: the two are told to the publisher together.
func PlatformID(recordID string) string { return uuid(md5.Sum([]byte(recordID))) }

func uuid(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// Published makes the event of a payload that a publisher encoded. The id is
// the publisher's own, in whatever form.
func Published(l *Layout, id string, payload []byte) *Event {
	return &Event{Name: id, Layout: l, Kind: "PUBLISH", payload: made(payload)}
}
