package pubsub

import "testing"

func BenchmarkDecode(b *testing.B) {
	s := testSchema(b)
	payload := encodeEvent(b, s, eventOf("UPDATE", "001000000000001AAA"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.decode(payload); err != nil {
			b.Fatal(err)
		}
	}
}
