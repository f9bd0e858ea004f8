package pubsub

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkDecode decodes what a stream brings, one event per operation, on one core. The target is 20,000 events a second.
// "plain" is the same library decoding the whole event into a map; the certification of the Pub/Sub stubs has a benchmark of the
// same name, of the same event, with goavro.
func BenchmarkDecode(b *testing.B) {
	d, err := NewDecoder(schemaText(b))
	require.NoError(b, err)
	payload, err := os.ReadFile(filepath.Join("testdata", "wire", "event.avro"))
	require.NoError(b, err)
	event, err := d.Decode(payload)
	require.NoError(b, err)
	require.Equal(b, []string{"001000000000001AAA"}, event.RecordIDs)
	measure := func(name string, decode func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
	measure("event", func() error { _, err := d.Decode(payload); return err })
	measure("plain", func() error { var all map[string]any; _, err := d.schema.codec.Decode(payload, &all); return err })
}
