package faultproxy

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// frame is one message, not decoded.
type frame struct{ data []byte }

// rawCodec passes frames on as they are. It calls itself "proto" because that is the content type both ends speak.
type rawCodec struct{}

// Name is part of the content type.
func (rawCodec) Name() string { return "proto" }

// Marshal returns the frame's bytes.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("encode frame: unexpected type %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(f.data)}, nil
}

// Unmarshal keeps a copy of the bytes, because the transport uses its buffers again.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("decode frame: unexpected type %T", v)
	}
	f.data = data.Materialize()
	return nil
}
