package edge

import (
	"bytes"
	"io"
	"reflect"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// codec reads and writes JSON for the mux. The library's own reads a body twice, first to find the end of its value and then the value itself,
// and copies what it writes once more; here a body is complete and was checked to be one value, and mostly made a message of (see checkJSON).
type codec struct {
	runtime.JSONPb

	layouts layouts
}

func newCodec() *codec {
	return &codec{JSONPb: runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true}}}
}

// Marshal implements runtime.Marshaler.
func (c *codec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return c.JSONPb.Marshal(v)
	}
	if text, ok := c.layouts.write(m); ok {
		return text, nil
	}
	return c.MarshalOptions.Marshal(m)
}

// NewDecoder implements runtime.Marshaler. The decoder reads everything, which must be one value; of nothing it is io.EOF.
func (c *codec) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		if b, ok := r.(*heldBody); ok && b.takenBy(v) {
			return nil
		}
		body, err := readAll(r)
		if err != nil {
			return err
		}
		if len(body) == 0 {
			return io.EOF
		}
		if m, ok := messageAt(v); ok {
			return c.UnmarshalOptions.Unmarshal(body, m)
		}
		return c.Unmarshal(body, v)
	})
}

// heldBody is a body that is here already.
type heldBody struct {
	bytes.Reader

	text []byte
	// made is the message that it stands for; nil if none was made yet.
	made proto.Message
}

func holdBody(text []byte) *heldBody {
	b := &heldBody{text: text}
	b.Reset(text)
	return b
}

// takenBy sets what v points to to the message that was made, unless something was read or it is no pointer to such a message.
func (b *heldBody) takenBy(v any) bool {
	if b.made == nil || b.Len() < len(b.text) {
		return false
	}
	p, made := reflect.ValueOf(v), reflect.ValueOf(b.made)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Type() != made.Type() {
		return false
	}
	p.Elem().Set(made)
	b.Reset(nil)
	b.made = nil
	return true
}

// Close implements io.Closer.
func (*heldBody) Close() error { return nil }

// readAll returns what is left of a body, without a copy where there is no need for one.
func readAll(r io.Reader) ([]byte, error) {
	if b, ok := r.(*heldBody); ok && b.Len() == len(b.text) {
		b.Reset(nil)
		return b.text, nil
	}
	return io.ReadAll(r)
}

// messageAt returns the message that v is or points to, which is made if there is none yet.
func messageAt(v any) (proto.Message, bool) {
	if m, ok := v.(proto.Message); ok {
		return m, true
	}
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Pointer {
		return nil, false
	}
	if p.Elem().IsNil() {
		made := reflect.New(p.Elem().Type().Elem())
		if _, ok := made.Interface().(proto.Message); !ok {
			return nil, false
		}
		p.Elem().Set(made)
	}
	m, ok := p.Elem().Interface().(proto.Message)
	return m, ok
}
