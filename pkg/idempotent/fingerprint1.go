package idempotent

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"

	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
)

// fingerprint1 is the first form: numbers in eight bytes, messages behind their length, no names of types.
func fingerprint1(method string, req proto.Message) []byte {
	h := sha256.New()
	b := appendBytes(nil, []byte(method))
	if req != nil {
		b = appendMessage(b, req.ProtoReflect())
	}
	h.Write(b)
	return append([]byte{1}, h.Sum(nil)...)
}

func appendMessage(b []byte, m protoreflect.Message) []byte {
	if inner, ok := m.Interface().(*anypb.Any); ok {
		// The bytes inside depend on the encoder; the message does not.
		if msg, err := inner.UnmarshalNew(); err == nil {
			b = appendBytes(b, []byte(msg.ProtoReflect().Descriptor().FullName()))
			return appendMessage(b, msg.ProtoReflect())
		}
	}
	var set []protoreflect.FieldDescriptor
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if !ignored(fd) {
			set = append(set, fd)
		}
		return true
	})
	slices.SortFunc(set, func(x, y protoreflect.FieldDescriptor) int { return cmp.Compare(x.Number(), y.Number()) })
	b = appendUint(b, uint64(len(set)))
	for _, fd := range set {
		b = appendUint(b, uint64(fd.Number()))
		b = appendField(b, fd, m.Get(fd))
	}
	return appendUnknown(b, m.GetUnknown())
}

func ignored(fd protoreflect.FieldDescriptor) bool {
	opts, ok := fd.Options().(*descriptorpb.FieldOptions)
	if !ok || opts == nil {
		return false
	}
	ignore, _ := proto.GetExtension(opts, optionsv1.E_FingerprintIgnore).(bool)
	return ignore
}

func appendField(b []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch {
	case fd.IsMap():
		return appendMap(b, fd, v.Map())
	case fd.IsList():
		list := v.List()
		b = appendUint(b, uint64(list.Len()))
		for i := range list.Len() {
			b = appendValue(b, fd, list.Get(i))
		}
		return b
	default:
		return appendValue(b, fd, v)
	}
}

func appendMap(b []byte, fd protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	entries := make([][]byte, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		e := appendValue(nil, fd.MapKey(), k.Value())
		entries = append(entries, appendValue(e, fd.MapValue(), v))
		return true
	})
	slices.SortFunc(entries, slices.Compare) // keys differ, so the order is that of the keys
	b = appendUint(b, uint64(len(entries)))
	for _, e := range entries {
		b = appendBytes(b, e)
	}
	return b
}

func appendValue(b []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case protoreflect.EnumKind:
		return appendUint(b, uint64(v.Enum())) //nolint:gosec // the bits
	case protoreflect.StringKind:
		return appendBytes(b, []byte(v.String()))
	case protoreflect.BytesKind:
		return appendBytes(b, v.Bytes())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		f := v.Float()
		if math.IsNaN(f) {
			f = math.NaN()
		}
		return appendUint(b, math.Float64bits(f))
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendBytes(b, appendMessage(nil, v.Message()))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return appendUint(b, v.Uint())
	default:
		return appendUint(b, uint64(v.Int())) //nolint:gosec // the bits
	}
}

// appendUnknown adds the fields this binary does not know, sorted by number; those of one number keep their order.
func appendUnknown(b []byte, raw protoreflect.RawFields) []byte {
	type field struct {
		number protoreflect.FieldNumber
		bytes  []byte
	}
	var fields []field
	for len(raw) > 0 {
		number, _, n := protowire.ConsumeField(raw)
		if n < 0 {
			fields = append(fields, field{0, raw})
			break
		}
		fields = append(fields, field{number, raw[:n]})
		raw = raw[n:]
	}
	slices.SortStableFunc(fields, func(x, y field) int { return cmp.Compare(x.number, y.number) })
	b = appendUint(b, uint64(len(fields)))
	for _, f := range fields {
		b = appendBytes(b, f.bytes)
	}
	return b
}

func appendUint(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

func appendBytes(b, v []byte) []byte { return append(appendUint(b, uint64(len(v))), v...) }
