package pubsub

import "testing"

// BenchmarkDecode decodes what a stream brings, one event per operation, on one core. The target is 20,000 events a second.
func BenchmarkDecode(b *testing.B) {
	d, err := NewDecoder(schemaText(b))
	if err != nil {
		b.Fatal(err)
	}
	payload := encodeEvent(b, d.schema, eventOf("UPDATE", "001000000000001AAA"))
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, err := d.Decode(payload); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
