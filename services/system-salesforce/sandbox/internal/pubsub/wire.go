// Package pubsub serves the Pub/Sub API of the local Salesforce over gRPC.
//
// The messages are written and read by hand. A client in the same process
// registers the generated types under the same names, and the two must meet as
// bytes only, never as Go types.
//
// Invariant: a stream never receives more events than it asked for, and the
// position in an answer never lies beyond what the stream was given. The package
// does not decide who may read or publish what: every session may.
package pubsub

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// frame is an encoded message on its way through gRPC.
type frame struct{ b []byte }

// codec passes frames through untouched.
type codec struct{}

var _ encoding.CodecV2 = codec{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("cannot marshal %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(f.b)}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("cannot unmarshal into %T", v)
	}
	f.b = data.Materialize()
	return nil
}

// Numbers of ReplayPreset.
const (
	presetLatest   = 0
	presetEarliest = 1
	presetCustom   = 2
)

// fetchRequest is a FetchRequest or a ManagedFetchRequest.
type fetchRequest struct {
	topic     string
	preset    uint64
	replayID  []byte
	requested int32
	refresh   string

	subscription, name string
	commit             *commitRequest
}

type commitRequest struct {
	id       string
	replayID []byte
}

var errWire = errors.New("malformed message")

// walk calls fn for every field of a message; unknown ones are skipped by the
// caller.
func walk(b []byte, fn func(num protowire.Number, varint uint64, bytes []byte)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		var v uint64
		var payload []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			payload, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return errWire
		}
		fn(num, v, payload)
		b = b[n:]
	}
	return nil
}

func decodeFetch(b []byte) (fetchRequest, error) {
	var r fetchRequest
	err := walk(b, func(num protowire.Number, v uint64, p []byte) {
		switch num {
		case 1:
			r.topic = string(p)
		case 2:
			r.preset = v
		case 3:
			r.replayID = p
		case 4:
			r.requested = int32(v)
		case 5:
			r.refresh = string(p)
		}
	})
	return r, err
}

func decodeManaged(b []byte) (fetchRequest, error) {
	var r fetchRequest
	var inner error
	err := walk(b, func(num protowire.Number, v uint64, p []byte) {
		switch num {
		case 1:
			r.subscription = string(p)
		case 2:
			r.name = string(p)
		case 3:
			r.requested = int32(v)
		case 4:
			r.refresh = string(p)
		case 5:
			r.commit = &commitRequest{}
			inner = walk(p, func(num protowire.Number, _ uint64, p []byte) {
				switch num {
				case 1:
					r.commit.id = string(p)
				case 2:
					r.commit.replayID = p
				}
			})
		}
	})
	return r, errors.Join(err, inner)
}

// decodeName reads the only field of TopicRequest and SchemaRequest.
func decodeName(b []byte) (string, error) {
	var name string
	err := walk(b, func(num protowire.Number, _ uint64, p []byte) {
		if num == 1 {
			name = string(p)
		}
	})
	return name, err
}

func putString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func putBytes(b []byte, num protowire.Number, p []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), p)
}

func putVarint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}
