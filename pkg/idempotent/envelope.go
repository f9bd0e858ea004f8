package idempotent

import (
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// MaxAnswer is the largest answer that is kept, in bytes. Of a larger one only the resource is remembered.
const MaxAnswer = 1 << 20

// A stored answer begins with its version.
const (
	plainVersion  = 1
	sealedVersion = 2
)

// The fields of a stored answer, in protobuf's wire format.
const (
	fieldType    = 1 // full name of the response's message type
	fieldMessage = 2 // the response
	fieldStatus  = 3 // google.rpc.Status
	fieldHeader  = 4 // name of a header; its value follows
	fieldValue   = 5
	fieldOmitted = 6 // the response was too large
)

// kept is what an answer is made of.
type kept struct {
	message proto.Message  // the response
	status  *status.Status // or the error
	omitted bool           // or neither, because it was too large
	header  metadata.MD
}

// encode returns the stored form.
func (k kept) encode() ([]byte, error) {
	var (
		body []byte
		err  error
		b    = []byte{plainVersion}
	)
	opts := proto.MarshalOptions{}
	switch {
	case k.message != nil:
		if body, err = opts.MarshalAppend(nil, k.message); err != nil {
			return nil, fmt.Errorf("store response: %w", err)
		}
		if len(body) > MaxAnswer {
			b = protowire.AppendVarint(protowire.AppendTag(b, fieldOmitted, protowire.VarintType), 1)
			break
		}
		b = protowire.AppendString(protowire.AppendTag(b, fieldType, protowire.BytesType), string(k.message.ProtoReflect().Descriptor().FullName()))
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldMessage, protowire.BytesType), body)
	default:
		if body, err = opts.MarshalAppend(nil, k.status); err != nil {
			return nil, fmt.Errorf("store error: %w", err)
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldStatus, protowire.BytesType), body)
	}
	for name, values := range k.header {
		for _, v := range values {
			b = protowire.AppendString(protowire.AppendTag(b, fieldHeader, protowire.BytesType), name)
			b = protowire.AppendString(protowire.AppendTag(b, fieldValue, protowire.BytesType), v)
		}
	}
	return b, nil
}

// answerType is the type of a response that is expected. The zero value expects none.
type answerType struct {
	name string
	typ  protoreflect.MessageType
}

// decode is the inverse of encode. Any type is decoded; the expected one without being looked up.
func decode(b []byte, expected answerType) (k kept, err error) {
	if len(b) == 0 || b[0] != plainVersion {
		return kept{}, fmt.Errorf("%w: unknown version", errUnreadable)
	}
	b = b[1:]
	var typeName []byte
	var name string
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return kept{}, fmt.Errorf("%w: %w", errUnreadable, protowire.ParseError(n))
		}
		b = b[n:]
		if number == fieldOmitted || wire != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, wire, b); n < 0 {
				return kept{}, fmt.Errorf("%w: %w", errUnreadable, protowire.ParseError(n))
			}
			k.omitted = k.omitted || number == fieldOmitted
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return kept{}, fmt.Errorf("%w: %w", errUnreadable, protowire.ParseError(n))
		}
		b = b[n:]
		switch number {
		case fieldType:
			typeName = v
		case fieldMessage:
			k.message, err = message(typeName, v, expected)
		case fieldStatus:
			k.status = &status.Status{}
			err = proto.Unmarshal(v, k.status)
		case fieldHeader:
			name = string(v)
		case fieldValue:
			if k.header == nil {
				k.header = metadata.MD{}
			}
			k.header.Append(name, string(v))
		}
		if err != nil {
			return kept{}, fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}
	if k.message == nil && k.status == nil && !k.omitted {
		return kept{}, fmt.Errorf("%w: it is empty", errUnreadable)
	}
	return k, nil
}

func message(typeName, b []byte, expected answerType) (proto.Message, error) {
	mt := expected.typ
	if mt == nil || string(typeName) != expected.name {
		var err error
		if mt, err = protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(typeName)); err != nil {
			return nil, fmt.Errorf("type %s: %w", typeName, err)
		}
	}
	m := mt.New().Interface()
	return m, proto.Unmarshal(b, m)
}

// answer makes what the store keeps of an outcome.
func (a *attempt) answer(resp any, failed error) (Answer, error) {
	var (
		out Answer
		k   kept
	)
	if failed != nil {
		k.status = fault.ToStatus(failed).Proto()
	} else {
		msg, ok := resp.(proto.Message)
		if !ok {
			return Answer{}, fmt.Errorf("response %T is not a protobuf message", resp)
		}
		out.OK, k.message = true, msg
		if a.server.Resource != nil {
			out.Resource = a.server.Resource(msg)
		}
		if a.server.Subject != nil {
			out.Subject = a.server.Subject(a.method, a.request, msg)
		}
	}
	k.header = a.stream.kept(a.server.headers)
	body, err := k.encode()
	if err != nil {
		return Answer{}, err
	}
	out.Body, err = a.server.seal(body, func() []byte { return aad(a.grant.Digest, a.grant.Fence, "") })
	return out, err
}

// seal encrypts if there is a keyring.
func (s *server) seal(plain []byte, place func() []byte) ([]byte, error) {
	if s.Keys == nil {
		return plain, nil
	}
	sealed, err := s.Keys.seal(plain, place())
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return append([]byte{sealedVersion}, sealed...), nil
}

// unseal is the inverse of seal. What was stored before there was a keyring is read as it is.
func (s *server) unseal(b []byte, place func() []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != sealedVersion {
		return b, nil
	}
	if s.Keys == nil {
		return nil, fmt.Errorf("%w: it is encrypted and there is no key", errUnreadable)
	}
	return s.Keys.open(b[1:], place())
}
