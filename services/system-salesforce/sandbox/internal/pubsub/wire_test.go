package pubsub

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// Whatever arrives, a request is either read or refused as malformed, and
// nothing that was read lies outside of what arrived.
func FuzzRequests(f *testing.F) {
	topic := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "/data/AccountChangeEvent")
	f.Add(protowire.AppendVarint(protowire.AppendTag(topic, 4, protowire.VarintType), 100))
	event := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "key")
	f.Add(protowire.AppendBytes(protowire.AppendTag(topic, 2, protowire.BytesType), event))
	f.Add(protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), event))
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		fetch, err1 := decodeFetch(b)
		managed, err2 := decodeManaged(b)
		publish, err3 := decodePublish(b)
		for _, err := range []error{err1, err2, err3} {
			if err != nil && !errors.Is(err, errWire) {
				t.Fatal(err)
			}
		}
		total := len(fetch.topic) + len(fetch.replayID) + len(fetch.refresh)
		if total > len(b) {
			t.Fatal("a fetch request that is larger than its bytes")
		}
		if managed.commit != nil && len(managed.commit.id)+len(managed.commit.replayID) > len(b) {
			t.Fatal("a commit that is larger than its bytes")
		}
		total = 0
		for _, e := range publish.events {
			total += len(e.id) + len(e.schema) + len(e.payload)
		}
		if total > len(b) {
			t.Fatal("events that are larger than their bytes")
		}
	})
}
