package edge

import (
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// layout is how the messages of a type are written: their fields in the order of the contract. It is worked out once; the library looks
// every field up, sorts them and starts with no room at each message, which took a fifth of the edge's own work.
type layout struct{ fields []layoutField }

type layoutField struct {
	desc protoreflect.FieldDescriptor
	// name is what stands before the value, the comma included.
	name string
	// message is how the value is written if it is a message of ours.
	message *layout
	list    bool
	// omitted says that a field without a value is left out; others are written as what they stand for.
	omitted bool
}

const timestampName = "google.protobuf.Timestamp"

// newLayout returns nil for a message with anything that the contract has nowhere so far. Messages hold each other: known are those begun.
func newLayout(m protoreflect.MessageDescriptor, known map[protoreflect.MessageDescriptor]*layout) *layout {
	if l := known[m]; l != nil {
		return l
	}
	if m.ParentFile().Package() == "google.protobuf" {
		return nil
	}
	l := &layout{}
	known[m] = l
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		one := layoutField{desc: f, name: `,"` + f.JSONName() + `":`, list: f.IsList(), omitted: f.HasPresence()}
		switch kind := f.Kind(); {
		case f.IsMap() || f.ContainingOneof() != nil:
			return nil
		case kind == protoreflect.StringKind, kind == protoreflect.BoolKind, kind == protoreflect.Int32Kind:
		case kind == protoreflect.MessageKind && f.Message().FullName() == timestampName:
		case kind == protoreflect.MessageKind:
			if one.message = newLayout(f.Message(), known); one.message == nil {
				return nil
			}
		default:
			return nil
		}
		l.fields = append(l.fields, one)
	}
	return l
}

// layouts are known by the name of the message.
type layouts struct{ byType sync.Map }

// write returns a message as JSON with what is empty, and false for one that is not written here.
func (l *layouts) write(m proto.Message) ([]byte, bool) {
	desc := m.ProtoReflect().Descriptor()
	found, ok := l.byType.Load(desc)
	if !ok {
		found, _ = l.byType.LoadOrStore(desc, newLayout(desc, map[protoreflect.MessageDescriptor]*layout{}))
	}
	plan, _ := found.(*layout)
	if plan == nil {
		return nil, false
	}
	const usual = 1 << 10
	return plan.append(make([]byte, 0, usual), m.ProtoReflect())
}

func (l *layout) append(b []byte, m protoreflect.Message) ([]byte, bool) {
	b = append(b, '{')
	begin := len(b)
	for i := range l.fields {
		f := &l.fields[i]
		if f.omitted && !m.Has(f.desc) {
			continue
		}
		name := f.name
		if len(b) == begin {
			name = name[1:] // the first has no comma
		}
		b = append(b, name...)
		ok := true
		switch {
		case !f.list:
			b, ok = f.appendValue(b, m.Get(f.desc))
		case m.Has(f.desc):
			b, ok = f.appendList(b, m.Get(f.desc).List())
		default:
			b = append(b, "[]"...)
		}
		if !ok {
			return nil, false
		}
	}
	return append(b, '}'), true
}

func (f *layoutField) appendList(b []byte, list protoreflect.List) ([]byte, bool) {
	b = append(b, '[')
	for i := range list.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		var ok bool
		if b, ok = f.appendValue(b, list.Get(i)); !ok {
			return nil, false
		}
	}
	return append(b, ']'), true
}

func (f *layoutField) appendValue(b []byte, v protoreflect.Value) ([]byte, bool) {
	switch f.desc.Kind() {
	case protoreflect.StringKind:
		b, err := jsontext.AppendQuote(b, v.String())
		return b, err == nil
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool()), true
	case protoreflect.Int32Kind:
		return strconv.AppendInt(b, v.Int(), 10), true
	}
	if f.message != nil {
		return f.message.append(b, v.Message())
	}
	t, ok := v.Message().Interface().(*timestamppb.Timestamp)
	if !ok || !t.IsValid() {
		return nil, false
	}
	return appendTime(b, t), true
}

// appendTime writes a time with no, three, six or nine digits behind the second.
func appendTime(b []byte, t *timestamppb.Timestamp) []byte {
	format := `"2006-01-02T15:04:05`
	switch n := t.GetNanos(); {
	case n%1e3 != 0:
		format += ".000000000"
	case n%1e6 != 0:
		format += ".000000"
	case n != 0:
		format += ".000"
	}
	return t.AsTime().AppendFormat(b, format+`Z"`)
}
