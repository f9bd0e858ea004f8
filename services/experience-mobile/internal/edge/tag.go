package edge

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// tagOf returns the entity tag of an answer that has none of its own: a digest of what is shown. When something was read
// does not count, so that a screen whose content is the same is the same. "" if there is no digest.
func tagOf(msg proto.Message) string {
	plain := proto.Clone(msg)
	forgetTimes(plain.ProtoReflect())
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(plain)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// forgetTimes clears the times of reading.
func forgetTimes(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Name() == "as_of":
			m.Clear(f)
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				forgetTimes(v.List().Get(i).Message())
			}
		default:
			forgetTimes(v.Message())
		}
		return true
	})
}
