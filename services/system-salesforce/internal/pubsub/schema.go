package pubsub

import (
	"errors"
	"fmt"

	"github.com/twmb/avro"
)

// schema decodes the events of one schema id. It is immutable.
type schema struct {
	codec  *avro.Schema
	fields []schemaField
	change bool // a change event; otherwise a platform event
}

type schemaField struct {
	name  string
	parts []string // fields of a compound, in order; nil otherwise
}

func parseSchema(text string) (*schema, error) {
	codec, err := avro.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse event schema: %w", err)
	}
	root := codec.Root()
	if root.Type != "record" || len(root.Fields) == 0 {
		return nil, errors.New("parse event schema: not a record")
	}
	named := map[string]*avro.SchemaNode{}
	collect(root, named)
	s := &schema{codec: codec, change: root.Fields[0].Name == "ChangeEventHeader"}
	for i := range root.Fields {
		s.fields = append(s.fields, schemaField{name: root.Fields[i].Name, parts: parts(&root.Fields[i].Type, named)})
	}
	return s, nil
}

// collect finds the named types: a type used twice is a bare name the second time.
func collect(n *avro.SchemaNode, named map[string]*avro.SchemaNode) {
	if n.Name != "" && n.Type == "record" {
		named[n.Name] = n
		named[n.Namespace+"."+n.Name] = n
	}
	for i := range n.Fields {
		collect(&n.Fields[i].Type, named)
	}
	for i := range n.Branches {
		collect(&n.Branches[i], named)
	}
}

// parts returns the fields of the record branch of a field's type.
func parts(n *avro.SchemaNode, named map[string]*avro.SchemaNode) []string {
	if n.Type == "union" {
		for i := range n.Branches {
			if p := parts(&n.Branches[i], named); p != nil {
				return p
			}
		}
		return nil
	}
	if n.Type != "record" {
		other, ok := named[n.Type]
		if !ok {
			return nil
		}
		n = other
	}
	var out []string
	for _, f := range n.Fields {
		out = append(out, f.Name)
	}
	return out
}

// header is the ChangeEventHeader as it stands in the payload.
type header struct {
	EntityName      string   `avro:"entityName"`
	RecordIDs       []string `avro:"recordIds"`
	ChangeType      string   `avro:"changeType"`
	ChangeOrigin    string   `avro:"changeOrigin"`
	TransactionKey  string   `avro:"transactionKey"`
	SequenceNumber  int64    `avro:"sequenceNumber"`
	CommitTimestamp int64    `avro:"commitTimestamp"`
	CommitNumber    int64    `avro:"commitNumber"`
	CommitUser      string   `avro:"commitUser"`
	NulledFields    []string `avro:"nulledFields"`
	DiffFields      []string `avro:"diffFields"`
	ChangedFields   []string `avro:"changedFields"`
}

// decode reads the header of an event. The fields themselves are not used: the record is read as it is now.
func (s *schema) decode(payload []byte) (header, error) {
	var event struct {
		Header header `avro:"ChangeEventHeader"`
	}
	rest, err := s.codec.Decode(payload, &event, avro.SkipUnknown())
	if err != nil {
		return header{}, errors.New("decode event: payload does not fit its schema")
	}
	if len(rest) > 0 {
		return header{}, fmt.Errorf("decode event: %d bytes left over", len(rest))
	}
	return event.Header, nil
}

// decodeFields reads every value of a platform event; empty fields are left out.
func (s *schema) decodeFields(payload []byte) (map[string]any, error) {
	var fields map[string]any
	rest, err := s.codec.Decode(payload, &fields)
	if err != nil {
		return nil, errors.New("decode event: payload does not fit its schema")
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("decode event: %d bytes left over", len(rest))
	}
	for name, value := range fields {
		if value == nil {
			delete(fields, name)
		}
	}
	return fields, nil
}
