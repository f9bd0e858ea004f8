package pubsubstubs_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/stretchr/testify/require"
)

// BenchmarkDecode decodes the event that the benchmark of internal/pubsub decodes, as the vendor's Go sample does.
func BenchmarkDecode(b *testing.B) {
	wire := filepath.Join("..", "..", "internal", "pubsub", "testdata", "wire")
	schema, err := os.ReadFile(filepath.Join(wire, "schema.json"))
	require.NoError(b, err)
	payload, err := os.ReadFile(filepath.Join(wire, "event.avro"))
	require.NoError(b, err)
	codec, err := goavro.NewCodec(string(schema))
	require.NoError(b, err)
	b.Run("goavro", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := codec.NativeFromBinary(payload); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}
