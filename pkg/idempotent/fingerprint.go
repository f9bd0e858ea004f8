package idempotent

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// The versions of the canonical form; the first byte of a fingerprint. A record is compared by the version it was
// stored with. A new version is understood by a release before it is written by the next one (Options.FingerprintVersion),
// so that replicas of two releases agree.
const (
	oldestFingerprint = 1
	newestFingerprint = 2
)

// Fingerprint returns the identity of a request: what must be equal for a repeated key to mean the same effect. It
// hashes a canonical form of the message of its own, because protobuf's deterministic encoding is not canonical across
// builds. Fields with the option fingerprint_ignore are left out; unknown fields count.
func Fingerprint(method string, req proto.Message) []byte {
	return (&canon{}).fingerprint(newestFingerprint, method, req, nil)
}

// exclusion is a tree of fields that do not count; an empty one leaves its whole field out.
type exclusion map[protoreflect.FieldNumber]exclusion

// parseExclusions resolves paths ("a.b") in a message type.
func parseExclusions(md protoreflect.MessageDescriptor, paths []string) (exclusion, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	root := exclusion{}
	for _, path := range paths {
		if err := root.add(md, path, strings.Split(path, ".")); err != nil {
			return nil, err
		}
	}
	return root, nil
}

func (e exclusion) add(md protoreflect.MessageDescriptor, path string, names []string) error {
	if md == nil {
		return fmt.Errorf("fingerprint_exclude %q: what holds %q is not a message", path, names[0])
	}
	fd := md.Fields().ByName(protoreflect.Name(names[0]))
	if fd == nil {
		return fmt.Errorf("fingerprint_exclude %q: %s has no field %q", path, md.FullName(), names[0])
	}
	sub, seen := e[fd.Number()]
	switch {
	case len(names) == 1:
		e[fd.Number()] = exclusion{}
		return nil
	case seen && len(sub) == 0:
		return nil // left out as a whole already
	case !seen:
		sub = exclusion{}
		e[fd.Number()] = sub
	}
	if fd.IsMap() {
		return sub.add(nil, path, names[1:])
	}
	return sub.add(fd.Message(), path, names[1:])
}

// canon writes canonical forms. It keeps the order of the fields of each message type. The zero value is usable, by many
// goroutines.
type canon struct {
	fields  sync.Map // protoreflect.MessageDescriptor → []protoreflect.FieldDescriptor
	buffers sync.Pool
}

const keptBuffer = 64 << 10

func (c *canon) fingerprint(version byte, method string, req proto.Message, ex exclusion) []byte {
	if version == oldestFingerprint {
		return fingerprint1(method, req)
	}
	buf, _ := c.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	b := appendText((*buf)[:0], method)
	if req != nil {
		m := req.ProtoReflect()
		b = appendText(b, string(m.Descriptor().FullName()))
		b = c.message(b, m, ex)
	}
	sum := sha256.Sum256(b)
	if cap(b) <= keptBuffer {
		*buf = b
		c.buffers.Put(buf)
	}
	out := make([]byte, 1+len(sum))
	out[0] = version
	copy(out[1:], sum[:])
	return out
}

// sorted returns the fields of a type that count, by number.
func (c *canon) sorted(md protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	if v, ok := c.fields.Load(md); ok {
		return v.([]protoreflect.FieldDescriptor) //nolint:forcetypeassert // holds nothing else
	}
	all := md.Fields()
	out := make([]protoreflect.FieldDescriptor, 0, all.Len())
	for i := range all.Len() {
		if fd := all.Get(i); !ignored(fd) {
			out = append(out, fd)
		}
	}
	slices.SortFunc(out, func(x, y protoreflect.FieldDescriptor) int { return cmp.Compare(x.Number(), y.Number()) })
	c.fields.Store(md, out)
	return out
}

// message writes the set fields in the order of their numbers, each behind its number, then 0, then what is unknown.
func (c *canon) message(b []byte, m protoreflect.Message, ex exclusion) []byte {
	md := m.Descriptor()
	if md.FullName() == "google.protobuf.Any" {
		if inner, ok := m.Interface().(*anypb.Any); ok {
			// The bytes inside depend on the encoder; the message does not.
			if msg, err := inner.UnmarshalNew(); err == nil {
				b = appendText(append(b, 1), string(msg.ProtoReflect().Descriptor().FullName()))
				return c.message(b, msg.ProtoReflect(), nil)
			}
			b = append(b, 0)
		}
	}
	for _, fd := range c.sorted(md) {
		sub, excluded := ex[fd.Number()]
		if excluded && len(sub) == 0 || !m.Has(fd) {
			continue
		}
		b = binary.AppendUvarint(b, uint64(fd.Number())) //nolint:gosec // numbers are positive
		b = c.field(b, fd, m.Get(fd), sub)
	}
	b = append(b, 0)
	if md.ExtensionRanges().Len() > 0 {
		b = c.extensions(b, m)
	}
	return appendUnknown2(b, m.GetUnknown())
}

func (c *canon) extensions(b []byte, m protoreflect.Message) []byte {
	var set []protoreflect.FieldDescriptor
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if fd.IsExtension() {
			set = append(set, fd)
		}
		return true
	})
	slices.SortFunc(set, func(x, y protoreflect.FieldDescriptor) int { return cmp.Compare(x.Number(), y.Number()) })
	for _, fd := range set {
		b = binary.AppendUvarint(b, uint64(fd.Number())) //nolint:gosec // numbers are positive
		b = c.field(b, fd, m.Get(fd), nil)
	}
	return append(b, 0)
}

func (c *canon) field(b []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value, ex exclusion) []byte {
	switch {
	case fd.IsMap():
		return c.mapField(b, fd, v.Map())
	case fd.IsList():
		list := v.List()
		b = binary.AppendUvarint(b, uint64(list.Len())) //nolint:gosec // a length
		for i := range list.Len() {
			b = c.value(b, fd, list.Get(i), ex)
		}
		return b
	default:
		return c.value(b, fd, v, ex)
	}
}

func (c *canon) mapField(b []byte, fd protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	entries := make([][]byte, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		e := c.value(nil, fd.MapKey(), k.Value(), nil)
		entries = append(entries, c.value(e, fd.MapValue(), v, nil))
		return true
	})
	slices.SortFunc(entries, slices.Compare) // keys differ and end themselves, so the order is that of the keys
	b = binary.AppendUvarint(b, uint64(len(entries)))
	for _, e := range entries {
		b = append(b, e...)
	}
	return b
}

// value writes one value so that its end can be told.
func (c *canon) value(b []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value, ex exclusion) []byte {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case protoreflect.EnumKind:
		return binary.AppendVarint(b, int64(v.Enum()))
	case protoreflect.StringKind:
		return appendText(b, v.String())
	case protoreflect.BytesKind:
		b = binary.AppendUvarint(b, uint64(len(v.Bytes())))
		return append(b, v.Bytes()...)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		f := v.Float()
		if math.IsNaN(f) {
			f = math.NaN()
		}
		return binary.BigEndian.AppendUint64(b, math.Float64bits(f))
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return c.message(b, v.Message(), ex)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return binary.AppendUvarint(b, v.Uint())
	default:
		return binary.AppendVarint(b, v.Int())
	}
}

// appendUnknown2 adds the fields this binary does not know, sorted by number; those of one number keep their order.
func appendUnknown2(b []byte, raw protoreflect.RawFields) []byte {
	if len(raw) == 0 {
		return append(b, 0)
	}
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
	b = binary.AppendUvarint(b, uint64(len(fields)))
	for _, f := range fields {
		b = binary.AppendUvarint(b, uint64(len(f.bytes)))
		b = append(b, f.bytes...)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}
